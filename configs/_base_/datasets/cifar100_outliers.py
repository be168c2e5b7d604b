# CIFAR-100 from its python batches, and the outlier images of CIFAR-10's configs: none of their
# classes of Tiny ImageNet is one of CIFAR-100 either.
_base_ = "./cifar10_outliers.py"
cifar100_root = _base_.cache + "cifar-100-python"
fit_dataloader = dict(
    dataset=dict(type="CifarBatchesDataset", version="cifar100", data_root=cifar100_root),
)
test_dataloader = dict(
    _delete_=True,
    cifar100=dict(
        batch_size=200,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="CifarBatchesDataset",
            version="cifar100",
            data_root=cifar100_root,
            split="test",
            pipeline=_base_.plain,
        ),
    ),
    **{name: one for name, one in _base_.test_dataloader.items() if name != "cifar10"},
)
test_evaluator = dict(
    _delete_=True,
    cifar100=[dict(type="ImageAccuracyMetric")],
    **{name: one for name, one in _base_.test_evaluator.items() if name != "cifar10"},
)
test_cfg = dict(known="cifar100")
