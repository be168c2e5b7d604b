"""The evaluation of saved maps: numbers, their description, resuming after a crash."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from map_folders import SHAPE, write_labels, write_maps

from ood_seg.calibration import calibrate
from ood_seg.evaluation.kept_maps import KeptMaps
from ood_seg.evaluation.matching import MapPair, match_maps
from ood_seg.evaluation.run import comparison, evaluate_maps
from ood_seg.evaluation.saved_maps import MapFormat, MapReader
from ood_seg.evaluation.selection import split_images
from ood_seg.evaluation.settings import Settings
from ood_seg.metrics import ScoreHistogram, component_metrics
from ood_seg.metrics.protocols import get_protocol

QUICK = Settings(samples=0, calibration=None, track=None)
EVERYTHING = Settings(samples=20, track="obstacle", seed=3)


@pytest.fixture
def folders(tmp_path):
    return write_maps(tmp_path)


def evaluate(folders, settings=QUICK, *, reader=None, **options):
    pairs = match_maps(folders.scores, folders.truth).pairs
    return evaluate_maps(pairs, reader or MapReader(), settings, **options)


def values(evaluation):
    return {name: entry["value"] for name, entry in evaluation.content["metrics"].items()}


def as_text(evaluation):
    """The content but for the time; as text, because NaN differs from itself."""
    return json.dumps({**evaluation.content, "created": ""})


def plain_metrics(scores, labels):
    """Metrics by one loop over all thresholds."""
    valid = labels != 255
    scores, anomalous = scores[valid], labels[valid] == 1
    known_total, total = (~anomalous).sum(), anomalous.sum()
    area = ap = best = 0.0
    fpr = recall = 0.0
    fpr95 = None
    for threshold in np.unique(scores)[::-1]:
        flagged = scores >= threshold
        tp, fp = (flagged & anomalous).sum(), (flagged & ~anomalous).sum()
        area += (fp / known_total - fpr) * (tp / total + recall) / 2
        ap += (tp / total - recall) * tp / (tp + fp)
        fpr, recall = fp / known_total, tp / total
        if fpr95 is None and recall >= 0.95:
            fpr95 = fpr
        f1 = 2 * tp / (tp + fp + total)
        if f1 > best:
            best, best_threshold = f1, threshold
    metrics = {"auroc": area, "ap": ap, "fpr95": fpr95, "best_f1": best}
    return metrics, float(best_threshold)


def evaluated_with_offset(folder, offset):
    """Ten maps of known N(0, 1) and anomalous N(1, 1) scores, with `offset` added."""
    rng = np.random.default_rng(0)
    folders = write_maps(folder, 10)
    for name, (_, labels) in folders.maps.items():
        scores = rng.normal(size=SHAPE) + (labels == 1)
        np.save(folders.scores / f"{name}.npy", (scores + offset).astype(np.float32))
    return evaluate(folders, replace(QUICK, samples=200, calibration="platt")).content


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return evaluated_with_offset(tmp_path_factory.mktemp("plain"), 0)


class TestOffset:
    """Float32 scores far from zero: neighbours of 1e6 are 1/16 apart, of 1e4 some 0.001."""

    @pytest.mark.parametrize(
        ("offset", "spacing"), [(1e3, 2**-14), (1e4, 2**-10), (-1e4, 2**-10), (1e6, 1 / 16)]
    )
    def test_intervals_and_points_are_those_without_it(self, plain, tmp_path, offset, spacing):
        content = evaluated_with_offset(tmp_path, offset)
        assert any("distinct scores" in note for note in content["notes"]) == (offset == 1e6)
        for name, entry in content["metrics"].items():
            low, high = entry["interval"]
            assert low < entry["value"] < high
            # The density of a normal score is at most 0.4, so that rounding moves few pixels.
            expected = [plain["metrics"][name]["value"], *plain["metrics"][name]["interval"]]
            assert [entry["value"], low, high] == pytest.approx(expected, abs=0.4 * spacing + 5e-4)
        points = content["calibration"]["operating_points"]
        for point, other in zip(points, plain["calibration"]["operating_points"], strict=True):
            if point["name"] != "best f1":  # flat there
                assert point["threshold"] - offset == pytest.approx(
                    other["threshold"], abs=1.5 * spacing
                )
                for rate in ("tpr", "fpr"):
                    assert point[rate] == pytest.approx(other[rate], abs=0.6 * spacing + 1e-3)


class TestPixels:
    def test_exact(self, folders):
        evaluation = evaluate(folders)
        expected, threshold = plain_metrics(folders.all_scores(), folders.all_labels())
        assert values(evaluation) == pytest.approx(expected, abs=1e-12)
        assert evaluation.content["best_f1_threshold"] == pytest.approx(threshold)
        assert evaluation.content["mode"] == "exact"
        assert all(entry["bounds"] is None for entry in evaluation.content["metrics"].values())

    def test_bounds_of_streaming_contain_the_exact_values(self, folders):
        content = evaluate(folders, replace(QUICK, mode="streaming")).content
        expected, _ = plain_metrics(folders.all_scores(), folders.all_labels())
        assert content["mode"] == "streaming"
        for name, value in expected.items():
            low, high = content["metrics"][name]["bounds"]
            assert low <= value <= high
            assert high - low < 1e-6, "finer than the histograms of the images"
            assert content["metrics"][name]["value"] == pytest.approx(value, abs=1e-6)

    def test_float64_scores_are_rounded_in_streaming_with_a_note(self, folders):
        for name, (scores, _) in folders.maps.items():
            np.save(folders.scores / f"{name}.npy", 1 + 1e-9 * scores.astype(np.float64))
        exact, streamed = (
            evaluate(folders, replace(QUICK, mode=mode)) for mode in ("exact", "streaming")
        )
        assert values(exact)["auroc"] > 0.9 > values(streamed)["auroc"] == 0.5
        assert any("rounded to float32" in note for note in streamed.content["notes"])
        assert not any("rounded to float32" in note for note in exact.content["notes"])

    def test_auto_streams_beyond_the_memory(self, folders, tmp_path):
        pixels = sum((labels != 255).sum() for _, labels in folders.maps.values())
        for memory, mode in ((4 * pixels, "exact"), (4 * pixels - 1, "streaming")):
            settings = replace(QUICK, memory=int(memory))
            out = tmp_path / mode
            first = evaluate(folders, settings, folder=out)
            again = evaluate(folders, settings, folder=out)
            assert first.content["mode"] == again.content["mode"] == mode
            assert (first.reused, again.reused) == (0, 6)
            assert values(first) == values(again)

    def test_pixel_counts_and_histogram(self, folders):
        content = evaluate(folders).content
        counts = Counter(folders.all_labels().tolist())
        assert content["pixels"] == {
            "known": counts[0],
            "anomalous": counts[1],
            "ignored": counts[255],
        }
        shown = content["histogram"]
        assert len(shown["edges"]) == len(shown["known"]) + 1
        assert sum(shown["known"]) == counts[0]
        assert sum(shown["anomalous"]) == counts[1]
        assert np.all(np.diff(shown["edges"]) > 0)
        middle = (np.array(shown["edges"][1:]) + shown["edges"][:-1]) / 2
        scores, labels = folders.all_scores(), folders.all_labels()
        mean = np.average(middle, weights=shown["anomalous"])
        assert mean == pytest.approx(scores[labels == 1].mean(), abs=0.05)

    def test_constant_scores_have_a_histogram(self, folders):
        for name in folders.maps:
            np.save(folders.scores / f"{name}.npy", np.full(SHAPE, -3, np.float32))
        content = evaluate(folders).content
        assert content["metrics"]["auroc"]["value"] == 0.5
        assert sum(content["histogram"]["known"]) == content["pixels"]["known"]
        assert any("distinct scores is only 1;" in note for note in content["notes"])

    def test_curves_are_those_of_the_metrics(self, folders):
        content = evaluate(folders).content
        roc, pr = content["curves"]["roc"], content["curves"]["pr"]
        auroc, ap = (content["metrics"][name]["value"] for name in ("auroc", "ap"))
        assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(auroc, abs=1e-6)
        assert np.trapezoid(pr["precision"], pr["recall"]) == pytest.approx(ap, abs=1e-6)

    def test_more_rates(self, folders):
        metrics = values(evaluate(folders, replace(QUICK, tprs=(0.5, 0.8))))
        assert metrics["fpr50"] < metrics["fpr80"] < metrics["fpr95"]

    @pytest.mark.parametrize("name", ["per-image", "pebal", "smiyc", "sml"])
    def test_protocols(self, folders, name):
        content = evaluate(folders, replace(QUICK, protocol=name, samples=5)).content
        expected = get_protocol(name).evaluate(folders.maps.values())
        assert content["protocol"]["name"] == name
        for metric in ("auroc", "ap", "fpr95"):
            entry = content["metrics"][metric]
            assert entry == {"value": expected[metric], "bounds": None, "interval": None}

    def test_images(self, folders):
        rows = evaluate(folders, images={"frame_01": "images/1.jpg"}).content["images"]
        assert [row["name"] for row in rows] == list(folders.maps)
        for row, (scores, labels) in zip(rows, folders.maps.values(), strict=True):
            expected, _ = plain_metrics(scores, labels)
            assert row["anomalous"] == 24 * 20
            assert row["auroc"] == pytest.approx(expected["auroc"], abs=1e-4)
            assert row["ap"] == pytest.approx(expected["ap"], abs=1e-3)
        assert [row["image"] for row in rows[:3]] == [None, "images/1.jpg", None]

    def test_intervals_over_images(self, folders):
        content = evaluate(folders, replace(QUICK, samples=200)).content
        assert content["interval"] == {"level": 0.95, "samples": 200, "unit": "images"}
        for entry in content["metrics"].values():
            low, high = entry["interval"]
            assert low < entry["value"] < high
        again = evaluate(folders, replace(QUICK, samples=200)).content
        assert again["metrics"] == content["metrics"]

    def test_workers_change_nothing(self, folders):
        one, many = (evaluate(folders, EVERYTHING, workers=count) for count in (1, 3))
        assert as_text(one) == as_text(many)

    def test_images_that_a_protocol_leaves_out_are_counted(self, folders):
        write_labels(folders.truth / "frame_02_labels.png", np.zeros(SHAPE))
        notes = evaluate(folders, replace(QUICK, protocol="per-image")).content["notes"]
        assert "protocol per-image: 1 images that hold one class only are left out" in notes
        assert any(note.startswith("AUROC, AP and FPR95 are those of the prot") for note in notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tprs": (95.0,)}, r"fractions of 1.*got 95\.0"),
        ({"memory": -1}, "memory must be above 0, got -1"),
        ({"samples": -1}, "at least 0.*got -1"),
        ({"level": 95.0}, r"level.*such as 0\.95; got 95\.0"),
        ({"select_fraction": 1.0}, r"below 1; got 1\.0"),
    ],
)
def test_settings_are_checked_before_any_image_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**options)


def test_content_records_how_the_maps_were_read(folders):
    reader = MapReader(MapFormat(scale=0.5, offset=-3.0), {0: 0, 1: 1, 7: 255})
    record = json.loads(json.dumps(evaluate(folders, reader=reader).content["reader"]))
    assert MapReader.from_record(record) == reader
    assert MapReader.from_record({}) == MapReader()


class TestChoices:
    def test_parts_share_no_image_and_both_have_anomalies(self):
        known, both = (ScoreHistogram.from_scores([0.0, 1.0], [0, label]) for label in (0, 1))
        histograms = {f"k{i}": known for i in range(10)} | {f"a{i}": both for i in range(4)}
        parts = split_images(histograms, 0.5, seed=1)
        assert sorted(parts.select + parts.report) == sorted(histograms)
        assert sum(name[0] == "a" for name in parts.select) == 2
        assert len(parts.select) == 7
        assert parts == split_images(histograms, 0.5, seed=1)
        assert parts != split_images(histograms, 0.5, seed=2)
        assert set(split_images(histograms, 0, seed=1).report) == set(histograms)

    def test_calibration_is_reported_on_the_other_images(self, folders):
        evaluation = evaluate(folders, EVERYTHING)
        section = evaluation.content["calibration"]
        parts = split_images(evaluation.histograms, 0.5, seed=3)
        assert section["select_images"] == section["report_images"] == 3
        chosen = [evaluation.histograms[name] for name in parts.select]
        fitted = calibrate(chosen, score="scores", data_set="images", seed=3)
        maps = [folders.maps[name] for name in parts.report]
        scores = np.concatenate([s[t != 255] for s, t in maps])
        anomalous = np.concatenate([t[t != 255] == 1 for _, t in maps])
        probability = fitted.probability(scores)
        bins = np.minimum((probability * 15).astype(int), 14)
        error = sum(
            (bins == b).mean() * abs(anomalous[bins == b].mean() - probability[bins == b].mean())
            for b in np.unique(bins)
        )
        assert section["ece_after"] == pytest.approx(error, abs=1e-3)
        for point in section["operating_points"]:
            flagged = scores >= point["threshold"]
            assert point["threshold"] == fitted.point(point["name"]).threshold
            assert point["tpr"] == pytest.approx(flagged[anomalous].mean())
            assert point["fpr"] == pytest.approx(flagged[~anomalous].mean())
            assert point["false_alarms_per_image"] >= 0

    def test_components_at_the_best_f1_of_all(self, folders):
        content = evaluate(folders, EVERYTHING).content
        expected = component_metrics(
            *zip(*folders.maps.values(), strict=True),
            threshold=content["best_f1_threshold"],
            track="obstacle",
        )
        assert content["components"].pop("threshold") == content["best_f1_threshold"]
        assert content["components"].pop("num_images") == 6
        assert json.dumps(content["components"]) == json.dumps(expected)
        assert 0 < expected["siou"] < 1

    def test_components_with_the_threshold_of_the_others(self, folders):
        settings = replace(EVERYTHING, threshold_on="select")
        evaluation = evaluate(folders, settings)
        section = evaluation.content["components"]
        parts = split_images(evaluation.histograms, 0.5, seed=3)
        expected = component_metrics(
            *zip(*(folders.maps[name] for name in parts.report), strict=True),
            threshold=section["threshold"],
            track="obstacle",
        )
        assert section["num_images"] == 3
        assert section["mean_f1"] == expected["mean_f1"]
        assert section["siou"] == expected["siou"]
        assert section["threshold"] != evaluation.content["best_f1_threshold"]

    def test_closed_set(self, folders, tmp_path):
        rng = np.random.default_rng(0)
        files, drawn = {}, {}
        for name in folders.maps:
            predicted, known = rng.integers(0, 3, (2, *SHAPE))
            predicted = np.where(rng.random(SHAPE) < 0.6, known, predicted)
            known[-5:] = 255
            files[name] = (tmp_path / f"{name}_predicted.png", tmp_path / f"{name}_known.png")
            drawn[name] = (predicted, known)
            for path, labels in zip(files[name], drawn[name], strict=True):
                write_labels(path, labels)
        evaluation = evaluate(folders, replace(QUICK, seed=3), class_files=files)
        section = evaluation.content["closed_set"]
        names = split_images(evaluation.histograms, 0.5, seed=3).report
        predicted, known = (np.stack([drawn[name][i] for name in names]) for i in (0, 1))
        scores, truth = (np.stack([folders.maps[name][i] for name in names]) for i in (0, 1))
        anomalous = truth == 1
        rejected, known_valid = scores > section["threshold"], (known != 255) & ~anomalous
        closed, opened = [], []
        for k in range(3):
            called, true = (predicted == k) & known_valid, (known == k) & known_valid
            closed.append((called & true).sum() / (called | true).sum())
            called = (predicted == k) & ~rejected & (known_valid | anomalous)
            opened.append((called & true).sum() / (called | true).sum())
        assert section["num_images"] == 3
        assert section["miou"] == pytest.approx(np.mean(closed))
        assert section["open_iou"] == pytest.approx(np.mean(opened))

    def test_comparison_on_the_same_images(self, folders, tmp_path):
        better = tmp_path / "better"
        better.mkdir()
        for name, (scores, labels) in folders.maps.items():
            np.save(better / f"{name}.npy", scores + (labels == 1))
        evaluation = evaluate(folders)
        pairs = match_maps(better, folders.truth).pairs
        settings = replace(QUICK, samples=50, method="better")
        section = comparison(evaluation, evaluate_maps(pairs, MapReader(), settings), settings)
        assert section["method"] == "better"
        assert section["metrics"]["ap"]["difference"] > 0
        assert section["metrics"]["ap"]["interval"][0] > 0
        assert section["metrics"]["ap"]["first"] == pytest.approx(
            values(evaluation)["ap"], abs=1e-3
        )
        with pytest.raises(ValueError, match="missing in the second"):
            comparison(evaluation, evaluate_maps(pairs[1:], MapReader(), settings), settings)


class CountingReader(MapReader):
    """Counts how often each map is read, and fails at the given one."""

    def __init__(self, fails_at=None):
        super().__init__()
        object.__setattr__(self, "reads", Counter())
        object.__setattr__(self, "fails_at", fails_at)

    def read(self, scores, truth):
        self.reads[scores.stem] += 1
        if scores.stem == self.fails_at:
            raise OSError("disk unplugged")
        return super().read(scores, truth)


class TestGoingOn:
    @pytest.mark.parametrize("mode", ["exact", "streaming"])
    def test_after_a_crash_only_the_rest_is_measured(self, folders, tmp_path, mode):
        settings = replace(EVERYTHING, mode=mode)
        out = tmp_path / "partial"
        broken = CountingReader(fails_at="frame_03")
        with pytest.raises(OSError, match="unplugged"):
            evaluate(folders, settings, reader=broken, folder=out)
        kept = sorted(path.stem for path in out.glob("pixels/*.npz"))
        assert {"frame_00", "frame_01", "frame_02"} <= set(kept)
        assert "frame_03" not in kept
        assert not list(out.rglob("*.part"))

        reader = CountingReader()
        resumed = evaluate(folders, settings, reader=reader, folder=out)
        assert resumed.reused == len(kept)
        # Once for the ranks, once for the components, which maps kept in memory spare.
        assert set(reader.reads.values()) == {1 if mode == "exact" else 2}
        assert as_text(resumed) == as_text(evaluate(folders, settings))

    @pytest.mark.parametrize(("memory", "reads"), [(2**20, 1), (40 * SHAPE[0] * SHAPE[1], 2)])
    def test_maps_that_fit_into_memory_are_decoded_once(self, folders, memory, reads):
        settings = replace(EVERYTHING, mode="exact", memory=memory)
        reader = CountingReader()
        kept = evaluate(folders, settings, reader=reader)
        assert min(reader.reads.values()) == 1
        assert max(reader.reads.values()) == reads
        assert as_text(kept) == as_text(evaluate(folders, replace(settings, memory=1)))

    def test_kept_maps_and_collected_scores_stay_within_the_memory(self, folders):
        pixels = SHAPE[0] * SHAPE[1]
        for memory in (0, 9 * pixels, 20 * pixels, 40 * pixels, 54 * pixels):
            maps = KeptMaps(MapReader(), memory)
            for count, pair in enumerate(match_maps(folders.scores, folders.truth).pairs, 1):
                maps.read(pair.scores, pair.truth)
                collected, kept = 4 * pixels * count, 5 * pixels * maps.count
                assert not kept or collected + kept <= memory
            assert (maps.count == count) == (memory == 54 * pixels)

    def test_a_finished_run_reads_for_the_ranks_alone(self, folders, tmp_path):
        evaluate(folders, EVERYTHING, folder=tmp_path)
        reader = CountingReader()
        assert evaluate(folders, EVERYTHING, reader=reader, folder=tmp_path).reused == 6
        assert set(reader.reads.values()) == {1}

    def test_changed_maps_are_measured_again(self, folders, tmp_path):
        settings = replace(EVERYTHING, mode="streaming")
        evaluate(folders, settings, folder=tmp_path / "partial")
        scores, labels = folders.maps["frame_02"]
        np.save(folders.scores / "frame_02.npy", scores.astype(np.float64) + 1)
        write_labels(folders.truth / "frame_04_labels.png", np.roll(labels, 3, axis=1))
        changed = evaluate(folders, settings, folder=tmp_path / "partial")
        assert changed.reused == 4
        assert as_text(changed) == as_text(evaluate(folders, settings))

    def test_other_options_are_measured_again(self, folders, tmp_path):
        evaluate(folders, folder=tmp_path)
        negated = MapReader(format=MapFormat(negate=True))
        assert evaluate(folders, reader=negated, folder=tmp_path).reused == 0

    def test_damaged_partial_results_are_made_again(self, folders, tmp_path):
        first = evaluate(folders, folder=tmp_path)
        for path in sorted(tmp_path.glob("pixels/*.npz"))[:2]:
            path.write_bytes(path.read_bytes()[:100])
        again = evaluate(folders, folder=tmp_path)
        assert again.reused == 4
        assert values(again) == values(first)


class TestBadInput:
    def test_all_bad_maps_are_named_and_the_good_ones_kept(self, folders, tmp_path):
        for name in ("frame_01", "frame_04"):
            scores = folders.maps[name][0].copy()
            scores[5, 5] = np.nan
            np.save(folders.scores / f"{name}.npy", scores)
        write_labels(folders.truth / "frame_02_labels.png", np.zeros((4, 4)))
        with pytest.raises(ValueError, match="3 images cannot be evaluated") as caught:
            evaluate(folders, folder=tmp_path / "partial")
        for text in ("frame_01.npy: 1 NaN", "frame_04.npy: 1 NaN", "size 60x80 but", "4x4"):
            assert text in str(caught.value)
        kept = sorted(path.stem for path in tmp_path.glob("partial/pixels/*.npz"))
        assert kept == ["frame_00", "frame_03", "frame_05"]

    def test_no_image(self):
        with pytest.raises(ValueError, match="no image"):
            evaluate_maps([], MapReader(), QUICK)

    @pytest.mark.parametrize("label", [0, 1, 255])
    def test_one_class_alone(self, folders, label):
        for name in folders.maps:
            write_labels(folders.truth / f"{name}_labels.png", np.full(SHAPE, label))
        content = evaluate(folders, EVERYTHING).content
        assert all(math.isnan(entry["value"]) for entry in content["metrics"].values())
        assert content["calibration"] is content["components"] is None
        assert content["curves"]["roc"]["fpr"] == []
        absent = {0: "no anomalous pixel", 1: "no known pixel", 255: "no known pixel"}[label]
        assert any(absent in note for note in content["notes"])
        assert all(row["auroc"] is None for row in content["images"])

    def test_masks_of_0_and_255_name_the_label_map(self, folders):
        for name, (_, labels) in folders.maps.items():
            masks = np.where(labels == 1, 255, 0)
            write_labels(folders.truth / f"{name}_labels.png", masks)
        count = sum(int((labels == 1).sum()) for _, labels in folders.maps.values())
        notes = " ".join(evaluate(folders).content["notes"])
        assert f"255 is ignored ({count} pixels)" in notes
        assert "--label-map 0:0 255:1" in notes
        reader = MapReader(label_map={0: 0, 255: 1})
        assert evaluate(folders, reader=reader).content["metrics"]["auroc"]["value"] > 0

    def test_inverted_scores_are_pointed_out_and_not_turned(self, folders):
        for name, (scores, _) in folders.maps.items():
            np.save(folders.scores / f"{name}.npy", -scores)
        content = evaluate(folders, EVERYTHING).content
        expected, _ = plain_metrics(-folders.all_scores(), folders.all_labels())
        assert content["metrics"]["auroc"]["value"] == pytest.approx(expected["auroc"])
        assert expected["auroc"] < 0.3
        assert sum("far below 0.5" in note and "--negate" in note for note in content["notes"]) == 1
        assert content["calibration"] is None
        negated = evaluate(folders, reader=MapReader(format=MapFormat(negate=True)))
        assert values(negated) == values(evaluate(write_again(folders)))

    def test_integers_are_ranked_as_they_are(self, folders):
        for name, (scores, _) in folders.maps.items():
            np.save(folders.scores / f"{name}.npy", (scores * 100).round().astype(np.int16))
        expected, _ = plain_metrics(folders.all_scores(), folders.all_labels())
        assert values(evaluate(folders)) == pytest.approx(expected)

    def test_few_levels_are_pointed_out(self, folders):
        for name, (scores, _) in folders.maps.items():
            stored = np.clip(scores * 20 + 100, 0, 255).astype(np.uint8)
            write_labels(folders.scores / f"{name}.png", stored)
            (folders.scores / f"{name}.npy").unlink()
        valid = folders.all_scores()[folders.all_labels() != 255]
        levels = np.unique(np.clip(valid * 20 + 100, 0, 255).astype(np.uint8)).size
        content = evaluate(folders).content
        assert any(f"distinct scores is only {levels};" in note for note in content["notes"])
        assert not any("levels" in note for note in evaluate(write_again(folders)).content["notes"])

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"protocol": "best"}, "available: pooled"),
            ({"track": "animals"}, "anomaly, obstacle"),
            ({"threshold_on": "test"}, "all, select"),
            ({"mode": "streaming", "protocol": "pebal"}, "needs all scores"),
        ],
    )
    def test_settings(self, options, match):
        with pytest.raises(ValueError, match=match):
            Settings(**options)

    def test_mode_and_workers(self, folders):
        with pytest.raises(ValueError, match="'exact', 'streaming', 'auto'"):
            evaluate(folders, replace(QUICK, mode="fast"))
        with pytest.raises(ValueError, match="workers"):
            evaluate(folders, workers=0)

    def test_one_image_has_no_interval_and_no_second_part(self, folders):
        name = "frame_00"
        pair = MapPair(name, folders.scores / f"{name}.npy", folders.truth / f"{name}_labels.png")
        content = evaluate_maps([pair], MapReader(), EVERYTHING).content
        assert content["metrics"]["auroc"]["value"] > 0.9
        assert content["calibration"] is None
        assert any("one image alone" in note for note in content["notes"])
        assert content["interval"] is content["metrics"]["ap"]["interval"] is None
        json.dumps(content)


def write_again(folders):
    """The maps as they were drawn, float32."""
    for path in folders.scores.iterdir():
        path.unlink()
    for name, (scores, labels) in folders.maps.items():
        np.save(folders.scores / f"{name}.npy", scores)
        write_labels(folders.truth / f"{name}_labels.png", labels)
    return folders
