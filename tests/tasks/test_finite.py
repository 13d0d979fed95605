import torch
from torch import nn

from tasks.learn.checks.nonfinite import FiniteMonitor, find_nonfinite


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def test_a_number_that_is_not_finite_is_noticed_and_stays_noticed():
    watch = FiniteMonitor()
    assert not watch.has_failed(wait=True)
    for value, bad in (
        (torch.tensor(3.0), False),
        (torch.tensor([1.0, float("inf")]), True),
        (torch.tensor(2.0), True),
    ):
        watch.add(value)
        assert watch.has_failed() is bad


def test_the_first_output_that_goes_wrong_is_named():
    made = network()
    with torch.no_grad():
        made[0].weight.fill_(3e38)
    x = torch.full((7, 3), 10.0)
    assert (
        find_nonfinite(made, lambda: made(x).sum())
        == "first in the output of 0 (Linear): 35 infinite of 35"
    )


def test_the_first_gradient_that_goes_wrong_is_named():
    made = network()
    x = torch.ones(7, 3)

    def loss():
        hidden = made[1](made[0](x))
        return (
            made[2](hidden).sum() + (hidden * 0).abs().sqrt().sum()
        )  # the slope of a root at zero

    assert torch.isfinite(loss())
    assert find_nonfinite(made, loss) == "first in the gradient of 1: 35 not a number of 35"
    assert all(parameter.grad is None for parameter in made.parameters())


def test_weights_that_are_gone_already_are_named():
    made = network()
    with torch.no_grad():
        made[2].bias[1] = float("nan")
    assert (
        find_nonfinite(made, lambda: made(torch.ones(7, 3)).sum())
        == "the parameter 2.bias is not finite any more"
    )


def test_nothing_is_named_where_all_is_finite():
    made = network()
    assert find_nonfinite(made, lambda: made(torch.ones(7, 3)).sum()) is None
    assert not any(module._forward_hooks for module in made.modules())
