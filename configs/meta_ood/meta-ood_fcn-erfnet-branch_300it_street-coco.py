"""Meta-OoD in an anomaly branch of ERFNet: the recommended fork."""

_base_ = ["./meta-ood_fcn-erfnet_300it_street-coco.py", "../_base_/forks/erfnet.py"]
model = _base_.pop("branch")
