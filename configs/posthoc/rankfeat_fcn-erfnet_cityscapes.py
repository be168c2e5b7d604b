"""Pre-trained ERFNet, scored by its energy after rank-1 removal (RankFeat); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(energy_head=dict(score=dict(_delete_=True, type="RankFeat")))
