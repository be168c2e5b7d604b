"""Checks of a config before anything is built: certain mistakes are named, good configs pass."""

from pathlib import Path

import pytest

pytest.importorskip("mmseg")
from mmengine.config import Config

from ood_seg.config_checks import accepted_arguments, check_config
from ood_seg.config_files import load_config, shipped_configs

MODEL = {
    "type": "OODEncoderDecoder",
    "backbone": {"type": "ERFNet"},
    "decode_head": {"type": "FCNHead", "in_channels": 16, "channels": 16, "num_classes": 3},
    "energy_head": {"type": "EnergyHead", "losses": [{"type": "EnergyLoss", "margin_in": 0}]},
}
LOADER = {
    "batch_size": 1,
    "sampler": {"type": "DefaultSampler", "shuffle": False},
    "dataset": {"type": "BaseSegDataset", "pipeline": [{"type": "Resize", "scale": (4, 4)}]},
}
GOOD = {
    "default_scope": "mmseg",
    "model": MODEL,
    "train_dataloader": LOADER,
    "test_dataloader": {"mine": LOADER},
    "test_evaluator": {"mine": [{"type": "AnomalyMetric"}]},
    "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 2},
    "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
    "param_scheduler": [{"type": "PolyLR", "power": 0.9, "convert_to_iter_based": True}],
    "default_hooks": {"logger": {"type": "LoggerHook", "interval": 1}},
    "custom_hooks": [{"type": "OutlierPriorHook", "num_images": 3, "priority": 10}],
    "vis_backends": [{"type": "LocalVisBackend"}],
    "visualizer": {"type": "SegLocalVisualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
}
# Option -> texts of the message.
MISTAKES = {
    "model.bacbone=1": ("model: OODEncoderDecoder", "'bacbone'", "'backbone'"),
    "model.backbone.type=ERFNett": ("model.backbone: ", "no model", "'ERFNet'"),
    "model.decode_head.chanels=3": ("model.decode_head: FCNHead", "'chanels'", "'channels'"),
    "model.energy_head.losses.0.type=EnergyLos": ("losses.0: ", "'EnergyLoss'"),
    "train_dataloader.batchsize=1": ("a data loader", "'batchsize'", "'batch_size'"),
    "train_dataloader.dataset.pipeline.0.scal=3": ("pipeline.0: Resize", "'scal'", "'scale'"),
    "test_dataloader.mine.sampler.shufle=1": ("mine.sampler: DefaultSampler", "'shuffle'"),
    "test_evaluator.mine.0.type=AnomalMetric": ("mine.0: ", "no metric", "'AnomalyMetric'"),
    "train_cfg.max_itrs=3": ("train_cfg: IterBasedTrainLoop", "'max_itrs'", "'max_iters'"),
    "optim_wrapper.optimizer.lrr=1": ("optimizer: SGD", "'lrr'", "'lr'"),
    "param_scheduler.0.pwer=1": ("param_scheduler.0: PolyLR", "'power'"),
    "default_hooks.logger.intervall=1": ("LoggerHook", "'intervall'", "'interval'"),
    "custom_hooks.0.num_image=1": ("custom_hooks.0: OutlierPriorHook", "'num_images'"),
    "custom_hooks.3.num_images=1": ("custom_hooks.3.num_images", "3"),
    "visualizer.vis_backends.0.type=LocalBackend": ("visualizer.vis_backends.0", "LocalVisB"),
    "vis_backends.0.type=TensorboardVisBackend": ("vis_backends", "visualizer.vis_backends"),
    "max_iters=3": ("'max_iters'", "train_cfg.max_iters"),
    "train_dataloadr.batch_size=3": ("'train_dataloadr'", "'train_dataloader'"),
}


def test_a_good_config_passes():
    check_config(load_config(Config(GOOD)))


@pytest.mark.parametrize("option", MISTAKES)
def test_mistakes_are_named_with_their_place(option):
    with pytest.raises(ValueError) as caught:
        load_config(Config(GOOD), [option])
    for text in MISTAKES[option]:
        assert text in str(caught.value)


def test_a_hook_of_a_config_without_hooks():
    config = {key: value for key, value in GOOD.items() if key != "custom_hooks"}
    with pytest.raises(ValueError, match="custom_hooks must be a list"):
        load_config(Config(config), ["custom_hooks.0.num_images=5"])


def test_options_that_are_read_elsewhere_are_accepted():
    options = ["work_dir=x", "load_from=y", "custom_hooks.0.num_images=7", "randomness.seed=1"]
    assert load_config(Config(GOOD), options).custom_hooks[0].num_images == 7


def test_arguments_are_followed_to_the_base_class_and_no_further_than_is_certain():
    class Base:
        def __init__(self, depth=1):
            pass

    class Closed(Base):
        def __init__(self, width=1, **kwargs):
            super().__init__(**kwargs)

    class Takes(Base):
        def __init__(self, **kwargs):
            kwargs.pop("height", None)
            super().__init__(**kwargs)

    class Keeps(Base):
        def __init__(self, **kwargs):
            self.kwargs = kwargs

    assert accepted_arguments(Closed) == {"width", "kwargs", "depth"} - {"kwargs"}
    assert accepted_arguments(Takes) is None
    assert accepted_arguments(Keeps) is None
    assert accepted_arguments(lambda size, **more: size) is None


@pytest.mark.parametrize("name", sorted(shipped_configs())[::7])
def test_shipped_configs_pass(name: str):
    check_config(Config.fromfile(Path(shipped_configs()[name])))
