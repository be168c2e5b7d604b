"""The queue between threads: bounds, newest items only, closing."""

from __future__ import annotations

import threading
import time

import pytest

from ood_seg.perception.run.channel import END, Channel


def test_the_size_is_checked():
    with pytest.raises(ValueError, match=r"size: .*got 0"):
        Channel(0)


def test_the_newest_item_replaces_those_that_wait():
    channel = Channel(1, newest_only=True)
    assert [channel.put(item, droppable=True) for item in (1, 2, 3)] == [True] * 3
    assert (channel.dropped, channel.get()) == (2, 3)
    assert channel.put(4, droppable=True)
    assert (channel.dropped, channel.get()) == (2, 4)


def test_close_wakes_a_reader():
    channel, taken = Channel(1), []
    waiting = threading.Thread(target=lambda: taken.append(channel.get()))
    waiting.start()
    time.sleep(0.05)
    channel.close()
    waiting.join(5)
    assert taken == [END]


def test_every_item_is_either_taken_or_dropped():
    channel, taken = Channel(1, newest_only=True), []

    def take():
        while (item := channel.get()) is not END:
            taken.append(item)

    def put(first):
        for item in range(first, first + 500):
            channel.put(item, droppable=True)

    takers = [threading.Thread(target=take) for _ in range(2)]
    putters = [threading.Thread(target=put, args=(1000 * k,)) for k in range(1, 4)]
    for thread in takers + putters:
        thread.start()
    for thread in putters:
        thread.join(10)
    deadline = time.monotonic() + 30
    while len(taken) + channel.dropped < 1500 and time.monotonic() < deadline:
        time.sleep(0.01)
    channel.close()
    for thread in takers:
        thread.join(10)
    assert len(taken) + channel.dropped == 1500
    assert len(set(taken)) == len(taken)


def test_a_closed_channel_does_not_block():
    channel = Channel(1)
    channel.put("a")
    waiting = threading.Thread(target=channel.put, args=("b",))
    waiting.start()
    channel.close()
    waiting.join(2)
    assert not waiting.is_alive()
    assert channel.get() is END
    assert not channel.put("c")
