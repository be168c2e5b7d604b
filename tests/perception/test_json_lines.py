"""Shards cover every name once; lines of JSON survive kills and resumed runs of other sizes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from ood_seg.perception.core.types import Failure
from ood_seg.perception.io.json_lines import JsonLines
from ood_seg.perception.io.shards import Shard, shard_of

NAMES = [f"city/{index:03d}" for index in range(200)]


def names_in(path: Path) -> list[str]:
    return [json.loads(line)["name"] for line in path.read_text().splitlines()]


def all_names(folder: Path) -> list[str]:
    """Of all files, each as often as it is there."""
    return sorted(name for file in folder.glob("*.jsonl") for name in names_in(file))


def run(path: Path, shard: Shard, *, resume: bool, most: int = 10**9) -> None:
    """A process of a run, which ends after `most` images as if it were killed."""
    lines = JsonLines(path, shard, resume=resume)
    todo = [name for name in NAMES if shard.owns(name) and name not in lines.done]
    for name in todo[:most]:
        assert lines.write({"name": name})
    if most >= len(todo):
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
    """Another one would divide the images differently in the middle of a run."""
    expected = [
        int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") % 5
        for name in NAMES
    ]
    owners = [next(r for r in range(5) if Shard(r, 5).owns(name)) for name in NAMES]
    assert owners == expected
    # A file name that is not valid UTF-8 falls to one process as well.
    assert sum(Shard(rank, 5).owns("caf\udce9") for rank in range(5)) == 1


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


def test_a_single_process_is_resumed_in_its_file(tmp_path):
    path = tmp_path / "r.jsonl"
    run(path, Shard(), resume=False, most=50)
    assert len(names_in(path)) == 50  # written through, though never closed
    with pytest.raises(ValueError, match=r"r\.jsonl exists.*--resume"):
        JsonLines(path)
    run(path, Shard(), resume=True)
    assert names_in(path) == NAMES
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]


@pytest.mark.parametrize("cut", [1, 5, 14])
def test_an_incomplete_line_is_written_again(cut, tmp_path):
    path = tmp_path / "r.jsonl"
    run(path, Shard(), resume=False, most=50)
    path.write_bytes(path.read_bytes()[:-cut])
    run(path, Shard(), resume=True)
    assert sorted(names_in(path)) == NAMES
    other = tmp_path / "several"
    run(other / "q.jsonl", Shard(0, 2), resume=False, most=20)
    part = other / "q.part-0-of-2.jsonl"
    part.write_bytes(part.read_bytes()[:-cut])
    run(other / "q.jsonl", Shard(0, 2), resume=True)
    run(other / "q.jsonl", Shard(1, 2), resume=True)
    assert all_names(other) == NAMES


def test_several_processes_with_kills_and_other_numbers(tmp_path):
    path = tmp_path / "r.jsonl"
    for rank in range(3):
        run(path, Shard(rank, 3), resume=False, most=15)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"r.part-{rank}-of-3.jsonl" for rank in range(3)
    ]
    for rank in range(2):
        run(path, Shard(rank, 2), resume=True, most=30)
    for rank in range(4):
        run(path, Shard(rank, 4), resume=True)
    assert all_names(tmp_path) == NAMES
    assert len(list(tmp_path.iterdir())) == 3 + 2 + 4


def test_a_resumed_single_process_collects_the_parts(tmp_path):
    path = tmp_path / "r.jsonl"
    for rank in range(3):
        run(path, Shard(rank, 3), resume=False, most=15)
    # A kill between the two steps of collecting leaves lines twice.
    path.write_bytes((tmp_path / "r.part-1-of-3.jsonl").read_bytes())
    run(path, Shard(), resume=True)
    assert sorted(names_in(path)) == NAMES
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]


def test_a_process_may_start_after_the_others_have_ended(tmp_path):
    path = tmp_path / "r.jsonl"
    run(path, Shard(0, 2), resume=False)
    run(path, Shard(1, 2), resume=False)
    assert all_names(tmp_path) == NAMES
    for world in (2, 3):
        with pytest.raises(ValueError, match=r"r\.part-.-of-2\.jsonl exists"):
            JsonLines(path, Shard(1, world))


def test_replaced_files_stay_until_the_first_record(tmp_path):
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
    with pytest.raises(ValueError, match=r"r\.jsonl.* 2 processes"):
        JsonLines(path, Shard(0, 2), replace=True)


@pytest.mark.parametrize("shard", [Shard(), Shard(1, 3)])
def test_a_second_start_of_a_running_process_is_refused(shard, tmp_path):
    first = JsonLines(tmp_path / "r.jsonl", shard)
    first.write({"name": "a"})
    for options in ({}, {"resume": True}):
        with pytest.raises(ValueError, match=rf"{re.escape(first.own.name)}.*\({os.getpid()} on"):
            JsonLines(tmp_path / "r.jsonl", shard, **options)
    first.write({"name": "b"})
    first.close()
    second = JsonLines(tmp_path / "r.jsonl", shard, resume=True)
    assert second.done == {name for name in "ab" if shard.owns(name)}
    second.close()
    assert all_names(tmp_path) == ["a", "b"]
    assert list(tmp_path.iterdir()) == [first.own]


@pytest.mark.parametrize("options", [{"resume": True}, {"replace": True}])
def test_the_part_of_a_running_process_is_neither_moved_nor_removed(options, tmp_path):
    running = JsonLines(tmp_path / "r.jsonl", Shard(1, 3))
    running.write({"name": "a"})
    with pytest.raises(ValueError, match=r"r\.part-1-of-3\.jsonl"):
        JsonLines(tmp_path / "r.jsonl", **options)
    running.write({"name": "b"})
    running.close()
    assert names_in(running.own) == ["a", "b"]
    assert list(tmp_path.iterdir()) == [running.own]


@pytest.mark.parametrize("running", [Shard(), Shard(1, 3)])
def test_processes_of_another_number_wait_for_the_end_of_a_run(running, tmp_path):
    first = JsonLines(tmp_path / "r.jsonl", running)
    for rank in (0, 1):
        with pytest.raises(ValueError, match=rf"{re.escape(first.own.name)}.*\({os.getpid()} on"):
            JsonLines(tmp_path / "r.jsonl", Shard(rank, 2), resume=True)
    first.write({"name": "a"})
    first.close()
    # Those of one run do not wait for each other.
    both = [JsonLines(tmp_path / "r.jsonl", Shard(rank, 2), resume=True) for rank in (0, 1)]
    assert {name for lines in both for name in lines.done} == {"a"}
    for lines in both:
        lines.close()


def test_a_single_process_removes_what_killed_processes_have_left(tmp_path):
    for name in (".r.part-1-of-4.jsonl.lock", ".r.part-1-of-4.jsonl.0123abcd.part"):
        (tmp_path / name).write_text("{")
    lines = JsonLines(tmp_path / "r.jsonl", resume=True)
    lines.write({"name": "a"})
    lines.close()
    assert list(tmp_path.iterdir()) == [tmp_path / "r.jsonl"]


def test_failures_are_tried_again_and_replaced_by_results(tmp_path):
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
    # The same in several processes: a failure in one run, a result in the next.
    folder = tmp_path / "several"
    for attempt in range(2):
        for rank in (0, 1):
            lines = JsonLines(folder / "q.jsonl", Shard(rank, 2), resume=True)
            for name in filter(Shard(rank, 2).owns, "abcdef"):
                if attempt == 0 and name in "bc":
                    lines.write_failure(Failure(name, "broken"))
                elif name not in lines.done:
                    lines.write({"name": name})
            lines.close()
    assert all_names(folder) == list("abcdef")
    assert not any("error" in file.read_text() for file in folder.iterdir())


def test_kept_failures_are_left_out_and_give_way_to_results(tmp_path):
    path = tmp_path / "r.jsonl"
    lines = JsonLines(path)
    for name in "bc":
        lines.write_failure(Failure(name, "broken"))
    lines.write({"name": "a"})
    lines.close()
    kept = JsonLines(path, resume=True, keep_failures=True)
    assert (kept.done, kept.failed) == ({"a"}, {"b", "c"})
    kept.write({"name": "b"})  # such as a frame of a video that is analysed again
    kept.write_failure(Failure("c", "still broken"))
    kept.close()
    again = JsonLines(path, resume=True, keep_failures=True)
    assert (again.done, again.failed) == ({"a", "b"}, {"c"})
    again.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["name"], one.get("error")) for one in records] == [
        ("a", None),
        ("b", None),
        ("c", "broken"),
    ]
    for rank in range(2):  # of other processes as well
        lines = JsonLines(path, Shard(rank, 2), resume=True, keep_failures=True)
        assert lines.failed == set(filter(Shard(rank, 2).owns, "c"))
        lines.close()


def test_lines_of_other_content_are_dropped(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"name": ["a"]}\n{"name": {}}\n' + "[" * 100_000 + '\n{"name": "b"}\n')
    lines = JsonLines(path, resume=True, keep_failures=True)
    lines.close()
    assert (lines.done, lines.failed, names_in(path)) == ({"b"}, set(), ["b"])


def test_a_run_that_writes_nothing_leaves_nothing(tmp_path):
    for shard in (Shard(), Shard(0, 2)):
        JsonLines(tmp_path / "r.jsonl", shard).close()
    assert not list(tmp_path.iterdir())


def test_a_name_is_written_once(tmp_path):
    lines = JsonLines(tmp_path / "r.jsonl")
    assert lines.write({"name": "a"})
    assert not lines.write({"name": "a", "more": 1})
    lines.close()
    lines.close()  # harmless
    assert names_in(tmp_path / "r.jsonl") == ["a"]


def test_damaged_lines_in_the_middle_are_dropped(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"name": "a"}\n\0\0\0\n[1]\n{"name": "b"}\n')
    lines = JsonLines(path, resume=True)
    assert ["a" in lines.done, "b" in lines.done, len(lines.done)] == [True, True, 2]
    lines.close()
    assert names_in(path) == ["a", "b"]


def test_half_a_line_on_a_full_disk_is_an_error(tmp_path):
    lines = JsonLines(tmp_path / "r.jsonl")
    lines.close()

    class Full:
        def write(self, line):
            return len(line) // 2

    lines._stream = Full()
    with pytest.raises(OSError, match="is the disk full"):
        lines.write({"name": "a"})


def test_a_long_incomplete_line_is_dropped(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"name": "a"}\n' + b"x" * 200_000)
    lines = JsonLines(path, Shard(0, 1), resume=True)
    lines.write({"name": "b"})
    lines.close()
    assert names_in(path) == ["a", "b"]
