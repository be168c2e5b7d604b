"""Pre-trained ERFNet, scored by standardized max logits (SML); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(
        score=dict(_delete_=True, type="StandardizedMaxLogit", statistics=_base_.statistics)
    )
)
