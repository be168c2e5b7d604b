"""Shards cover everything once; lines of JSON survive kills, also between any two steps."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ood_seg.perception.core.types import Failure
from ood_seg.perception.io import json_lines
from ood_seg.perception.io.json_lines import JsonLines
from ood_seg.perception.io.shards import Shard, shard_of

NAMES = [f"city/{index:03d}" for index in range(200)]


def names_in(path: Path) -> list[str]:
    return [json.loads(line)["name"] for line in path.read_text().splitlines()]


def run(path: Path, shard: Shard, *, resume: bool, most: int = 10**9, close: bool = True) -> None:
    """A process of a run, which ends after `most` pictures as if it were killed."""
    lines = JsonLines(path, shard, resume=resume)
    todo = [name for name in NAMES if shard.owns(name) and name not in lines.done]
    for name in todo[:most]:
        assert lines.write({"name": name})
    if close and most >= len(todo):
        lines.close()
    else:
        lines._stream.close()  # what the system does for a killed process


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_name_falls_to_one_process(world):
    shards = [Shard(rank, world) for rank in range(world)]
    owned = [[name for name in NAMES if shard.owns(name)] for shard in shards]
    assert sorted(name for names in owned for name in names) == NAMES
    assert min(map(len, owned)) > 0.5 * len(NAMES) / world


def test_the_hash_does_not_change_between_versions():
    """Another one would deal pictures out anew in the middle of a run."""
    expected = [
        int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") % 5
        for name in NAMES
    ]
    owners = [next(r for r in range(5) if Shard(r, 5).owns(name)) for name in NAMES]
    assert owners == expected


def test_shard_of_the_environment():
    assert shard_of({}) == Shard(0, 1)
    torchrun = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    assert shard_of(torchrun) == Shard(3, 8, 1)
    srun = {"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}
    assert shard_of(srun) == Shard(2, 4)
    assert shard_of({**srun, **torchrun}) == Shard(3, 8, 1)
    # In a script of sbatch, outside srun, the same variables are set for one process.
    assert shard_of({**srun, "SLURM_JOB_ID": "7"}) == Shard(0, 1)
    assert shard_of({**srun, "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}) == Shard(2, 4)
    with pytest.raises(ValueError, match=r"RANK=9, WORLD_SIZE=8, LOCAL_RANK=None: .*rank 9 of 8"):
        shard_of({"RANK": "9", "WORLD_SIZE": "8"})
    with pytest.raises(ValueError, match="RANK=x, WORLD_SIZE=8"):
        shard_of({"RANK": "x", "WORLD_SIZE": "8"})


def test_one_process_writes_and_goes_on(tmp_path):
    path = tmp_path / "r.jsonl"
    run(path, Shard(), resume=False, most=50)
    assert len(names_in(path)) == 50  # written through, though never closed
    with pytest.raises(ValueError, match="exists; go on with it"):
        JsonLines(path)
    run(path, Shard(), resume=True)
    assert names_in(path) == NAMES


@pytest.mark.parametrize("cut", [1, 5, 14])
def test_a_line_that_was_cut_off_is_written_again(cut, tmp_path):
    path = tmp_path / "r.jsonl"
    run(path, Shard(), resume=False, most=50)
    path.write_bytes(path.read_bytes()[:-cut])
    run(path, Shard(), resume=True)
    assert sorted(names_in(path)) == NAMES
    part = tmp_path / "q.part-0-of-2.jsonl"
    run(tmp_path / "q.jsonl", Shard(0, 2), resume=False, most=20)
    part.write_bytes(part.read_bytes()[:-cut])
    run(tmp_path / "q.jsonl", Shard(0, 2), resume=True)
    run(tmp_path / "q.jsonl", Shard(1, 2), resume=True)
    assert sorted(names_in(tmp_path / "q.jsonl")) == NAMES


def test_several_processes_with_kills_and_other_numbers(tmp_path):
    path = tmp_path / "r.jsonl"
    for rank in range(3):
        run(path, Shard(rank, 3), resume=False, most=15)
    assert len(list(tmp_path.glob("*.part-*"))) == 3
    for rank in range(2):
        run(path, Shard(rank, 2), resume=True, most=30)
    for rank in range(4):
        run(path, Shard(rank, 4), resume=True)
    assert sorted(names_in(path)) == NAMES
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]


def test_the_last_process_merges_and_only_it(tmp_path):
    path = tmp_path / "r.jsonl"
    shards = [Shard(rank, 2) for rank in range(2)]
    first = JsonLines(path, shards[0])
    second = JsonLines(path, shards[1])
    for lines, shard in ((first, shards[0]), (second, shards[1])):
        for name in filter(shard.owns, NAMES):
            lines.write({"name": name})
    assert not first.close()
    assert not path.exists()
    assert second.close()
    assert sorted(names_in(path)) == NAMES


def test_a_process_that_starts_late_does_not_find_its_own_run_merged(tmp_path):
    path = tmp_path / "r.jsonl"
    run(path, Shard(0, 2), resume=False)
    run(path, Shard(1, 2), resume=False)
    assert sorted(names_in(path)) == NAMES


def test_a_kill_between_the_steps_of_merging_is_healed(tmp_path, monkeypatch):
    path = tmp_path / "r.jsonl"
    for step in ("replace", "unlink"):
        for file in tmp_path.iterdir():
            file.unlink()
        run(path, Shard(0, 2), resume=False)

        def killed(*_, **__):
            raise SystemExit

        with monkeypatch.context() as patch:
            if step == "replace":
                patch.setattr(json_lines.os, "replace", killed)
            else:
                patch.setattr(Path, "unlink", killed)
            with pytest.raises(SystemExit):
                run(path, Shard(1, 2), resume=False)
        run(path, Shard(0, 1), resume=True)
        assert sorted(names_in(path)) == NAMES
        assert not list(tmp_path.glob("*.part-*"))


def test_replaced_files_stay_until_there_is_something_in_their_place(tmp_path):
    path, part = tmp_path / "r.jsonl", tmp_path / "r.part-1-of-3.jsonl"
    for file in (path, part):
        file.write_text('{"name": "old"}\n')
    lines = JsonLines(path, replace=True)
    assert "old" not in lines.done
    lines.close()
    assert (path.read_text(), part.exists()) == ('{"name": "old"}\n', True)
    lines = JsonLines(path, replace=True)
    lines.write({"name": "new"})
    lines.write({"name": "newer"})
    lines.close()
    assert (path.read_text(), part.exists()) == ('{"name": "new"}\n{"name": "newer"}\n', False)
    with pytest.raises(ValueError, match="2 processes cannot agree on who replaces"):
        JsonLines(path, Shard(0, 2), replace=True)


def test_two_starts_of_one_process_are_told(tmp_path):
    path = tmp_path / "r.jsonl"
    running = JsonLines(path)
    running.write({"name": "a"})
    with pytest.raises(ValueError, match="being written by another process"):
        JsonLines(path, resume=True)
    running.close()
    other = JsonLines(path, Shard(1, 3), resume=True)
    with pytest.raises(ValueError, match="was this one started twice"):
        JsonLines(path, Shard(1, 3), resume=True)
    with pytest.raises(ValueError, match="being written by another process"):
        JsonLines(path, resume=True)
    other.close()


def test_failures_are_tried_again_and_give_way_to_results(tmp_path):
    path = tmp_path / "r.jsonl"
    lines = JsonLines(path)
    lines.write({"name": "a"})
    lines.write_failure(Failure("b", "truncated", 1))
    lines.write_failure(Failure("c", "truncated", 2))
    lines.close()
    failure = json.loads(path.read_text().splitlines()[1])
    assert failure == {
        "schema": "ood_seg.failure/1",
        "name": "b",
        "index": 1,
        "error": "truncated",
    }
    again = JsonLines(path, resume=True)
    assert "b" not in again.done
    again.write({"name": "b"})
    again.write_failure(Failure("c", "still truncated", 2))
    again.close()
    assert names_in(path) == ["a", "b", "c"]
    # The same over several processes: a failure of one run, a result of the next.
    other = tmp_path / "q.jsonl"
    for attempt in range(2):
        for rank in (0, 1):
            lines = JsonLines(other, Shard(rank, 2), resume=True)
            for name in filter(Shard(rank, 2).owns, "abcdef"):
                if attempt == 0 and name in "bc":
                    lines.write_failure(Failure(name, "broken"))
                elif name not in lines.done:
                    lines.write({"name": name})
            lines.close()
    assert sorted(names_in(other)) == list("abcdef")
    assert "error" not in other.read_text()


def test_one_at_a_time_holds_the_lock_although_it_is_removed(tmp_path):
    inside, most = [], []

    def take(number: int) -> None:
        for _ in range(50):
            with json_lines._locked(tmp_path / "r.jsonl", exclusive=True) as locked:
                assert locked
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(8)))
    assert most == [1] * 400
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_removed_while_one_waited_is_taken_anew(tmp_path, monkeypatch):
    lock, real = json_lines._lock, []

    def late(stream, **options):
        if not real:  # as if the holder had removed the file just before it let go
            (tmp_path / ".r.jsonl.lock").unlink()
        real.append(lock(stream, **options))
        return real[-1]

    monkeypatch.setattr(json_lines, "_lock", late)
    with json_lines._locked(tmp_path / "r.jsonl", exclusive=False):
        assert (tmp_path / ".r.jsonl.lock").exists()
    assert real == [True, True]


def test_no_lock_is_left_behind(tmp_path):
    lines = JsonLines(tmp_path / "r.jsonl")
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]
    with pytest.raises(ValueError, match="being written by another process"):
        JsonLines(tmp_path / "r.jsonl", resume=True)
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]
    lines.close()


def test_a_name_is_written_once(tmp_path):
    lines = JsonLines(tmp_path / "r.jsonl")
    assert lines.write({"name": "a"})
    assert not lines.write({"name": "a", "more": 1})
    lines.close()
    assert not lines.close()
    assert names_in(tmp_path / "r.jsonl") == ["a"]


def test_damaged_lines_in_the_middle_are_dropped(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"name": "a"}\n\0\0\0\n[1]\n{"name": "b"}\n')
    lines = JsonLines(path, resume=True)
    assert ["a" in lines.done, "b" in lines.done, len(lines.done)] == [True, True, 2]
    lines.close()
    assert names_in(path) == ["a", "b"]


def test_half_a_line_on_a_full_disk_is_told(tmp_path):
    lines = JsonLines(tmp_path / "r.jsonl")
    lines.close()

    class Full:
        def write(self, line):
            return len(line) // 2

    lines._stream = Full()
    with pytest.raises(OSError, match="is the disk full"):
        lines.write({"name": "a"})


def test_a_last_line_longer_than_a_block_is_cut_off(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"name": "a"}\n' + b"x" * 200_000)
    lines = JsonLines(path, Shard(0, 1), resume=True)
    lines.write({"name": "b"})
    lines.close()
    assert names_in(path) == ["a", "b"]
