"""Two gloo processes give the metrics of one, although the sampler pads an odd image count."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from evaluation_samples import CLASSES, random_samples
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmseg.evaluation.metrics import IoUMetric
from process_group import process_group, run_on_ranks

from ood_seg.evaluation import AnomalyMetric, KnownIoUMetric

NUM_IMAGES = 5
COMPONENTS = {"threshold": 1.0, "track": (3, 2)}
# Valid pixels of the images 0, 2 and 4, more than those of 1 and 3: no process alone goes beyond.
BIGGER_SHARE = sum(
    int((sample.gt_sem_seg.data != 255).sum()) for sample in random_samples(NUM_IMAGES)[::2]
)


def evaluate(size: int = NUM_IMAGES, **options) -> dict[str, float]:
    """What this process's evaluator reports; each process sees its share of the images."""
    samples = random_samples(NUM_IMAGES)
    metric = AnomalyMetric(label_space="training", **options)
    evaluator = Evaluator(
        [
            metric,
            KnownIoUMetric(per_class_table=False, prefix="known"),
            IoUMetric(prefix="all"),
        ]
    )
    evaluator.dataset_meta = {"classes": CLASSES}
    for index in DefaultSampler(range(NUM_IMAGES), shuffle=False):
        evaluator.process([samples[index]])
    result = evaluator.evaluate(size)
    result["streams"] = metric.mode_used == "streaming"
    return {name: float(value) for name, value in result.items()}


def run_rank(rank: int, folder: str) -> None:
    """Entry of one process."""
    os.chdir(folder)  # mmengine exchanges results by files below the working directory
    with process_group(rank, 2, folder):
        results = {
            "exact": evaluate(output_dir="maps", collect_dir="collected"),
            "padded": evaluate(size=NUM_IMAGES + 1),
            "streaming": evaluate(mode="streaming", components=COMPONENTS),
            "streaming padded": evaluate(mode="streaming", size=NUM_IMAGES + 1),
            "auto": evaluate(memory=4 * BIGGER_SHARE),
        }
        Path(f"rank{rank}.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """Folder and results of both ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    run_on_ranks(run_rank, str(folder))
    return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_same_metrics_as_one_process_on_both_ranks(two_ranks):
    _, results = two_ranks
    expected = evaluate()
    assert len(expected) == 10
    assert [result["exact"] for result in results] == [expected, expected]


def test_the_padded_image_would_show(two_ranks):
    _, results = two_ranks
    assert results[0]["padded"]["anomaly/ap"] != results[0]["exact"]["anomaly/ap"]


def test_both_ranks_write_score_maps(two_ranks):
    folder, _ = two_ranks
    written = sorted(file.name for file in (folder / "maps").iterdir())
    assert written == [f"{index}.npy" for index in range(NUM_IMAGES)]


def test_streaming_gives_the_metrics_of_one_process(two_ranks):
    """Rounded scores fill a bin each, so streaming is exact here."""
    _, results = two_ranks
    expected = {**evaluate(components=COMPONENTS), "streams": 1.0}
    assert len(expected) == 13
    for result in results:
        assert result["streaming"] == pytest.approx(expected, abs=1e-9)
        assert result["streaming"] == results[0]["streaming"]
        assert result["streaming padded"]["anomaly/ap"] == pytest.approx(
            result["padded"]["anomaly/ap"], abs=1e-9
        )


def test_the_scores_of_all_processes_count_as_one_memory(two_ranks):
    _, results = two_ranks
    expected = {**evaluate(), "streams": 1.0}
    for result in results:
        assert result["auto"] == pytest.approx(expected, abs=1e-9)
