import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_module

from blocks.graph import assemble, compose
from tasks.errors import ArgumentError
from tasks.optimize import groups
from tasks.optimize.schedule import Constant, Cosine, InverseSquareRoot


def names(network, wanted):
    by_id = {id(parameter): name for name, parameter in network.named_parameters()}
    pair = groups.group_parameters(network, 0.5)
    return sorted(
        by_id[id(p)] for group in pair if group["weight_decay"] == wanted for p in group["params"]
    )


def test_biases_norms_tokens_and_positions_do_not_decay():
    network = assemble(compose(["model=vit", "model.params.depth=1", "data=digits"]))
    free = names(network, 0.0)
    assert "token.token" in free
    assert "position.table" in free
    assert all(
        name.endswith((".bias", ".token", ".table")) or ".norm." in name or name == "norm.weight"
        for name in free
    )
    assert all(name.endswith(".weight") and "norm" not in name for name in names(network, 0.5))


def test_every_trained_parameter_is_in_one_group_once():
    network = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 7))
    network[2].weight.requires_grad_(False)
    network.append(network[0])  # a shared module
    found = [p for group in groups.group_parameters(network, 0.1) for p in group["params"]]
    assert len(found) == len({id(p) for p in found}) == 5


def test_a_module_may_name_what_does_not_decay():
    network = nn.Linear(3, 5)
    network.undecayed = ("weight",)
    assert names(network, 0.0) == ["bias", "weight"]


def test_decay_moves_only_what_decays():
    network = nn.Linear(3, 5)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    import functools

    made = groups.build_optimizer(
        network, functools.partial(torch.optim.SGD, lr=1.0, weight_decay=0.5)
    )
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    torch.testing.assert_close(network.weight.detach(), before["weight"] * 0.5)
    torch.testing.assert_close(network.bias.detach(), before["bias"])


@pytest.mark.parametrize(
    ("kind", "decay"), [(torch.optim.AdamW, 0.01), (torch.optim.SGD, 0), (torch.optim.Adam, 0)]
)
def test_what_the_yaml_does_not_say_is_as_torch_has_it(kind, decay):
    made = groups.build_optimizer(nn.Linear(3, 5), partial(kind))
    assert [group["weight_decay"] for group in made.param_groups] == [decay, 0.0]
    assert {group["lr"] for group in made.param_groups} == {
        kind([torch.zeros(1)]).param_groups[0]["lr"]
    }


def test_a_rate_is_multiplied_where_the_yaml_does_not_say_it():
    made = groups.build_optimizer(nn.Linear(3, 5), partial(torch.optim.AdamW), {"weight": 0.5})
    assert [group["lr"] for group in made.param_groups] == [0.0005, 0.001]


def test_the_rate_rises_linearly_then_falls_along_a_cosine():
    schedule = Cosine(warmup=0.2, final=0.1)
    factors = [schedule.factor(step, 11) for step in range(11)]
    assert factors[:2] == [0.5, 1.0]
    assert factors[2] == pytest.approx(1.0)
    assert factors[6] == pytest.approx(0.55)  # half way down
    assert factors[10] == pytest.approx(0.1)
    assert factors[1:] == sorted(factors[1:], reverse=True)


def test_torch_steps_through_the_same_factors():
    made = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3.0)
    schedule = Cosine(warmup=0.3, final=0.0)
    scheduler = schedule(made, 7)
    for step in range(7):
        assert made.param_groups[0]["lr"] == pytest.approx(3.0 * schedule.factor(step, 7))
        made.step()
        scheduler.step()


def further(schedule, before, after):
    """The rates of a run of `before` steps that is resumed to make `after`."""
    rates, kept = [], []
    for steps in (before, after):
        made = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = schedule(made, steps)
        if kept:
            made.load_state_dict(kept[0])
            scheduler.load_state_dict(kept[1])
        while len(rates) < steps:
            rates.append(made.param_groups[0]["lr"])
            made.step()
            scheduler.step()
        kept = [made.state_dict(), scheduler.state_dict()]
    return rates, scheduler.note


def test_a_run_that_goes_further_follows_the_curve_of_all_steps_from_its_first_step_on():
    schedule = Cosine(warmup=0.0, final=0.1)
    rates, told = further(schedule, 10, 20)
    assert rates[10:] == pytest.approx([schedule.factor(step, 20) for step in range(10, 20)])
    assert "learning rate 0.513, before 0.1, 5 times as high; schedule.rewarm=0.1" in told


@pytest.mark.parametrize("kind", [Cosine, InverseSquareRoot])
def test_a_run_that_goes_further_may_warm_up_again(kind):
    rates, told = further(kind(warmup=0.0, rewarm=0.4), 10, 20)
    assert rates[10:14] == sorted(rates[10:14])
    assert rates[13] == 1.0
    assert rates[13:] == sorted(rates[13:], reverse=True)
    assert rates[10] - rates[9] <= 0.26  # no jump
    assert "rises to 1 and falls again (schedule.rewarm=0.4)" in told


def test_a_schedule_says_nothing_where_the_end_stays():
    schedule = Cosine(warmup=0.2, final=0.1)
    rates, told = further(schedule, 10, 10)
    assert told is None
    assert rates == pytest.approx([schedule.factor(step, 10) for step in range(10)])


def test_a_schedule_follows_the_clock_where_time_ends_the_run_first():
    made, passed = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), [0.0]
    schedule = Cosine(warmup=0.0, final=0.1)
    scheduler = schedule(made, math.inf, lambda: passed[0])
    for passed[0], rate in ((0.5, 0.55), (1.0, 0.1)):
        made.step()
        scheduler.step()
        assert made.param_groups[0]["lr"] == pytest.approx(rate, abs=1e-3)
    rates, passed[0] = [], 0.0
    few = schedule(torch.optim.SGD(made.param_groups[0]["params"], lr=1.0), 1000, lambda: passed[0])
    for _ in range(1000):  # the steps are over long before the time
        rates.append(few.get_last_lr()[0])
        few.optimizer.step()
        few.step()
    assert rates == pytest.approx([schedule.factor(step, 1000) for step in range(1000)], abs=2e-3)


def test_a_constant_schedule_stays():
    assert {Constant().factor(step, 5) for step in range(5)} == {1.0}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"warmup": 1.0},
            "warmup must be a share in [0, 1) or a whole number of steps; got warmup=1.0; "
            "fits: e.g. 0.1 of all steps, or 500 steps",
        ),
        ({"final": -0.1}, "final must be in [0, 1]; got final=-0.1; fits: e.g. 0.01"),
    ],
)
def test_impossible_schedules_are_told(options, text):
    with pytest.raises(ArgumentError) as error:
        Cosine(**options)
    assert str(error.value) == text


@pytest.fixture
def one_device():
    """A mesh of one process, enough for weights to be in shards."""
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_whole_weights_are_updated_at_once_and_shards_as_torch_can(kind, one_device):
    torch.manual_seed(0)
    network = nn.Linear(3, 5)
    step = groups.build_optimizer(network, partial(kind, lr=0.5))
    assert all(group["fused"] for group in step.param_groups)
    distribute_module(network, one_device)
    before = network.weight.to_local().clone()
    step = groups.build_optimizer(network, partial(kind, lr=0.5))
    network.weight.to_local().sum().backward()
    step.step()
    assert not torch.equal(network.weight.to_local(), before)
