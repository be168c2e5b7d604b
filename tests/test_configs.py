"""Every shipped config parses, builds its model and hooks, and runs its pipelines."""

import copy
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS, PARAM_SCHEDULERS
from mmseg.structures import SegDataSample
from noise_statistics import fit_on_noise
from PIL import Image
from resolved_configs import FINGERPRINTS, VARIABLES, fingerprint

import ood_seg.register  # noqa: F401
from ood_seg import compat
from ood_seg.datasets.outlier_sources import CITYSCAPES_LIKE_CATEGORIES

ROOT = Path(__file__).resolve().parents[1] / "configs"
LEAVES = sorted(
    p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py") if "_base_" not in p.parts
)
# Image-level configs are tested in tests/classification.
DENSE = [name for name in LEAVES if not name.startswith("classification/")]
RECIPES = [name for name in LEAVES if re.search(r"_\d+e_cityscapes-coco", name)]
LIGHT_TRAINED = [
    name
    for name in LEAVES
    if (re.search("erfnet|cgnet", name) and not name.startswith("posthoc")) or "unet-small" in name
]
# Built without storage: hundreds of megabytes each, of which these tests look at shapes alone.
HEAVY = ("wrn38", "r101")
init_default_scope("mmseg")
compat.apply()  # `mmseg::` bases resolve in the maintained family too


@functools.cache
def load(name):
    """A shipped config, read once; not to be changed."""
    return Config.fromfile(ROOT / name)


@pytest.fixture(params=DENSE)
def config(request):
    return load(request.param)


def test_the_lists_are_not_empty():
    assert len(LEAVES) >= 30
    assert len(RECIPES) >= 7 * 3
    assert len(LIGHT_TRAINED) >= 5


def test_configs_resolve_to_what_was_measured(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    expected = json.loads(FINGERPRINTS.read_text())
    resolved = {name.removesuffix(".py"): fingerprint(ROOT / name) for name in LEAVES}
    assert resolved == expected, "see tests/resolved_configs.py if the change is meant"


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    """File of all statistics, fitted on noise, of the network of a config with seeded weights."""

    @functools.cache
    def fit(network_name):
        config = load(f"posthoc/energy_fcn-{network_name}_cityscapes.py")
        path = tmp_path_factory.mktemp("statistics") / f"{network_name}.stats"
        return fit_on_noise(config.model, path)

    return fit


def test_config_builds_and_gives_a_score(config, statistics):
    is_heavy = any(word in Path(config.filename).name for word in HEAVY)
    settings = copy.deepcopy(config.model)
    if "statistics" in settings.energy_head.score:
        with pytest.raises(FileNotFoundError, match=r"\.stats.*ood-seg fit"):
            MODELS.build(copy.deepcopy(settings))
        network_name = re.search(r"fcn-(\w+)_", config.filename)[1]
        settings.energy_head.score.statistics = str(statistics(network_name))
    with torch.device("meta" if is_heavy else "cpu"), torch.no_grad():
        torch.manual_seed(0)
        model = MODELS.build(settings).eval()
        (sample,) = model.predict(torch.randn(1, 3, 64, 96))
    assert sample.pred_anomaly.data.shape == (1, 64, 96)
    assert sample.seg_logits.data.shape == (19, 64, 96)
    if not is_heavy:
        assert torch.isfinite(sample.pred_anomaly.data).all()
    for hook in [*config.default_hooks.values(), *config.get("custom_hooks", [])]:
        HOOKS.build(hook)
    assert LOOPS.get(config.test_cfg.type)
    assert set(config.test_dataloader) == set(config.test_evaluator)
    for metrics in config.test_evaluator.values():
        for metric in metrics:
            METRICS.build(metric)


@pytest.mark.parametrize("name", LEAVES)
def test_config_states_where_it_comes_from(name):
    first_line = (ROOT / name).read_text().splitlines()[0]
    assert first_line.startswith('"""')
    assert first_line.endswith('"""')


@pytest.mark.parametrize(
    "name",
    [
        *LIGHT_TRAINED,
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in RECIPES
            if any(word in name for word in HEAVY)
        ),
    ],
)
def test_training_losses_are_finite_and_reach_the_trained_parameters(name):
    config = load(name)
    torch.manual_seed(0)
    model = MODELS.build(dict(copy.deepcopy(config.model), distillation=None)).train()
    for loss in model.energy_head.losses:
        if hasattr(loss, "set_prior") and loss.prior is None:
            loss.set_prior([1 / 19] * 19)
    samples = []
    for has_outliers in (True, False):
        labels = torch.randint(0, 19, (1, 64, 96))
        labels[:, :4] = 255
        if has_outliers:
            labels[:, 20:40, 30:60] = 254
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels)))
    losses = model.loss(torch.randn(2, 3, 64, 96), samples)
    values = {name: value for name, value in losses.items() if "loss" in name}
    assert values
    assert all(torch.isfinite(value).all() for value in values.values())
    sum(value.sum() for value in values.values()).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert any(p.grad.abs().sum() > 0 for p in trained)
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@pytest.mark.parametrize("name", [*LIGHT_TRAINED, *RECIPES])
def test_every_special_learning_rate_reaches_a_trained_weight(name):
    config = load(name)
    with torch.device("meta"):
        model = MODELS.build(dict(copy.deepcopy(config.model), distillation=None))
    settings = copy.deepcopy(config.optim_wrapper)
    rate, special = settings.optimizer.lr, settings.get("paramwise_cfg", {}).get("custom_keys", {})
    groups = build_optim_wrapper(model, settings).optimizer.param_groups
    used = {g["lr"] for g in groups if any(p.requires_grad for p in g["params"])}
    assert used == {rate, *(rate * one["lr_mult"] for one in special.values())}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_count_their_iterations_right(name):
    config = load(name)
    epochs = int(re.search(r"_(\d+)e_", name)[1])
    stream = config.train_dataloader.dataset.dataset
    samples = 2975 + stream.get("num_pasted", 0)
    epoch = samples // config.train_dataloader.batch_size
    assert config.train_dataloader.batch_size == 8
    assert config.train_cfg.max_iters == epochs * epoch
    assert config.train_cfg.val_interval == config.default_hooks.checkpoint.interval == epoch
    # The released code forgets the pasted scenes when it counts.
    end = epochs * (2975 // 8) if "released" in name else config.train_cfg.max_iters
    assert config.param_scheduler[0].end == end


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("balanced-pebal_deepwv3plus-wrn38_20e_cityscapes-coco.py", 20 * 409),
        ("balanced-pebal_deepwv3plus-wrn38_20e_cityscapes-coco-released.py", 20 * 371),
    ],
)
def test_learning_rates_are_those_of_the_published_formula(name, total):
    config = load(f"balanced_pebal/{name}")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-5)
    schedule = PARAM_SCHEDULERS.build(dict(config.param_scheduler[0], optimizer=optimizer))
    rates = []
    for _ in range(config.train_cfg.max_iters):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    steps = np.arange(config.train_cfg.max_iters)
    expected = 1e-5 * np.clip(1 - steps / total, 0, None) ** 0.9
    # mmengine adds the smallest rate to the decaying one where the released code clips at it.
    np.testing.assert_allclose(rates, np.clip(expected, 1e-8, None), rtol=0, atol=1e-8)


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """Root of a few small scenes and images in the layouts of Cityscapes and COCO."""
    root = tmp_path_factory.mktemp("miniature")
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(2):
            stem = f"aachen_{number:06d}_000019"
            paths = {
                "leftImg8bit": random.integers(0, 256, (64, 128, 3), np.uint8),
                "gtFine": random.integers(0, 19, (64, 128)).astype(np.uint8),
            }
            for kind, array in paths.items():
                suffix = "leftImg8bit" if kind == "leftImg8bit" else "gtFine_labelTrainIds"
                path = root / "cityscapes" / kind / split / "aachen" / f"{stem}_{suffix}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
        write_coco(root / "coco", f"{split}2017", random)
    return root


def write_coco(root, split, random):
    """Two images of 480x480, in each two squares of one cat."""
    for folder in ("annotations", split):
        (root / folder).mkdir(parents=True, exist_ok=True)
    squares = [[100, 100, 200, 100, 200, 200, 100, 200], [300, 60, 420, 60, 420, 180, 300, 180]]
    names = (*CITYSCAPES_LIKE_CATEGORIES, "cat")
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    content = {"categories": categories, "images": [], "annotations": []}
    for number in (1, 2):
        image = {"id": number, "file_name": f"{number}.png", "height": 480, "width": 480}
        content["images"].append(image)
        content["annotations"].append(
            {"id": number, "image_id": number, "category_id": len(names), "segmentation": squares}
        )
        pixels = random.integers(0, 256, (480, 480, 3), np.uint8)
        Image.fromarray(pixels).save(root / split / image["file_name"])
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def test_released_recipes_differ_where_the_documentation_says():
    for name in ("pebal/pebal_{}_40e_{}", "balanced_pebal/balanced-pebal_{}_20e_{}"):
        name = name.format("deepwv3plus-wrn38", "cityscapes-coco")
        sane, released = load(f"{name}.py"), load(f"{name}-released.py")
        pairs = [
            (sane.model["freeze"], "fixed", "off"),
            (released.model["freeze"], "updated", "on"),
        ]
        for freeze, statistics, dropout in pairs:
            assert (freeze.norm_statistics, freeze.dropout) == (statistics, dropout)
        mixes = [config.train_dataloader.dataset.dataset for config in (sane, released)]
        for kind in ("clean", "pasted"):
            flips, crops = zip(
                *([mix[kind].pipeline[n] for n in (-4, -2)] for mix in mixes), strict=True
            )
            assert [flip.prob for flip in flips] == [0.5, 0.8]
            assert [crop.get("overrun", 0) for crop in crops] == [0, 1]
        paste = mixes[1].pasted.pipeline[2]
        assert paste.raw_probability == 1 / 2976
        assert set(CITYSCAPES_LIKE_CATEGORIES) - set(paste.source.exclude) == {"train"}
        # All else is the same recipe.
        assert released.model.energy_head == sane.model.energy_head
        assert released.model["freeze"].trained == sane.model["freeze"].trained
        assert released.train_cfg == sane.train_cfg
        assert released.optim_wrapper == sane.optim_wrapper


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_run_on_miniature_data(name, miniature, monkeypatch):
    monkeypatch.setenv("OOD_SEG_DATA", str(miniature))
    config = Config.fromfile(ROOT / name)
    crop = (700, 700) if name.startswith("rpl/") else (900, 900)
    stream = DATASETS.build(config.train_dataloader.dataset)
    mix = stream.dataset
    pasted = getattr(mix, "pasted", mix)
    assert len(mix) == 2 + mix.num_pasted if hasattr(mix, "pasted") else 2
    for sample, is_pasted in [(stream[0], None), (pasted[0], True), (mix[0], mix is pasted)]:
        labels = sample["data_samples"].gt_sem_seg.data
        assert sample["inputs"].shape == (3, *crop)
        assert set(labels.unique().tolist()) <= {*range(19), 254, 255}
        if is_pasted is not None:
            assert (labels == 254).any() == is_pasted
    validation = DATASETS.build(dict(config.val_dataloader.dataset, indices=None))
    assert (validation[0]["data_samples"].gt_sem_seg.data == 254).any()


@pytest.fixture(scope="module")
def first_samples():
    """First sample of each dataset that was built, by the text of its config."""
    return {}


def test_pipelines_run_on_the_real_data(config, real_data, first_samples, monkeypatch):
    if "demo" in Path(config.filename).parts:
        pytest.skip("runs on drawn data, see tests/demo")
    monkeypatch.setenv("OOD_SEG_DATA", str(real_data))
    config = Config.fromfile(config.filename)
    loaders = dict(config.test_dataloader)
    if not any(
        Path(config.filename).match(name) for name in RECIPES
    ):  # these need complete datasets
        for name in ("train_dataloader", "val_dataloader", "fit_dataloader", "pasted_dataloader"):
            if config.get(name):
                loaders[name] = config[name]
    found = 0
    for name, loader in loaders.items():
        if not Path(loader.dataset.get("data_root", real_data)).is_dir():
            continue
        found += 1
        text = json.dumps(loader.dataset.to_dict(), default=str)
        if text not in first_samples:  # many configs share their sets
            first_samples[text] = DATASETS.build(loader.dataset)[0]
        sample = first_samples[text]
        labels = sample["data_samples"].gt_sem_seg.data
        assert sample["inputs"].shape[0] == 3, name
        is_anomaly_set = config.get("test_evaluator", {}).get(name, [{}])[0].get("type") == (
            "AnomalyMetric"
        )
        allowed = {0, 1, 255} if is_anomaly_set else {*range(19), 254, 255}
        assert set(labels.unique().tolist()) <= allowed, name
        if name in ("train_dataloader", "val_dataloader", "pasted_dataloader"):
            assert (labels == 254).any()
        if name == "fit_dataloader":
            assert not (labels == 254).any()
    assert found >= 2
