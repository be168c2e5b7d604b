"""`ood-seg calibrate` on saved maps."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip("rich")
pytest.importorskip("PIL")

from ood_seg.calibration import Calibration, calibrate, with_false_alarms
from ood_seg.calibration.files import to_content
from ood_seg.commands import main
from ood_seg.io.files import claimed
from ood_seg.io.map_origins import MapOrigin
from ood_seg.metrics import ScoreHistogram


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Twenty saved maps with ground truth, and the folder of both."""
    folder = tmp_path_factory.mktemp("maps")
    rng = np.random.default_rng(0)
    images = []
    for name in ("scores", "truth"):
        (folder / name).mkdir()
    for index in range(20):
        labels = np.zeros((20, 30), np.uint8)
        labels[4:9, 5:14] = 1
        labels[-2:] = 255
        scores = (rng.normal(size=labels.shape) - 9 + 3 * (labels == 1)).astype(np.float32)
        np.save(folder / "scores" / f"{index:02d}.npy", scores)
        cv2.imwrite(str(folder / "truth" / f"{index:02d}.png"), labels)
        images.append((scores, labels))
    return folder, images


def run(folder, out, *options) -> int:
    paths = [folder / "scores", folder / "truth", "--file", out, "--score", "Energy"]
    return main(["calibrate", *map(str, paths), *map(str, options)])


def test_two_runs_with_one_output_are_refused(maps, tmp_path, capsys):
    with claimed(tmp_path / "c.json"):
        assert run(maps[0], tmp_path / "c.json") == 2
    assert f"{tmp_path / 'c.json'} is being written" in capsys.readouterr().err
    assert run(maps[0], tmp_path / "c.json") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


class TestModelOfTheMaps:
    """`provenance.json` beside the maps, as `ood-seg test --out` writes it."""

    @pytest.fixture
    def recorded(self, maps, tmp_path):
        shutil.copytree(maps[0], tmp_path / "copy")
        (tmp_path / "net.pth").write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        MapOrigin("Energy", "runs/net.pth", digest).write(tmp_path / "copy" / "scores")
        return tmp_path / "copy", digest

    def calibrate(self, folder, out, *options):
        paths = [folder / "scores", folder / "truth", "--file", out]
        return main(["calibrate", *map(str, paths), *map(str, options)])

    def test_it_is_kept(self, recorded, tmp_path, capsys):
        assert self.calibrate(recorded[0], tmp_path / "c.json") == 0
        made = Calibration.load(tmp_path / "c.json", score="Energy")
        assert (made.model, made.checkpoint_sha256) == ("runs/net.pth", recorded[1])
        assert "model is not recorded" not in capsys.readouterr().out

    def test_the_same_checkpoint_under_another_name_is_accepted(self, recorded, tmp_path):
        options = ["--checkpoint", tmp_path / "net.pth", "--method", "net"]
        assert self.calibrate(recorded[0], tmp_path / "c.json", *options) == 0
        made = Calibration.load(tmp_path / "c.json")
        assert (made.model, made.checkpoint_sha256) == ("net", recorded[1])

    def test_another_checkpoint_is_refused_with_both_names(self, recorded, tmp_path, capsys):
        other = tmp_path / "other.pth"
        other.write_bytes(b"others")
        digest = hashlib.sha256(b"others").hexdigest()
        assert self.calibrate(recorded[0], tmp_path / "c.json", "--checkpoint", other) == 2
        (line, _) = capsys.readouterr().err.strip().splitlines()
        for text in ("runs/net.pth", recorded[1][:12], "other.pth", digest[:12]):
            assert text in line
        options = ["--checkpoint", other, "--allow-other-model"]
        assert self.calibrate(recorded[0], tmp_path / "c.json", *options) == 0
        assert Calibration.load(tmp_path / "c.json").checkpoint_sha256 == digest

    def test_another_score_is_refused_with_both_names(self, recorded, tmp_path, capsys):
        assert self.calibrate(recorded[0], tmp_path / "c.json", "--score", "Entropy") == 2
        error = capsys.readouterr().err
        assert "'Energy'" in error
        assert "'Entropy'" in error
        options = ["--score", "Entropy", "--allow-other-model"]
        assert self.calibrate(recorded[0], tmp_path / "c.json", *options) == 0
        assert Calibration.load(tmp_path / "c.json").score == "Entropy"

    def test_maps_of_unknown_origin_have_a_note(self, maps, tmp_path, capsys):
        assert run(maps[0], tmp_path / "c.json") == 0
        assert "model is not recorded" in re.sub(r"\s+", " ", capsys.readouterr().out)
        assert self.calibrate(maps[0], tmp_path / "d.json") == 2
        assert "--score Energy" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("entry", "value"),
        [("schema", "x/1"), ("score", None), ("model", 3), ("checkpoint_sha256", ["a"])],
    )
    def test_a_damaged_sidecar_is_refused(self, recorded, tmp_path, capsys, entry, value):
        path = recorded[0] / "scores" / "provenance.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), entry: value}))
        assert self.calibrate(recorded[0], tmp_path / "c.json") == 2
        error = capsys.readouterr().err
        assert str(path) in error
        assert entry in error


def test_a_full_disk_or_an_impossible_output_is_one_line(maps, tmp_path, capsys, monkeypatch):
    folder, _ = maps
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "file" / "c.json", tmp_path / "folder", tmp_path / ("x" * 5000)):
        assert run(folder, out, "--overwrite") == 2
        (line, _) = capsys.readouterr().err.strip().splitlines()
        assert str(out if out.name != "c.json" else out.parent) in line

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert run(folder, tmp_path / "new" / "c.json") == 2
    error = capsys.readouterr().err
    assert re.search(r"No space left on device.*c\.json", error)
    assert not list((tmp_path / "new").iterdir())


def test_the_file_is_what_the_library_makes(maps, tmp_path, capsys):
    folder, images = maps
    weights = tmp_path / "net.pth"
    weights.write_bytes(b"weights")
    options = ["--checkpoint", weights, "--data-set", "made up", "--min-area", "2"]
    assert run(folder, tmp_path / "c.json", *options, "--method", "net") == 0
    expected = calibrate(
        [ScoreHistogram.from_scores(*one) for one in images],
        score="Energy",
        data_set="made up",
        model="net",
        checkpoint_sha256=hashlib.sha256(b"weights").hexdigest(),
    )
    expected = with_false_alarms(expected, images, min_area=2)
    made = Calibration.load(tmp_path / "c.json", score="Energy")
    assert to_content(made) == to_content(expected)
    assert made.point("fpr 5%").false_alarms_per_image > 0
    printed = " ".join(capsys.readouterr().out.split())
    for part in ("fpr 1%", "conformal fpr 5%", "20 images", "held-out halves", "written:"):
        assert part in printed


def test_options_reach_the_fit(maps, tmp_path):
    options = ["--fit-curve", "isotonic", "--prior", "0.01", "--points", "tpr-90%", "best f1"]
    assert run(maps[0], tmp_path / "c.json", *options) == 0
    made = Calibration.load(tmp_path / "c.json")
    assert (made.method, made.assumed_prior) == ("isotonic", 0.01)
    assert list(made.operating_points) == ["tpr 90%", "best f1"]


def test_the_former_name_of_the_curve_is_taken_with_a_note(maps, tmp_path, capsys):
    assert run(maps[0], tmp_path / "c.json", "--fit", "isotonic") == 0
    assert "--fit-curve" in capsys.readouterr().err
    assert Calibration.load(tmp_path / "c.json").method == "isotonic"


def test_known_pixels_alone_give_points_by_fpr(maps, tmp_path, capsys):
    folder, _ = maps
    (tmp_path / "scores").symlink_to(folder / "scores")
    (tmp_path / "truth").mkdir()
    for path in (folder / "truth").iterdir():
        cv2.imwrite(str(tmp_path / "truth" / path.name), 0 * cv2.imread(str(path), 0))
    assert run(tmp_path, tmp_path / "c.json") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "no probability" in printed
    assert "label mapping" in printed
    made = Calibration.load(tmp_path / "c.json")
    assert list(made.operating_points) == ["fpr 1%", "fpr 5%", "conformal fpr 5%"]
    assert made.point("fpr-1%").false_alarms_per_image is not None
    assert made.curve is None
    for options in (["--fit-curve", "platt"], ["--points", "tpr 95%"]):
        assert run(tmp_path, tmp_path / "d.json", *options) == 2
        assert "0 anomalous" in capsys.readouterr().err


def test_what_is_missing_is_a_note(maps, tmp_path, capsys):
    folder, _ = maps
    (tmp_path / "scores").mkdir()
    for index in range(6):
        name = f"scores/{index:02d}.npy"
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "truth").symlink_to(folder / "truth")
    assert run(tmp_path, tmp_path / "c.json", "--allow-missing") == 0
    printed = capsys.readouterr()
    assert re.search("note: .*'conformal fpr 5%': .* 19 images, got 6", printed.out)
    assert "note: left out: 14 ground truth files" in printed.out
    assert "Warning" not in printed.err


def test_bad_maps_are_named(maps, tmp_path, capsys):
    (tmp_path / "scores").mkdir()
    (tmp_path / "truth").mkdir()
    for name, scores in (("a", [[1.0, np.nan]]), ("b", [[1.0, 2.0, 3.0]])):
        np.save(tmp_path / "scores" / f"{name}.npy", np.float32(scores))
        cv2.imwrite(str(tmp_path / "truth" / f"{name}.png"), np.uint8([[0, 1]]))
    assert run(tmp_path, tmp_path / "c.json") == 2
    message = capsys.readouterr().err
    for part in ("a.npy", "1 NaN", "b.npy", "1x3"):
        assert part in message


def test_what_cannot_be_is_one_message(maps, tmp_path, capsys):
    folder, _ = maps
    out = tmp_path / "c.json"
    assert run(folder, out, "--points", "conformal fpr 1%") == 2
    assert "it takes at least 99" in capsys.readouterr().err
    assert run(folder, out, "--negate") == 2
    assert "are the scores inverted" in capsys.readouterr().err
    assert run(folder, out, "--checkpoint", tmp_path / "none.pth") == 2
    assert "none.pth does not exist" in capsys.readouterr().err
    assert not out.exists()
    out.write_text("kept")
    assert run(folder, out) == 2
    assert "use --overwrite" in capsys.readouterr().err
    assert out.read_text() == "kept"
    assert run(folder, out, "--overwrite") == 0
