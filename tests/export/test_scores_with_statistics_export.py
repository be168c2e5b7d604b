"""Fitted scores and scores of activations: exported ones equal torch, others are refused."""

import exported_tiny as tiny_export
import pytest
import tiny
import torch

from ood_seg import detectors
from ood_seg.apis.inferencer import AnomalyInferencer
from ood_seg.export import check
from ood_seg.export.exporting import Options, export_onnx, inference_graph
from ood_seg.export.settings import check_exportable
from ood_seg.models.detector_scores import network_of

EXPORTED = (
    "ReAct",
    "VirtualLogit",
    "DICE",
    "SHE",
    "FDBD",
    "StandardizedMaxLogit",
    "KLMatching",
    "TemperatureScaling",
    "WeightedEnergy",
)


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    """Statistics file of the tiny network for all scores of `EXPORTED`."""
    network, sections = network_of(tiny.build()), {}
    for name in EXPORTED:
        fitter = getattr(detectors, name).fitter()
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            images = torch.randn(2, 3, *tiny_export.SIZE, generator=generator)
            labels = torch.randint(0, 5, (2, *tiny_export.SIZE), generator=generator)
            labels[:, :4] = 254
            with torch.no_grad():
                fitter.update(network(images, fitter.layers), labels, network)
        section = fitter.result()
        sections[section.method] = section
    path = tmp_path_factory.mktemp("fitted") / "tiny.stats"
    detectors.StatisticsFile(sections, fingerprint=network.fingerprint()).save(path)
    return path


def config(score, resize=None, **head):
    energy_head = {"type": "EnergyHead", "score": score, **head}
    return tiny_export.config(resize, energy_head=energy_head)


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.parametrize("resize", [None, {}])
def test_graph_equals_the_test_pipeline(statistics, tmp_path, name, resize):
    cfg = config({"type": name, "statistics": str(statistics)}, resize, smoothing={"sigma": 0.8})
    inferencer = AnomalyInferencer(cfg, tiny_export.checkpoint(tmp_path), "cpu")
    graph = inference_graph(inferencer, cfg, Options())
    predictors = check.torch_predictor(graph), check.pipeline_predictor(inferencer)
    found = check.compare_all(*predictors, graph)
    assert all(agreement.holds and agreement.score < 1e-5 for agreement in found), found


@pytest.mark.parametrize("name", EXPORTED[:6])
def test_file_equals_torch(statistics, tmp_path, name):
    cfg = config({"type": name, "statistics": str(statistics)})
    weights = tiny_export.checkpoint(tmp_path)
    export = export_onnx(cfg, weights, tmp_path / "model.onnx", Options(logits=True))
    assert all(agreement.holds for agreement in (*export.graph, *export.pipeline))
    assert export.card.score == name
    assert export.card.channels == tiny.NUM_CLASSES


def test_logits_with_a_score_of_activations_are_the_class_logits(statistics, tmp_path):
    score = {"type": "ReAct", "statistics": str(statistics)}
    cfg = config(score, num_classes=tiny.NUM_CLASSES - 1)
    model = tiny.build(energy_head=dict(cfg.model.energy_head))
    model.data_preprocessor = tiny.build().data_preprocessor
    assert (model.out_channels, model.num_classes) == (5, 4)
    inferencer = type("Inferencer", (), {"model": model, "calibration": None})()
    graph = inference_graph(inferencer, cfg, Options(logits=True))
    images = torch.from_numpy(check.synthetic_images((1, 40, 56)))
    with torch.no_grad():
        values = dict(zip(graph.outputs, graph(images), strict=True))
    assert values["logits"].shape == (1, graph.channels, 40, 56)
    assert graph.channels == 4


@pytest.mark.parametrize("score", [{"type": "VRA"}, {"type": "GradNorm"}])
def test_other_scores_of_activations_equal_torch(statistics, tmp_path, score):
    if score["type"] == "VRA":
        score = {**score, "statistics": str(statistics)}
    weights = tiny_export.checkpoint(tmp_path)
    export = export_onnx(config(score), weights, tmp_path / "model.onnx", Options())
    assert all(agreement.holds for agreement in (*export.graph, *export.pipeline))


@pytest.mark.parametrize(
    "score", [{"type": "ASH"}, {"type": "SCALE"}, {"type": "ODIN"}, {"type": "RankFeat"}]
)
def test_other_scores_are_refused_with_a_list_of_exportable_ones(score):
    model = tiny.build(energy_head={"type": "EnergyHead", "score": score})
    with pytest.raises(ValueError, match=f"{score['type']} .*Energy.*ReAct, VRA, VirtualLogit"):
        check_exportable(model)


def test_openmax_is_refused():
    fitter = detectors.OpenMax.fitter(tail=2)
    logits = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    fitter.update(detectors.Outputs(logits, {}), logits.argmax(dim=1), None)
    model = tiny.build()
    model.energy_head.score = detectors.OpenMax(
        detectors.StatisticsFile({"openmax": fitter.result()})
    )
    with pytest.raises(ValueError, match=r"OpenMax .*Energy"):
        check_exportable(model)
