"""The seeded stream: a sample depends on seed and position, and on nothing else."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from ood_seg.datasets import SeededSamples, StreamSampler


class Noisy(torch.utils.data.Dataset):
    """Ten samples that say which they are and draw from every global generator."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(1).item()


def test_a_sample_depends_on_seed_and_position_alone():
    stream = SeededSamples(Noisy(), seed=4)
    first = [stream[n] for n in range(25)]
    again = SeededSamples(Noisy(), seed=4)
    assert [again[n] for n in reversed(range(25))] == first[::-1]
    assert SeededSamples(Noisy(), seed=5)[0] != first[0]


def test_every_epoch_is_another_permutation_with_other_draws():
    stream = SeededSamples(Noisy(), seed=4)
    epochs = [[stream[n] for n in range(e * 10, e * 10 + 10)] for e in range(3)]
    orders = [[sample[0] for sample in epoch] for epoch in epochs]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    draws = {sample[k] for epoch in epochs for sample in epoch for k in (1, 2, 3)}
    assert len(draws) == 90


def test_global_generators_are_left_alone():
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    SeededSamples(Noisy(), seed=4)[3]
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


def test_seed_of_the_process_is_the_default():
    torch.manual_seed(123)
    torch.rand(3)
    assert SeededSamples(Noisy())[2] == SeededSamples(Noisy(), seed=123)[2]


def test_stream_can_be_sent_to_workers_that_are_not_forked():
    stream = SeededSamples(Noisy(), seed=4)
    received = pickle.loads(pickle.dumps(stream))
    assert [received[n] for n in range(25)] == [stream[n] for n in range(25)]


def test_a_copy_with_another_seed_has_an_order_of_its_own():
    other = copy.deepcopy(SeededSamples(Noisy(), seed=4))
    other.seed = 5
    assert [other[n] for n in range(10)] == [SeededSamples(Noisy(), seed=5)[n] for n in range(10)]


@pytest.mark.parametrize("workers", [0, 2])
def test_number_of_workers_and_skipping_change_nothing(workers):
    stream = SeededSamples(Noisy(), seed=4)
    expected = [stream[n] for n in range(8, 16)]
    sampler = StreamSampler(stream, seed=0)
    sampler.skip(8)
    loader = DataLoader(
        stream, batch_size=4, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate
    )
    batches = iter(loader)
    found = [list(zip(*next(batches), strict=True)) for _ in range(2)]
    assert [tuple(sample) for batch in found for sample in batch] == expected


def test_ranks_take_turns():
    positions = []
    for rank in range(2):
        sampler = StreamSampler(Noisy(), seed=0)
        sampler.rank, sampler.world_size = rank, 2
        sampler.indices = sampler._indices_of_rank()
        stream = iter(sampler)
        positions.append([next(stream) for _ in range(6)])
    assert positions == [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]


def test_metainfo_and_length_are_those_of_the_data_set():
    dataset = Noisy()
    dataset.metainfo = {"classes": ("a",)}
    stream = SeededSamples(dataset)
    assert len(stream) == 10
    assert stream.metainfo == {"classes": ("a",)}
