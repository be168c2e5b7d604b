"""Standardized max logits, boundary suppression and dilated smoothing against plain loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_networks import dense, fitted, image_level, images_and_labels

from ood_seg.detectors import Outputs, StandardizedMaxLogit, Statistics, StatisticsFile
from ood_seg.detectors.standardized_max_logit import (
    class_boundaries,
    smooth_dilated,
    standardized_max_logit,
    suppress_boundaries,
)

GENERATOR = torch.Generator().manual_seed(3)
CLASSES = (
    F.interpolate(torch.randint(0, 3, (2, 1, 4, 5), generator=GENERATOR).float(), (24, 30))
    .squeeze(1)
    .long()
)
MAPS = torch.randn(2, 24, 30, generator=GENERATOR)


def statistics(mean, std):
    tensors = {"mean": torch.tensor(mean), "std": torch.tensor(std)}
    return StatisticsFile({"sml": Statistics("sml", tensors)})


def slow_boundaries(classes):
    height, width = classes.shape
    found = np.zeros((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            around = [
                (v, u)
                for v in range(max(y - 1, 0), min(y + 2, height))
                for u in range(max(x - 1, 0), min(x + 2, width))
            ]
            cross = [(v, u) for v, u in around if v == y or u == x]
            found[y, x] = max(classes[p] for p in cross) != min(classes[p] for p in around)
    return found


def slow_suppression(scores, classes, widths=(3, 2, 1, 0)):
    height, width = scores.shape
    boundary = np.argwhere(slow_boundaries(classes))
    scores = scores.copy()
    for reach in widths:
        away = np.ones((height, width), dtype=bool)
        for y in range(height):
            for x in range(width):
                distances = np.abs(boundary - (y, x)).sum(axis=1)
                away[y, x] = not (distances <= reach).any()
        before = scores.copy()
        for y in range(height):
            for x in range(width):
                if away[y, x]:
                    continue
                values = []
                for v in (y - 1, y, y + 1):
                    for u in (x - 1, x, x + 1):  # beyond the border the last pixel is repeated
                        place = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
                        if away[place]:
                            values.append(before[place])
                if values:
                    scores[y, x] = sum(values) / len(values)
    return scores


def slow_smoothing(scores):
    height, width = scores.shape
    taps = np.array([np.exp(-(offset**2) / 2) for offset in range(-3, 4)])
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    result = np.zeros_like(scores)
    for y in range(height):
        for x in range(width):
            for i in range(7):
                for j in range(7):
                    v = min(max(y + 6 * (i - 3), 0), height - 1)
                    u = min(max(x + 6 * (j - 3), 0), width - 1)
                    result[y, x] += kernel[i, j] * scores[v, u]
    return result


class TestFunctions:
    def test_hand_worked_pixels(self):
        logits = torch.tensor([[[3.0, 0.0], [1.0, 4.0]]])  # two pixels, classes 0 and 1
        scores = standardized_max_logit(logits, torch.tensor([5.0, 1.0]), torch.tensor([2.0, 3.0]))
        np.testing.assert_allclose(scores, [[1.0, -1.0]])

    def test_shift_of_a_class_by_its_mean_changes_nothing(self):
        logits = torch.randn(1, 3, 6, 6, generator=GENERATOR, dtype=torch.float64)
        mean, std = torch.zeros(3).double(), torch.tensor([1.0, 2.0, 0.5]).double()
        scores = standardized_max_logit(logits, mean, std)
        torch.testing.assert_close(standardized_max_logit(logits + 7, mean + 7, std), scores)
        torch.testing.assert_close(standardized_max_logit(logits * 3, mean, std * 3), scores)
        order = [2, 0, 1]
        permuted = standardized_max_logit(logits[:, order], mean[order], std[order])
        torch.testing.assert_close(permuted, scores)

    def test_boundaries_by_loops(self):
        expected = np.stack([slow_boundaries(one) for one in CLASSES.numpy()])
        assert np.array_equal(class_boundaries(CLASSES), expected)
        assert expected.any()
        assert not expected.all()

    def test_boundary_of_two_halves_is_two_wide(self):
        halves = (torch.arange(8) >= 4).long().expand(1, 5, 8)
        assert class_boundaries(halves)[0, 2].nonzero().flatten().tolist() == [3, 4]

    def test_suppression_by_loops(self):
        expected = np.stack(
            [
                slow_suppression(*pair)
                for pair in zip(MAPS.double().numpy(), CLASSES.numpy(), strict=True)
            ]
        )
        np.testing.assert_allclose(suppress_boundaries(MAPS.double(), CLASSES), expected)
        assert not np.allclose(expected, MAPS)

    def test_suppression_without_a_boundary_changes_nothing(self):
        assert torch.equal(suppress_boundaries(MAPS, torch.full_like(CLASSES, 4)), MAPS)

    def test_suppression_removes_a_spike_at_a_boundary(self):
        halves = (torch.arange(12) >= 6).long().expand(1, 12, 12)
        spike = torch.zeros(1, 12, 12)
        spike[0, :, 5:7] = 9
        assert suppress_boundaries(spike, halves).abs().max() == 0

    def test_smoothing_by_loops(self):
        expected = np.stack([slow_smoothing(one) for one in MAPS.double().numpy()])
        np.testing.assert_allclose(smooth_dilated(MAPS.double()), expected, rtol=1e-6, atol=1e-9)

    def test_all_steps_leave_a_constant_map(self):
        constant = torch.full((1, 20, 20), 2.5)
        after = smooth_dilated(suppress_boundaries(constant, CLASSES[:1, :20, :20]))
        torch.testing.assert_close(after, constant)


class TestScore:
    LOGITS = torch.randn(2, 3, 24, 30, generator=GENERATOR)
    FILE = statistics([4.0, 2.0, 1.0], [1.0, 2.0, 0.5])

    def test_steps_in_order(self):
        plain = StandardizedMaxLogit(self.FILE, False, False)(self.LOGITS)
        torch.testing.assert_close(
            plain,
            standardized_max_logit(self.LOGITS, *self.FILE.methods["sml"].tensors.values()),
        )
        suppressed = suppress_boundaries(plain, self.LOGITS.argmax(dim=1))
        assert torch.equal(StandardizedMaxLogit(self.FILE, True, False)(self.LOGITS), suppressed)
        smooth = StandardizedMaxLogit(self.FILE)(self.LOGITS)
        assert torch.equal(smooth, smooth_dilated(suppressed))
        smooth_only = StandardizedMaxLogit(self.FILE, boundary_suppression=False)(self.LOGITS)
        assert torch.equal(smooth_only, smooth_dilated(plain))

    def test_images_do_not_mix(self):
        score = StandardizedMaxLogit(self.FILE)
        alone = torch.cat([score(one) for one in self.LOGITS.split(1)])
        torch.testing.assert_close(score(self.LOGITS), alone)

    def test_pointwise_only_without_the_neighbourhood_steps(self):
        assert not StandardizedMaxLogit(self.FILE).pointwise
        assert not StandardizedMaxLogit(self.FILE, False).pointwise
        assert StandardizedMaxLogit(self.FILE, False, False).pointwise

    def test_half_precision_is_scored_in_float32(self):
        score = StandardizedMaxLogit(self.FILE, False, False)
        half = score(self.LOGITS.half())
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, score(self.LOGITS.half().float()))

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"\b3 classes.*\b2\b"):
            StandardizedMaxLogit(self.FILE)(self.LOGITS[:, :2])
        with pytest.raises(ValueError, match=r"boundary.suppression.*smoothing.*\(2, 3\)"):
            StandardizedMaxLogit(self.FILE)(self.LOGITS[:, :, 0, 0])
        with pytest.raises(TypeError, match=r"floating.point.*torch\.int64"):
            StandardizedMaxLogit(self.FILE, False, False)(self.LOGITS.long())


class TestFit:
    IMAGES, LABELS = images_and_labels(5, size=(16, 24))

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_unbiased_statistics_of_interpolated_logits_by_predicted_class(self, align_corners):
        network = dense(classes=4, seed=2)
        network.align_corners = align_corners
        fitter = StandardizedMaxLogit.fitter(min_pixels=2)
        file = fitted(fitter, network, self.IMAGES, self.LABELS, [2])
        logits = network(self.IMAGES).logits
        logits = F.interpolate(
            logits, self.LABELS.shape[1:], mode="bilinear", align_corners=align_corners
        ).numpy()
        known = self.LABELS.numpy() < 254
        largest, predicted = logits.max(axis=1)[known], logits.argmax(axis=1)[known]
        tensors = file.methods["sml"].tensors
        assert len(np.unique(predicted)) > 1
        for index in range(4):
            own = largest[predicted == index].astype(np.float64)
            own = own if own.size > 1 else largest.astype(np.float64)  # the documented result
            assert tensors["mean"][index].item() == pytest.approx(own.mean(), rel=1e-5)
            assert tensors["std"][index].item() == pytest.approx(own.std(ddof=1), rel=1e-4)
            assert tensors["counts"][index] == (predicted == index).sum()

    def test_class_that_is_never_predicted_has_the_statistics_of_all(self):
        logits = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0], [0.0, 0.0, 9.0]])[None, :, None]
        fitter = StandardizedMaxLogit.fitter(min_pixels=2)
        fitter.update(Outputs(logits, {}), torch.zeros(1, 1, 3, dtype=torch.long), dense())
        tensors = fitter.result().tensors
        np.testing.assert_allclose(tensors["mean"], [1.5, 4, 4])  # class 2 occurs only once
        np.testing.assert_allclose(tensors["std"], np.sqrt([0.5, 19, 19]), rtol=1e-6)

    def test_class_that_is_predicted_rarely_has_the_statistics_of_all(self):
        """Two adjacent pixels that hardly differ give no deviation for a standardisation."""
        logits = torch.zeros(1, 2, 1, 202)
        logits[0, 0, 0, :200] = torch.linspace(4, 8, 200)
        logits[0, 1, 0, 200:] = torch.tensor([3.0, 3.0001])
        labels = torch.zeros(1, 1, 202, dtype=torch.long)
        tensors = []
        for options in ({}, {"min_pixels": 200}, {"min_pixels": 201}):
            fitter = StandardizedMaxLogit.fitter(**options)
            fitter.update(Outputs(logits, {}), labels, dense())
            tensors.append(fitter.result().tensors)
        largest = logits.amax(dim=1).flatten()
        for one in tensors:
            assert one["counts"].tolist() == [200, 2]
            assert one["mean"][1].item() == pytest.approx(largest.mean().item(), rel=1e-5)
            assert one["std"][1].item() == pytest.approx(largest.std().item(), rel=1e-5)
        own, same, pooled = (one["mean"][0].item() for one in tensors)
        assert own == same == pytest.approx(6, rel=1e-5)
        assert pooled == pytest.approx(largest.mean().item(), rel=1e-5)

    def test_image_level_and_single_class(self):
        network = image_level(classes=1)
        file = fitted(StandardizedMaxLogit.fitter(), network, self.IMAGES, self.LABELS[:, 8, 8] * 0)
        logits = network(self.IMAGES).logits
        scores = StandardizedMaxLogit(file, False, False)(logits)
        assert scores.shape == (5,)
        assert scores.mean().item() == pytest.approx(0, abs=1e-5)
        assert scores.var().item() == pytest.approx(1, rel=1e-4)

    def test_too_little_data(self):
        network = dense()
        with pytest.raises(ValueError, match=r"min_pixels.*\b2\b.*\b1\b"):
            StandardizedMaxLogit.fitter(min_pixels=1)
        fitter = StandardizedMaxLogit.fitter()
        fitter.update(network(self.IMAGES), torch.full_like(self.LABELS, 255), network)
        with pytest.raises(ValueError, match=r"\b2\b.*known pixels.*\b0\b"):
            fitter.result()
        fitter.update(Outputs(torch.ones(5, 4, 8, 12), {}), self.LABELS * 0, network)
        with pytest.raises(ValueError, match=r"1920 known pixels.*1.*deviation"):
            fitter.result()
