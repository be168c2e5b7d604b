"""One pass for all fitted scores: counts, batches, equality over processes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmseg")
import tiny
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from process_group import process_group, run_on_ranks
from tiny_detectors import MeanFitter
from tiny_training import train_set

import ood_seg.register  # noqa: F401
from ood_seg.datasets import OutlierMix, SeededSamples
from ood_seg.detectors import PENULTIMATE
from ood_seg.engine.fit_data import chosen_positions, stream
from ood_seg.engine.fitting import fit_statistics
from ood_seg.engine.known_batches import known_batches
from ood_seg.models.detector_scores import network_of

init_default_scope("mmseg")


def scenes_of(root, **options):
    return DATASETS.build(train_set(root, **options))


def fit(model, root, *, batch_size=1, known=5, pasted=3, fitters=None):
    """Statistics of some known scenes and some pasted ones."""
    dataset = scenes_of(root)
    parts = [
        known_batches(model, stream(dataset, 1, pasted=False), range(known), batch_size=batch_size),
        known_batches(
            model,
            stream(dataset, 2, pasted=True),
            range(pasted),
            first=known,
            batch_size=batch_size,
            only_outliers=True,
        ),
    ]
    batches = (batch for part in parts for batch in part)
    fitters = fitters or {"nearest-mean": MeanFitter((PENULTIMATE,), 1)}
    return fit_statistics(network_of(model), batches, fitters, num_classes=19)


def test_means_and_counts_equal_a_loop_over_pixels(scenes):
    model = tiny.build(num_classes=19)
    found = fit(model, scenes)
    samples = SeededSamples(scenes_of(scenes), 1)
    sums, counts, pixels = np.zeros((19, 16)), np.zeros(19), np.zeros(19, int)
    for index in range(5):
        data = model.data_preprocessor(pseudo_collate([samples[index]]), False)
        labels = data["data_samples"][0].gt_sem_seg.data[0].numpy()
        with torch.no_grad():
            features = model.extract_feat(data["inputs"])
        features = features[-1] if isinstance(features, (tuple, list)) else features
        assert features.shape[-2:] == (labels.shape[0] // 2, labels.shape[1] // 2)
        for y, x in np.argwhere(labels < 19):
            pixels[labels[y, x]] += 1
            if y % 2 == 1 and x % 2 == 1:  # the pixel right of and below a cell's centre
                sums[labels[y, x]] += features[0, :, y // 2, x // 2].double().numpy()
                counts[labels[y, x]] += 1
    tensors = found.statistics["nearest-mean"].tensors
    assert found.pixels == pixels.tolist()
    assert tensors["counts"].tolist() == counts.tolist()
    np.testing.assert_allclose(tensors["means"], sums / counts.clip(1)[:, None], atol=1e-5)
    names = [f"class {index}" for index in range(19)]
    assert found.absent_classes(names) == [names[k] for k in range(19) if pixels[k] == 0]


def test_only_objects_of_pasted_scenes_count(scenes):
    model = tiny.build(num_classes=19)
    without, found = fit(model, scenes, pasted=0), fit(model, scenes)
    tensors, plain = (one.statistics["nearest-mean"].tensors for one in (found, without))
    assert torch.equal(tensors["means"], plain["means"])
    assert found.pixels == without.pixels
    assert found.num_outliers > without.num_outliers
    assert tensors["outliers"] > plain["outliers"]


def test_fits_do_not_depend_on_batches_or_earlier_draws(scenes):
    model = tiny.build(num_classes=19)
    one = fit(model, scenes).statistics["nearest-mean"].tensors
    np.random.seed(99)
    torch.manual_seed(99)
    again, batched = (
        fit(model, scenes, batch_size=size).statistics["nearest-mean"].tensors for size in (1, 2)
    )
    assert all(torch.equal(one[name], again[name]) for name in one)
    torch.testing.assert_close(one["means"], batched["means"])


def test_labels_are_taken_at_the_pixels_of_the_image_and_padding_is_ignored():
    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            batch = tiny.batch(1, size=(30, 44), outliers=False)
            sample = batch["data_samples"][0]
            labels = sample.gt_sem_seg.data[None].float()
            # As where the labels are loaded after a resize: their own size, twice the image's.
            labels = F.interpolate(labels, scale_factor=2, mode="nearest")[0].long()
            sample.gt_sem_seg = PixelData(data=labels)
            return {"inputs": batch["inputs"][0], "data_samples": sample}

    model = tiny.build()
    ((images, labels),) = known_batches(model, Images(), [0])
    expected = tiny.batch(1, size=(30, 44), outliers=False)["data_samples"][0].gt_sem_seg.data
    assert images.shape[-2:] == labels.shape[-2:] == (32, 48)
    assert torch.equal(labels[:, :30, :44], expected)
    assert (labels[:, 30:] == 255).all()
    assert (labels[:, :, 44:] == 255).all()


def test_crops_of_different_sizes_go_through_one_by_one():
    """mmseg's training pipelines leave small images smaller than the crop."""

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            size = (30, 44) if index == 1 else (32, 48)
            batch = tiny.batch(1, size=size, seed=index, outliers=False)
            return {"inputs": batch["inputs"][0], "data_samples": batch["data_samples"][0]}

    model, images = tiny.build(), Images()
    together = list(known_batches(model, images, range(3), batch_size=3))
    alone = [pair for index in (0, 2, 1) for pair in known_batches(model, images, [index])]
    assert [len(images) for images, _ in together] == [2, 1]
    for part in (0, 1):
        torch.testing.assert_close(
            torch.cat([pair[part] for pair in together]), torch.cat([pair[part] for pair in alone])
        )


def test_colour_labels_are_refused():
    """mmseg's own loader lets a label image of three channels pass."""
    batch = tiny.batch(1, outliers=False)
    (sample,) = batch["data_samples"]
    sample.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data[0, ..., None].repeat(1, 1, 3))
    images = [{"inputs": batch["inputs"][0], "data_samples": sample}]
    with pytest.raises(ValueError, match=r"gt_sem_seg.*\(1, H, W\).*LoadCheckedLabels"):
        list(known_batches(tiny.build(), images, [0]))


def test_a_method_with_too_little_data_is_named_and_others_are_fitted(scenes):
    fitters = {
        "good": MeanFitter((PENULTIMATE,), 1),
        "greedy": MeanFitter(("backbone",), 10**9),
    }
    found = fit(tiny.build(num_classes=19), scenes, fitters=fitters)
    assert list(found.statistics) == ["good"]
    assert found.failures == {"greedy": "at least 1000000000 pixels are needed"}


def test_bad_data_is_refused(scenes):
    model = tiny.build(num_classes=5)
    with pytest.raises(ValueError, match=r"labels.*0\.\.4, 254 "):
        fit_statistics(
            network_of(model),
            known_batches(model, scenes_of(scenes), range(2)),
            {"a": MeanFitter((PENULTIMATE,), 1)},
            num_classes=5,
        )
    with pytest.raises(ValueError, match="known class"):
        fit_statistics(network_of(model), iter(()), {}, num_classes=5)
    with pytest.raises(ValueError, match="1 to 7, got 8"):
        chosen_positions(7, 8, 0)


def test_choice_of_images_is_seeded():
    assert chosen_positions(9, None, 0) == list(range(9))
    chosen = chosen_positions(100, 5, 3)
    assert len(set(chosen)) == 5
    assert chosen == sorted(chosen) == chosen_positions(100, 5, 3)
    assert chosen != chosen_positions(100, 5, 4)


def test_a_mix_gives_its_parts(scenes):
    clean, pasted = scenes_of(scenes, probability=0.0), scenes_of(scenes)
    mix = SeededSamples(OutlierMix(clean, pasted, num_pasted=1), 5)
    assert stream(mix, 0, pasted=True).dataset is pasted
    assert stream(mix, 0, pasted=False).dataset is clean


def _fit_on_rank(rank, world_size, root, out):
    with process_group(rank, world_size, out):
        init_default_scope("mmseg")
        found = fit(tiny.build(num_classes=19), root, fitters=real_fitters())
        torch.save(saved(found), f"{out}/{rank}.pt")


def real_fitters():
    """Every fitted method, the flow in small."""
    from ood_seg.detectors import FITTED
    from ood_seg.engine.fitting import make_fitters

    options = {"flow": {"steps": 5, "couplings": 2, "hidden": 8}} if "flow" in FITTED else {}
    return make_fitters(["all"], {}, options)


def saved(found):
    tensors = {
        f"{name}/{key}": value
        for name, one in found.statistics.items()
        for key, value in one.tensors.items()
    }
    return {"pixels": torch.tensor(found.pixels), **tensors}


def test_two_processes_give_the_statistics_of_one(scenes, tmp_path):
    # An odd number of known scenes, so that the second process has the first pasted one.
    whole = fit(tiny.build(num_classes=19), scenes, fitters=real_fitters())
    assert not whole.failures
    expected = saved(whole)
    run_on_ranks(_fit_on_rank, 2, scenes, tmp_path)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_all_leaves_out_what_needs_layers_or_outliers():
    from ood_seg.detectors import FITTED
    from ood_seg.engine.fitting import Fit, learns_from_outliers, make_fitters, weights_layers

    plain = make_fitters(["all"], {}, {})
    assert FITTED.keys() - plain.keys() == {"multi-mahalanobis"}
    assert not weights_layers(plain)
    layers = ("penultimate", "backbone.conv")
    assert make_fitters(["all"], {"layers": layers}, {})["multi-mahalanobis"].layers == layers
    assert "multi-mahalanobis" not in make_fitters(["all"], {"layers": layers[:1]}, {})
    named = make_fitters(["all"], {}, {}, {"multi-mahalanobis": {"layers": layers}})
    assert weights_layers(named)
    assert "multi-mahalanobis" in named
    # Named methods get their outliers, whatever else is fitted.
    assert learns_from_outliers(make_fitters(["weighted-energy", "react"], {}, {}))
    assert not learns_from_outliers(make_fitters(["react", "mahalanobis"], {}, {}))
    with pytest.raises(ValueError, match=r"\b2 layers.*\[\].*--layers"):
        make_fitters(["multi-mahalanobis"], {}, {})
    found = Fit(left_out=("multi-mahalanobis", "weighted-energy"))
    assert any("multi-mahalanobis, weighted-energy" in line for line in found.summary())
    with pytest.raises(ValueError, match=r"'gram' for dense networks.*gmm"):
        make_fitters(["gram"], {}, {})
