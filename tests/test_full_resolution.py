"""Labels and scores in row blocks equal those of the complete interpolated logits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ood_seg import scores
from ood_seg.full_resolution import labels_and_scores

LOGITS = torch.randn(2, 5, 6, 9, generator=torch.Generator().manual_seed(3)) * 4
FAST = [
    scores.Energy(),
    scores.Energy(temperature=3.0),
    scores.MaxSoftmax(),
    scores.MaxSoftmax(temperature=0.5),
    scores.MaxLogit(),
    scores.Entropy(),
    scores.GeneralizedEntropy(),
    scores.GeneralizedEntropy(gamma=0.01, top_classes=2),
    scores.GeneralizedEntropy(gamma=0.9, top_classes=1),
    scores.GeneralizedEntropy(top_classes=5),
]
ANY = [*FAST, scores.energy, lambda logits: logits.mean(dim=1)]
ONE_ROW, SOME_ROWS, WHOLE = 1, 5 * 31 * 4 * 7, 2**30
SIZES = [(24, 36), (23, 31), (6, 9), (13, 9), (4, 5), (1, 1), (6, 40)]


def plain(logits, size, score, align_corners=False, classes=None):
    logits = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=align_corners)
    return logits[:, :classes].argmax(dim=1), score(logits)


def assert_agrees(found, expected):
    assert found[0].dtype == torch.uint8
    assert found[1].dtype == torch.float32
    assert torch.equal(found[0].long(), expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-5)


def slow_pixel(image, y, x, size, align_corners):
    """Bilinear interpolation of `(C, h, w)` at one pixel, from its definition."""
    weights = []
    for index, source, target in zip((y, x), image.shape[1:], size, strict=True):
        if align_corners:
            position = index * (source - 1) / (target - 1)
        else:
            position = min(max((index + 0.5) * source / target - 0.5, 0), source - 1)
        weights.append([max(0.0, 1 - abs(position - i)) for i in range(source)])
    return np.einsum("chw,h,w->c", image, *map(np.array, weights))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("block_bytes", [ONE_ROW, SOME_ROWS, WHOLE])
def test_equals_a_slow_reference(align_corners, block_bytes):
    size = (14, 20)
    labels, energies = labels_and_scores(
        LOGITS, size, scores.Energy(), align_corners=align_corners, block_bytes=block_bytes
    )
    for n, y, x in np.ndindex(2, *size):
        f = slow_pixel(LOGITS[n].double().numpy(), y, x, size, align_corners)
        assert energies[n, y, x].item() == pytest.approx(-np.log(np.exp(f).sum()), abs=1e-4)
        assert f[labels[n, y, x]] == pytest.approx(f.max(), abs=1e-5)


@pytest.mark.parametrize("score", ANY)
@pytest.mark.parametrize("block_bytes", [ONE_ROW, SOME_ROWS, WHOLE])
def test_every_score_agrees_with_the_plain_form(score, block_bytes):
    found = labels_and_scores(LOGITS, (23, 31), score, block_bytes=block_bytes)
    assert_agrees(found, plain(LOGITS, (23, 31), score))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("block_bytes", [ONE_ROW, SOME_ROWS])
def test_every_size_agrees_with_the_plain_form(size, align_corners, block_bytes):
    found = labels_and_scores(
        LOGITS, size, scores.Entropy(), align_corners=align_corners, block_bytes=block_bytes
    )
    assert_agrees(found, plain(LOGITS, size, scores.Entropy(), align_corners))


@pytest.mark.parametrize("ratio", [2, 3, 3.7])
def test_rows_far_down_round_as_in_the_plain_form(ratio):
    """Separately computed weights would be off by 6e-5 at row 1000, and the scores by more."""
    logits = torch.randn(1, 3, 700, 4, generator=torch.Generator().manual_seed(1)) * 20
    size = (int(700 * ratio), 8)
    found = labels_and_scores(logits, size, scores.MaxLogit(), block_bytes=4096)
    assert_agrees(found, plain(logits, size, scores.MaxLogit()))


@pytest.mark.parametrize("block_bytes", [ONE_ROW, SOME_ROWS, WHOLE])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(21, 30), (50, 61), (11, 17)])
def test_padded_input_and_second_interpolation(block_bytes, align_corners, size):
    options = {"mode": "bilinear", "align_corners": align_corners}
    whole = F.interpolate(LOGITS, size=(24, 36), **options)[..., 1 : 24 - 2, 4 : 36 - 2]
    whole = F.interpolate(whole, size=size, **options)
    found = labels_and_scores(
        LOGITS,
        size,
        scores.Energy(),
        align_corners=align_corners,
        input_size=(24, 36),
        padding=(4, 2, 1, 2),
        block_bytes=block_bytes,
    )
    assert_agrees(found, (whole.argmax(dim=1), scores.energy(whole)))


@pytest.mark.parametrize("block_bytes", [ONE_ROW, WHOLE])
def test_equal_maxima_give_the_first_class(block_bytes):
    logits = torch.zeros(1, 4, 3, 3)
    logits[:, 1:3] = 2.0
    labels, _ = labels_and_scores(logits, (7, 8), scores.Energy(), block_bytes=block_bytes)
    assert (labels == 1).all()


@pytest.mark.parametrize("block_bytes", [ONE_ROW, WHOLE])
def test_channels_beyond_the_classes_affect_only_the_score(block_bytes):
    logits = LOGITS.clone()
    logits[:, 4] += 100
    options = {"num_classes": 4, "block_bytes": block_bytes}
    for score in (scores.Energy(), lambda f: f[:, 4]):
        found = labels_and_scores(logits, (23, 31), score, **options)
        assert_agrees(found, plain(logits, (23, 31), score, classes=4))
        assert found[0].max() <= 3


def test_subclasses_of_fast_scores_keep_their_own_formula():
    score = scores.ResidualEnergy()
    logits = torch.cat([LOGITS, LOGITS.flip(1)], dim=1)
    found = labels_and_scores(logits, (12, 18), score, num_classes=5, block_bytes=ONE_ROW)
    assert_agrees(found, plain(logits, (12, 18), score, classes=5))


@pytest.mark.parametrize("score", FAST)
@pytest.mark.parametrize(
    "logits",
    [
        [[1e4, -1e4], [0.0, 1e4], [-1e4, 30.0]],
        [[95.0, 99.0], [0.0, 0.0], [-3.0, -1.0]],  # exp(-95) is not a normal float32 number
    ],
)
def test_extreme_logits_stay_exact(score, logits):
    logits = torch.tensor(logits)[None, :, :, None]
    found = labels_and_scores(logits, (9, 2), score, block_bytes=ONE_ROW)
    assert torch.isfinite(found[1]).all()
    assert_agrees(found, plain(logits, (9, 2), score))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    half = LOGITS.to(dtype)
    found = labels_and_scores(half, (23, 31), scores.Energy(), block_bytes=SOME_ROWS)
    assert_agrees(found, plain(half, (23, 31), scores.Energy()))


def test_double_precision_is_kept():
    _, energies = labels_and_scores(LOGITS.double(), (23, 31), scores.Energy(), block_bytes=1)
    whole = F.interpolate(LOGITS.double(), size=(23, 31), mode="bilinear")
    assert energies.dtype == torch.float64
    torch.testing.assert_close(energies, scores.energy(whole))


def test_inputs_of_any_layout_are_not_modified():
    for logits in (LOGITS, LOGITS.to(memory_format=torch.channels_last), LOGITS[:, ::2]):
        before = logits.clone()
        for block_bytes in (ONE_ROW, WHOLE):
            for size in ((6, 9), (23, 31)):
                found = labels_and_scores(logits, size, scores.Energy(), block_bytes=block_bytes)
                assert_agrees(found, plain(logits, size, scores.Energy()))
        assert torch.equal(logits, before)


def test_results_have_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    for block_bytes in (ONE_ROW, WHOLE):
        _, energies = labels_and_scores(logits, (12, 18), scores.Energy(), block_bytes=block_bytes)
        assert not energies.requires_grad


def test_a_single_class_and_no_image():
    labels, energies = labels_and_scores(LOGITS[:, :1], (12, 18), scores.Energy(), block_bytes=1)
    assert (labels == 0).all()
    torch.testing.assert_close(energies, plain(LOGITS[:, :1], (12, 18), scores.Energy())[1])
    labels, energies = labels_and_scores(LOGITS[:0], (12, 18), scores.Energy())
    assert labels.shape == energies.shape == (0, 12, 18)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("score", FAST)
def test_non_finite_values_affect_only_nearby_pixels(value, score):
    logits = LOGITS.clone()
    logits[0, 2, 0, 0] = value
    labels, found = labels_and_scores(logits, (24, 36), score, block_bytes=SOME_ROWS)
    clean_labels, clean = labels_and_scores(LOGITS, (24, 36), score, block_bytes=SOME_ROWS)
    assert (labels < 5).all()
    near = torch.zeros(24, 36, dtype=torch.bool)
    near[:6, :6] = True  # at a ratio of 4, the square within one and a half cells
    assert torch.equal(labels[0][~near], clean_labels[0][~near])
    torch.testing.assert_close(found[0][~near], clean[0][~near])
    assert torch.equal(labels[1], clean_labels[1])
    assert not math.isnan(value) or found[0][near].isnan().any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": LOGITS[0]}, r"\(N, C, h, w\).*got \(5, 6, 9\)"),
        ({"logits": LOGITS[:, :0]}, r"logits.*\(\d, 0, 6, 9\)"),
        ({"logits": LOGITS[..., :0]}, r"logits.*\(\d, 5, 6, 0\)"),
        ({"size": (0, 4)}, r"size.*\(0, 4\)"),
        ({"size": (4,)}, r"size.*\(4,\)"),
        ({"input_size": (4, -1)}, r"input_size.*\(4, -1\)"),
        ({"num_classes": 6}, r"5 channels.*\b6\b"),
        ({"num_classes": 0}, r"5 channels.*\b0\b"),
        ({"logits": torch.zeros(1, 257, 2, 2)}, r"256 classes.*\b257\b"),
        ({"padding": (1, 2, 3)}, r"padding.*\(1, 2, 3\)"),
        ({"padding": (-1, 0, 0, 0)}, r"padding.*\(-1, 0, 0, 0\)"),
        (
            {"padding": (10, 10, 0, 0), "input_size": (12, 20)},
            r"padding.*\(10, 10, 0, 0\).*\(12, 20\)",
        ),
        ({"score": lambda f: f.mean()}, r"score.*\(1, 8, 8\).*\(\)"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"logits": LOGITS, "size": (8, 8), "score": scores.Energy()} | change
    with pytest.raises(ValueError, match=message):
        labels_and_scores(**arguments)


def test_a_score_of_neighbouring_pixels_is_refused():
    score = scores.Energy()
    score.pointwise = False
    with pytest.raises(ValueError, match=r"Energy.*neighbouring pixels"):
        labels_and_scores(LOGITS, (8, 8), score)


def test_integer_logits_are_refused():
    with pytest.raises(TypeError, match=r"logits.*torch\.int64"):
        labels_and_scores(LOGITS.long(), (8, 8), scores.Energy())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("block_bytes", [SOME_ROWS, WHOLE])
@pytest.mark.parametrize("score", FAST)
def test_gpu_agrees_with_the_plain_form(score, block_bytes):
    logits = LOGITS.cuda()
    found = labels_and_scores(logits, (23, 31), score, block_bytes=block_bytes)
    assert_agrees(found, plain(logits, (23, 31), score))
