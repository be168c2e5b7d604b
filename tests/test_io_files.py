"""Atomic writes: files appear complete or not at all. One process at a time claims a file."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from ood_seg.io import files
from ood_seg.io.files import (
    atomic_path,
    claimed,
    remove_unfinished,
    require_unclaimed,
    write_image,
    write_text,
)

# Claims a path and writes beside it; prints that it has, and waits until it is killed.
OWNER = """
import sys
from pathlib import Path
from ood_seg.io.files import atomic_path, claimed
path = Path(sys.argv[1])
with claimed(path), atomic_path(path) as unfinished:
    unfinished.write_text("half")
    print("claimed", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def owner_of(path):
    """Context manager: another process that has claimed `path`; killed at the end."""
    command = [sys.executable, "-c", OWNER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            assert process.stdout.readline() == "claimed\n"
            yield process
        finally:
            process.kill()


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    assert write_text(path, "first") == path
    with atomic_path(path) as unfinished:
        unfinished.write_text("second")
        assert path.read_text() == "first"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_errors_of_a_write_name_the_file(tmp_path):
    """Python names no file where a disk is full, and the temporary one where a name is taken."""
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match=r"No space.*a\.txt'$"), atomic_path(path):
        raise OSError(28, "No space left on device")
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=r"'[^']*/a\.txt'$"):
        write_text(path, "first")
    with pytest.raises(OSError, match="other"), atomic_path(path):
        raise OSError(5, "Input/output error", "other")


def test_a_file_that_cannot_be_written_is_known_before(tmp_path):
    files.require_writable_file(tmp_path / "new" / "folder" / "a.txt")
    assert not list(tmp_path.iterdir())
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        files.require_writable_file(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        files.require_writable_file(tmp_path / "file" / "a.txt")
    with pytest.raises(OSError, match="too long"):
        files.require_writable_file(tmp_path / ("x" * 5000))


def test_a_failed_write_leaves_no_trace(tmp_path):
    path = write_text(tmp_path / "a.txt", "first")

    def fail_halfway():
        with atomic_path(path) as unfinished:
            unfinished.write_text("half")
            raise OSError("disk is full")

    with pytest.raises(OSError, match="full"):
        fail_halfway()
    assert (path.read_text(), list(tmp_path.iterdir())) == ("first", [path])


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    for manager in (atomic_path, claimed):
        with pytest.raises(NotADirectoryError, match=r"Not a directory.*a'"):
            manager(tmp_path / "a" / "b.txt").__enter__()


def test_text_is_utf8_and_escapes_undecodable_bytes_of_file_names(tmp_path):
    path = write_text(tmp_path / "a.txt", "Straße \udcff\n")
    assert path.read_bytes() == b"Stra\xc3\x9fe \\udcff\n"


def test_unsupported_image_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.xyz.*\.png.*\.jpg"):
        write_image(tmp_path / "a.xyz", np.zeros((2, 2), np.uint8))


def test_a_claim_of_another_process_is_refused_by_its_owner_and_ends_with_a_kill(tmp_path):
    path = tmp_path / "new" / "a[1].txt"
    with owner_of(path) as process:
        with pytest.raises(ValueError, match=rf"a\[1\]\.txt.*\({process.pid} on .*since 2\d{{3}}-"):
            claimed(path).__enter__()
        with claimed(tmp_path / "new" / "b.txt"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    # The lock and the half-written file of the killed process are there, and in nobody's way.
    assert len(list(path.parent.iterdir())) == 2
    with claimed(path):
        (lock,) = path.parent.iterdir()
        owner = json.loads(lock.read_text())
        assert (owner["pid"], owner["host"]) == (os.getpid(), socket.gethostname())
        write_text(path, "whole")
    assert list(path.parent.iterdir()) == [path]


def test_a_claim_can_be_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    require_unclaimed(path)
    with owner_of(path) as process:
        with pytest.raises(ValueError, match=rf"a\.txt.*\({process.pid} on "):
            require_unclaimed(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    require_unclaimed(path)
    with claimed(path):

        def flock(descriptor, operation):
            raise OSError("no locks here")

        monkeypatch.setattr(files.fcntl, "flock", flock)
        require_unclaimed(path)


def test_a_claim_is_refused_in_the_same_process_and_ends_with_an_error(tmp_path):
    path = tmp_path / "a.txt"
    with contextlib.suppress(KeyError), claimed(path):
        with pytest.raises(ValueError, match=rf"a\.txt.*\({os.getpid()} on"), claimed(path):
            pass
        raise KeyError
    with claimed(path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_is_claimed_by_a_lock_inside(tmp_path):
    with claimed(tmp_path / "run", lock=tmp_path / "run" / ".lock"):
        assert [one.name for one in (tmp_path / "run").iterdir()] == [".lock"]
        with pytest.raises(ValueError, match="run is being"):
            claimed(tmp_path / "run", lock=tmp_path / "run" / ".lock").__enter__()
    assert not list((tmp_path / "run").iterdir())


def test_a_forked_child_neither_keeps_nor_ends_the_claim_of_its_parent(tmp_path):
    path = tmp_path / "a.txt"
    go, wait = os.pipe()
    claim = claimed(path)
    claim.__enter__()
    child = os.fork()
    if not child:
        # A child that ends the block, as if by an error, and lives on.
        claim.__exit__(None, None, None)
        os.close(wait)
        os.read(go, 1)
        os._exit(0)
    try:
        with pytest.raises(ValueError, match=f"{os.getpid()} on"):
            claimed(path).__enter__()
        claim.__exit__(None, None, None)
        with claimed(path):
            pass
    finally:
        os.close(wait)
        os.waitpid(child, 0)
        os.close(go)


def test_a_lock_that_its_owner_removes_while_it_is_opened_is_not_taken(tmp_path, monkeypatch):
    """Between opening and locking, the owner ends and a third process claims the path."""
    path, third = tmp_path / "a.txt", []
    real = files.fcntl.flock

    def flock(descriptor, operation):
        if not third:
            third.append(claimed(path))
            (tmp_path / ".a.txt.lock").unlink()
            third[0].__enter__()
        return real(descriptor, operation)

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with pytest.raises(ValueError, match=r"a\.txt"):
        claimed(path).__enter__()
    third[0].__exit__(None, None, None)


def test_without_locks_nothing_is_refused_and_nothing_removed(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError("no locks here")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    path = tmp_path / "a.txt"
    with claimed(path), atomic_path(path) as unfinished:
        unfinished.write_text("whole")
        with claimed(path):
            pass
    monkeypatch.setattr(files, "fcntl", None)
    with claimed(path), claimed(path):
        pass
    assert (path.read_text(), list(tmp_path.iterdir())) == ("whole", [path])


def test_only_unfinished_files_and_folders_are_removed(tmp_path):
    kept = [".a.txt.part", "a.txt.01234567.part", ".a.txt.0123456x.part", ".b.txt.01234567.part"]
    for name in (*kept, ".a.txt.01234567.part", ".a.txt.89abcdef.part.mp4"):
        (tmp_path / name).write_text("")
    (tmp_path / ".a.txt.00000000.part" / "below").mkdir(parents=True)
    remove_unfinished(tmp_path, "a.txt")
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(kept)
    remove_unfinished(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(kept[:3])


def test_folders_in_which_nothing_can_be_written(tmp_path, monkeypatch):
    files.require_writable(tmp_path / "new" / "deep")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for folder, error in (
        (tmp_path / "file", NotADirectoryError),
        (tmp_path / "file" / "x" / "y", NotADirectoryError),
        (tmp_path / ("n" * 300), OSError),
        (tmp_path / "loop" / "x", OSError),
    ):
        with pytest.raises(error, match=folder.name[:4]):
            files.require_writable(folder)
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(PermissionError, match=tmp_path.name):
        files.require_writable(tmp_path / "new" / "deep")
