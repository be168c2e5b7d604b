"""Pre-trained CGNet, scored by its free energy; no training."""

_base_ = [
    "../_base_/models/cgnet_cityscapes.py",
    "../_base_/datasets/evaluation_1024x512.py",
    "../_base_/datasets/fit_cityscapes_camvid_1024x512.py",
    "../_base_/datasets/calibration_camvid-bdd-coco_1024x512.py",
    "../_base_/default_runtime.py",
]
load_from = "{{$OOD_SEG_DATA:data}}/weights/cgnet_m3n21_cityscapes_train_mmseg.pth"
statistics = "work_dirs/cgnet.stats"  # written by `ood-seg fit`, read by the scores that need them
# A third of the 256 input channels of the classifier are constant, so covariances are shrunk.
# Layers of the flow, first the one that `dsn` uses: 256, 131 and 35 channels.
fit_options = {
    "mahalanobis": dict(shrinkage=0.01),
    "relative-mahalanobis": dict(shrinkage=0.01),
    "multi-mahalanobis": dict(layers=["penultimate", "backbone.norm_prelu_1"], shrinkage=0.01),
    "vim": dict(dimensions=64),
    "flow": dict(layers=["penultimate", "backbone.norm_prelu_1", "backbone.norm_prelu_0"]),
}
model = dict(energy_head=dict(score=dict(type="Energy", temperature=1.0)))
