"""Pre-trained ERFNet, scored by the norm of its gradient (GradNorm); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(energy_head=dict(score=dict(_delete_=True, type="GradNorm")))
