"""Names and colours of a model's classes, from checkpoint, config or Cityscapes."""

import pytest

pytest.importorskip("mmseg")
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401
from ood_seg.models.classes import class_names_and_colours

init_default_scope("mmseg")
STREET = {"classes": ("road", "sky"), "palette": [[1, 2, 3], [4, 5, 6]]}
SCENES = {"type": "BaseSegDataset", "metainfo": STREET}


@pytest.mark.parametrize(
    "dataset",
    [
        SCENES,
        {"type": "SeededSamples", "dataset": SCENES},
        {"type": "ConcatDataset", "datasets": [{"type": "RepeatDataset", "dataset": SCENES}]},
        {"type": "SeededSamples", "dataset": {"type": "OutlierMix", "clean": SCENES}},
    ],
)
def test_names_are_those_of_the_training_data_inside_any_wrapper(dataset):
    cfg = Config({"train_dataloader": {"dataset": dataset}})
    assert class_names_and_colours(cfg, {}, count=2) == (("road", "sky"), [(1, 2, 3), (4, 5, 6)])


def test_checkpoint_comes_first_and_other_class_counts_are_skipped():
    cfg = Config({"train_dataloader": {"dataset": SCENES}})
    saved = {"meta": {"dataset_meta": {"classes": ("a", "b")}}}
    assert class_names_and_colours(cfg, saved, count=2)[0] == ("a", "b")
    assert class_names_and_colours(cfg, {}, count=3)[0] == ("class 0", "class 1", "class 2")
    names, colours = class_names_and_colours(cfg, {}, count=19)
    assert names[0] == "road"
    assert colours[0] == (128, 64, 128)
