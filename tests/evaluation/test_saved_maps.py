"""Score maps and label images of any origin, and invalid ones."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from map_folders import write_labels
from PIL import Image

from ood_seg.evaluation.saved_maps import (
    MapFormat,
    MapReader,
    read_scale_file,
    read_scores,
    training_label_map,
)

SCORES = np.float32([[-8.25, 0, 3], [1e6, -1e-7, 0.5]])


class TestFormats:
    @pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (1, 1, 2, 3), (2, 3, 1)])
    def test_npy(self, tmp_path, shape):
        np.save(tmp_path / "a.npy", SCORES.reshape(shape))
        read = read_scores(tmp_path / "a.npy")
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, SCORES)

    def test_types_keep_every_value(self, tmp_path):
        for dtype, expected in (
            ("float16", "float32"),
            ("float64", "float64"),
            ("uint8", "float32"),
            ("int16", "float32"),
            ("int32", "float64"),
            ("bool", "float32"),
        ):
            stored = np.array([[0, 1], [1, 0]]).astype(dtype)
            stored = stored if dtype == "bool" else stored * np.array(100, dtype)
            np.save(tmp_path / "a.npy", stored)
            read = read_scores(tmp_path / "a.npy")
            assert read.dtype == expected, dtype
            np.testing.assert_array_equal(read, stored)

    def test_npz_takes_its_only_array_or_the_named_one(self, tmp_path):
        np.savez(tmp_path / "one.npz", anything=SCORES)
        np.savez_compressed(tmp_path / "two.npz", logits=SCORES + 1, score=SCORES)
        np.testing.assert_array_equal(read_scores(tmp_path / "one.npz"), SCORES)
        read = read_scores(tmp_path / "two.npz", MapFormat(key="score"))
        np.testing.assert_array_equal(read, SCORES)

    @pytest.mark.parametrize("key", [None, "energy"])
    def test_npz_lists_its_arrays(self, tmp_path, key):
        np.savez(tmp_path / "two.npz", logits=SCORES, score=SCORES)
        with pytest.raises(ValueError, match=r"two\.npz: holds the arrays logits, score; .*key"):
            read_scores(tmp_path / "two.npz", MapFormat(key=key))

    @pytest.mark.parametrize("suffix", [".tif", ".TIFF"])
    def test_float_tiff(self, tmp_path, suffix):
        Image.fromarray(SCORES).save(tmp_path / f"a{suffix}", format="TIFF")
        np.testing.assert_array_equal(read_scores(tmp_path / f"a{suffix}"), SCORES)

    def test_png_of_16_bits_with_scale(self, tmp_path):
        stored = np.uint16([[0, 1, 65535], [300, 40000, 2]])
        Image.fromarray(stored).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_scores(tmp_path / "a.png"), stored)
        (tmp_path / "scale.json").write_text('{"scale": 0.5, "offset": -20}')
        scaled = MapFormat(**read_scale_file(tmp_path / "scale.json"))
        np.testing.assert_array_equal(read_scores(tmp_path / "a.png", scaled), stored / 2 - 20)

    def test_scale_leaves_floats_alone(self, tmp_path):
        np.save(tmp_path / "a.npy", SCORES)
        read = read_scores(tmp_path / "a.npy", MapFormat(scale=0.5))
        np.testing.assert_array_equal(read, SCORES)

    def test_negate(self, tmp_path):
        np.save(tmp_path / "a.npy", SCORES)
        read = read_scores(tmp_path / "a.npy", MapFormat(negate=True))
        np.testing.assert_array_equal(read, -SCORES)


class TestBadFiles:
    def refused(self, path, match, **format):
        with pytest.raises(ValueError, match=match) as caught:
            read_scores(path, MapFormat(**format))
        assert path.name in str(caught.value)

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".tif", ".png"])
    def test_truncated(self, tmp_path, suffix):
        path = tmp_path / f"a{suffix}"
        noise = np.random.default_rng(0).integers(0, 2**16, (64, 64)).astype(np.uint16)
        if suffix == ".npy":
            np.save(path, noise)
        elif suffix == ".npz":
            np.savez(path, noise)
        else:
            Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:3000])
        self.refused(path, "truncated|damaged")

    def test_empty_file(self, tmp_path):
        (tmp_path / "a.npy").touch()
        self.refused(tmp_path / "a.npy", "truncated")

    def test_pickled_objects_are_not_loaded(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[{}, 1]], object), allow_pickle=True)
        (tmp_path / "b.npy").write_bytes(pickle.dumps(SCORES))
        np.savez(tmp_path / "c.npz", np.array([[None]], object))
        for name in ("a.npy", "b.npy", "c.npz"):
            self.refused(tmp_path / name, "pickled")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, tmp_path, value):
        scores = SCORES.copy()
        scores[1, 1] = value
        np.save(tmp_path / "a.npy", scores)
        wrong = "1 NaN and 0 inf" if np.isnan(value) else "0 NaN and 1 inf"
        self.refused(tmp_path / "a.npy", wrong)

    @pytest.mark.parametrize("shape", [(6,), (2, 2, 3), (0, 3)])
    def test_shape(self, tmp_path, shape):
        np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
        self.refused(tmp_path / "a.npy", r"one score map \(H, W\)")

    def test_complex(self, tmp_path):
        np.save(tmp_path / "a.npy", SCORES + 1j)
        self.refused(tmp_path / "a.npy", "real numbers")

    def test_colour_image(self, tmp_path):
        Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
        self.refused(tmp_path / "a.png", "one channel of scores, got pillow mode 'RGB'")

    def test_exr_error_names_the_remedy(self, tmp_path):
        (tmp_path / "a.exr").write_bytes(b"v/1\x01 not really")
        self.refused(tmp_path / "a.exr", "OPENCV_IO_ENABLE_OPENEXR=1")

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"scale": 0}, "above 0"),
            ({"scale": -1}, "negate"),
            ({"scale": np.nan}, "above 0"),
            ({"offset": 1}, "needs a scale"),
        ],
    )
    def test_scale(self, options, match):
        with pytest.raises(ValueError, match=match):
            MapFormat(**options)

    @pytest.mark.parametrize(
        "text", ["{", "[1]", '{"offset": 1}', '{"scale": "wide"}', "[" * 10**5]
    )
    def test_scale_file(self, tmp_path, text):
        (tmp_path / "scale.json").write_text(text)
        with pytest.raises(ValueError, match=r"scale\.json: expected"):
            read_scale_file(tmp_path / "scale.json")


class TestGroundTruth:
    def labels(self, tmp_path, raw, **options):
        write_labels(tmp_path / "a.png", raw)
        return MapReader(**options).read_truth(tmp_path / "a.png").tolist()

    def test_as_they_are(self, tmp_path):
        assert self.labels(tmp_path, [[0, 1, 255]]) == [[0, 1, 255]]

    def test_label_map(self, tmp_path):
        assert self.labels(tmp_path, [[0, 2, 255]], label_map={"0": "0", 2: 1}) == [[0, 1, 255]]

    def test_training_labels(self, tmp_path):
        mapped = self.labels(tmp_path, [[0, 18, 254, 255]], label_map=training_label_map(19))
        assert mapped == [[0, 0, 1, 255]]

    def test_unknown_value_is_named(self, tmp_path):
        with pytest.raises(ValueError, match=r"a\.png: unknown label values 2 \(2 pixels\)"):
            self.labels(tmp_path, [[0, 1, 2, 2]])

    def test_meaning_outside_evaluation(self):
        with pytest.raises(ValueError, match="label_map"):
            MapReader(label_map={0: 3})

    def test_size(self, tmp_path):
        write_labels(tmp_path / "a.png", np.zeros((4, 6)))
        np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
        with pytest.raises(ValueError, match=r"a\.npy: .*size 2x3 .*a\.png 4x6"):
            MapReader().read(tmp_path / "a.npy", tmp_path / "a.png")


def test_options_are_json(tmp_path):
    """They identify partial results."""
    from dataclasses import asdict

    assert json.dumps(asdict(MapReader(format=MapFormat(key="a")))) != json.dumps(
        asdict(MapReader())
    )
