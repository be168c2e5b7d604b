"""A config from which nothing can be built: one line with close matches, exit code 2."""

from __future__ import annotations

import pytest

from ood_seg.commands import main
from ood_seg.commands._config_errors import config_mistake

TYPES = {
    "model.type=OODEncoderDecodr": ("'OODEncoderDecodr'", "'OODEncoderDecoder'"),
    "model.backbone.type=UNett": ("no model", "'UNet'"),
    "model.backbone.type=mmpretrain.Nothing": ("mmpretrain.Nothing", "package mmpretrain"),
    "model.energy_head.score.type=Enrgy": ("'Enrgy'", "'Energy'"),
    "model.energy_head.score.type=PasteOutliers": ("registry.TRANSFORMS", "registry.MODELS"),
    "model.energy_head.socre=3": ("EnergyHead", "'socre'", "'score'"),
    "model.backbone.strides=3": ("UNet cannot be built", "'int'"),
}
RUNS = {
    "train": {
        "train_dataloader.dataset.type=BaseSegDatset": ("no dataset", "'BaseSegDataset'"),
        "optim_wrapper.optimizer.type=SDG": ("no optimizer", "'SGD'"),
        "optim_wrapper.optimizer.lrr=1": ("SGD", "'lrr'", "'lr'"),
        "optim_wrapper.optimizer.lr=-1": ("SGD", "learning rate: -1"),
        "train_dataloader.num_workers=-1": ("num_workers",),
        "val_cfg.type=ValLoop": ("val_dataloader", "val_evaluator"),
        "train_cfg.type=IterBasdTrainLoop": ("no loop", "'IterBasedTrainLoop'"),
        "default_hooks.logger.type=LogerHook": ("no hook", "'LoggerHook'"),
    },
    "test": {"test_evaluator.anomalies.0.type=AnomalMetric": ("no metric", "'AnomalyMetric'")},
    "benchmark": {
        "test_dataloader.anomalies.dataset.type=AnomalyFolder": ("'AnomalyFolderDataset'",)
    },
}


def run(command, job, folder, option, capsys):
    """Run a command with a wrong option; return what it printed as its error."""
    weights = [] if command in ("train", "infer") else [str(job.weights)]
    arguments = {
        "infer": [str(job.folder / "images"), "--out", str(folder), "--config"],
        "check-data": ["--config"],
    }
    own = arguments.get(command, [])
    after = {
        "export-onnx": [str(folder / "model.onnx")],
        "fit": ["--methods", "mahalanobis", "--file", str(folder / "fitted.stats")],
        "infer": ["--checkpoint", str(job.weights)],
    }
    place = [] if command in ("export-onnx", "infer") else ["--work-dir", str(folder)]
    config = str(job.config)
    if command == "infer":  # has no --cfg-options
        key, _, value = option.partition("=")
        changed = folder / "changed.py"
        changed.write_text(f"_base_ = {config!r}\n{_nested(key, value)}\n", encoding="utf-8")
        config, options = str(changed), []
    else:
        options = ["--cfg-options", option]
    line = [command, *own, config, *weights, *after.get(command, []), *place, *options]
    assert main(line) == 2
    return capsys.readouterr().err


def _nested(key, value):
    first, *rest = key.split(".")
    inner = repr(value)
    for name in reversed(rest):
        inner = f"dict({name}={inner})"
    return f"{first} = {inner}"


def check(error, words):
    lines = [line for line in error.splitlines() if line.startswith("ood-seg ")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("option", TYPES)
def test_model(option, job, tmp_path, capsys):
    check(run("test", job, tmp_path, option, capsys), TYPES[option])


@pytest.mark.parametrize(
    ("command", "option"), [(name, option) for name in RUNS for option in RUNS[name]]
)
def test_what_else_a_run_is_built_from(command, option, job, tmp_path, capsys):
    check(run(command, job, tmp_path, option, capsys), RUNS[command][option])


@pytest.mark.parametrize("command", ["train", "infer", "fit", "export-onnx", "benchmark"])
def test_every_command(command, job, tmp_path, capsys):
    error = run(command, job, tmp_path, "model.decode_head.type=FNCHead", capsys)
    check(error, ("no model", "'FNCHead'", "'FCNHead'"))


def test_a_type_of_another_scope_names_the_scope(job):
    from mmengine.registry import VISUALIZERS

    with pytest.raises(KeyError) as caught:
        VISUALIZERS.build({"type": "SegLocalVisualizer", "_scope_": "mmengine"})
    message = config_mistake(caught.value)
    assert "'SegLocalVisualizer'" in message
    assert "default_scope='mmseg'" in message


@pytest.mark.parametrize("registry", ["DATASETS", "MODELS"])
def test_a_source_in_the_wrong_registry(registry, job, tmp_path, monkeypatch, capsys):
    """Both registries are named: the one that has the class, and the one that is asked."""
    name = f"source_for_{registry.lower()}"
    (tmp_path / f"{name}.py").write_text(
        f"from mmseg.registry import {registry} as R\n@R.register_module()\n"
        f"class {registry.title()}Source:\n    def sample(self, rng): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "mine.py"
    config.write_text(
        f"_base_ = {str(job.config)!r}\ncustom_imports = dict(imports=['ood_seg.register', "
        f"{name!r}])\ntrain_dataloader = dict(dataset=dict(pipeline=[dict(type='PasteOutliers', "
        f"source=dict(type='{registry.title()}Source'))]))\n"
    )
    assert main(["train", str(config), "--work-dir", str(tmp_path / "work")]) == 2
    words = (f"'{registry.title()}Source'", f"mmseg.registry.{registry}", "registry.TRANSFORMS")
    check(capsys.readouterr().err, words)


def test_modules_that_cannot_be_imported(job, tmp_path, capsys):
    config = tmp_path / "mine.py"
    config.write_text(
        f"_base_ = {str(job.config)!r}\ncustom_imports = dict(imports=['no_such_module_of_mine'])\n"
    )
    assert main(["test", str(config), str(job.weights)]) == 2
    check(capsys.readouterr().err, ("custom_imports", "no_such_module_of_mine"))


def test_an_error_in_a_class_of_ones_own_keeps_its_traceback(job, tmp_path, monkeypatch):
    (tmp_path / "own_hooks_with_a_bug.py").write_text(
        "from mmengine.hooks import Hook\nfrom mmengine.registry import HOOKS\n"
        "@HOOKS.register_module()\nclass HookWithABug(Hook):\n"
        "    def __init__(self): raise TypeError('a bug')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "mine.py"
    config.write_text(
        f"_base_ = {str(job.config)!r}\n"
        "custom_imports = dict(imports=['ood_seg.register', 'own_hooks_with_a_bug'])\n"
        "custom_hooks = [dict(type='HookWithABug')]\n"
    )
    with pytest.raises(TypeError, match="a bug"):
        main(["train", str(config), "--work-dir", str(tmp_path / "work")])


def test_loaders_without_workers_need_no_change_of_other_options():
    from ood_seg.engine.runner import QuietRunner

    loader = {
        "dataset": [1, 2, 3],
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "batch_size": 1,
        "num_workers": 0,
        "persistent_workers": True,
        "prefetch_factor": 4,
    }
    assert len(QuietRunner.build_dataloader(loader)) == 3
    assert loader["persistent_workers"]
    with pytest.raises(ValueError, match="batch_size") as caught:
        QuietRunner.build_dataloader({**loader, "batch_size": 0})
    message = config_mistake(caught.value)
    assert "data loader" in message
    assert "batch_size" in message
