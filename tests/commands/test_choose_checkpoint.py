"""`ood-seg choose-checkpoint`: selection on some sets, report on others that share no image."""

import json

import pytest

pytest.importorskip("mmseg")
from tiny_job import write_weights

from ood_seg.commands import main
from ood_seg.engine.selection import best_of, mean_of


@pytest.fixture
def candidates(job, tmp_path):
    return [
        str(write_weights(job.config, tmp_path / f"seed{seed}.pth", seed=seed)) for seed in (1, 2)
    ]


def choose(job, work_dir, candidates, select, report, *extra):
    return main(
        ["choose-checkpoint", str(job.config), *candidates, "--select-on", *select,
         "--report-on", *report, "--work-dir", str(work_dir), *extra]
    )  # fmt: skip


def test_better_one_is_reported_on_the_other_half(job, tmp_path, candidates, capsys):
    halves = ["anomalies:first-half"], ["anomalies:second-half", "street:second-half"]
    assert choose(job, tmp_path, candidates, *halves) == 0
    content = json.loads((tmp_path / "selection.json").read_text())
    values = {one["checkpoint"]: one["value"] for one in content["candidates"]}
    assert content["chosen"] == max(values, key=values.get)
    assert len(set(values.values())) == 2
    # The reported numbers are those of a plain test of the chosen one on that half.
    last = '--cfg-options test_dataloader.anomalies.dataset.indices="[1,2]"'.replace(
        '"', ""
    ).split()
    test_dir = tmp_path / "test"
    arguments = [str(job.config), content["chosen"], "--work-dir", str(test_dir), *last]
    assert main(["test", *arguments, "--sets", "anomalies"]) == 0
    alone = json.loads((test_dir / "metrics.json").read_text())["sets"]["anomalies"]["metrics"]
    assert content["report"]["anomalies second-half"]["anomaly/ap"] == alone["anomaly/ap"]
    assert "chosen" in capsys.readouterr().out


def test_first_images_of_each_set(job, tmp_path, candidates):
    sets = ["anomalies:second-half"], ["street:first-half"]
    assert choose(job, tmp_path / "few", candidates, *sets, "--num-images", "1") == 0
    few = json.loads((tmp_path / "few" / "selection.json").read_text())
    assert few["num_images"] == 1
    one = '--cfg-options test_dataloader.anomalies.dataset.indices="[1,]"'.replace('"', "").split()
    arguments = [str(job.config), candidates[0], "--work-dir", str(tmp_path / "test"), *one]
    assert main(["test", *arguments, "--sets", "anomalies"]) == 0
    content = json.loads((tmp_path / "test" / "metrics.json").read_text())["sets"]["anomalies"]
    assert content["images"] == 1
    candidate = few["candidates"][0]["sets"]["anomalies second-half"]
    assert candidate["anomaly/ap"] == content["metrics"]["anomaly/ap"]

    limited = ["--num-images", "2", "--work-dir", str(tmp_path / "two")]
    assert main(["test", str(job.config), candidates[0], *limited]) == 0
    sets = json.loads((tmp_path / "two" / "metrics.json").read_text())["sets"]
    assert {name: one["images"] for name, one in sets.items()} == {"anomalies": 2, "street": 2}
    assert main(["test", str(job.config), candidates[0], "--num-images", "0"]) == 2


@pytest.mark.parametrize(
    ("select", "report", "named"),
    [
        (
            ["anomalies"],
            ["anomalies:second-half"],
            ["anomalies second-half", "2 images"],
        ),
        (["anomalies"], ["street"], ["anomalies", "street", "3 images"]),
        (["none"], ["street"], ["'none'", "anomalies, street"]),
        (["anomalies:third"], ["street"], ["'third'", "first-half, second-half"]),
        (["anomalies", "anomalies"], ["street"], ["once", "anomalies, anomalies"]),
        (["street:first-half"], ["anomalies:second-half"], ["'anomaly/ap'", "mIoU"]),
    ],
)
def test_refused_arguments_are_named(job, tmp_path, candidates, capsys, select, report, named):
    assert choose(job, tmp_path, candidates, select, report) == 2
    message = " ".join(capsys.readouterr().err.split())
    for words in named:
        assert words in message
    assert not (tmp_path / "selection.json").exists()


def test_one_checkpoint_under_two_names_is_refused(job, tmp_path, candidates, capsys):
    folder, _, name = candidates[0].rpartition("/")
    twice = [candidates[0], f"{folder}/../{tmp_path.name}/{name}"]
    assert choose(job, tmp_path, twice, ["anomalies:first-half"], ["street:second-half"]) == 2
    message = capsys.readouterr().err
    for path in twice:
        assert path in message


def test_direction_of_the_metric():
    values = {"a": 1.0, "b": 3.0, "c": 3.0}
    assert best_of(values, "anomaly/ap") == "b"
    assert best_of(values, "mIoU") == "b"
    assert best_of(values, "anomaly/fpr95") == "a"


def test_mean_over_sets_and_undefined_values():
    assert mean_of({"x": {"m": 1.0}, "y": {"m": 4.0}}, "m") == 2.5
    with pytest.raises(ValueError, match="undefined"):
        mean_of({"x": {"m": float("nan")}}, "m")
