"""A contender in a process of its own. It imports torch anew, so the test is slow."""

import pytest

from bench.compare.apart import Apart, Work


@pytest.mark.slow
def test_it_works_when_it_is_asked_and_ends_when_it_is_closed():
    one = Apart("dougong", Work("lstm", batch=8, threads=1))
    clock, processor = one.ask()
    assert 0 < processor < 1.5 * clock  # one thread
    assert one.process.is_alive()
    one.close()
    assert one.process.exitcode == 0
