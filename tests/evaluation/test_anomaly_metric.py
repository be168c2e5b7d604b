"""AnomalyMetric in mmengine's evaluator, on random samples and on bad ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluation_samples import CLASSES, data_sample, evaluation_labels, random_samples
from mmengine.evaluator import Evaluator
from mmseg.registry import METRICS

from ood_seg.evaluation import AnomalyMetric, anomaly_metric
from ood_seg.metrics import component_metrics, pixel_metrics
from ood_seg.metrics.protocols import get_protocol


def evaluate(samples, metric=None, classes=CLASSES, batch_size=2) -> dict:
    """Results of `metric` over `samples`, by way of mmengine's evaluator."""
    evaluator = Evaluator([metric or AnomalyMetric()])
    evaluator.dataset_meta = {"classes": classes}
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start : start + batch_size])
    return evaluator.evaluate(len(samples))


def pooled(samples) -> dict[str, float]:
    """What the metric must give for samples with training labels."""
    scores = torch.cat([sample.pred_anomaly.data.flatten() for sample in samples])
    labels = torch.cat([sample.gt_sem_seg.data.flatten() for sample in samples])
    metrics = pixel_metrics(scores, evaluation_labels(labels))
    return {f"anomaly/{name}": 100 * value for name, value in metrics.items()}


class TestResults:
    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    def test_percent_pooled_over_images_of_any_size(self, batch_size):
        samples = random_samples(5)
        metric = METRICS.build({"type": "AnomalyMetric", "label_space": "training"})
        result = evaluate(samples, metric, batch_size=batch_size)
        assert result == pooled(samples)
        assert 50 < result["anomaly/auroc"] < 100

    def test_both_label_spaces_agree(self):
        samples = random_samples(3)
        expected = evaluate(samples, AnomalyMetric(label_space="training"))
        for sample in samples:
            sample.gt_sem_seg.data = evaluation_labels(sample.gt_sem_seg.data)
        assert evaluate(samples, AnomalyMetric(label_space="evaluation")) == expected

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
    def test_score_types(self, dtype):
        samples = random_samples(2)
        for sample in samples:
            sample.pred_anomaly.data = (sample.pred_anomaly.data * 4).round().to(dtype)
        assert evaluate(samples, AnomalyMetric(label_space="training")) == pooled(samples)

    def test_scores_keep_their_precision(self):
        # In half precision both energies would be -8.
        sample = data_sample(np.float32([[-8.0, -8.0001]]), [[1, 0]])
        assert evaluate([sample])["anomaly/auroc"] == 100

    def test_uint8_labels_without_class_axis(self):
        sample = data_sample(np.float32([[3, 2, 1]]), np.uint8([[254, 253, 255]]))
        sample = sample.to_dict()
        sample["gt_sem_seg"]["data"] = sample["gt_sem_seg"]["data"][0]
        result = evaluate([sample], AnomalyMetric(label_space="training"), classes=None)
        assert result == {"anomaly/auroc": 100, "anomaly/ap": 100, "anomaly/fpr95": 0}

    def test_second_evaluation_starts_from_zero(self):
        metric = AnomalyMetric(label_space="training", prefix="static")
        evaluate(random_samples(2, seed=1), metric)
        samples = random_samples(3, seed=2)
        expected = {key.replace("anomaly", "static"): v for key, v in pooled(samples).items()}
        assert evaluate(samples, metric) == expected

    def test_missing_class_is_nan_with_a_warning(self):
        sample = data_sample(np.float32([[1, 2]]), [[0, 255]], path="a.png")
        with pytest.warns(UserWarning, match="no anomalous pixel"):
            assert all(np.isnan(value) for value in evaluate([sample]).values())

    def test_samples_are_unchanged_and_not_kept(self):
        sample = random_samples(1)[0]
        scores, labels = sample.pred_anomaly.data.clone(), sample.gt_sem_seg.data.clone()
        metric = AnomalyMetric(label_space="training")
        metric.dataset_meta = {"classes": CLASSES}
        metric.process(None, [sample.to_dict()])
        assert torch.equal(sample.pred_anomaly.data, scores)
        assert torch.equal(sample.gt_sem_seg.data, labels)
        # What is kept must not hold on to the model's output: the next batch may reuse it.
        sample.pred_anomaly.data.fill_(0)
        kept = metric.results[0].scores
        assert kept.known.dtype == np.float32
        assert np.ptp(kept.known) > 0

    @pytest.mark.parametrize("name", [None, "Road Anomaly"])
    def test_one_line_describes_the_computation(self, monkeypatch, name):
        lines = []
        monkeypatch.setattr(
            anomaly_metric, "print_log", lambda message, **kwargs: lines.append(message)
        )
        samples = [
            data_sample(np.float32([[1, 2, 3, 4]]), [[0, 0, 0, 1]], path="a.png"),
            data_sample(np.float32([[1, 2, 3]]), [[1, 255, 255]], path="b.png"),
        ]
        evaluate(samples, AnomalyMetric(dataset_name=name))
        of_set = "" if name is None else " of Road Anomaly"
        assert lines == [
            f"Anomaly metrics{of_set}: 2 images, 3 known, 2 anomalous and 2 ignored pixels; "
            "protocol pooled (all pixels of all images together; FPR95 at the first threshold "
            "with TPR >= 95 %); mode exact."
        ]


class TestBadInput:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_scores_that_are_not_finite_name_the_image(self, value):
        good = data_sample(np.float32([[1, 2]]), [[0, 1]], path="frames/good.png")
        bad = data_sample(np.float32([[1, value]]), [[0, 1]], path="frames/bad.png")
        with pytest.raises(ValueError, match=r"frames/bad\.png: scores must be finite"):
            evaluate([good, bad])

    def test_sizes_are_named(self):
        sample = data_sample(np.zeros((4, 6), np.float32), np.zeros((8, 12), int), path="a/b.png")
        # A data sample of mmseg would refuse these two; what a custom model returns need not.
        with pytest.raises(ValueError, match=r"a/b\.png: .*size 4x6 but the ground truth 8x12"):
            evaluate([sample])

    def test_unknown_label_names_image_value_and_count(self):
        sample = data_sample(np.zeros((1, 4), np.float32), [[0, 1, 2, 2]], path="a.png")
        with pytest.raises(ValueError, match=r"a\.png: labels .* 2 \(2 pixels\)"):
            evaluate([sample])

    def test_label_beyond_the_classes(self):
        sample = data_sample(np.zeros((1, 5), np.float32), [[0, 3, 3, 254, 255]], path="a.png")
        with pytest.raises(ValueError, match=r"a\.png: labels must be 0\.\.2 .*\{3: 2\}"):
            evaluate([sample], AnomalyMetric(label_space="training"))

    def test_no_image(self):
        with pytest.raises(ValueError, match="got no image of Static; check"):
            evaluate([], AnomalyMetric(dataset_name="Static"))

    @pytest.mark.parametrize("key", ["pred_anomaly", "gt_sem_seg"])
    def test_missing_map(self, key):
        sample = random_samples(1)[0].to_dict()
        del sample[key]
        with pytest.raises(KeyError, match=rf"frames/0\.png: the data sample has no '{key}'"):
            evaluate([sample])

    def test_shape_of_a_map(self):
        sample = random_samples(1)[0].to_dict()
        sample["pred_anomaly"]["data"] = torch.zeros(2, 6, 8)
        with pytest.raises(ValueError, match=r"pred_anomaly must have shape .*\(2, 6, 8\)"):
            evaluate([sample])

    def test_image_without_a_path_is_numbered(self):
        samples = [data_sample(np.float32([[1, s]]), [[0, 1]]) for s in (2, np.nan)]
        with pytest.raises(ValueError, match="image number 1 of this process"):
            evaluate(samples)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"label_space": "train"}, r"'evaluation', 'training'.* got 'train'"),
            ({"image_root": "frames"}, "output_dir"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            AnomalyMetric(**options)


class TestOutput:
    def sample(self, path, value=1.0):
        return data_sample(np.float32([[value, 2.5], [3, 4]]), [[0, 1], [0, 255]], path=path)

    def test_maps_are_written_as_float32(self, tmp_path):
        folder = tmp_path / "new" / "maps"
        evaluate([self.sample("frames/a.b.png")], AnomalyMetric(output_dir=folder))
        written = np.load(folder / "a.b.npy")
        assert written.dtype == np.float32
        np.testing.assert_array_equal(written, [[1, 2.5], [3, 4]])
        assert [file.name for file in folder.iterdir()] == ["a.b.npy"]

    def test_second_run_replaces_the_maps(self, tmp_path):
        for value in (1.0, 7.0):
            metric = AnomalyMetric(output_dir=tmp_path)
            for _ in range(2):
                evaluate([self.sample("frames/a.png", value)], metric)
        assert np.load(tmp_path / "a.npy")[0, 0] == 7

    def test_same_stem_in_two_folders_is_an_error(self, tmp_path):
        samples = [self.sample("aachen/1.png", 1.0), self.sample("berlin/1.png", 7.0)]
        with pytest.raises(ValueError, match=r"aachen/1\.png and berlin/1\.png .*image_root"):
            evaluate(samples, AnomalyMetric(output_dir=tmp_path))
        assert np.load(tmp_path / "1.npy")[0, 0] == 1, "the first map must stay"

    def test_same_stem_on_two_ranks_is_an_error(self, tmp_path):
        metric = AnomalyMetric(output_dir=tmp_path)
        metric.process(None, [self.sample("aachen/1.png").to_dict()])
        other_rank = AnomalyMetric()
        other_rank.process(None, [self.sample("berlin/1.png").to_dict()])
        with pytest.raises(ValueError, match="would both be written"):
            metric.compute_metrics(metric.results + other_rank.results)

    def test_image_root_keeps_subfolders(self, tmp_path):
        samples = [self.sample("data/aachen/1.png", 1.0), self.sample("data/berlin/1.png", 7.0)]
        evaluate(samples, AnomalyMetric(output_dir=tmp_path, image_root="data"))
        assert np.load(tmp_path / "aachen" / "1.npy")[0, 0] == 1
        assert np.load(tmp_path / "berlin" / "1.npy")[0, 0] == 7

    def test_image_outside_the_root(self, tmp_path):
        metric = AnomalyMetric(output_dir=tmp_path, image_root="data")
        with pytest.raises(ValueError, match="does not lie below image_root data"):
            evaluate([self.sample("elsewhere/1.png")], metric)

    def test_sample_without_a_path(self, tmp_path):
        with pytest.raises(KeyError, match="img_path"):
            evaluate([self.sample(None)], AnomalyMetric(output_dir=tmp_path))

    def test_interrupted_write_leaves_neither_a_map_nor_a_rest(self, tmp_path, monkeypatch):
        def fail(file, array):
            file.write(b"half")
            raise OSError("no space left on device")

        monkeypatch.setattr(np, "save", fail)
        with pytest.raises(OSError, match="no space"):
            evaluate([self.sample("a.png")], AnomalyMetric(output_dir=tmp_path))
        assert list(tmp_path.iterdir()) == []


class TestModes:
    @pytest.mark.parametrize("batch_size", [1, 3])
    def test_streaming_is_close_and_keeps_no_scores(self, batch_size):
        samples = random_samples(5)
        metric = AnomalyMetric(label_space="training", mode="streaming")
        result = evaluate(samples, metric, batch_size=batch_size)
        # One decimal of scores: each bin holds equal scores, so the counts are exact.
        assert result == pytest.approx(pooled(samples), abs=1e-9)
        assert metric.mode_used == "streaming"
        metric.process(None, [sample.to_dict() for sample in samples])
        assert metric.results == []

    def test_streaming_logs_bounds(self, monkeypatch):
        lines = []
        monkeypatch.setattr(
            anomaly_metric, "print_log", lambda message, **kwargs: lines.append(message)
        )
        sample = data_sample(np.float32([[1, 2, 3, 4]]), [[0, 1, 0, 1]], path="a.png")
        evaluate([sample], AnomalyMetric(mode="streaming"))
        # Rounded outwards, so that a bound of 75 is shown as the next figures around it.
        assert "AUROC 74.9999 to 75.0001, AP 83.3333 to 83.3334" in lines[0]

    def test_auto_streams_beyond_the_memory(self):
        samples = random_samples(5)
        size = 4 * sum(int((sample.gt_sem_seg.data != 255).sum()) for sample in samples)
        for memory, mode in ((size, "exact"), (size - 1, "streaming")):
            metric = AnomalyMetric(label_space="training", memory=memory)
            for _ in range(2):
                result = evaluate(samples, metric)
                assert metric.mode_used == mode
                assert result == pytest.approx(pooled(samples), abs=1e-9)

    def test_padded_images_are_dropped(self):
        samples = random_samples(4)
        for mode in ("exact", "streaming"):
            metric = AnomalyMetric(label_space="training", mode=mode)
            evaluator = Evaluator([metric])
            evaluator.dataset_meta = {"classes": CLASSES}
            evaluator.process(samples)
            assert evaluator.evaluate(3) == pytest.approx(pooled(samples[:3]), abs=1e-9)

    def test_streaming_names_images_without_a_path(self):
        samples = [data_sample(np.float32([[1, s]]), [[0, 1]]) for s in (2, 3, np.nan)]
        with pytest.raises(ValueError, match="image number 2 of this process"):
            evaluate(samples, AnomalyMetric(mode="streaming"), batch_size=1)

    def test_streaming_without_an_image(self):
        with pytest.raises(ValueError, match="got no image"):
            evaluate([], AnomalyMetric(mode="streaming"))

    def test_streaming_checks_the_written_maps(self, tmp_path):
        samples = [data_sample(np.float32([[1, 2]]), [[0, 1]], path=f"{n}/1.png") for n in "ab"]
        with pytest.raises(ValueError, match="would both be written"):
            evaluate(samples, AnomalyMetric(mode="streaming", output_dir=tmp_path))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "fast"}, "'exact', 'streaming', 'auto'"),
            ({"protocol": "best"}, "available: pooled"),
            ({"protocol": "pebal", "mode": "streaming"}, "cannot stream"),
            ({"components": {"threshold": 0, "track": "road"}}, "no track 'road'"),
            ({"components": ["threshold", 0]}, r"components\.threshold=t; got \['threshold', 0\]"),
            ({"components": {"track": "anomaly"}}, "got {'track': 'anomaly'} .*'threshold'"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            AnomalyMetric(**options)


class TestProtocols:
    @pytest.mark.parametrize("name", ["per-image", "pebal", "densehybrid", "smiyc"])
    def test_named(self, name, monkeypatch):
        lines = []
        monkeypatch.setattr(
            anomaly_metric, "print_log", lambda message, **kwargs: lines.append(message)
        )
        samples = random_samples(4)
        images = [
            (sample.pred_anomaly.data, evaluation_labels(sample.gt_sem_seg.data))
            for sample in samples
        ]
        expected = get_protocol(name).evaluate(images)
        result = evaluate(samples, AnomalyMetric(label_space="training", protocol=name))
        assert result == pytest.approx(
            {f"anomaly/{key}": 100 * expected[key] for key in ("auroc", "ap", "fpr95")}
        )
        assert f"protocol {name} (" in lines[0]
        assert "Left out" not in lines[0]

    def test_images_that_have_no_value_are_counted(self, monkeypatch):
        lines = []
        monkeypatch.setattr(
            anomaly_metric, "print_log", lambda message, **kwargs: lines.append(message)
        )
        samples = [
            data_sample(np.float32([[1, 2, 3]]), [[0, 0, label]], path=f"{label}.png")
            for label in (0, 1)
        ]
        result = evaluate(samples, AnomalyMetric(protocol="per-image"))
        assert result["anomaly/auroc"] == 100
        assert lines[0].endswith("Left out: 1 images that hold one class only.")


class TestComponents:
    @pytest.mark.parametrize("mode", ["exact", "streaming"])
    def test_above_the_threshold(self, mode):
        rng = np.random.default_rng(0)
        samples, maps = [], []
        for index in range(3):
            labels = np.zeros((40, 50), np.uint8)
            labels[5:20, 5 + index : 25] = 1
            labels[30:] = 255
            scores = (rng.normal(size=labels.shape) * 0.4 + labels % 255).astype(np.float32)
            samples.append(data_sample(scores, labels, path=f"{index}.png"))
            maps.append((scores, labels))
        options = {"threshold": 0.6, "track": "obstacle"}
        result = evaluate(samples, AnomalyMetric(mode=mode, components=options))
        expected = component_metrics(*zip(*maps, strict=True), **options)
        assert 0 < expected["siou"] < 1
        assert result["anomaly/component_f1"] == pytest.approx(100 * expected["mean_f1"])
        assert result["anomaly/siou"] == pytest.approx(100 * expected["siou"])
        assert result["anomaly/ppv"] == pytest.approx(100 * expected["ppv"])
        assert set(result) == {
            f"anomaly/{name}" for name in ("auroc", "ap", "fpr95", "component_f1", "siou", "ppv")
        }
