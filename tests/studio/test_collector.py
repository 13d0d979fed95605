"""Garbage is collected when nothing is asked, and no question is lost or delayed for long."""

import gc
import queue
import weakref

import pytest

from blocks.studio import answers


class Web:
    """What only the collector frees."""

    def __init__(self):
        self.itself = self


@pytest.fixture
def collector(monkeypatch):
    monkeypatch.setattr(answers, "SOON", 0.01)
    monkeypatch.setattr(answers, "LATER", 0.01)
    yield answers.Collector()
    gc.enable()
    gc.unfreeze()


class Waiting:
    """A queue whose next question comes after a number of pauses; its watches see what lives."""

    def __init__(self, pauses, watched):
        self.pauses, self.watched, self.alive = pauses, watched, []

    def get(self, timeout=None):
        self.alive.append(self.watched() is not None)
        if timeout is None or len(self.alive) > self.pauses:
            return "line"
        raise queue.Empty


def test_what_died_is_freed_in_the_first_pause_and_what_is_frozen_in_the_second(collector):
    assert not gc.isenabled()
    old, web = Web(), Web()
    collector._collect_all()  # both are frozen
    collector.young = collector.old = 1
    young = Web()
    seen, frozen = weakref.ref(young), weakref.ref(web)
    del young, web
    waiting = Waiting(1, seen)
    assert collector.wait(waiting) == "line"
    assert waiting.alive == [True, False]
    assert frozen() is not None
    assert collector.wait(Waiting(2, frozen)) == "line"
    assert frozen() is None
    assert old.itself is old


def test_who_never_pauses_is_collected_for_all_the_same(collector, monkeypatch):
    monkeypatch.setattr(answers, "MANY", 3)
    lost = Web()
    seen = weakref.ref(lost)
    del lost
    waiting = queue.SimpleQueue()
    alive = []
    for number in range(6):
        waiting.put(str(number))
    for number in range(6):
        assert collector.wait(waiting) == str(number)
        alive.append(seen() is not None)
    assert alive == [True] * 3 + [False] * 3
