"""What the decode head ignores is ignored everywhere: losses, measurements, fits and metrics."""

from __future__ import annotations

import copy

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import METRICS, MODELS
from torch.utils.data import Dataset

import ood_seg.register  # noqa: F401
from ood_seg.engine.known_batches import known_batches
from ood_seg.engine.outlier_prior import visit_pasted_scenes
from ood_seg.engine.test_sets import ignore_what_the_model_ignores
from ood_seg.labels import split_labels

init_default_scope("mmseg")
IGNORED = 2
ENERGY = {"margin_in": -8.0, "margin_out": 8.0}
BALANCE = {"alpha": 2.0, "gamma": 1.0, "prior": [0.1, 0.2, 0.3, 0.2, 0.2]}
LOSSES = (
    {"type": "EnergyLoss", **ENERGY},
    {"type": "BalancedEnergyLoss", **ENERGY, **BALANCE},
    {"type": "CrossEntropyEnergyLoss", "energy_weight": 0.1, **ENERGY},
    {"type": "CrossEntropyBalancedEnergyLoss", "energy_weight": 0.1, **ENERGY, **BALANCE},
    {"type": "OutlierExposureLoss"},
    {"type": "MetaOODLoss", "outlier_weight": 0.9},
    {"type": "SmoothnessLoss"},
    {"type": "SparsityLoss"},
    {"type": "BalancedSparsityLoss", **BALANCE},
)


def build(*losses, ignored=IGNORED, auxiliary=IGNORED, **changes):
    head = {"type": "EnergyHead", "losses": list(losses)}
    model = tiny.build(
        energy_head=head,
        decode_head=tiny.head_config(ignore_index=ignored),
        auxiliary_head=tiny.head_config(ignore_index=auxiliary),
        **changes,
    )
    return model.eval()  # without dropout, so that two runs are equal


def losses_of(model, data):
    data = model.data_preprocessor(copy.deepcopy(data), True)
    return model(**data, mode="loss")


def with_ignored_pixels(data):
    """The batch with its pixels of class 2 labelled 255, as a config of mmseg's default has it."""
    data = copy.deepcopy(data)
    for sample in data["data_samples"]:
        labels = sample.gt_sem_seg.data
        sample.gt_sem_seg = PixelData(data=labels.masked_fill(labels == IGNORED, 255))
    return data


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss["type"])
def test_losses_are_those_of_labels_255(loss):
    data = tiny.batch()
    found = losses_of(build(loss), data)
    expected = losses_of(build(loss, ignored=255, auxiliary=255), with_ignored_pixels(data))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_losses_of_pebals_extra_channel_are_those_of_labels_255():
    loss = {"type": "AbstentionLoss", "outlier_weight": 0.1}
    changes = {"num_classes": tiny.NUM_CLASSES}
    data = tiny.batch()
    values = []
    for ignored, batch in ((IGNORED, data), (255, with_ignored_pixels(data))):
        head = {"type": "EnergyHead", "losses": [loss], **changes}
        model = tiny.build(
            energy_head=head,
            decode_head=tiny.head_config(tiny.NUM_CLASSES + 1, ignore_index=ignored),
            closed_set_loss=False,
        )
        values.append(losses_of(model.eval(), batch)["anomaly.loss_abstention"])
    torch.testing.assert_close(*values)


def test_no_gradient_reaches_the_logits_of_ignored_pixels():
    model = build({"type": "EnergyLoss", **ENERGY})
    labels = tiny.batch()["data_samples"][0].gt_sem_seg.data
    logits = torch.randn(1, 5, *labels.shape[1:], requires_grad=True)
    model.decode_head.forward = lambda features: logits
    data = tiny.batch(1)
    sum(v for k, v in losses_of(model, data).items() if k == "anomaly.loss_energy").backward()
    labels = data["data_samples"][0].gt_sem_seg.data[0]
    touched = logits.grad[0].abs().sum(dim=0) > 0
    assert not touched[(labels == IGNORED) | (labels == 255)].any()
    assert touched[(labels != IGNORED) & (labels < 254)].all()


def test_distillation_leaves_out_what_the_head_ignores(tmp_path):
    torch.save(tiny.build(seed=1).state_dict(), tmp_path / "teacher.pth")
    distillation = {"checkpoint": str(tmp_path / "teacher.pth")}
    data = tiny.batch()
    found = losses_of(build(distillation=distillation), data)
    plain = build(ignored=255, auxiliary=255, distillation=distillation)
    expected = losses_of(plain, with_ignored_pixels(data))["loss_distillation"]
    torch.testing.assert_close(found["loss_distillation"], expected)
    assert not torch.equal(expected, losses_of(plain, data)["loss_distillation"])


def test_outliers_as_the_ignored_label_are_refused():
    with pytest.raises(ValueError, match=r"decode_head\.ignore_index 254"):
        build(ignored=254)


def test_an_auxiliary_head_that_ignores_another_label_is_refused_in_training():
    model = build(auxiliary=255)
    model.test_step(tiny.batch())
    with pytest.raises(ValueError, match=rf"ignore_index is {IGNORED}.*255"):
        losses_of(model, tiny.batch())


@pytest.mark.parametrize("option", ["ignore_index", "outlier_index"])
def test_a_loss_with_labels_of_its_own_is_refused(option):
    with pytest.raises(ValueError, match=rf"EnergyLoss: {option}=3"):
        build({"type": "EnergyLoss", **ENERGY, option: 3})


class Scenes(Dataset):
    """One scene of a batch, as a dataset gives it."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        data = tiny.batch(1)
        return {"inputs": data["inputs"][0], "data_samples": data["data_samples"][0]}


def test_measurements_and_fits_see_such_pixels_as_ignored():
    model = build()
    original = tiny.batch(1)["data_samples"][0].gt_sem_seg.data
    expected = (original < 254) & (original != IGNORED)

    seen = []
    visit_pasted_scenes(model, Scenes(), lambda _, labels: seen.append(labels), num_images=1)
    fitted = [labels for _, labels in known_batches(model, Scenes(), [0])]
    for (labels,) in (seen, fitted):
        known, outliers = split_labels(labels)
        assert torch.equal(known, expected)
        assert torch.equal(outliers, original == 254)


def test_metrics_of_training_labels_leave_such_pixels_out():
    labels = torch.tensor([[0, IGNORED, 255, 254]])
    anomaly = METRICS.build(
        {"type": "AnomalyMetric", "label_space": "training", "ignore_index": IGNORED}
    )
    anomaly.dataset_meta = {"classes": ("a", "b", "c")}
    assert anomaly.evaluation_labels(labels).tolist() == [[0, 255, 255, 1]]
    iou = METRICS.build({"type": "KnownIoUMetric", "ignore_index": IGNORED})
    iou.dataset_meta = {"classes": ("a", "b", "c")}
    predicted = torch.tensor([[0, 0, 1, 1]])
    sample = {"gt_sem_seg": {"data": labels}, "pred_sem_seg": {"data": predicted}}
    iou.process(None, [sample])
    assert iou.compute_metrics(iou.results)["aAcc"] == 100
    assert iou.compute_metrics(iou.results)["mIoU"] == 100


def test_metrics_of_a_run_get_the_label_of_the_head():
    metrics = [{"type": "AnomalyMetric"}, {"type": "IoUMetric"}]
    named = {"a": [{"type": "KnownIoUMetric", "ignore_index": 9}], "b": {"type": "KnownIoUMetric"}}
    cfg = Config(
        {
            "model": {"module": {"decode_head": {"ignore_index": 18}}},
            "val_evaluator": {"type": "Evaluator", "metrics": metrics},
            "test_evaluator": named,
        }
    )
    ignore_what_the_model_ignores(cfg)
    assert [m.get("ignore_index") for m in cfg.val_evaluator.metrics] == [18, None]
    assert cfg.test_evaluator.a[0].ignore_index == 9
    assert cfg.test_evaluator.b.ignore_index == 18


def test_the_contrast_of_rpl_sees_such_pixels_as_ignored():
    seen = []

    class Contrast(torch.nn.Module):
        loss_name = "loss_contrast"

        def forward(self, features, labels, context):
            seen.extend((labels, context))
            return features.sum()

    head = tiny.head_config(
        type="ResidualPatternHead",
        wraps="FCNHead",
        ignore_index=IGNORED,
        block={"channels": 8, "projection_channels": 4},
        contrast={"type": "ContextRobustContrastiveLoss"},
    )
    model = MODELS.build(
        ConfigDict(tiny.model_config(decode_head=head, closed_set_loss=False))
    ).train()
    model.decode_head.contrast = Contrast()
    data = tiny.batch()
    losses_of(model, data)
    labels, context = seen
    present = set(torch.stack([s.gt_sem_seg.data for s in data["data_samples"]]).unique().tolist())
    assert IGNORED in present
    assert set(labels.unique().tolist()) <= present - {IGNORED}
    assert context.unique().tolist() == [255]
