"""A disk that is full: one line that names the file, exit 2, and nothing half-written."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
import writers


def run_on_small_disk(command: list[str], out, size: str, copy) -> subprocess.CompletedProcess:
    """Run where `out` is a file system of `size`; what it holds at the end is copied to `copy`.

    Skips where an unprivileged process may not mount one.
    """
    out.mkdir()
    script = (
        f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(out))} || exit 77\n"
        f"{shlex.join(command)}\ncode=$?\n"
        f"cp -r {shlex.quote(str(out))} {shlex.quote(str(copy))}\nexit $code"
    )
    done = writers.run(["unshare", "--mount", "--map-root-user", "sh", "-c", script])
    if done.returncode == 77:
        pytest.skip("no file system can be mounted here")
    return done


@pytest.mark.slow
@pytest.mark.parametrize("name", writers.WRITERS)
@pytest.mark.parametrize("size", ["4k", "12k", "32k"])
def test_full_disk(name, size, inputs, tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    writer, copy = writers.WRITERS[name], tmp_path / "copy"
    out = tmp_path / "out"
    done = run_on_small_disk(writer.command(inputs, out), out, size, copy)
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        for pattern in writer.products:
            assert list(copy.rglob(pattern)), pattern
    else:
        assert done.returncode in (1, 2)
        assert "No space left" in done.stderr + done.stdout
    for path in writers.finished_files(copy):
        writers.check_whole(path)
    assert not [path for path in copy.rglob("*.part*") if path.is_file()]
