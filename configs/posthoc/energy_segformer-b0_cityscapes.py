"""mmseg's SegFormer-B0 checkpoint, scored by its free energy; give the zoo's file to `test`."""

_base_ = [
    "mmseg::_base_/models/segformer_mit-b0.py",
    "../_base_/datasets/evaluation_1024x512.py",
    "../_base_/default_runtime.py",
]
norm_cfg = dict(type="BN", requires_grad=True)  # the zoo's SyncBN, for one device
model = dict(
    type="OODEncoderDecoder",
    data_preprocessor=dict(size_divisor=32, test_cfg=dict(size_divisor=32)),
    decode_head=dict(norm_cfg=norm_cfg, loss_decode=dict(avg_non_ignore=True)),
    energy_head=dict(type="EnergyHead", score=dict(type="Energy", temperature=1.0)),
)
