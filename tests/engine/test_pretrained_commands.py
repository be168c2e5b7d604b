"""Measurements of the commands on pasted scenes; training reads the file of the prior."""

import json

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from tiny_training import runner_config, train_set

import ood_seg.register  # noqa: F401
from ood_seg.commands import main
from ood_seg.datasets import SeededSamples
from ood_seg.outlier_priors import OutlierPrior, read_prior, write_prior

init_default_scope("mmseg")


@pytest.fixture
def job(scenes, tmp_path):
    torch.save(tiny.build(num_classes=19).state_dict(), tmp_path / "pretrained.pth")
    config = runner_config(scenes, tmp_path / "run", load_from=str(tmp_path / "pretrained.pth"))
    Config(config | {"custom_imports": {"imports": ["ood_seg.register"]}}).dump(tmp_path / "job.py")
    return config


def estimate(folder, *extra):
    arguments = [str(folder / "job.py"), "--num-images", "8", "--seed", "0", *map(str, extra)]
    return main(["estimate-outlier-prior", *arguments])


def test_tool_and_hook_agree_and_the_file_feeds_the_hook(job, scenes, tmp_path, capsys):
    out = tmp_path / "prior.json"
    assert estimate(tmp_path, "--file", out, "--compare", "cityscapes-coco-wrn38") == 0
    measured = read_prior(out)
    assert measured.origin["num_images"] == 8
    assert measured.origin["model"] == str(tmp_path / "pretrained.pth")
    annotations = scenes / "coco/annotations/instances.json"
    sets = [f"CityscapesDataset: {scenes / 'cityscapes'}", f"outliers: {annotations}"]
    assert measured.origin["data"] == sets
    assert (tmp_path / "prior.png").stat().st_size > 10_000
    assert "15.31" in capsys.readouterr().out  # the published share of `person`

    Runner(**job | {"train_cfg": job["train_cfg"] | {"max_iters": 1}}).train()
    written = json.loads((tmp_path / "run" / "outlier_prior.json").read_text())
    assert written["counts"] == list(measured.counts)

    job["custom_hooks"][1] = {"type": "OutlierPriorHook", "source": str(out)}
    given = job | {"work_dir": str(tmp_path / "given"), "experiment_name": "given"}
    runner = Runner(**given | {"train_cfg": job["train_cfg"] | {"max_iters": 1}})
    runner.train()
    prior = runner.model.energy_head.losses[0].prior
    assert prior.tolist() == pytest.approx(list(measured.prior), abs=1e-7)


def test_prior_of_another_model_is_refused(job, tmp_path, capsys):
    other = tmp_path / "other.json"
    write_prior(other, OutlierPrior.from_counts([1, 2], ("cat", "dog")))
    assert estimate(tmp_path, "--file", tmp_path / "x.json", "--compare", other) == 2
    message = capsys.readouterr().err
    for named in (str(other), "'cat' as class 0", "'road'"):
        assert named in message
    assert not (tmp_path / "x.json").exists()
    job["custom_hooks"][1] = {"type": "OutlierPriorHook", "source": str(other)}
    with pytest.raises(ValueError, match=r"other\.json.*'cat' as class 0"):
        Runner(**job).train()


def test_bad_arguments(job, tmp_path, capsys):
    assert estimate(tmp_path, "--num-images", "0") == 2
    message = capsys.readouterr().err
    assert "--num-images" in message
    assert "got 0" in message
    assert estimate(tmp_path, "--file", "prior.txt") == 2
    assert ".json" in capsys.readouterr().err


def test_margins_are_those_of_the_energies(job, tmp_path, scenes, capsys):
    out = tmp_path / "margins.json"
    arguments = [str(tmp_path / "job.py"), "--num-images", "4", "--seed", "2", "--file", str(out)]
    assert main(["suggest-margins", *arguments]) == 0
    content = json.loads(out.read_text())
    dataset = SeededSamples(DATASETS.build(train_set(scenes)), seed=2)
    model = tiny.build(num_classes=19)
    energies, labels = [], []
    for index in range(4):
        data = model.data_preprocessor(pseudo_collate([dataset[index]]), False)
        labels.append(data["data_samples"][0].gt_sem_seg.data)
        with torch.no_grad():
            logits = model(data["inputs"], mode="tensor")
        logits = torch.nn.functional.interpolate(logits, labels[-1].shape[-2:], mode="bilinear")
        energies.append(-logits.logsumexp(1))
    energies, labels = torch.cat(energies), torch.cat(labels)
    for name, mask in (("known", labels < 19), ("outliers", labels == 254)):
        assert content[name]["count"] == mask.sum()
        assert content[name]["mean"] == pytest.approx(energies[mask].mean().item(), rel=2e-3)
    configured = content["margins"]["config"]
    assert (configured["margin_in"], configured["margin_out"]) == (-6.0, 0.0)
    share = (energies[labels < 19] > -6).float().mean().item()
    assert configured["active_known"] == pytest.approx(share, abs=0.01)
    assert (tmp_path / "margins.png").stat().st_size > 10_000
    assert "known pixels moved" in capsys.readouterr().out
