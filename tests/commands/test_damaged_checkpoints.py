"""Damaged and hostile checkpoints are refused by name; full disks leave the old file."""

from __future__ import annotations

import contextlib
import resource
import zipfile

import pytest
import torch
from torch import nn

from ood_seg.checkpoints import (
    check_weights,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    secure_loading,
)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3))


def with_flipped_bit(content: bytes, index: int, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[index] ^= 1 << bit
    return bytes(damaged)


def test_a_flipped_bit_anywhere_is_refused_or_changes_nothing(tmp_path):
    network, path = model(), tmp_path / "iter_1.pth"
    torch.save({"state_dict": network.state_dict(), "meta": {"iter": 1}}, path)
    content, expected = path.read_bytes(), network.state_dict()
    directory = content.index(b"PK\x01\x02")
    indices = [*range(0, directory, 16), *range(directory, len(content), 3)]
    refused = 0
    for index in indices:
        path.write_bytes(with_flipped_bit(content, index, index % 8))
        try:
            loaded = load_checkpoint(path)
            weights = check_weights(network, loaded)
        except ValueError:
            refused += 1
            continue
        assert loaded["meta"] == {"iter": 1}, index
        assert all(torch.equal(weights[key], expected[key]) for key in expected), index
    assert refused > len(indices) / 3  # the rest is padding and unused fields


def test_the_damaged_entry_is_named(tmp_path):
    path, value = tmp_path / "iter_2.pth", torch.arange(1000.0)
    torch.save({"state_dict": {"a": torch.zeros(3), "b": value}}, path)
    content = path.read_bytes()
    place = content.index(value.numpy().tobytes())
    path.write_bytes(with_flipped_bit(content, place + 1234, 0))
    with pytest.raises(ValueError, match=r"iter_2\.pth is damaged.*data/1'"):
        load_weights(path)


def test_an_entry_marked_as_a_folder_is_refused(tmp_path):
    # torch returns memory that it never wrote for such an entry, without an error.
    path = tmp_path / "iter_3.pth"
    torch.save({"a": torch.ones(3)}, path)
    content = path.read_bytes()
    record = content.rindex(b"PK\x01\x02", 0, content.rindex(b"iter_3/data/0"))
    path.write_bytes(with_flipped_bit(content, record + 38, 4))
    with pytest.raises(ValueError, match=r"iter_3\.pth is damaged.*data/0'"):
        load_checkpoint(path)


def test_files_without_checksums_load(tmp_path):
    weights = model().state_dict()
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(weights, tmp_path / "unchecked.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    for name in ("old.pth", "unchecked.pth"):
        loaded = load_weights(tmp_path / name)
        assert all(torch.equal(loaded[key], weights[key]) for key in weights)


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert (tmp_path / "bomb.pth").stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"bomb\.pth: entry 'plain/data\.pkl' is compressed"):
        load_checkpoint(tmp_path / "bomb.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_tensor_larger_than_its_file_is_refused(tmp_path, legacy):
    path = tmp_path / "absurd.pth"
    content = {"state_dict": {"0.weight": torch.zeros(1).expand(10**12)}}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"absurd\.pth.*state_dict/0\.weight.*1000000000000"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.zeros(2, device="meta"), "meta"),
        (torch.eye(3).to_sparse(), "torch.sparse_coo"),
        (torch.zeros(2, dtype=torch.complex64), "torch.complex64"),
    ],
)
def test_weights_that_are_no_plain_numbers_are_refused(tmp_path, value, named):
    torch.save({"state_dict": {"0.weight": value}}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=rf"odd\.pth: 0\.weight.*{named}"):
        load_weights(tmp_path / "odd.pth")


@pytest.mark.parametrize("entry", ["meta", "state_dict"])
def test_an_entry_of_another_kind_is_refused(tmp_path, entry):
    torch.save({"state_dict": {"a": torch.zeros(1)}, entry: [1]}, tmp_path / "list.pth")
    with pytest.raises(ValueError, match=rf"list\.pth: its entry {entry} is a list"):
        load_checkpoint(tmp_path / "list.pth")


def damaged_file(path) -> None:
    value = torch.arange(1000.0)
    torch.save({"state_dict": {"a": value}}, path)
    content = path.read_bytes()
    place = content.index(value.numpy().tobytes())
    path.write_bytes(with_flipped_bit(content, place, 0))


def test_mmengine_compares_checksums_of_files_and_of_what_it_downloaded(tmp_path, monkeypatch):
    loader = pytest.importorskip("mmengine.runner.checkpoint").CheckpointLoader
    secure_loading()
    damaged_file(tmp_path / "init.pth")
    with pytest.raises(ValueError, match=r"init\.pth is damaged"):
        loader.load_checkpoint(str(tmp_path / "init.pth"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    damaged_file(tmp_path / "checkpoints" / "cached.pth")
    with pytest.raises(ValueError, match=r"cached\.pth is damaged"):
        loader.load_checkpoint("https://example.org/models/cached.pth?download=1")


@contextlib.contextmanager
def files_of_at_most(size: int):
    """Stands for a full disk: writing beyond it is an `OSError`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "weights.pth"
    save_checkpoint(path, {"a": torch.zeros(3)})
    with files_of_at_most(100_000), pytest.raises(OSError, match=r"weights\.pth"):
        save_checkpoint(path, {"a": torch.zeros(1_000_000)})
    assert load_checkpoint(path)["a"].numel() == 3
    assert [file.name for file in tmp_path.iterdir()] == ["weights.pth"]
