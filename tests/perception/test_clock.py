"""Steps between frames, with and without stamps, against values by hand."""

import pytest

from ood_seg.perception.core.clock import FrameClock


def followed(*frames):
    """Time and steps of a sequence of (index, stamp)."""
    clock, found = FrameClock(), []
    for frame in frames:
        clock.update(*frame)
        found.append((clock.time, clock.steps))
    return found


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        # A constant rate; then two frames are missing.
        (
            [(0, 0.0), (1, 0.5), (2, 1.0), (5, 2.5)],
            [(0, None), (0.5, 1), (1, 1), (2.5, 3)],
        ),
        # Without stamps the indices count.
        ([(3, None), (4, None), (6, None)], [(3, None), (4, 1), (6, 4 / 3)]),
        # Equal stamps: frames are one apart, or the usual step.
        ([(0, 7.0), (1, 7.0), (2, 7.0)], [(7, None), (8, 1), (9, 1)]),
        ([(0, 0.0), (1, 0.5), (2, 0.5), (3, 1.0)], [(0, None), (0.5, 1), (1, 1), (1.5, 1)]),
        # A pause does not change what is usual.
        (
            [(0, 0.0), (1, 1.0), (2, 2.0), (3, 10.0), (4, 11.0)],
            [(0, None), (1, 1), (2, 1), (10, 8), (11, 1)],
        ),
        # New videos: the index does not rise, the stamp falls, stamps begin or end.
        ([(0, 0.0), (1, 0.5), (0, 1.0)], [(0, None), (0.5, 1), (1, None)]),
        ([(0, 5.0), (1, 4.0), (2, 4.5)], [(5, None), (4, None), (4.5, 1)]),
        ([(0, 0.0), (1, None), (2, 9.0)], [(0, None), (1, None), (9, None)]),
    ],
)
def test_time_and_steps_by_hand(frames, expected):
    assert followed(*frames) == [(time, pytest.approx(steps)) for time, steps in expected]


def test_what_is_usual_follows_the_last_hundred_frames():
    clock = FrameClock()
    for index in range(200):
        clock.update(index, min(index, 100) + 2.0 * max(index - 100, 0))
    assert clock.steps == 1.0  # of two seconds
    clock.update(200, 302.0)
    assert clock.steps == 2.0
    clock.reset()
    clock.update(201, 303.0)
    assert clock.steps is None
