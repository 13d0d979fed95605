"""A training on many devices: formulas by hand, the table, and what cannot be divided."""

import json

import pytest

from blocks.__main__ import main
from blocks.graph.describe.answers.communication import Traffic
from blocks.graph.describe.answers.scale import Placed, choose_divided, name_strategy
from blocks.graph.describe.answers.step_time import StepTime
from tests.graph.test_answers import must_fit

SMALL = ["model=llama", "trainer.precision=32-true", "--no-server"]
SMALL += [f"model.params.{name}" for name in ("dim=32", "heads=4", "kv_heads=4", "hidden=88")]


def ask(capsys, *words):
    assert main(["explain", *SMALL, *words]) == 0
    return capsys.readouterr().out.rstrip()


@pytest.mark.parametrize(
    ("collective", "parts"), [("all-reduce", 2), ("all-gather", 1), ("reduce-scatter", 1)]
)
def test_a_ring_sends_all_but_the_own_share(collective, parts):
    assert Traffic(collective, "weights", 7, 7000, True).sent == parts * 6000
    assert Traffic(collective, "weights", 1, 7000, True).sent == 0


def test_what_overlaps_is_waited_for_where_it_takes_longer_than_the_step():
    time = StepTime(products=0.3, memory=0.3, optimizer=0.1, batch=1)
    gradients = Traffic("all-reduce", "gradients", 2, 5_000, True)
    sums = Traffic("all-reduce", "activations", 2, 70, False)
    for strategy, waits in (("ddp", 5.0 - 0.4 + 0.07), ("fsdp", 5.0 - 0.6 + 0.07)):
        placed = Placed(2, strategy, 1, 0, (gradients, sums), time)
        assert placed.waits(1e3) == pytest.approx(waits)
        assert placed.waits(1e6) == pytest.approx(7e-5)


def test_the_table_of_a_small_model(capsys):
    words = ["--devices", "1,4", "--strategy", "ddp,fsdp,tensor_parallel,fsdp+tensor_parallel"]
    assert ask(capsys, *words, "--speed", "0.1,10,1") == TABLE


TABLE = """\
devices  strategy                  memory  all-reduce  all-gather  reduce-scatter     step  waiting
      1  ddp                       204 MB                                          97.9 ms       0%
      1  fsdp                      204 MB                                          97.9 ms       0%
      1  tensor_parallel           204 MB                                          97.9 ms       0%
      1  fsdp+tensor_parallel      204 MB                                          97.9 ms       0%
      4  ddp                       204 MB      696 kB                              97.9 ms       0%
      4  fsdp                      203 MB                  499 kB          348 kB  97.6 ms       0%
      4  tensor_parallel (4)       150 MB     31.5 MB                              77.1 ms      41%
      4  fsdp+tensor_parallel (2)  167 MB     21.0 MB      233 kB          182 kB  83.9 ms      25%
bytes that a device sends in a step; in brackets: devices that divide each layer
a step with what is waited for: gathered weights and sums of gradients overlap the computation, \
sums of activations do not"""


def test_layers_that_cannot_be_divided_are_a_row_without_figures(capsys):
    assert ask(capsys, "--devices", "3", "--strategy", "tensor_parallel") == (
        "devices  strategy             memory  all-reduce  all-gather  reduce-scatter\n"
        "      3  tensor_parallel (3)       -           -           -               -\n"
        "bytes that a device sends in a step; in brackets: devices that divide each layer\n"
        "-: this cannot be divided among the devices: devices must divide features"
    )


def test_the_answer_for_programs_has_each_message(capsys):
    size = 4 * json.loads(ask(capsys, "--json"))["parameters"]
    answer = json.loads(ask(capsys, "--devices", "2", "--strategy", "ddp", "--json"))
    must_fit("devices", answer)
    (row,) = answer["rows"]
    assert row["traffic"] == [
        {
            "collective": "all-reduce",
            "purpose": "gradients",
            "devices": 2,
            "bytes": size,
            "sent": size,
            "overlaps": True,
        }
    ]


def test_a_strategy_divides_layers_within_a_machine():
    assert [choose_divided("tensor_parallel", count, None) for count in (1, 4, 64)] == [1, 4, 8]
    assert choose_divided("fsdp+tensor_parallel", 64, 4) == 4
    assert choose_divided("fsdp", 64, 4) == 1
    assert name_strategy({"strategy": "fsdp", "tensor_parallel_size": 2}) == STRATEGY
    assert name_strategy({"strategy": "auto"}) == "ddp"


STRATEGY = "fsdp+tensor_parallel"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--devices", "2,x"), "x is no number of devices"),
        (("--devices", "2", "--strategy", "zero"), "zero is no strategy; ddp, fsdp"),
        (("--devices", "2", "--speed", "1,2"), "1,2 needs three numbers above 0"),
        (("--strategy", "ddp"), "--strategy belongs to --devices"),
    ],
)
def test_options_are_checked(capsys, words, problem):
    try:
        status = main(["explain", *SMALL, *words])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert problem in capsys.readouterr().err
