"""Demo, second stage: the balanced energy loss in an anomaly branch, so that labels stay."""

_base_ = "balanced-energy_fcn-unet-small_200it_demo.py"
model = dict(
    anomaly_branch=dict(fork=["backbone.encoder.3.*", "backbone.decoder.*", "decode_head.*"]),
)
work_dir = "{{$OOD_SEG_DEMO:demo_output}}/branch"
