"""What `initialise` draws replaced is not drawn before, and nothing else changes."""

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from blocks.graph import build
from blocks.graph.record.skip_init import make

SMALL = ["params.dim=26", "params.depth=3", "params.heads=2", "params.vocab=17", "params.length=11"]
ROWS, COLUMNS = 5, 7


class Draws(TorchFunctionMode):
    """Counts the numbers that are drawn."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (
            Tensor.normal_,
            Tensor.uniform_,
            nn.init.normal_,
            nn.init.uniform_,
            nn.init.kaiming_uniform_,
        ):
            tensor = args[0] if args else kwargs["tensor"]
            self.numbers += 0 if tensor.is_meta else tensor.numel()
        return function(*args, **(kwargs or {}))


class Own(nn.Module):
    """A weight that starts as `start` says."""

    def __init__(self, start):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(ROWS, COLUMNS))
        self.other = nn.Parameter(torch.empty(COLUMNS))
        start(self)


def drawn(made, replaced=(), *, seed=3):
    torch.manual_seed(seed)
    with Draws() as draws:
        module = make(made, "node", replaced)
    return module, draws.numbers


def test_a_model_draws_each_number_once():
    with Draws() as draws:
        net = build("gpt2", SMALL, {})
    random = [value for value in net.parameters() if value.dim() > 1]
    table = (
        net.position.table.numel()
    )  # trunc_normal_ reads what it draws, so this one is drawn by its block too
    assert draws.numbers == sum(value.numel() for value in random) + table
    assert all(value.std() > 0 for value in random)


def test_a_block_all_of_whose_draws_come_later_draws_nothing():
    _, numbers = drawn(lambda: nn.Linear(COLUMNS, ROWS), {"node.weight", "node.bias"})
    assert numbers == 0


@pytest.mark.parametrize(
    "replaced", [(), ("node.weight",), ("node.bias",), ("other.weight", "other.bias")], ids=str
)
def test_a_block_that_keeps_a_draw_starts_as_its_constructor_says(replaced):
    torch.manual_seed(3)
    alone = nn.Linear(COLUMNS, ROWS)
    module, _ = drawn(lambda: nn.Linear(COLUMNS, ROWS), replaced)
    assert torch.equal(module.weight, alone.weight)
    assert torch.equal(module.bias, alone.bias)


def read(own):
    nn.init.normal_(own.weight)
    own.register_buffer("size", own.weight.detach().norm())


def joined(own):
    nn.init.normal_(own.weight)
    nn.init.zeros_(own.other)
    own.register_buffer("size", torch.cat([own.weight, own.other[None]]).sum())


def by_data(own):
    own.weight.data.normal_()
    own.register_buffer("size", own.weight.detach().norm())


def hidden(own):
    own.register_buffer("size", torch.empty(()).normal_())


def forked(own):
    with torch.random.fork_rng():
        torch.manual_seed(11)
        own.register_buffer("size", nn.init.uniform_(torch.empty(())))


@pytest.mark.parametrize("start", [read, joined, by_data, hidden, forked])
def test_what_a_constructor_makes_of_its_draws_stays(start):
    torch.manual_seed(3)
    alone = Own(start)
    module, _ = drawn(lambda: Own(start), {"node.weight", "node.other"})
    assert torch.equal(module.size, alone.size)


def test_what_torch_refuses_is_refused():
    with pytest.raises(RuntimeError, match="leaf Variable"):
        make(lambda: Own(lambda own: own.weight.normal_()), "node", {"node.weight"})


def test_a_tied_parameter_is_not_drawn_for_nothing():
    graph = {
        "embedding": {"block": "TokenEmbedding", "dim": COLUMNS},
        "head": {"block": "Linear", "features": 13},
    }
    graph["head"]["bias"] = False
    inputs = {"tokens": {"tokens": 3, "vocab": 13, "dtype": "int"}}
    with Draws() as draws:
        net = build({"inputs": inputs, "graph": graph, "tie": {"head.weight": "embedding.weight"}})
    assert net.head.weight is net.embedding.weight
    assert draws.numbers == net.embedding.weight.numel()
