"""Pre-trained ERFNet, scored by its free energy; no training."""

_base_ = [
    "../_base_/pretrained/erfnet_cityscapes.py",
    "../_base_/datasets/fit_cityscapes_camvid_1024x512.py",
    "../_base_/datasets/calibration_camvid-bdd-coco_1024x512.py",
]
statistics = "work_dirs/erfnet.stats"  # written by `ood-seg fit`, read by the scores that need them
# Layers of the flow, first the one that `dsn` uses: 16, 64 and 128 channels.
fit_options = {
    "flow": dict(layers=["penultimate", "backbone.decoder.2", "backbone.encoder.15"]),
    "multi-mahalanobis": dict(layers=["penultimate", "backbone.encoder.15"]),
}
model = dict(energy_head=dict(score=dict(type="Energy", temperature=1.0)))
