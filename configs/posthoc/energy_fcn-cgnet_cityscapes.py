"""CGNet as it comes, scored by its free energy; no training."""

_base_ = [
    "../_base_/models/cgnet_cityscapes.py",
    "../_base_/datasets/evaluation_1024x512.py",
    "../_base_/datasets/fit_cityscapes_camvid_1024x512.py",
    "../_base_/default_runtime.py",
]
load_from = "{{$OOD_SEG_DATA:data}}/weights/cgnet_m3n21_cityscapes_train_mmseg.pth"
statistics = "work_dirs/cgnet.stats"  # of `ood-seg fit`, for the scores that need them
# A third of the 256 channels that the classifier sees never vary, so that covariances need help.
# Layers of the flow, the one that `dsn` takes first: 256, 131 and 35 channels.
fit_options = {
    "mahalanobis": dict(shrinkage=0.01),
    "relative-mahalanobis": dict(shrinkage=0.01),
    "vim": dict(dimensions=64),
    "flow": dict(layers=["penultimate", "backbone.norm_prelu_1", "backbone.norm_prelu_0"]),
}
model = dict(energy_head=dict(score=dict(type="Energy", temperature=1.0)))
