import pytest
import torch
from torch import nn

from blocks.graph import ConfigError, compose
from tasks.config import ranges
from tasks.process import runtime
from tasks.run.sections import check_sections

WRONG = {
    (
        "threads",
        0,
    ): "number of threads\n  got       threads=0\n  fits      1 or more; null: one for each core",
    ("threads", True): "threads is a number of threads",
    (
        "compile",
        "fast",
    ): "compile must be true, false or whole\n  got       compile='fast'\n  fits      true, false",
    ("channels_last", 1): "channels_last must be true or false\n  got       channels_last=1",
    ("checkpoint_activations", "yes"): "checkpoint_activations must be true or false",
    ("find_lr", "often"): "find_lr must be true or false",
    ("tensor_parallel_size", 0): "tensor_parallel_size is a number of devices",
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_words_that_are_none_are_told(case):
    composed = compose([])
    composed.config["trainer"][case[0]] = case[1]
    with pytest.raises(ConfigError) as error:
        check_sections(composed)
    assert WRONG[case] in str(error.value)


def test_every_word_of_ours_is_checked_and_takes_what_conf_says():
    check_sections(compose([]))
    assert all(word in ranges.RANGES["trainer"] for word in runtime.OWN_OPTIONS)


def test_threads_are_set(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(runtime, "count_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runtime.configure_process({"threads": None})
    runtime.configure_process({"threads": 5})
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    runtime.configure_process({"threads": None})  # somebody has chosen
    assert asked == [3, 5]


@pytest.mark.parametrize(
    ("quota", "fits"), [("max 100000", 7), ("150000 100000", 2), ("50000 100000", 1)]
)
def test_a_container_may_have_fewer_cores_than_the_machine(tmp_path, monkeypatch, quota, fits):
    (tmp_path / "cpu.max").write_text(quota, encoding="utf-8")
    monkeypatch.setattr(runtime, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda _: set(range(7)), raising=False)
    assert runtime.count_cores() == fits


def test_channels_last_lays_out_convolutions_and_what_they_give():
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU())
    image = torch.randn(2, 3, 11, 13)
    before = network.eval()(image)
    runtime.prepare_network(network, {"channels_last": True})
    after = network(image)
    assert after.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
