"""`ood-seg benchmark`: one table of model scores and saved maps, and what it refuses."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config

from ood_seg.commands import main
from ood_seg.detectors import StatisticsFile
from ood_seg.io.map_origins import ORIGIN_FILE, MapOrigin

SCORES = ("max-softmax", "max-logit", "entropy", "energy", "odin")


def run_benchmark(job, out, *extra, weights=True):
    arguments = [str(job.config), *([str(job.weights)] if weights else [])]
    return main(["benchmark", *arguments, "--work-dir", str(out / "work"), "--out", str(out),
                 *map(str, extra)])  # fmt: skip


def content_of(folder):
    return json.loads((folder / "benchmark.json").read_text())


@pytest.fixture(scope="module")
def maps(job, tmp_path_factory):
    """What `ood-seg test --out` writes for the energy, and its report."""
    folder = tmp_path_factory.mktemp("maps")
    arguments = [str(job.config), str(job.weights), "--work-dir", str(folder / "work")]
    assert main(["test", *arguments, "--sets", "anomalies", "--out", str(folder / "maps")]) == 0
    report = json.loads((folder / "work" / "metrics.json").read_text())
    return folder / "maps", report["sets"]["anomalies"]["metrics"]


@pytest.fixture(scope="module")
def result(job, maps, tmp_path_factory):
    """Folder of a benchmark of several scores and of the energy's own maps."""
    out = tmp_path_factory.mktemp("benchmark")
    extra = ["--scores", *SCORES, "--score", 'hot={"type": "Energy", "temperature": 2.0}']
    assert run_benchmark(job, out, *extra, "--maps", f"foreign={maps[0]}") == 0
    return out


def test_numbers_are_those_of_test(result, maps):
    content = content_of(result)
    assert list(content["sets"]) == ["anomalies"]  # the other set has no masks
    scores = content["sets"]["anomalies"]["scores"]
    assert list(content["scores"]) == [*SCORES, "hot", "foreign"]
    assert scores.keys() == set(content["scores"])
    for metric in ("auroc", "ap", "fpr95"):
        expected = maps[1][f"anomaly/{metric}"] / 100
        for name in ("energy", "foreign"):
            entry = scores[name]["metrics"][metric]
            assert entry["value"] == pytest.approx(expected, abs=1e-4)
            assert entry["bounds"][0] - 1e-6 <= expected <= entry["bounds"][1] + 1e-6
    assert scores["energy"]["metrics"] != scores["entropy"]["metrics"]
    assert scores["foreign"]["seconds_per_image"] is None
    assert scores["energy"]["seconds_per_image"] > 0


def test_json_holds_the_provenance_of_the_numbers(result, job):
    content = content_of(result)
    assert content["schema"] == "ood_seg.benchmark/1"
    assert content["seed"] == 3
    assert content["protocol"]["name"] == "pooled"
    assert content["mode"] == "streaming"
    assert content["scores"]["hot"] == {"type": "Energy", "temperature": 2.0}
    assert content["model"]["checkpoint"] == str(job.weights)
    assert len(content["model"]["checkpoint_sha256"]) == 64
    one = content["sets"]["anomalies"]
    assert one["images"] == 3
    assert sum(one["pixels"].values()) == 3 * 37 * 53
    assert one["shared"]["images"] == 3
    assert content["failures"] == {}
    assert content["versions"]["torch"]


def test_the_table_comes_in_all_formats(result):
    energy = content_of(result)["sets"]["anomalies"]["scores"]["energy"]["metrics"]["ap"]["value"]
    for name in ("benchmark.md", "benchmark.tex"):
        text = (result / name).read_text()
        assert f"{100 * energy:.2f}" in text
        assert "foreign" in text
    rows = list(csv.DictReader((result / "benchmark.csv").open()))
    (row,) = [row for row in rows if row["score"] == "energy" and row["metric"] == "ap"]
    assert float(row["value"]) == energy
    assert row["images"] == "3"
    assert (result / "benchmark.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_run_reuses_the_first(result, job, maps, tmp_path, capsys):
    out = tmp_path / "again"
    shutil.copytree(result, out)
    (out / "benchmark.json").unlink()
    # The maps stay on disk; were they read again, this would fail.
    extra = ["--scores", "energy", "entropy", "--maps", f"foreign={maps[0]}"]
    assert run_benchmark(job, out, *extra) == 0
    content = content_of(out)
    assert content["sets"]["anomalies"]["shared"]["images"] == 0
    first = content_of(result)["sets"]["anomalies"]["scores"]
    for name, found in content["sets"]["anomalies"]["scores"].items():
        assert found["metrics"] == first[name]["metrics"]
    assert "energy" in capsys.readouterr().out
    # Another option makes another score of it.
    assert run_benchmark(job, out, "--scores", "energy", "--smoothing", "5", "1") == 0
    smoothed = content_of(out)
    assert smoothed["sets"]["anomalies"]["shared"]["images"] == 3
    assert (
        smoothed["sets"]["anomalies"]["scores"]["energy"]["metrics"] != first["energy"]["metrics"]
    )
    assert smoothed["smoothing"] == [5.0, 1.0]


def test_maps_alone_need_no_model(job, maps, tmp_path):
    turned = tmp_path / "turned"
    turned.mkdir()
    for path in (maps[0] / "anomalies").glob("*.npy"):
        np.save(turned / f"{path.stem}_scores.npy", -np.load(path))
    extra = ["--maps", f"plain={maps[0]}", f"turned={turned}", "--negate", "turned"]
    assert run_benchmark(job, tmp_path, *extra, weights=False) == 0
    content = content_of(tmp_path)
    assert content["model"] is None
    scores = content["sets"]["anomalies"]["scores"]
    assert scores["turned"]["metrics"] == scores["plain"]["metrics"]


def test_scores_that_fail_are_named_and_the_others_are_there(job, maps, tmp_path, capsys):
    small = tmp_path / "small"
    shutil.copytree(maps[0] / "anomalies", small)
    np.save(small / "1.npy", np.zeros((4, 4), np.float32))
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(maps[0] / "anomalies" / "0.npy", few)
    extra = ["--scores", "energy", "mahalanobis", "mc-dropout"]
    extra += ["--maps", f"small={small}", f"few={few}"]
    assert run_benchmark(job, tmp_path, *extra) == 1
    content = content_of(tmp_path)
    failures = content["failures"]
    assert failures.keys() == {"mahalanobis", "mc-dropout", "small", "few"} - (
        set() if "mc-dropout" in failures else {"mc-dropout"}
    )
    assert "needs --statistics FILE; `ood-seg fit" in failures["mahalanobis"]
    assert "1.npy" in failures["small"] or "1.png" in failures["small"]
    assert "4x4" in failures["small"]
    assert "no score map for 2 of 3 images" in failures["few"]
    assert "energy" in content["sets"]["anomalies"]["scores"]
    output = capsys.readouterr().out
    assert "not scored: few: anomalies:" in output
    assert "Not scored:" in (tmp_path / "benchmark.md").read_text()


def with_changed_scores(maps, folder, change):
    """A copy of the maps in which `change` was applied to the array of each."""
    shutil.copytree(maps[0] / "anomalies", folder)
    for path in folder.glob("*.npy"):
        np.save(path, change(np.load(path)))
    return folder


def nan_in(row):
    def change(scores):
        scores[row, 3] = np.nan
        return scores

    return change


def test_scores_of_ignored_pixels_may_be_nan(job, maps, tmp_path):
    config, data = tmp_path / "ignored.py", tmp_path / "data"
    shutil.copytree(job.folder / "images", data / "images")
    shutil.copytree(job.folder / "masks", data / "masks")
    for path in (data / "masks").iterdir():
        mask = cv2.imread(str(path), 0)
        mask[:5] = 255
        cv2.imwrite(str(path), mask)
    config.write_text(
        f"_base_ = {str(job.config)!r}\n"
        f"test_dataloader = dict(anomalies=dict(dataset=dict(data_root={str(data)!r})))\n"
    )
    folders = {
        "whole": with_changed_scores(maps, tmp_path / "whole", lambda scores: scores),
        "holes": with_changed_scores(maps, tmp_path / "holes", nan_in(2)),
        "bad": with_changed_scores(maps, tmp_path / "bad", nan_in(7)),
    }
    extra = [f"{name}={folder}" for name, folder in folders.items()]
    arguments = ["benchmark", str(config), "--work-dir", str(tmp_path / "work")]
    assert main([*arguments, "--out", str(tmp_path), "--maps", *extra]) == 1
    content = content_of(tmp_path)
    assert content["failures"].keys() == {"bad"}
    assert "bad/0.npy" in content["failures"]["bad"]
    assert "1 NaN" in content["failures"]["bad"]
    scores = content["sets"]["anomalies"]["scores"]
    assert scores["holes"]["metrics"] == scores["whole"]["metrics"]


def test_the_model_of_the_maps_is_recorded(result, job):
    recorded = content_of(result)["maps"]["foreign"]
    assert recorded["score"] == "Energy"
    assert recorded["model"] == str(job.weights)
    assert recorded["checkpoint_sha256"] == hashlib.sha256(job.weights.read_bytes()).hexdigest()


def test_maps_of_two_models_are_not_one_row(job, maps, tmp_path):
    config, both = tmp_path / "two.py", tmp_path / "both"
    config.write_text(
        f"_base_ = {str(job.config)!r}\n"
        "test_dataloader = dict(others={{_base_.test_dataloader.anomalies}})\n"
        "test_evaluator = dict(others={{_base_.test_evaluator.anomalies}})\n"
    )
    for name in ("anomalies", "others"):
        shutil.copytree(maps[0] / "anomalies", both / name)
    arguments = ["benchmark", str(config), "--work-dir", str(tmp_path / "work"), "--out"]
    arguments += [str(tmp_path), "--maps", f"mine={both}"]
    assert main(arguments) == 0
    MapOrigin("Energy", "other.pth", "f" * 64).write(both / "others")
    assert main(arguments) == 1
    content = content_of(tmp_path)
    for named in ("others: ", str(job.weights), "other.pth"):
        assert named in content["failures"]["mine"]
    assert "mine" in content["sets"]["anomalies"]["scores"]
    (both / "others" / ORIGIN_FILE).write_text('{"schema": 7}')
    assert main(arguments) == 1
    assert ORIGIN_FILE in content_of(tmp_path)["failures"]["mine"]


def test_where_every_score_of_a_set_fails_there_is_a_table_with_the_reasons(
    job, maps, tmp_path, capsys
):
    broken = tmp_path / "broken"
    shutil.copytree(maps[0] / "anomalies", broken)
    for path in broken.iterdir():
        np.save(path, np.full((4, 4), np.nan, np.float32))
    extra = ["--maps", f"broken={broken}", f"absent={tmp_path / 'absent'}"]
    assert run_benchmark(job, tmp_path, *extra) == 1
    output = capsys.readouterr()
    assert "Traceback" not in output.err
    assert "not scored: absent: anomalies:" in output.out
    assert "not scored: broken: anomalies:" in output.out
    content = content_of(tmp_path)
    assert content["failures"].keys() == {"broken", "absent"}
    assert content["sets"]["anomalies"]["scores"] == {}
    assert "| broken | - |" in (tmp_path / "benchmark.md").read_text()
    assert (tmp_path / "benchmark.png").is_file()


def test_an_output_that_cannot_be_written_ends_it_before_the_work(job, maps, tmp_path, capsys):
    (tmp_path / "file").touch()
    extra = ["--maps", f"plain={maps[0]}"]
    assert run_benchmark(job, tmp_path / "file", *extra) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_of_all_scores_those_that_the_model_does_not_have_are_left_out(job, tmp_path, capsys):
    assert run_benchmark(job, tmp_path, "--sets", "anomalies", "--num-images", "1") == 0
    output = capsys.readouterr().out
    (line,) = [line for line in output.splitlines() if "needs --statistics" in line]
    assert line.startswith("not scored: ")
    names = line.removeprefix("not scored: ").partition(": needs")[0].split(", ")
    assert {"sml", "mahalanobis", "knn", "vim", "react"} <= set(names)
    assert set(names) <= content_of(tmp_path)["failures"].keys()
    assert run_benchmark(job, tmp_path, "--num-images", "1", "--scores", "energy", "sml") == 1


def test_fitted_scores_take_the_statistics(job, tmp_path):
    stats = tmp_path / "tiny.stats"
    arguments = [
        str(job.config),
        str(job.weights),
        "--work-dir",
        str(tmp_path),
        "--out",
        str(stats),
    ]
    assert main(["fit", *arguments, "--data", "street", "--methods", "sml", "mahalanobis"]) == 0
    extra = ["--scores", "sml", "mahalanobis", "--statistics", stats]
    assert run_benchmark(job, tmp_path, *extra) == 0
    scores = content_of(tmp_path)["sets"]["anomalies"]["scores"]
    config = Config.fromfile(job.config)
    config.model["energy_head"] = {
        "type": "EnergyHead",
        "score": {"type": "StandardizedMaxLogit", "statistics": str(stats)},
    }
    config.dump(tmp_path / "sml.py")
    arguments = [str(tmp_path / "sml.py"), str(job.weights), "--work-dir", str(tmp_path / "test")]
    assert main(["test", *arguments, "--sets", "anomalies"]) == 0
    report = json.loads((tmp_path / "test" / "metrics.json").read_text())
    expected = report["sets"]["anomalies"]["metrics"]["anomaly/auroc"] / 100
    assert scores["sml"]["metrics"]["auroc"]["value"] == pytest.approx(expected, abs=1e-4)


def test_what_a_score_depends_on_may_change_under_its_name(job, tmp_path):
    """Statistics fitted again, another member, another preprocessing: nothing stale comes back."""
    stats, member = tmp_path / "tiny.stats", tmp_path / "member.pth"
    common = ["--work-dir", str(tmp_path), "--data", "street", "--methods", "sml"]
    assert main(["fit", str(job.config), str(job.weights), *common, "--file", str(stats)]) == 0
    weights = torch.load(job.weights, weights_only=True)
    torch.save(weights, member)
    config = json.dumps({"type": "DeepEnsemble", "checkpoints": [str(member)], "score": "energy"})
    extra = ["--scores", "sml", "energy", "--score", f"ensemble={config}", "--statistics", stats]

    def metrics(*more):
        assert run_benchmark(job, tmp_path, *extra, *more) == 0
        scores = content_of(tmp_path)["sets"]["anomalies"]["scores"]
        return {name: one["metrics"]["auroc"]["value"] for name, one in scores.items()}

    first = metrics()
    found = StatisticsFile.load(stats)
    mean = found.methods["sml"].tensors["mean"]
    mean += 5 * torch.arange(len(mean))
    found.save(stats)
    name = "decode_head.conv_seg.bias"
    state = weights.get("state_dict", weights)
    torch.save({**state, name: state[name] + torch.tensor([3.0, -3.0, 0.0])}, member)
    second = metrics()
    assert second["sml"] != first["sml"]
    assert second["ensemble"] != first["ensemble"]
    assert second["energy"] == first["energy"]
    assert content_of(tmp_path)["sets"]["anomalies"]["shared"]["images"] == 3
    other = metrics("--cfg-options", "model.data_preprocessor.std=100.0,200.0,300.0")
    assert other["energy"] != first["energy"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--scores", "enrgy"], "'enrgy' is not ready-made (did you mean 'energy'"),
        (["--score", "a=Energy"], 'expected NAME={"type": ...} with JSON'),
        (["--score", 'a={"type": "Enrgy"}'], "'Enrgy'"),
        (["--scores", "energy", "--score", 'energy={"type": "Energy"}'], "'energy' is taken"),
        (["--maps", "folder"], "expected NAME=DIR, got 'folder'"),
        (["--maps", "a=b", "--negate", "c"], "(a), got 'c'"),
        (["--sets", "street"], "no test set street"),
        (["--num-images", "0"], "num_images must be positive, got 0"),
        (["--scores", "mahalanobis"], "no score can be computed: mahalanobis: needs --statistics"),
    ],
)
def test_bad_arguments_are_refused(job, tmp_path, capsys, extra, message):
    assert run_benchmark(job, tmp_path, *extra) == 2
    assert message in capsys.readouterr().err


def test_there_is_no_launcher_for_what_runs_in_one_process(job, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_benchmark(job, tmp_path, "--launcher", "pytorch")
    assert "unrecognized arguments: --launcher" in capsys.readouterr().err


def test_refined_rows_stand_after_those_of_their_scores(job, maps, tmp_path):
    options = ("--scores", "energy", "--maps", f"saved={maps[0]}", "--refine", "segments,across=4")
    assert run_benchmark(job, tmp_path, *options) == 0
    content = json.loads((tmp_path / "benchmark.json").read_text())
    names = [f"{name}{end}" for name in ("energy", "saved") for end in ("", "+segments(across=4)")]
    assert list(content["scores"]) == names
    for one in content["sets"].values():
        assert set(one["scores"]) == set(names)
    assert (tmp_path / "benchmark.png").is_file()
    # Without a model there are no labels: the refined row fails alone.
    alone = ("--maps", f"saved={maps[0]}", "--refine", "slivers")
    assert run_benchmark(job, tmp_path / "alone", *alone, weights=False) == 1
    content = json.loads((tmp_path / "alone" / "benchmark.json").read_text())
    assert list(content["failures"]) == ["saved+slivers"]
    assert "slivers needs the labels" in content["failures"]["saved+slivers"]
