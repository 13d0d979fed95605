"""How many processes read files, and what is told of it."""

from types import SimpleNamespace

import pytest
import torch

from blocks.graph import ConfigError, compose
from tasks.data import workers
from tasks.data.images.image_folder import Images
from tasks.data.images.listing.samples import Samples
from tasks.errors import ArgumentError
from tasks.run.data_facts import read_data


@pytest.fixture
def machine(monkeypatch):
    def has(cores, threads):
        monkeypatch.setattr(workers, "count_cores", lambda: cores)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)

    return has


@pytest.mark.parametrize(
    ("cores", "threads", "gpu", "processes", "number"),
    [
        (11, 3, False, 1, 8),  # what training leaves free
        (11, 11, False, 1, 1),  # one reads while the others compute
        (1, 1, False, 1, 0),  # but not on a single core
        (1, 1, True, 1, 1),
        (11, 11, True, 1, 10),  # a GPU computes: one core hands out its work
        (61, 61, True, 1, 16),  # at most
        (61, 61, True, 7, 7),  # seven GPUs share the cores
        (5, 5, True, 7, 1),
    ],
)
def test_the_number_follows_from_the_cores_and_from_what_trains(
    machine, cores, threads, gpu, processes, number
):
    machine(cores, threads)
    assert workers.automatic(gpu=gpu, processes=processes) == number


def trainer(device, count):
    return SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(device)), num_devices=count
    )


@pytest.mark.parametrize(
    ("given", "device", "count", "told"),
    [
        ("auto", "cpu", 1, "4 processes read images"),
        ("auto", "cuda", 1, "6 processes read images"),
        ("auto", "cuda", 3, "1 process reads images"),
        (5, "cpu", 1, "5 processes read images"),
        (0, "cuda", 1, ""),
    ],
)
def test_the_first_lines_of_a_run_tell_who_reads(machine, given, device, count, told):
    machine(7, 3)
    assert Images("nowhere", workers=given).reading(trainer(device, count)) == told


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create"
)  # of torch, where there are fewer cores
def test_no_process_is_without_a_batch(machine):
    machine(13, 2)
    data = Images("nowhere", batch_size=5)
    data.classes = ["cat"]
    files = Samples.pack(data.path, ["x.png"] * 17, ["cat"] * 17)
    data.parts = {"train": files, "val": files[:3], "test": files}
    found = [
        loader.loader.num_workers for loader in (data.train_dataloader(), data.val_dataloader())
    ]
    assert found == [4, 1]
    assert data.val_dataloader().loader.persistent_workers


@pytest.mark.parametrize("value", ["many", -1, True, 2.5])
def test_what_is_no_number_is_told(value):
    with pytest.raises(ArgumentError) as raised:
        Images("nowhere", workers=value)
    told = (
        "workers is a number of processes, or auto; got workers={}; fits: auto, 0 or more; "
        "fix: data.workers=auto"
    )
    assert str(raised.value) == told.format(repr(value))


def test_a_wrong_word_on_the_command_line_is_told_with_its_place():
    with pytest.raises(ConfigError) as raised:
        read_data(compose(["data=images", "data.path=nowhere", "data.workers=-3"]))
    assert str(raised.value).splitlines()[0] == "the command line: data.workers=-3  data.workers"
    assert [line.strip() for line in str(raised.value).splitlines()[1:]] == [
        "workers is a number of processes, or auto",
        "got       workers=-3",
        "fits      auto, 0 or more",
        "fix       data.workers=auto",
    ]
    with pytest.raises(ConfigError, match="workers must be one of auto or a whole number"):
        read_data(compose(["data=images", "data.path=nowhere", "data.workers=atuo"]))
