"""MNIST-1D: the published signals, held-out parts, and signals of people's own for prediction."""

import hashlib
import importlib.util
import random
import sys

import numpy as np
import pytest
import torch

from blocks.graph import ConfigError, compose
from tasks.config import instantiate
from tasks.data.readers.signal import SignalReader
from tasks.errors import ArgumentError

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("mnist1d") is None, reason="the extra mnist1d"
)
NUMBERS = [0.5, -1.25, 3.0, 1e-3, -0.0]


@pytest.fixture(scope="module")
def data():
    from tasks.data.sequences.mnist1d import Mnist1d

    made = Mnist1d()
    made.read()
    return made


@needs_package
def test_the_signals_are_the_published_ones(data):
    parts = data.parts
    assert data.sizes() == {"train": 3601, "val": 399, "test": 1000}  # a tenth of each class
    # the first of the test part of mnist1d_data.pkl, as its authors publish it
    assert parts["test"]["signal"][0, :4, 0].tolist() == pytest.approx(
        [-0.078771, -0.210732, -0.091751, 0.282671], abs=1e-6
    )
    label = parts["test"]["label"].numpy().astype(np.uint8)
    assert label[:4].tolist() == [2, 6, 3, 9]
    assert hashlib.sha256(label.tobytes()).hexdigest()[:16] == "9486539f99fcca7d"
    whole = torch.cat([parts[part]["signal"] for part in ("train", "val", "test")]).double()
    assert (float(whole.mean()), float(whole.std(correction=0))) == pytest.approx((0, 1), abs=1e-6)


@needs_package
def test_no_signal_is_in_two_parts_and_every_class_is_in_each(data):
    rows = [tuple(row) for part in data.parts.values() for row in part["signal"][:, :, 0].tolist()]
    assert len(set(rows)) == len(rows) == 5000
    assert data.parts["val"]["label"].bincount().min() >= 39


@needs_package
def test_making_the_signals_leaves_the_random_sources_of_the_process_alone():
    from tasks.data.sequences.mnist1d import make

    random.seed(3)
    np.random.seed(3)
    wanted = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    make()
    assert (random.random(), np.random.rand()) == wanted


@needs_package
def test_a_signal_is_drawn_as_one_line_from_left_to_right(data):
    from tasks.report.overlays import draw_sample, draw_signal

    drawn = draw_signal(torch.tensor([0.0, 1.0, 0.5]), height=11, step=2)[0]
    assert (drawn.sum(0) >= 1).all()
    assert [int(column.nonzero().min()) for column in drawn.T] == [10, 5, 0, 0, 2]
    figure = draw_sample(data.raw_sample("test", 3), "9 taken for 4")
    assert figure.count("9 taken for 4") == 2  # below it, and for those who cannot see


def test_the_missing_package_is_told_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(ConfigError) as error:
        instantiate.make(compose(["data=mnist1d"]), ("data",), without=("facts",))
    assert str(error.value).split("\n")[1:] == [
        "  tasks.data.sequences.mnist1d.Mnist1d needs the package mnist1d, which is not installed",
        "  from      the command line: data=mnist1d",
        "  fix       pip install -c constraints.txt -e '.[mnist1d]'",
    ]


def test_a_file_of_signals_is_read_line_by_line(tmp_path):
    reader = SignalReader(tokens=5)
    lines = [
        "a,b,c,d,e",
        ",".join(map(str, NUMBERS)),
        "1 2 3 4 5",
        "",
        "1,2,3",
        "1,2,x,4,5",
        "1,2,nan,4,5",
    ]
    (tmp_path / "s.csv").write_text("\n".join(lines), encoding="utf-8")
    items = list(reader.items(str(tmp_path / "s.csv")))
    place = f"{tmp_path / 's.csv'}:"
    assert [item.name for item in items] == [f"{place}{number}" for number in (2, 3, 5, 6, 7)]
    assert [item.error for item in items] == [
        None,
        None,
        "3 numbers; a signal of this run has 5",
        "'x' is no number",
        "'nan' is no number",
    ]
    batch = reader.batch([item.sample for item in items[:2]])
    torch.testing.assert_close(
        batch["signal"], torch.tensor([NUMBERS, [1, 2, 3, 4, 5]])[:, :, None]
    )
    assert [item.sample for item in reader.lines(["1;2;3;4;5\n"])] == [[1.0, 2.0, 3.0, 4.0, 5.0]]


def test_a_file_that_is_not_there_is_told(tmp_path):
    (item,) = SignalReader(tokens=5).items(str(tmp_path / "s.csv"))
    assert item.error == "No such file or directory; what fits: a CSV file, 5 numbers a line"


def test_signals_are_not_asked_questions():
    with pytest.raises(
        ArgumentError, match=r"^this run answers no questions; fits: a run of task=answer$"
    ):
        SignalReader(tokens=5).ask("how many sevens")
