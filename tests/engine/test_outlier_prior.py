"""The outlier prior: correct counts, reproducible, equal for one process and two."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from process_group import process_group, run_on_ranks
from tiny_training import runner_config, train_set

import ood_seg.register  # noqa: F401
from ood_seg.datasets import OutlierMix, SeededSamples
from ood_seg.engine.outlier_prior import count_outlier_predictions

init_default_scope("mmseg")


def build_parts(root, **options):
    dataset = DATASETS.build(train_set(root, **options))
    return tiny.build(num_classes=19), dataset


def test_counts_equal_a_loop_over_pixels(scenes):
    model, dataset = build_parts(scenes)
    counts = count_outlier_predictions(model, dataset, num_images=5, seed=1)
    expected = np.zeros(19, dtype=int)
    samples = SeededSamples(dataset, seed=1)
    for index in range(5):
        data = model.data_preprocessor(pseudo_collate([samples[index]]), False)
        labels = data["data_samples"][0].gt_sem_seg.data[0].numpy()
        with torch.no_grad():
            logits = model(data["inputs"], mode="tensor")
        logits = torch.nn.functional.interpolate(logits, labels.shape, mode="bilinear")
        prediction = logits[0].argmax(0).numpy()
        for y, x in np.argwhere(labels == 254):
            expected[prediction[y, x]] += 1
    assert counts.tolist() == expected.tolist()
    assert (expected > 0).sum() > 1


def test_pasted_scenes_of_a_mix_are_counted(scenes):
    model, dataset = build_parts(scenes)
    mix = OutlierMix(build_parts(scenes, probability=0.0)[1], dataset, num_pasted=1)
    counts = count_outlier_predictions(model, SeededSamples(mix, seed=7), num_images=5, seed=1)
    expected = count_outlier_predictions(model, dataset, num_images=5, seed=1)
    assert counts.tolist() == expected.tolist()


def test_counts_do_not_depend_on_batches_workers_or_earlier_draws(scenes):
    model, dataset = build_parts(scenes)
    counts = count_outlier_predictions(model, dataset, num_images=5, seed=1)
    np.random.seed(99)
    same = count_outlier_predictions(
        model, dataset, num_images=5, seed=1, batch_size=2, num_workers=1
    )
    assert counts.tolist() == same.tolist()
    other = count_outlier_predictions(model, dataset, num_images=5, seed=2)
    assert counts.tolist() != other.tolist()


def test_random_state_and_mode_are_restored(scenes):
    model, dataset = build_parts(scenes)
    model.train()
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    count_outlier_predictions(model, dataset, num_images=2)
    assert (torch.rand(1).item(), np.random.rand()) == expected
    assert model.training


def test_no_outlier_pixel_is_an_error(scenes):
    model, dataset = build_parts(scenes, probability=0.0)
    with pytest.raises(ValueError, match=r"254.*PasteOutliers"):
        count_outlier_predictions(model, dataset, num_images=2)


def test_hook_writes_the_prior_and_sets_it_in_the_loss(scenes, tmp_path):
    model = tiny.build(num_classes=19)
    torch.save(model.state_dict(), tmp_path / "pretrained.pth")
    load_from = str(tmp_path / "pretrained.pth")
    runner = Runner(**runner_config(scenes, tmp_path, iterations=1, load_from=load_from))
    runner.train()
    written = json.loads((tmp_path / "outlier_prior.json").read_text())
    assert written["num_images"] == 8
    assert written["classes"][0] == "road"
    assert sum(written["prior"]) == pytest.approx(1)
    dataset = runner.train_dataloader.dataset.dataset
    counts = count_outlier_predictions(model, dataset, num_images=8)
    assert written["counts"] == counts.tolist()  # measured before the first step
    prior = runner.model.energy_head.losses[0].prior
    torch.testing.assert_close(prior, (counts / counts.sum()).float())


def test_prior_in_the_config_switches_the_hook_off(scenes, tmp_path):
    config = runner_config(scenes, tmp_path, iterations=1)
    config["model"]["energy_head"]["losses"][0]["prior"] = [1.0] * 19
    runner = Runner(**config)
    runner.train()
    assert not (tmp_path / "outlier_prior.json").exists()
    assert runner.model.energy_head.losses[0].prior.tolist() == pytest.approx([1 / 19] * 19)


def _count_on_rank(rank, world_size, root, out):
    with process_group(rank, world_size, out):
        init_default_scope("mmseg")
        model, dataset = build_parts(root)
        counts = count_outlier_predictions(model, dataset, num_images=5, seed=1)
        torch.save(counts, f"{out}/{rank}.pt")


def test_two_processes_give_the_prior_of_one(scenes, tmp_path):
    model, dataset = build_parts(scenes)
    expected = count_outlier_predictions(model, dataset, num_images=5, seed=1)
    run_on_ranks(_count_on_rank, 2, scenes, tmp_path)
    for rank in range(2):
        counts = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert counts.tolist() == expected.tolist()
