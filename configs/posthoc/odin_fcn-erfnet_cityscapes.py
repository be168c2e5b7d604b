"""Pre-trained ERFNet, scored by ODIN: temperature and input perturbation; no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(score=dict(_delete_=True, type="ODIN", temperature=1000.0, epsilon=0.0014))
)
