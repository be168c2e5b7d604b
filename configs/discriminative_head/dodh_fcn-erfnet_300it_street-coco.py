"""Discriminative head and maximum softmax together (DODH) on a frozen ERFNet, on a CPU."""

_base_ = "./discriminative-head_fcn-erfnet_300it_street-coco.py"
model = dict(energy_head=dict(score=dict(_delete_=True, type="OutlierMaxSoftmax")))
