"""Tasks on images: order, bounded number under way, errors."""

from __future__ import annotations

import threading

import pytest

from ood_seg.evaluation.image_tasks import for_each


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers):
    assert list(for_each(lambda x: x * x, range(20), workers=workers)) == [x * x for x in range(20)]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_twice_the_workers_are_waiting(workers):
    taken = []

    def items():
        for item in range(30):
            taken.append(item)
            yield item

    for done, _ in enumerate(for_each(lambda x: x, items(), workers=workers), 1):
        assert len(taken) - done < 2 * workers


def test_threads_do_work_at_once():
    both = threading.Barrier(2, timeout=10)  # breaks unless two tasks wait together
    assert len(list(for_each(lambda _: both.wait(), range(4), workers=2))) == 4


def test_bad_items_are_collected_and_the_rest_is_done():
    seen = []

    def task(x):
        if x in (2, 5):
            raise ValueError(f"item {x} is bad")
        return x

    with pytest.raises(ValueError, match="2 images cannot") as caught:
        seen.extend(for_each(task, range(8), workers=2))
    assert "item 2 is bad\n  - item 5 is bad" in str(caught.value)
    assert seen == [0, 1, 3, 4, 6, 7]
    with pytest.raises(ValueError, match=r"^item 2 is bad$"):
        list(for_each(task, range(5), workers=2))


def test_files_that_are_gone_are_collected_as_well(tmp_path):
    def task(x):
        return (tmp_path / f"{x}.npy").read_bytes()

    for name in (0, 2):
        (tmp_path / f"{name}.npy").write_bytes(b"")
    (tmp_path / "3.npy").mkdir()
    with pytest.raises(ValueError, match=r"2 images cannot") as caught:
        list(for_each(task, range(4), workers=2))
    assert str(tmp_path / "1.npy") in str(caught.value)
    assert str(tmp_path / "3.npy") in str(caught.value)
    with pytest.raises(ValueError, match=r"1\.npy"):
        list(for_each(task, range(3)))


def test_other_errors_end_it_at_once():
    done = []

    def task(x):
        if x == 1:
            raise OSError("unplugged")
        done.append(x)

    with pytest.raises(OSError, match="unplugged"):
        list(for_each(task, range(100), workers=1))
    assert len(done) < 5
