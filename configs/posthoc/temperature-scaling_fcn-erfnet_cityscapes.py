"""Pre-trained ERFNet, scored by its calibrated softmax; no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(
        score=dict(_delete_=True, type="TemperatureScaling", statistics=_base_.statistics)
    )
)
