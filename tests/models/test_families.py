"""What docs/families.md says of each of mmsegmentation's families, tried in small."""

from __future__ import annotations

import copy
import gc
import importlib.util
from pathlib import Path

import pytest
import torch

pytest.importorskip("mmseg")
import families
import tiny
from families import FAMILIES, Family, small_model
from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.decode_heads import point_head
from mmseg.registry import MODELS

import ood_seg.register  # noqa: F401
from ood_seg.losses import energy_loss
from ood_seg.models import decode_outputs

init_default_scope("mmseg")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "families.md"
BY_NAME = {family.name: family for family in FAMILIES}
LOSS = {"type": "EnergyLoss", "margin_in": -5.0, "margin_out": 0.0, "loss_weight": 0.1}
# One of each kind: a cascade, heads with several maps, one with edges, one of stages.
PECULIAR = ("OCRNet", "DANet", "EncNet", "DDRNet", "PIDNet", "K-Net")


@pytest.fixture(autouse=True)
def operators(monkeypatch):
    """`point_sample` of mmcv, written out: nothing but PyTorch, but in its compiled package."""

    def point_sample(maps, points, align_corners=False, mode="bilinear"):
        grid = 2 * points.unsqueeze(2) - 1
        options = {"mode": mode, "align_corners": align_corners}
        return torch.nn.functional.grid_sample(maps, grid, **options).squeeze(3)

    if point_head.point_sample is None:
        monkeypatch.setattr(point_head, "point_sample", point_sample)


def require(family: Family) -> None:
    """Skip a family whose library is not installed."""
    if family.needs and not _is_installed(family.needs):
        pytest.skip(f"{family.name} needs {family.needs}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def batch(family: Family, *, edges: bool = True) -> dict:
    """Random images and labels with outliers, and the edges that PIDNet trains on."""
    data = tiny.batch(size=family.size)
    for sample in data["data_samples"] if edges else ():
        sample.gt_edge_map = PixelData(data=(sample.gt_sem_seg.data == 1).long())
    return data


def built(model: dict, weights: dict | None = None):
    """A model, with seeded weights or those of another."""
    torch.manual_seed(0)
    network = MODELS.build(ConfigDict(copy.deepcopy(model)))
    if weights is not None:
        network.load_state_dict(weights, strict=True)
    return network.eval()


def anomaly_model(model: dict, losses: tuple = (), **changes) -> dict:
    """The model as an anomaly segmentor."""
    head = {"type": "EnergyHead", "losses": list(losses)}
    return model | {"type": "OODEncoderDecoder", "energy_head": head} | changes


def predicted(network, data: dict) -> list:
    """Predictions; SegNeXt draws random numbers at inference."""
    torch.manual_seed(0)
    with torch.no_grad():
        return network.test_step(copy.deepcopy(data))


def losses_of(network, data: dict) -> dict:
    """Losses of a batch in training mode."""
    torch.manual_seed(0)
    network.train()
    return network(**network.data_preprocessor(copy.deepcopy(data), True), mode="loss")


def check_prediction(family: Family) -> None:
    """Weights, logits and labels are mmseg's own; the score is the energy of the logits."""
    model = small_model(family)
    ours = built(anomaly_model(model))
    plain = built(model, ours.state_dict())
    data = batch(family)
    for one, expected in zip(predicted(ours, data), predicted(plain, data), strict=True):
        logits = expected.seg_logits.data
        torch.testing.assert_close(one.seg_logits.data, logits)
        torch.testing.assert_close(one.pred_sem_seg.data, expected.pred_sem_seg.data)
        torch.testing.assert_close(one.pred_anomaly.data[0], -logits.logsumexp(dim=0))


def check_training(family: Family) -> None:
    """One step changes the weights; outliers reach the energy loss and no other."""
    network = built(anomaly_model(small_model(family), (LOSS,)))
    data = batch(family)
    losses = losses_of(network, data)
    assert losses["anomaly.loss_energy"] > 0
    assert all(torch.isfinite(value).all() for value in losses.values())
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network.train_step(copy.deepcopy(data), OptimWrapper(optimizer))
    after = network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def check_export(family: Family, folder: Path) -> None:
    """The file agrees with torch and with the test pipeline, which `export_onnx` verifies."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from ood_seg.export.exporting import export_onnx

    model = anomaly_model(small_model(family))
    torch.save({"state_dict": built(model).state_dict()}, folder / "weights.pth")
    resize = {"type": "Resize", "scale": family.size[::-1], "keep_ratio": False}
    pipeline = [{"type": "LoadImageFromFile"}, resize, {"type": "PackSegInputs"}]
    cfg = Config({"model": model, "test_pipeline": pipeline})
    gc.freeze()  # else a third of an export goes into searching the loaded libraries for garbage
    try:
        assert export_onnx(cfg, folder / "weights.pth", folder / "model.onnx").graph
    finally:
        gc.unfreeze()


def check(family: Family, use: str, folder: Path) -> None:
    """Try one cell of the table."""
    require(family)
    trial = {
        "post-hoc": lambda: check_prediction(family),
        "fine-tuning": lambda: check_training(family),
        "export": lambda: check_export(family, folder),
    }[use]
    if use not in family.refused:
        trial()
        return
    with pytest.raises((ValueError, TypeError), match=family.refused[use]):
        trial()


@pytest.mark.parametrize("use", ["post-hoc", "fine-tuning"])
@pytest.mark.parametrize("name", PECULIAR)
def test_peculiar_families(name, use, tmp_path):
    check(BY_NAME[name], use, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("use", families.USES)
@pytest.mark.parametrize("name", BY_NAME)
def test_each_cell_of_the_table(name, use, tmp_path):
    check(BY_NAME[name], use, tmp_path)


def test_the_page_holds_the_table():
    assert families.table() in PAGE.read_text(encoding="utf-8")


def test_no_shipped_model_is_left_out():
    shipped = {path.name for path in (families.config_folder() / "_base_" / "models").glob("*.py")}
    tried = {Path(family.config).name for family in FAMILIES}
    assert shipped - tried == set()


def test_losses_of_a_cascade_are_those_of_mmseg():
    # Without dropout, since mmseg computes the first head twice.
    model = small_model(BY_NAME["OCRNet (HRNet)"])
    plain, data = built(model), batch(BY_NAME["OCRNet (HRNet)"])
    ours = built(anomaly_model(model, (LOSS,)), plain.state_dict())
    found = losses_of(ours, data)
    for sample in data["data_samples"]:
        labels = sample.gt_sem_seg.data
        labels[labels == 254] = 255
    expected = losses_of(plain, data)
    for index in (0, 1):
        own, theirs = f"decode.{index}.loss_ce", f"decode_{index}.loss_ce"
        torch.testing.assert_close(found[own], expected[theirs])


@pytest.mark.parametrize(("name", "index"), [("OCRNet", 1), ("PIDNet", 1), ("DDRNet", 0)])
def test_outlier_losses_read_the_map_of_inference(name, index):
    network, data = built(anomaly_model(small_model(BY_NAME[name]), (LOSS,))), batch(BY_NAME[name])
    outputs = []
    network.decode_head.register_forward_hook(lambda *args: outputs.append(args[-1]))
    found = losses_of(network, data)["anomaly.loss_energy"]
    labels = torch.cat([sample.gt_sem_seg.data for sample in data["data_samples"]])
    logits = torch.nn.functional.interpolate(
        outputs[0][index], labels.shape[1:], mode="bilinear", align_corners=network.align_corners
    )
    expected = 0.1 * energy_loss(logits, labels, margin_in=-5.0, margin_out=0.0)
    torch.testing.assert_close(found, expected)


def test_edges_are_asked_for_before_training():
    network = built(anomaly_model(small_model(BY_NAME["PIDNet"]), (LOSS,)))
    with pytest.raises(ValueError, match="GenerateEdge"):
        losses_of(network, batch(BY_NAME["PIDNet"], edges=False))
    network.closed_set_loss = False
    assert losses_of(network, batch(BY_NAME["PIDNet"], edges=False))["anomaly.loss_energy"] > 0


def test_scores_of_features_read_the_last_head_of_a_cascade():
    network = built(anomaly_model(small_model(BY_NAME["OCRNet"])))
    assert decode_outputs.classifier_name(network.decode_head) == "1.conv_seg"
    network.energy_head.score = MODELS.build({"type": "ODIN", "epsilon": 0.01, "temperature": 10})
    for sample in predicted(network, batch(BY_NAME["OCRNet"])):
        assert torch.isfinite(sample.pred_anomaly.data).all()


def test_fused_prediction_of_a_cascade_equals_that_with_logits():
    network, data = built(anomaly_model(small_model(BY_NAME["OCRNet"]))), batch(BY_NAME["OCRNet"])
    whole = predicted(network, data)
    network.keep_logits = False
    for fused, expected in zip(predicted(network, data), whole, strict=True):
        assert "seg_logits" not in fused
        torch.testing.assert_close(fused.pred_anomaly.data, expected.pred_anomaly.data)


def test_distillation_of_a_cascade(tmp_path):
    model = small_model(BY_NAME["OCRNet"])
    torch.save({"state_dict": built(model).state_dict()}, tmp_path / "weights.pth")
    teacher = {"checkpoint": str(tmp_path / "weights.pth")}
    network = built(anomaly_model(model, (LOSS,), distillation=teacher))
    assert losses_of(network, batch(BY_NAME["OCRNet"]))["loss_distillation"] > 0


def test_stages_that_are_no_cascade():
    model = small_model(BY_NAME["OCRNet"])
    with pytest.raises(ValueError, match=r"num_stages is 3.*2 heads"):
        built(anomaly_model(model, num_stages=3))
    with pytest.raises(ValueError, match="at least 2 decode heads, got 1"):
        built(anomaly_model(model, num_stages=1, decode_head=model["decode_head"][:1]))
    model["decode_head"][0]["ignore_index"] = 18
    with pytest.raises(ValueError, match=r"\[18, 255\]"):
        built(anomaly_model(model))


def test_points_are_refused_where_a_map_is_needed():
    model = small_model(BY_NAME["PointRend"])
    with pytest.raises(ValueError, match="PointHead computes its own training loss"):
        losses_of(built(anomaly_model(model)), batch(BY_NAME["PointRend"]))
    network = built(anomaly_model(model))
    network.energy_head.score = MODELS.build({"type": "ODIN", "epsilon": 0.01, "temperature": 10})
    with pytest.raises(ValueError, match="PointHead classifies"):
        predicted(network, batch(BY_NAME["PointRend"]))


def test_number_of_channels_is_named():
    config = tiny.model_config()
    model = built(config | {"backbone": config["backbone"] | {"in_channels": 1}})
    with pytest.raises(ValueError, match=r"of 1 channels.*got 3"):
        predicted(model, tiny.batch())
