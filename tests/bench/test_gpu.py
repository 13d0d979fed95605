"""What is made of the measurements; the measurements themselves need a GPU."""

import pytest

from bench.gpu import make_rows
from bench.measure import Times


def test_a_ratio_is_to_the_fastest_peer_of_the_same_kind():
    seconds = {
        "dougong": [2.0, 2.0],
        "slow": [8.0, 8.0],
        "fast": [4.0, 4.0],
        "dougong compiled": [1.0, 1.0],
        "slow compiled": [0.5, 0.5],
    }
    times = Times(clock=seconds, processor={name: [3.0, 7.0] for name in seconds})
    rows = {row["contender"]: row for row in make_rows(times, flops=8, limit=16.0)}
    assert (rows["dougong"]["fastest"], rows["dougong"]["ratio"][0]) == ("fast", 0.5)
    assert rows["dougong compiled"]["fastest"] == "slow compiled"
    assert rows["dougong compiled"]["ratio"][0] == pytest.approx(2.0)
    assert (rows["dougong"]["flops"], rows["dougong"]["share"]) == (4.0, 0.25)
    assert rows["dougong"]["bytes"] == 7.0


def test_without_a_peer_there_is_no_ratio():
    times = Times(clock={"dougong": [1.0]}, processor={"dougong": [1.0]})
    assert "ratio" not in make_rows(times, flops=1, limit=1.0)[0]
