"""Commands on an image-level config, and the shipped configs."""

import csv
import json
import pickle

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS
from small_images import class_folders, outlier_folder

from ood_seg.checkpoints import load_checkpoint
from ood_seg.commands import main
from ood_seg.config_files import load_config, shipped_configs
from ood_seg.outlier_priors import read_prior

CLASSES = ["cat", "dog", "ship"]
SHIPPED = [name for name in shipped_configs() if name.startswith("classification/")]

CONFIG = """
custom_imports = dict(imports=["ood_seg.register"], allow_failed_imports=False)
default_scope = "mmseg"
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork"))
randomness = dict(seed=0)
log_processor = dict(by_epoch=False)
root = {root!r} + "/"
classes = {classes!r}
plain = [dict(type="LoadImageOfClass", size=32), dict(type="PackImageOfClass")]
augmented = [plain[0], dict(type="CropPaddedAndFlip", padding=4), plain[1]]
def loader(type, pipeline=plain, **options):
    sampler = dict(type="DefaultSampler", shuffle=False)
    dataset = dict(type=type, pipeline=pipeline, **options)
    return dict(batch_size=5, num_workers=0, sampler=sampler, dataset=dataset)
known = dict(
    type="ClassFolderDataset", data_root=root + "known", classes=classes, split="train",
    pipeline=augmented,
)
auxiliary = dict(
    type="ImageFolderDataset", data_root=root + "auxiliary", split="train", pipeline=augmented
)
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        type="ImgDataPreprocessor", mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True
    ),
    network=dict(type="CifarResNet20", num_classes=3),
    energy_head=dict(
        type="EnergyHead",
        score=dict(type="Energy"),
        losses=[
            dict(type="BalancedEnergyLoss", margin_in=-5.0, margin_out=-2.0, alpha=1.0, gamma=0.75,
                 loss_weight=0.2),
        ],
    ),
)
train_dataloader = dict(
    batch_size=12,
    num_workers=0,
    sampler=dict(type="StreamSampler"),
    dataset=dict(
        type="KnownWithOutliers", known=known, outliers=auxiliary, num_known=8, num_outliers=4
    ),
)
prior_dataset = dict(auxiliary, pipeline=plain)
fit_dataloader = loader(**dict(known, pipeline=plain))
pasted_dataloader = loader(**dict(auxiliary, pipeline=plain))
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=6)
custom_hooks = [dict(type="OutlierPriorHook", num_images=7)]
default_hooks = dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=6))
fit_options = {{"multi-mahalanobis": dict(layers=["layer1", "layer2"], shrinkage=0.5),
               "gram": dict(layers=["layer2", "layer3"])}}
test_dataloader = dict(
    noise=loader("NoiseDataset", kind="uniform", number=10, split="test"),
    known=loader(
        "ClassFolderDataset", data_root=root + "known", classes=classes, split="test"
    ),
    folder=loader("ImageFolderDataset", data_root=root + "outliers", split="test"),
)
test_evaluator = dict(
    known=[dict(type="ImageAccuracyMetric", class_counts=[40, 40, 40])],
    noise=[dict(type="ImageAnomalyMetric", resamples=10)],
    folder=[dict(type="ImageAnomalyMetric", protocol="energy_ood", resamples=0)],
)
test_cfg = dict(type="ImageLevelTestLoop", known="known")
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A trained classifier: `config`, `checkpoint`, `folder`."""
    root = tmp_path_factory.mktemp("images")
    class_folders(root / "known", CLASSES, [40] * 3)
    class_folders(root / "known", CLASSES, [10] * 3, split="test")
    outlier_folder(root / "auxiliary", 7)
    outlier_folder(root / "outliers", 9, first_seed=2000)
    config = root / "tiny.py"
    config.write_text(CONFIG.format(root=str(root), classes=CLASSES))
    folder = root / "run"
    assert main(["train", str(config), "--work-dir", str(folder)]) == 0
    return {"config": str(config), "checkpoint": str(folder / "iter_6.pth"), "folder": folder}


def test_training_measures_the_prior_over_all_auxiliary_images(job):
    prior = read_prior(job["folder"] / "outlier_prior.json")
    assert sum(prior.counts) == 7  # each image once, without augmentation
    assert list(prior.classes) == CLASSES
    checkpoint = load_checkpoint(job["checkpoint"])
    assert checkpoint["meta"]["iter"] == 6
    assert checkpoint["outlier_prior_counts"].tolist() == list(prior.counts)


def test_training_reduces_the_loss(job, tmp_path):
    options = ["train_cfg.max_iters=20", "default_hooks.logger.type=LoggerHook",
               "default_hooks.logger.interval=1"]  # fmt: skip
    arguments = ["train", job["config"], "--work-dir", str(tmp_path), "--cfg-options", *options]
    assert main(arguments) == 0
    (log,) = tmp_path.rglob("scalars.json")
    losses = [json.loads(line).get("loss_cross_entropy") for line in log.read_text().splitlines()]
    losses = [one for one in losses if one is not None]
    assert len(losses) == 20
    assert losses[-1] < 0.5 * losses[0]


def test_nothing_is_trained_on_a_test_split(job, tmp_path, capsys):
    for part in ("known", "outliers"):
        options = [f"train_dataloader.dataset.{part}.split=test"]
        work = ["--work-dir", str(tmp_path)]
        assert main(["train", job["config"], *work, "--cfg-options", *options]) == 2
        assert "split test" in capsys.readouterr().err


def test_the_test_compares_every_set_with_the_known_images(job, tmp_path, capsys):
    work = ["--work-dir", str(tmp_path), "--out", str(tmp_path / "scores")]
    assert main(["test", job["config"], job["checkpoint"], *work]) == 0
    content = json.loads((tmp_path / "metrics.json").read_text())
    sets = content["sets"]
    assert sets["known"]["images"] == 30
    assert set(sets["known"]["metrics"]) == {"image/accuracy", "image/accuracy_medium"}
    assert set(sets["folder"]["metrics"]) == {
        f"image/{name}" for name in ("auroc", "ap_known", "fpr95_known")
    }
    assert sets["folder"]["protocol"].startswith("energy_ood: ")
    low, high = sets["noise"]["intervals"]["auroc"]
    assert low <= sets["noise"]["metrics"]["image/auroc"] <= high
    pair = [sets[name]["metrics"]["image/auroc"] for name in ("noise", "folder")]
    assert content["average"]["image/auroc"] == pytest.approx(np.mean(pair))
    assert "average" in capsys.readouterr().out
    with (tmp_path / "scores" / "known" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert sets["known"]["metrics"]["image/accuracy"] == pytest.approx(100 * right)
    assert (tmp_path / "scores" / "noise" / "provenance.json").is_file()
    # A report of each outlier set, with the numbers of the test.
    assert content["classes"] == CLASSES
    for name in ("noise", "folder"):
        evaluation = json.loads((tmp_path / "scores" / name / "evaluation.json").read_text())
        values = {key: one["value"] for key, one in evaluation["metrics"].items()}
        for key, value in sets[name]["metrics"].items():
            assert 100 * values[key.removeprefix("image/")] == pytest.approx(value)
        assert evaluation["unit"] == "image"
    assert not (tmp_path / "scores" / "known" / "report.html").exists()
    page = (tmp_path / "scores" / "folder" / "report.html").read_text()
    assert "Worst AUROC" in page
    assert page.count("data:image/jpeg") == 9 + 12  # all outliers, and known images
    report = ["report", str(tmp_path / "scores" / "folder"), str(tmp_path / "scores" / "folder")]
    assert main([*report, "--out", str(tmp_path / "both")]) == 0
    assert "tiny (2)" in (tmp_path / "both" / "report.html").read_text()


def test_the_known_set_is_tested_with_any_other(job, tmp_path):
    work = ["--work-dir", str(tmp_path), "--sets", "noise"]
    assert main(["test", job["config"], job["checkpoint"], *work]) == 0
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert set(content["sets"]) == {"known", "noise"}


def test_an_unknown_known_set_is_named(job, tmp_path, capsys):
    work = ["--work-dir", str(tmp_path), "--cfg-options", "test_cfg.known=other"]
    assert main(["test", job["config"], job["checkpoint"], *work]) == 2
    assert "test_cfg.known is 'other'" in capsys.readouterr().err


def test_fit_and_benchmark(job, tmp_path):
    model = [job["config"], job["checkpoint"]]
    statistics = tmp_path / "tiny.stats"
    # Too few images for the covariances of some methods, which are named; all others are fitted.
    work = ["--work-dir", str(tmp_path)]
    options = ["--pasted", "7", "--option", "mahalanobis.shrinkage=0.5", "flow.steps=2"]
    assert main(["fit", *model, "--file", str(statistics), *options, *work]) in (0, 1)
    out = tmp_path / "compared"
    scores = [
        "energy",
        "odin",
        "mahalanobis",
        "multi-mahalanobis",
        "knn",
        "sml",
        "rankfeat",
        "gram",
    ]
    arguments = [*model, "--statistics", str(statistics), "--out", str(out), *work]
    assert main(["benchmark", *arguments, "--scores", *scores]) == 0
    content = json.loads((out / "benchmark.json").read_text())
    assert content["failures"] == {}
    assert content["unit"] == "image"
    for name, size in (("noise", 10), ("folder", 9)):
        one = content["sets"][name]
        assert one["pixels"] == {"known": 30, "anomalous": size, "ignored": 0}
        assert set(one["scores"]) == set(scores)
        page = (out / name / "report.html").read_text()
        assert all(score in page for score in scores)
        assert "Worst AUROC of energy" in page
        assert 0 <= one["scores"]["odin"]["metrics"]["auroc"]["value"] <= 1
    # The same number as `test` gives, from the stored scores the second time.
    assert main(["test", *model, "--sets", "noise", *work]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())["sets"]["noise"]["metrics"]
    found = content["sets"]["noise"]["scores"]["energy"]["metrics"]["auroc"]
    assert found["value"] == pytest.approx(metrics["image/auroc"] / 100, abs=1e-4)
    assert (out / "partial" / "noise" / "energy.npz").is_file()
    assert main(["benchmark", *arguments, "--scores", *scores]) == 0
    again = json.loads((out / "benchmark.json").read_text())
    assert (
        again["sets"]["noise"]["scores"]["energy"] == content["sets"]["noise"]["scores"]["energy"]
    )


def test_epsilon_is_chosen_on_known_images(job, tmp_path, capsys):
    model = [job["config"], job["checkpoint"], "--work-dir", str(tmp_path)]
    candidates = ["--epsilons", "0", "0.001", "0.004"]
    assert main(["choose-epsilon", *model, *candidates, "--num-images", "20"]) == 0
    content = json.loads((tmp_path / "epsilon.json").read_text())
    confidences = {float(key): value for key, value in content["confidences"].items()}
    assert set(confidences) == {0, 0.001, 0.004}
    assert content["epsilon"] == max(confidences, key=confidences.get)
    assert content["images"] == 20
    output = capsys.readouterr().out
    assert f"epsilon={content['epsilon']}" in output
    assert ("largest candidate" in output) == (content["epsilon"] == 0.004)
    statistics = tmp_path / "tiny.stats"
    fit = ["fit", *model, "--file", str(statistics), "--methods", "mahalanobis"]
    assert main([*fit, "--option", "mahalanobis.shrinkage=0.5"]) == 0
    options = ["--score", "mahalanobis", "--statistics", str(statistics)]
    assert main(["choose-epsilon", *model, *options, *candidates]) == 0
    content = json.loads((tmp_path / "epsilon.json").read_text())
    # A step towards the nearest class lowers the distance.
    assert content["confidences"]["0.001"] > content["confidences"]["0"]
    assert content["config"]["statistics"] == str(statistics)


def test_benchmark_names_what_does_not_apply(job, tmp_path, capsys):
    model = [job["config"], job["checkpoint"], "--work-dir", str(tmp_path)]
    assert main(["benchmark", *model, "--sets", "absent"]) == 2
    assert "noise, folder" in capsys.readouterr().err
    assert main(["benchmark", *model, "--smoothing", "7", "1"]) == 2
    assert "image-level" in capsys.readouterr().err
    assert main(["benchmark", *model, "--scores", "mc-dropout", "energy"]) == 1


def test_prior_and_margins_of_a_pretrained_classifier(job, tmp_path):
    model = [job["config"], job["checkpoint"], "--work-dir", str(tmp_path)]
    assert main(["estimate-outlier-prior", *model, "--num-images", "7"]) == 0
    prior = read_prior(tmp_path / "outlier_prior.json")
    assert sum(prior.counts) == 7
    assert main(["suggest-margins", *model, "--num-images", "24"]) == 0


def test_score_maps_are_refused(job, tmp_path, capsys):
    arguments = ["--config", job["config"], "--checkpoint", job["checkpoint"]]
    image = next((tmp_path.parent).glob("images*/outliers/00.png"))
    assert main(["infer", str(image), *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "one score for each image" in capsys.readouterr().err


def test_check_data_counts_images(job, capsys):
    assert main(["check-data", "--config", job["config"]]) == 0
    output = capsys.readouterr().out
    assert "120 images" in output  # known training images
    assert "9 images" in output


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_build(name):
    config = load_config(name)
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(config.model).eval()
    (sample,) = model.predict(torch.randn(1, 3, 32, 32))
    assert sample.logits.shape == (100 if "cifar100" in name else 10,)
    assert torch.isfinite(sample.pred_anomaly)
    for hook in [*config.default_hooks.values(), *config.custom_hooks]:
        if "source" not in hook:  # a file of an earlier run
            HOOKS.build(hook)
    assert LOOPS.get(config.test_cfg.type)
    assert set(config.test_dataloader) == set(config.test_evaluator)
    assert config.test_cfg.known in config.test_dataloader
    for metrics in config.test_evaluator.values():
        for metric in metrics:
            METRICS.build(metric)
    known = config.get("train_dataloader", {}).get("dataset", {})
    assert (known.get("known") or known.get("dataset") or {}).get("split", "train") == "train"


@pytest.mark.parametrize("name", [name for name in SHIPPED if "e_cifar10" in name])
def test_schedules_count_their_iterations_right(name):
    config = load_config(name)
    long_tails = {"cifar10-lt": 12406, "cifar100-lt": 10847}
    images = next((n for data, n in long_tails.items() if data in name), 50000)
    epochs = int(name.split("_")[2].removesuffix("e"))
    epoch = -(-images // 128)
    assert config.train_cfg.max_iters == config.param_scheduler[0].T_max == epochs * epoch
    if config.load_from:
        start = config.load_from.split("/")[1:]
        assert f"classification/{start[0]}" in SHIPPED
        assert start[1] == f"iter_{80 * epoch}.pth"
    stream = config.train_dataloader.dataset
    if stream.type == "KnownWithOutliers":
        assert (stream.num_known, stream.num_outliers) == (128, 256)
        assert config.train_dataloader.batch_size == 384


def test_published_numbers_of_the_balanced_configs():
    expected = {
        "resnet18_20e_cifar10": (10, 0.05, -23),
        "resnet18_20e_cifar10-lt": (10, 0.75, -23),
        "wrn40x2_20e_cifar10-lt": (10, 0.5, -23),
        "resnet18_20e_cifar100": (100, 0.005, -27),
        "resnet18_20e_cifar100-lt": (100, 0.75, -27),
    }
    for name, (alpha, gamma, margin) in expected.items():
        (loss,) = load_config(f"classification/balanced-energy_{name}").model.energy_head.losses
        assert (loss.alpha, loss.gamma) == (alpha, gamma)
        assert (loss.margin_in, loss.margin_out) == (margin, -5)
        assert loss.loss_weight == 2 * 0.1
        (plain,) = load_config(f"classification/energy-oe_{name}").model.energy_head.losses
        assert (plain.margin_in, plain.margin_out, plain.loss_weight) == (margin, -5, 0.2)


def test_cifar100_is_read_from_its_python_batches(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    batch = {
        b"data": random.integers(0, 256, (600, 3072), dtype=np.uint8),
        b"fine_labels": [*range(100)] * 6,
    }
    for name in ("train", "test"):
        (tmp_path / "cifar-100-python").mkdir(exist_ok=True)
        (tmp_path / "cifar-100-python" / name).write_bytes(pickle.dumps(batch))
    monkeypatch.setenv("OOD_SEG_CACHE", str(tmp_path))
    init_default_scope("mmseg")
    config = load_config("classification/oe_resnet18_20e_cifar100")
    known = DATASETS.build(config.train_dataloader.dataset.known)
    test = DATASETS.build(config.test_dataloader.cifar100.dataset)
    assert (len(known), len(test), known.split, test.split) == (600, 600, "train", "test")
    assert known[0]["inputs"].shape == (3, 32, 32)
    long_tail = load_config("classification/oe_resnet18_20e_cifar100-lt")
    counts = long_tail.test_evaluator.cifar100[0].class_counts
    assert (counts[:3], counts[-1], sum(counts)) == ([500, 477, 455], 5, 10847)
    assert long_tail.train_dataloader.dataset.known.imbalance == 0.01
    assert long_tail.fit_dataloader.dataset.imbalance == 0.01
