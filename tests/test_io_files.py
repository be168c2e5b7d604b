"""Atomic writes: files appear complete or not at all."""

import numpy as np
import pytest

from ood_seg.io.files import atomic_path, write_image, write_text


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    assert write_text(path, "first") == path
    with atomic_path(path) as unfinished:
        unfinished.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_no_trace(tmp_path):
    path = write_text(tmp_path / "a.txt", "first")

    def fail_halfway():
        with atomic_path(path) as unfinished:
            unfinished.write_text("half")
            raise OSError("disk is full")

    with pytest.raises(OSError, match="full"):
        fail_halfway()
    assert (path.read_text(), list(tmp_path.iterdir())) == ("first", [path])


def test_text_is_utf8_and_escapes_undecodable_bytes_of_file_names(tmp_path):
    path = write_text(tmp_path / "a.txt", "Straße \udcff\n")
    assert path.read_bytes() == b"Stra\xc3\x9fe \\udcff\n"


def test_unsupported_image_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.xyz.*\.png.*\.jpg"):
        write_image(tmp_path / "a.xyz", np.zeros((2, 2), np.uint8))
