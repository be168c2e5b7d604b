"""`ood-seg train`: start, resume, refused arguments."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config
from tiny_job import write_job, write_weights

from ood_seg.apis import load_checkpoint
from ood_seg.commands import main
from ood_seg.commands._arguments import load_config
from ood_seg.engine.training import enable_amp, last_checkpoint, set_start


def train(job, work_dir: Path, *extra: str) -> int:
    return main(["train", str(job.config), "--work-dir", str(work_dir), *extra])


def write_pointer(work_dir: Path, named: Path) -> None:
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / "last_checkpoint").write_text(str(named))


def test_resume_prefers_the_work_dir_to_load_from(tmp_path):
    # mmengine alone would resume from `load_from`, here the pre-trained file.
    saved = tmp_path / "iter_9.pth"
    saved.touch()
    write_pointer(tmp_path, saved)
    cfg = Config({"work_dir": str(tmp_path), "load_from": "pretrained.pth", "resume": False})
    assert set_start(cfg, resume=True) == f"resume from {saved}"
    assert (cfg.load_from, cfg.resume) == (str(saved), True)


def test_resume_without_a_checkpoint_starts_from_load_from_and_logs_it(tmp_path):
    cfg = Config({"work_dir": str(tmp_path), "load_from": "pretrained.pth", "resume": True})
    note = set_start(cfg, resume=True)
    assert note == f"nothing to resume in {tmp_path}: start from pretrained.pth"
    assert (cfg.load_from, cfg.resume) == ("pretrained.pth", False)


def test_without_resume_an_old_checkpoint_is_ignored(tmp_path):
    write_pointer(tmp_path, tmp_path / "iter_9.pth")
    cfg = Config({"work_dir": str(tmp_path), "load_from": None, "resume": True})
    assert set_start(cfg, resume=False) == "start from the initial weights of the config"
    assert (cfg.load_from, cfg.resume) == (None, False)


def test_a_moved_work_dir_still_resumes(tmp_path):
    write_pointer(tmp_path, Path("/elsewhere/iter_9.pth"))
    with pytest.raises(FileNotFoundError, match="delete"):
        last_checkpoint(tmp_path)
    (tmp_path / "iter_9.pth").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "iter_9.pth"


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of machines without a GPU")
def test_amp_without_a_gpu_is_refused(job, tmp_path, capsys):
    assert main(["train", str(job.config), "--amp", "--work-dir", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "--amp" in message
    assert "cpu" in message


def test_amp_switches_the_wrapper_once():
    cfg = Config({"optim_wrapper": {"type": "OptimWrapper"}})
    enable_amp(cfg)
    enable_amp(cfg)
    assert dict(cfg.optim_wrapper) == {"type": "AmpOptimWrapper", "loss_scale": "dynamic"}
    with pytest.raises(ValueError, match="MyWrapper"):
        enable_amp(Config({"optim_wrapper": {"type": "MyWrapper"}}))


def test_amp_in_bfloat16():
    cfg = Config({"optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD"}}})
    enable_amp(cfg, dtype="bfloat16")
    assert cfg.optim_wrapper.type == "AmpOptimWrapper"
    assert cfg.optim_wrapper.dtype == "bfloat16"


def test_training_starts_at_load_from_and_resumes_at_its_own_checkpoint(job, tmp_path):
    start = f"load_from={job.weights}"
    options = ["--cfg-options", start, "train_cfg.max_iters=2", "optim_wrapper.optimizer.lr=0"]
    assert train(job, tmp_path, "--seed", "5", *options) == 0
    saved = load_checkpoint(tmp_path / "iter_2.pth")
    pretrained = load_checkpoint(job.weights)["state_dict"]
    # With learning rate 0 the weights are those of load_from, and not those of the seed.
    for name, value in pretrained.items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(saved["state_dict"][name], value), name
    assert saved["meta"]["seed"] == 5

    # The learning rate of the config is another one by now.
    resume = "--resume", "--resume-schedule", "checkpoint"
    assert train(job, tmp_path, *resume, "--cfg-options", start) == 0
    resumed = load_checkpoint(tmp_path / "iter_4.pth")
    assert resumed["meta"]["iter"] == 4
    assert resumed["meta"]["seed"] == 5
    logs = [json.loads(line) for line in next_log(tmp_path).read_text().splitlines()]
    assert [entry["step"] for entry in logs if "loss" in entry] == [3, 4]


def next_log(work_dir: Path) -> Path:
    return max(work_dir.rglob("vis_data/2*.json"), key=lambda path: path.stat().st_mtime_ns)


def test_validation_leaves_out_full_size_logits_unless_the_config_keeps_them(job, tmp_path):
    options = ["--cfg-options", "train_cfg.max_iters=2"]
    assert train(job, tmp_path / "plain", *options) == 0
    assert train(job, tmp_path / "kept", *options, "model.keep_logits=True") == 0
    for name, kept in (("plain", False), ("kept", True)):
        used = Config.fromfile(tmp_path / name / job.config.name)
        assert used.model.keep_logits is kept


def test_config_with_imports_of_its_own_need_not_name_ours(job, tmp_path, monkeypatch):
    path = tmp_path / "child.py"
    imports = 'custom_imports = dict(imports=["json"])'
    path.write_text(f"_base_ = {str(job.config)!r}\n{imports}\n")
    monkeypatch.delitem(sys.modules, "ood_seg.register")
    args = argparse.Namespace(
        config=str(path), launcher="none", cfg_options=None, work_dir=None, seed=None, local_rank=0
    )
    cfg = load_config(args)
    assert cfg.custom_imports.imports == ["ood_seg.register", "json"]
    assert "ood_seg.register" in sys.modules


def test_config_without_training_data_is_refused(job, tmp_path, capsys):
    path = tmp_path / "posthoc.py"
    path.write_text(f"_base_ = {str(job.config)!r}\ntrain_dataloader = None\n")
    assert main(["train", str(path), "--work-dir", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert str(path) in message
    assert "train_dataloader" in message


def test_option_without_a_value_is_named(job, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(job, tmp_path, "--cfg-options", "train_cfg.max_iters=2", "oops")
    message = capsys.readouterr().err
    for named in ("--cfg-options", "KEY=VALUE", "'oops'"):
        assert named in message


def test_seed_is_taken_although_the_config_has_no_randomness(job, tmp_path):
    path = tmp_path / "seedless.py"
    text = job.config.read_text().replace("randomness = dict(seed=3)\n", "")
    assert "randomness" not in text
    path.write_text(text)
    arguments = ["train", str(path), "--work-dir", str(tmp_path / "run"), "--seed", "11"]
    assert main([*arguments, "--cfg-options", "train_cfg.max_iters=2"]) == 0
    assert load_checkpoint(tmp_path / "run" / "iter_2.pth")["meta"]["seed"] == 11


@pytest.mark.parametrize(
    ("launcher", "program", "variable"),
    [
        ("pytorch", "torchrun", "RANK"),
        ("slurm", "srun", "SLURM_PROCID"),
        ("mpi", "mpirun", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ],
)
def test_a_launcher_that_launched_nothing_is_refused(
    job, capsys, monkeypatch, launcher, program, variable
):
    monkeypatch.delenv(variable, raising=False)
    assert main(["train", str(job.config), "--launcher", launcher]) == 2
    message = capsys.readouterr().err
    for named in (f"launcher {launcher}", f" {program},", f" {variable} "):
        assert named in message


@pytest.mark.slow
def test_two_processes_on_the_cpu_train_and_test_like_one(job, tmp_path):
    tools = Path(__file__).resolve().parents[2] / "tools"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    common = ["--launcher", "pytorch", "--work-dir", str(tmp_path)]
    train_it = [*launch, str(tools / "train.py"), str(job.config), *common]
    subprocess.run(train_it, check=True, capture_output=True)
    weights = str(tmp_path / "iter_4.pth")
    test_it = [*launch, str(tools / "test.py"), str(job.config), weights, *common]
    subprocess.run(test_it, check=True, capture_output=True)
    alone = ["test", str(job.config), weights, "--work-dir", str(tmp_path / "alone")]
    assert main(alone) == 0
    both, one = (
        json.loads((folder / "metrics.json").read_text())
        for folder in (tmp_path, tmp_path / "alone")
    )
    assert both["sets"] == one["sets"]


def test_checkpoint_of_another_model_stops_the_training(job, tmp_path, capsys):
    other = write_weights(write_job(tmp_path, channels=6), tmp_path / "other.pth")
    assert train(job, tmp_path / "run", "--cfg-options", f"load_from={other}") == 2
    message = capsys.readouterr().err
    assert "other.pth" in message
    assert "of another shape" in message


def test_config_text_in_a_checkpoint_is_not_run(job, tmp_path):
    assert train(job, tmp_path, "--cfg-options", "train_cfg.max_iters=2") == 0
    path, written = tmp_path / "iter_2.pth", tmp_path / "written"
    checkpoint = load_checkpoint(path)
    checkpoint["meta"]["config"] = f"import os\nos.mkdir({str(written)!r})\n"
    torch.save(checkpoint, path)
    assert train(job, tmp_path, "--resume") == 0
    assert not written.exists()
    assert (tmp_path / "iter_4.pth").exists()


def test_a_run_prints_no_noise_of_other_packages(job, tmp_path):
    command = [
        sys.executable,
        "-c",
        "import sys; from ood_seg.commands import main; sys.exit(main())",
    ]
    # As in the configs of RPL, whose optimizer looks at each frozen weight.
    options = ["model.freeze.frozen=[backbone.*]", "optim_wrapper.paramwise_cfg.bias_lr_mult=1.0"]
    arguments = ["train", str(job.config), "--work-dir", str(tmp_path), "--cfg-options", *options]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    for noise in ("OneDL", "Warning", "WARNING", "MultiScale", "System environment", "Hooks will"):
        assert noise not in output, noise
    assert "Iter(train) [4/4]" in output
    log = next(tmp_path.glob("2*/*.log")).read_text()
    assert "System environment" in log
    assert "Hooks will be executed" in log
    assert "is skipped since its requires_grad=False" in log


def test_new_weights_may_be_missing_at_the_start_alone(job, tmp_path, capsys):
    weights = torch.load(job.weights, weights_only=True)
    weights["state_dict"].pop("decode_head.conv_seg.bias")
    partial = tmp_path / "partial.pth"
    torch.save(weights, partial)
    options = ["--cfg-options", "new_weights=[^decode_head]", f"load_from={partial}"]
    arguments = [str(job.config), "--work-dir", str(tmp_path / "run"), *options]
    assert main(["train", *arguments, "train_cfg.max_iters=1"]) == 0
    assert main(["test", str(job.config), str(partial), *arguments[1:]]) == 2
    assert "decode_head.conv_seg.bias" in capsys.readouterr().err
