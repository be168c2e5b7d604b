"""The published mix: exact counts, redrawn in each epoch, a function of the seed."""

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from ood_seg.datasets import OutlierMix, SeededSamples, StreamSampler


class Scenes(torch.utils.data.Dataset):
    """Scenes that say their kind and number, and what numpy's generator drew for them."""

    metainfo = {"classes": ("road",)}  # noqa: RUF012

    def __init__(self, kind, length):
        self.kind, self.length = kind, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.kind, index, np.random.randint(10**6)


def mix(num_pasted=6, seed=3):
    clean, pasted = Scenes("clean", 20), Scenes("pasted", 15)
    return SeededSamples(OutlierMix(clean, pasted, num_pasted), seed=seed)


def epochs(stream, count=3):
    length = len(stream)
    return [[stream[n] for n in range(e * length, (e + 1) * length)] for e in range(count)]


def test_every_epoch_has_each_clean_scene_once_and_exactly_so_many_pasted_ones():
    for epoch in epochs(mix(), 5):
        assert sorted(index for kind, index, _ in epoch if kind == "clean") == list(range(20))
        assert sum(kind == "pasted" for kind, *_ in epoch) == 6


def test_scenes_and_objects_are_redrawn_each_epoch_and_shuffled_together():
    runs = epochs(mix())
    pasted = [[sample[1:] for sample in epoch if sample[0] == "pasted"] for epoch in runs]
    assert len({draw for epoch in pasted for _, draw in epoch}) == 18  # objects
    assert len({tuple(scene for scene, _ in epoch) for epoch in pasted}) == 3  # scenes
    places = [[n for n, sample in enumerate(epoch) if sample[0] == "pasted"] for epoch in runs]
    assert len({tuple(place) for place in places}) == 3
    assert min(map(min, places)) < 13 <= max(map(max, places))


def test_pasted_scenes_are_uniform_over_their_data_set():
    stream = SeededSamples(OutlierMix(Scenes("clean", 1), Scenes("pasted", 5), 99), seed=0)
    scenes = [index for epoch in epochs(stream, 5) for kind, index, _ in epoch if kind == "pasted"]
    counts = np.bincount(scenes)
    assert counts.sum() == 495
    assert 70 <= counts.min() <= counts.max() <= 130  # 99 each


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_with_any_number_of_workers_equals_uninterrupted(workers):
    stream = mix()
    expected = [stream[n] for n in range(20, 60)]  # from the first epoch into the third
    sampler = StreamSampler(stream, seed=0)
    sampler.skip(20)
    loader = DataLoader(
        stream, batch_size=4, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate
    )
    batches = iter(loader)
    found = [sample for _ in range(10) for sample in zip(*next(batches), strict=True)]
    assert found == expected
    assert mix(seed=4)[20] != expected[0]


def test_the_published_epoch_is_409_batches_of_8():
    dataset = OutlierMix(Scenes("clean", 2975), Scenes("pasted", 2975), num_pasted=297)
    assert len(dataset) == 409 * 8


def test_none_pasted_is_the_clean_set():
    dataset = OutlierMix(Scenes("clean", 4), Scenes("pasted", 4), num_pasted=0)
    assert len(dataset) == 4
    assert dataset.metainfo == {"classes": ("road",)}


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"num_pasted .*-1"):
        OutlierMix(Scenes("clean", 4), Scenes("pasted", 4), num_pasted=-1)
    other = Scenes("pasted", 4)
    other.metainfo = {"classes": ("sky",)}
    with pytest.raises(ValueError, match="classes"):
        OutlierMix(Scenes("clean", 4), other, num_pasted=1)
    for index in (-1, 6):
        with pytest.raises(IndexError, match=f"sample {index} of a mix of 6"):
            OutlierMix(Scenes("clean", 4), Scenes("pasted", 4), num_pasted=2)[index]
