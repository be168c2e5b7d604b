"""A decode head with one channel more than classes is, in every result, the model of the classes.

The extra channel is made the largest everywhere, so that any leak changes the result.
"""

import copy

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from torch import nn

import ood_seg.register  # noqa: F401
from ood_seg.apis import AnomalyInferencer, check_matches
from ood_seg.engine.outlier_prior import count_outlier_predictions
from ood_seg.evaluation import KnownIoUMetric
from ood_seg.models import OODTTAModel

init_default_scope("mmseg")
K = tiny.NUM_CLASSES
HEAD = {"type": "EnergyHead", "num_classes": K, "losses": [tiny.ENERGY_LOSS]}


@MODELS.register_module()
class LastChannel(nn.Module):
    """A score of all channels."""

    channels = "all"

    def forward(self, logits):
        return logits[:, -1]


@MODELS.register_module()
class LastChannelLoss(LastChannel):
    """A loss of all channels."""

    loss_name = "loss_last"

    def forward(self, logits, labels):
        return logits[:, -1].mean()


@MODELS.register_module()
class OtherNameHead(FCNHead):
    """A head whose classifier is not `conv_seg`."""

    classifier_name = "final.1"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.final = nn.Sequential(nn.Identity(), nn.Conv2d(16, self.num_classes, 1))
        del self.conv_seg

    def cls_seg(self, feat):
        return self.final(feat)


@pytest.fixture
def narrow():
    return tiny.build(energy_head=HEAD)


@pytest.fixture
def checkpoint(narrow, tmp_path):
    torch.save({"state_dict": narrow.state_dict()}, tmp_path / "narrow.pth")
    return str(tmp_path / "narrow.pth")


def build_wide(narrow, *, channels=K + 1, **changes):
    """The model with an extra channel, with the weights of the other, strictly loaded."""
    changes = {"energy_head": HEAD} | changes
    model = MODELS.build(ConfigDict(tiny.model_config(channels, **changes)))
    own = {k: v.clone() for k, v in model.decode_head.conv_seg.named_parameters()}
    model.load_state_dict(narrow.state_dict(), strict=True)
    for name, value in model.decode_head.conv_seg.named_parameters():
        assert torch.equal(value[:K], narrow.decode_head.conv_seg.state_dict()[name])
        assert torch.equal(value[K:], own[name][K:])
    with torch.no_grad():
        model.decode_head.conv_seg.bias[K:] += 50.0
    return model.eval()


def predictions(model, data):
    with torch.no_grad():
        return model.test_step(copy.deepcopy(data))


def assert_same(ours, theirs):
    assert ours.pred_sem_seg.data.max() < K
    for name in ("seg_logits", "pred_sem_seg", "pred_anomaly"):
        assert torch.equal(ours.get(name).data, theirs.get(name).data)


@pytest.mark.parametrize(
    "test_cfg", [{"mode": "whole"}, {"mode": "slide", "crop_size": (24, 24), "stride": (16, 16)}]
)
def test_labels_logits_scores_and_miou(narrow, test_cfg):
    wide, twin = build_wide(narrow, test_cfg=test_cfg), copy.deepcopy(narrow)
    twin.test_cfg = ConfigDict(test_cfg)
    values = []
    for model in (wide, twin):
        samples = predictions(model, tiny.batch())
        metric = KnownIoUMetric(iou_metrics=["mIoU"])
        metric.dataset_meta = {"classes": tuple("abcde")}
        metric.process(None, [sample.to_dict() for sample in samples])
        values.append((samples, metric.evaluate(size=len(samples))))
    for ours, theirs in zip(values[0][0], values[1][0], strict=True):
        assert_same(ours, theirs)
    assert values[0][1] == values[1][1]


def test_test_time_augmentation(narrow):
    straight, flipped = tiny.batch(1), tiny.batch(1)
    flipped["data_samples"][0].set_metainfo({"flip": True, "flip_direction": "horizontal"})
    data = {key: [straight[key], flipped[key]] for key in ("inputs", "data_samples")}
    merged = [
        predictions(OODTTAModel(module=model), data)[0] for model in (build_wide(narrow), narrow)
    ]
    assert_same(*merged)


def test_inferencer_with_a_checkpoint_of_either_width(narrow, checkpoint, tmp_path):
    wide = build_wide(narrow)
    torch.save(wide.state_dict(), tmp_path / "wide.pth")
    pipeline = [{"type": "LoadCheckedImage"}, {"type": "PackSegInputs"}]
    configs = [
        Config({"model": tiny.model_config(n, energy_head=HEAD), "test_pipeline": pipeline})
        for n in (K, K + 1)
    ]
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    (expected,) = AnomalyInferencer(configs[0], checkpoint, "cpu").predict([image])
    for weights in (checkpoint, tmp_path / "wide.pth"):
        inferencer = AnomalyInferencer(configs[1], weights, "cpu")
        assert len(inferencer.palette.classes) == K
        (result,) = inferencer.predict([image])
        assert result.probability is expected.probability is None
        np.testing.assert_array_equal(result.labels, expected.labels)
        np.testing.assert_array_equal(result.anomaly, expected.anomaly)


def test_outlier_prior(narrow):
    class Scenes(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            data = tiny.batch(2, seed=index)
            return {key: value[0] for key, value in data.items()}

    counts = [count_outlier_predictions(m, Scenes(), num_images=2) for m in _both(narrow)]
    assert counts[0].tolist() == counts[1].tolist()
    assert len(counts[0]) == K


def _both(narrow):
    return build_wide(narrow), narrow


def test_losses_of_the_classes_and_energies_in_the_log(narrow):
    losses = [loss_values(model) for model in _both(narrow)]
    assert losses[0].keys() == losses[1].keys()
    for name, value in losses[0].items():
        assert torch.equal(value, losses[1][name]), name


def loss_values(model):
    data = model.data_preprocessor(tiny.batch(), True)
    with torch.no_grad():
        return model(**data, mode="loss")


def test_teacher_has_the_channels_of_the_classes(narrow, checkpoint):
    distillation = {"checkpoint": checkpoint}
    students = []
    for channels in (K, K + 1):
        student = build_wide(narrow, channels=channels, distillation=distillation)
        with torch.no_grad():
            student.decode_head.conv_seg.bias[0] += 1.0
        students.append(student)
    losses = [loss_values(student)["loss_distillation"] for student in students]
    assert losses[0] > 0.01
    assert torch.equal(*losses)
    assert students[1]._teacher[0].network(torch.device("cpu")).decode_head.num_classes == K


def test_modules_that_ask_for_all_channels_get_them(narrow):
    head = HEAD | {"score": {"type": "LastChannel"}, "losses": [{"type": "LastChannelLoss"}]}
    wide = build_wide(narrow, energy_head=head)
    data = tiny.batch(1)
    (sample,) = predictions(wide, data)
    (expected,) = predictions(narrow, data)
    assert torch.equal(sample.seg_logits.data, expected.seg_logits.data)
    assert torch.equal(sample.pred_sem_seg.data, expected.pred_sem_seg.data)
    assert sample.pred_anomaly.data.mean() > 20
    assert loss_values(wide)["anomaly.loss_last"] > 20

    flipped = copy.deepcopy(data)
    flipped["data_samples"][0].set_metainfo({"flip": True, "flip_direction": "horizontal"})
    both = {key: [data[key], flipped[key]] for key in data}
    (merged,) = predictions(OODTTAModel(module=wide), both)
    raw = sample.pred_anomaly.data
    torch.testing.assert_close(merged.pred_anomaly.data, (raw + raw.flip(2)) / 2)
    assert merged.seg_logits.data.shape[0] == K


def test_modules_must_name_channels_that_exist(narrow):
    narrow.energy_head.losses[0].channels = "some"
    with pytest.raises(ValueError, match=r"EnergyLoss.channels must be 'classes' or 'all'"):
        loss_values(narrow)


def test_closed_set_loss_can_be_left_out():
    model = tiny.build(energy_head=HEAD, auxiliary_head=tiny.head_config(), closed_set_loss=False)
    assert set(loss_values(model)) == {
        "anomaly.loss_energy", "anomaly.energy_known", "anomaly.energy_outlier",
    }  # fmt: skip


def test_without_closed_set_loss_the_loss_reaches_every_trained_weight():
    """Data-parallel training stops at any other one."""
    heads = (tiny.head_config(), [tiny.head_config(), tiny.head_config()])
    for auxiliary in heads:
        model = tiny.build(energy_head=HEAD, auxiliary_head=auxiliary, closed_set_loss=False)
        model.train()
        data = model.data_preprocessor(tiny.batch(), True)
        model.parse_losses(model.loss(**data))[0].backward()
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        assert trained == {name for name, p in model.named_parameters() if p.grad is not None}
        assert any(name.startswith("backbone.") for name in trained)


def test_classifier_of_another_name():
    narrow, wide = (
        MODELS.build(
            ConfigDict(
                tiny.model_config(
                    energy_head=HEAD, decode_head=tiny.head_config(n, type="OtherNameHead")
                )
            )
        )
        for n in (K, K + 1)
    )
    own = wide.decode_head.final[1].weight[K:].clone()
    check_matches(wide, narrow.state_dict())
    wide.load_state_dict(narrow.state_dict(), strict=True)
    assert torch.equal(wide.decode_head.final[1].weight[:K], narrow.decode_head.final[1].weight)
    assert torch.equal(wide.decode_head.final[1].weight[K:], own)


def test_only_the_classifier_of_the_classes_is_widened(narrow):
    wide = build_wide(narrow)
    check_matches(wide, narrow.state_dict())
    weight, bias = (f"decode_head.conv_seg.{part}" for part in ("weight", "bias"))
    good = narrow.state_dict()
    wrong = [
        good | {weight: good[weight][: K - 1]},  # fewer than the classes
        good | {weight: torch.zeros(K + 2, 16, 1, 1)},  # more than the model
        good | {weight: torch.zeros(K, 8, 1, 1)},  # of another network
        good | {bias: torch.tensor(1.0)},
        good | {"backbone.encoder.0.conv.bias": torch.zeros(3)},
    ]
    for state_dict in wrong:
        before = copy.deepcopy(state_dict)
        with pytest.raises(ValueError, match="1 of another shape"):
            check_matches(wide, state_dict)
        assert all(torch.equal(before[key], state_dict[key]) for key in before)
    with pytest.raises(ValueError, match="2 of another shape"):
        check_matches(narrow, wide.state_dict())  # a wider checkpoint is another model's
    with pytest.raises(ValueError, match="2 of another shape"):
        check_matches(tiny.build(num_classes=K + 1), good)  # nobody said that K are the classes
