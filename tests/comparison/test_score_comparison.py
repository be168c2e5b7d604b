"""Counting many scores: exact numbers, resuming after a kill, failures by name."""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ood_seg.comparison.counts import ScoreCounts
from ood_seg.comparison.measuring import Cost, measured
from ood_seg.comparison.ready_made import READY_MADE, check_name, ready_made
from ood_seg.comparison.score_comparison import ScoreComparison
from ood_seg.comparison.sources import Scored
from ood_seg.metrics import pixel_metrics

SIZE = (13, 17)


def labels_of(index):
    labels = np.random.default_rng(index).choice([0, 1, 255], SIZE, p=[0.7, 0.2, 0.1])
    return torch.as_tensor(labels.astype(np.uint8))


def scores_of(name, index):
    noise = np.random.default_rng([index, len(name)]).normal(size=SIZE)
    return (noise + len(name) / 10 * (labels_of(index).numpy() == 1)).astype(np.float32)


class Source:
    """Known scores; records what it was asked for."""

    def __init__(self, *names, broken=()):
        self.names, self.broken, self.asked = names, broken, []

    def scores(self, batch, names, *, memory):
        index = batch["index"]
        self.asked.append((index, tuple(names), memory))
        for name in names:
            if (name, index) in self.broken:
                yield Scored(name, None, failure="it broke")
            else:
                yield Scored(name, scores_of(name, index), Cost(0.5, 7 if memory else None))


class Store:
    """Keeps states as a file would."""

    def __init__(self):
        self.states = {}

    def load(self, name):
        return ScoreCounts.from_state(self.states[name]) if name in self.states else None

    def save(self, name, counts):
        self.states[name] = {key: value.copy() for key, value in counts.state().items()}


def batches(start, stop):
    for index in range(start, stop):
        yield {"index": index, "data_samples": [SimpleNamespace(img_path=f"{index}.png")]}


def comparison(*sources, **options):
    return ScoreComparison(sources, lambda batch: labels_of(batch["index"]), **options)


def expected(name, images=5):
    scores = np.stack([scores_of(name, k) for k in range(images)])
    return pixel_metrics(scores, np.stack([labels_of(k) for k in range(images)]))


def assert_right(counts, name, images=5):
    described = counts.described()
    for metric, value in expected(name, images).items():
        entry = described["metrics"][metric]
        assert entry["value"] == pytest.approx(value, abs=1e-4)
        assert entry["bounds"][0] - 1e-9 <= value <= entry["bounds"][1] + 1e-9
    assert described["images"] == images


def test_metrics_are_those_of_all_pixels():
    found = comparison(Source("a", "bb"), Source("cccc"))
    assert list(found.run(batches(0, 5))) == list(range(5))
    for name, counts in found.counts.items():
        assert_right(counts, name)
        described = counts.described()
        assert described["seconds_per_image"] == 0.5
        assert described["memory"] == 7
    ignored = sum(int((labels_of(k) == 255).sum()) for k in range(5))
    assert counts.pixels()["ignored"] == ignored
    assert sum(counts.pixels().values()) == 5 * SIZE[0] * SIZE[1]


def test_an_interrupted_run_resumes_where_each_score_was():
    store, first = Store(), Source("a", "bb")
    running = comparison(first, store=store).run(batches(0, 5))
    for _ in range(3):
        next(running)
    running.close()
    assert {int(state["images"]) for state in store.states.values()} == {3}
    second, newcomer = Source("a", "bb"), Source("new")
    resumed = comparison(second, newcomer, store=store)
    assert resumed.start == 0
    list(resumed.run(batches(0, 5)))
    assert [index for index, *_ in second.asked] == [3, 4]
    assert [index for index, *_ in newcomer.asked] == [0, 1, 2, 3, 4]
    for name, counts in resumed.counts.items():
        assert_right(counts, name)
    finished = comparison(Source("a", "bb"), store=store)
    assert finished.start == 5
    assert list(finished.run(batches(5, 5))) == []
    assert_right(finished.counts["a"], "a")


def test_a_kill_loses_the_last_interval_at_most(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("ood_seg.comparison.score_comparison.time.monotonic", lambda: next(clock))
    store = Store()
    running = comparison(Source("a"), store=store, interval=20).run(batches(0, 5))
    for _ in range(4):
        next(running)
    assert store.states["a"]["images"] >= 2  # and nobody closed it
    counts = store.load("a")
    assert_right(counts, "a", images=counts.images)


def test_a_failure_is_named_by_image_and_loses_nothing_else():
    found = comparison(Source("a", "bb", broken=[("bb", 2)]))
    list(found.run(batches(0, 5)))
    assert found.failures == {"bb": "2.png: it broke"}
    assert found.counts["bb"].images == 2
    assert_right(found.counts["a"], "a")


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((4, 4), np.float32), "4x4 but the ground truth 13x17"),
        (np.full(SIZE, np.nan, np.float32), "NaN"),
    ],
)
def test_maps_that_cannot_be_scored_fail_by_name(scores, message):
    class Bad(Source):
        def scores(self, batch, names, *, memory):
            yield Scored("bad", scores)

    found = comparison(Bad("bad"), Source("a"))
    list(found.run(batches(0, 5)))
    assert message in found.failures["bad"]
    assert_right(found.counts["a"], "a")


def test_state_is_complete():
    counts = ScoreCounts()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = ScoreCounts.from_state(counts.state())
    assert again.memory is None
    counts.add(scores_of("a", 0), labels_of(0), Cost(0.25, 99))
    again = ScoreCounts.from_state(counts.state())
    assert (again.images, again.ignored, again.seconds, again.memory) == (
        1,
        counts.ignored,
        0.25,
        99,
    )
    assert again.described() == counts.described()


def test_memory_of_a_step():
    size = 64 * 2**20
    _, cost = measured(lambda: torch.ones(size // 4).sum(), torch.device("cpu"), memory=True)
    if cost.memory is not None:
        assert 0.9 * size < cost.memory < 1.5 * size
    _, cost = measured(lambda: None, torch.device("cpu"), memory=True)
    assert cost.memory is None or cost.memory < size // 8


def test_names():
    assert list(ready_made(["energy", "odin", "energy"])) == ["energy", "odin"]
    assert ready_made(["all"]) == {name: dict(config) for name, config in READY_MADE.items()}
    with pytest.raises(ValueError, match=r"'enrgy'.*: energy, "):
        ready_made(["enrgy"])
    assert check_name("energy_T=2") == "energy_T=2"
    for name in ("a/b", "", ".hidden", "a b"):
        with pytest.raises(ValueError, match=re.escape(f"got {name!r}")):
            check_name(name)
