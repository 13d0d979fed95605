"""The language: what each word does, as invariants and parities of small models."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from blocks.graph import ConfigError, Graph, build
from blocks.graph.language.words import RESERVED

B, N, D = 2, 7, 6
TOKENS = {"tokens": N, "dim": D}


def model(graph, inputs=None, facts=None, **sections):
    return build({"inputs": inputs or {"x": TOKENS}, "graph": graph, **sections}, facts=facts)


def linear(features, **words):
    return {"block": "Linear", "features": features, **words}


def tokens(batch=B, dim=D):
    return torch.randn(batch, N, dim)


def mistakes(graph, **sections):
    with pytest.raises(ConfigError) as caught:
        model(graph, **sections)
    return [problem.problem for problem in caught.value.problems]


# Wiring -------------------------------------------------------------------------------------------


def test_nodes_are_chained_in_the_order_of_the_file():
    net, x = model({"a": linear(5), "b": {"block": "ReLU"}, "c": linear(3)}), tokens()
    assert torch.equal(net(x), net.c(F.relu(net.a(x))))


def test_in_names_a_node_a_list_or_ports():
    graph = {
        "a": linear(D),
        "b": linear(D, **{"in": "x"}),
        "c": {"block": "Add", "in": ["a", "b", "x"]},
        "d": linear(3, **{"in": {"x": "c"}}),
    }
    net, x = model(graph), tokens()
    assert torch.equal(net(x), net.d(net.a(x) + net.b(x) + x))


def test_a_list_keeps_its_order():
    net, x = (
        model(
            {
                "a": linear(5),
                "b": {"block": "Concat", "in": ["x", "a"]},
                "c": {"block": "Concat", "in": ["b", "x"]},
            }
        ),
        tokens(),
    )
    assert torch.equal(net(x), torch.cat([x, net.a(x), x], dim=-1))


@pytest.mark.parametrize("outputs", ["a", {"out": "a"}, {"first": "a", "second": "b"}, ["a", "b"]])
def test_outputs_are_a_tensor_a_dictionary_or_a_tuple(outputs):
    graph = {"a": linear(5), "b": linear(3)} if "b" in str(outputs) else {"a": linear(5)}
    net, x = model(graph, outputs=outputs), tokens()
    a, given_back = net.a(x), net(x)
    if outputs == "a":
        assert torch.equal(given_back, a)
    elif isinstance(outputs, list):
        assert torch.equal(given_back[0], a)
        assert torch.equal(given_back[1], net.b(a))
    else:
        assert list(given_back) == list(outputs) == list(net.output_names)
        assert torch.equal(next(iter(given_back.values())), a)


def test_several_inputs_flow_by_name_and_by_place():
    graph = {"sum": {"block": "Add", "in": ["query", "memory"]}, "head": linear(3)}
    net = model(graph, inputs={"query": TOKENS, "memory": TOKENS})
    q, m = tokens(), tokens()
    assert net.input_names == ("query", "memory")
    assert torch.equal(net(q, m), net(memory=m, query=q))
    assert torch.equal(net(q, m), net.head(q + m))


def test_a_block_with_several_outputs_gives_each_by_its_port():
    graph = {
        "rnn": {"block": "GRU", "hidden": 5},
        "every": linear(3),
        "last": linear(4, **{"in": "rnn.state"}),
    }
    net, x = model(graph, outputs=["every", "last"]), tokens()
    sequence, state = net.rnn(x)
    assert torch.equal(net(x)[0], net.every(sequence))
    assert torch.equal(net(x)[1], net.last(state))


def test_after_places_a_node_and_the_chain_runs_through_it():
    plain = {"a": linear(5), "c": linear(3)}
    net, x = model({**plain, "b": {"block": "Tanh", "after": "a"}}), tokens()
    assert torch.equal(net(x), net.c(torch.tanh(net.a(x))))


def test_two_nodes_after_one_stand_in_the_order_of_the_file():
    graph = {
        "a": linear(5),
        "c": linear(3),
        "s": {"block": "Tanh", "after": "a"},
        "t": {"block": "Softplus", "after": "a"},
    }
    net, x = model(graph), tokens()
    assert torch.equal(net(x), net.c(F.softplus(torch.tanh(net.a(x)))))


# When ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "there"), [(True, True), (False, False), ("dim > 3", True), ("dim == 3", False)]
)
def test_when_keeps_a_node_or_lets_its_input_through(condition, there):
    net, x = (
        model({"a": linear(D), "b": linear(D, when=condition), "c": linear(3, **{"in": "b"})}),
        tokens(),
    )
    assert hasattr(net, "b") is there
    inner = net.b(net.a(x)) if there else net.a(x)
    assert torch.equal(net(x), net.c(inner))


def test_when_compares_shapes_of_nodes():
    graph = {
        "wide": linear("width"),
        "short": linear("width", **{"in": "x", "when": "x.shape != wide.shape"}),
        "add": {"block": "Add", "in": ["wide", "short"]},
    }
    same, other = model(graph, params={"width": D}), model(graph, params={"width": 5})
    x = tokens()
    assert torch.equal(same(x), same.wide(x) + x)
    assert torch.equal(other(x), other.wide(x) + other.short(x))


# Repeat -------------------------------------------------------------------------------------------


def test_repeat_by_a_number_makes_rooms_of_their_own():
    net, x = (
        model({"layers": {"repeat": 3, "body": {"a": linear(D), "b": {"block": "ReLU"}}}}),
        tokens(),
    )
    expected = x
    for index in range(3):
        expected = F.relu(net.get_submodule(f"layers.{index}.a")(expected))
    assert torch.equal(net(x), expected)
    assert len({p.data_ptr() for p in net.parameters()}) == 6


def test_repeat_zips_lists_and_the_carried_shape_grows():
    lists = {"width": [8, 9, 4], "bias": [True, False, True]}
    net, x = (
        model(
            {"layers": {"repeat": lists, "block": "Linear", "features": "width", "bias": "bias"}}
        ),
        tokens(),
    )
    rooms = [net.get_submodule(f"layers.{index}") for index in range(3)]
    assert [(room.in_features, room.out_features, room.bias is not None) for room in rooms] == [
        (6, 8, True),
        (8, 9, False),
        (9, 4, True),
    ]
    assert torch.equal(net(x), rooms[2](rooms[1](rooms[0](x))))


def test_the_first_input_is_carried_and_the_others_stay():
    body = {"a": linear(D), "b": {"block": "Add", "in": ["a", "context"]}}
    net = model(
        {"layers": {"repeat": 2, "in": ["x", "context"], "body": body}},
        inputs={"x": TOKENS, "context": TOKENS},
    )
    x, context = tokens(), tokens()
    expected = x
    for room in (net.get_submodule("layers.0"), net.get_submodule("layers.1")):
        expected = room.a(expected) + context
    assert torch.equal(net(x, context), expected)


def test_a_body_with_several_outputs_carries_each_that_bears_an_inputs_name():
    body = {"a": linear(D), "b": {"block": "Add", "in": ["state", "a"]}}
    layers = {
        "repeat": 2,
        "in": {"x": "x", "state": "state"},
        "body": body,
        "outputs": {"x": "a", "state": "b"},
    }
    graph = {"layers": layers, "sum": {"block": "Add", "in": ["layers.x", "layers.state"]}}
    net = model(graph, inputs={"x": TOKENS, "state": TOKENS})
    x, state = tokens(), tokens()
    expected, carried = x, state
    for room in (net.get_submodule("layers.0"), net.get_submodule("layers.1")):
        expected = room.a(expected)
        carried = carried + expected
    assert torch.equal(net(x, state), expected + carried)


def test_the_output_of_each_repeat_can_be_named():
    graph = {
        "stages": {"repeat": {"width": [5, 4]}, "block": "Linear", "features": "width"},
        "skip": linear(4, **{"in": "stages.0"}),
        "add": {"block": "Add", "in": ["stages", "skip"]},
    }
    net, x = model(graph), tokens()
    first, second = net.get_submodule("stages.0"), net.get_submodule("stages.1")
    assert torch.equal(net(x), second(first(x)) + net.skip(first(x)))


def test_counters_of_nested_repeats_and_of_depth():
    """`layer` counts within its repeat, `as` renames it, `depth` runs on through all innermost
    repeats of a node.
    """
    inner = {
        "repeat": "count",
        "block": "Linear",
        "features": "100 * (stage.index + 1) + 10 * (layer.index + 1) + depth.index",
    }
    graph = {
        "stages": {"repeat": {"count": [2, 3]}, "as": "stage", "body": {"layers": inner}},
        "after_that": linear("1 + 0 * dim"),
    }
    net = model(graph)
    widths = [
        module.out_features
        for name, module in net.named_modules()
        if name.startswith("stages") and isinstance(module, nn.Linear)
    ]
    assert widths == [110, 121, 212, 223, 234]


def test_depth_counts_and_fractions_start_anew_at_each_top_level_node():
    layers = {
        "repeat": {"count": [2, 3]},
        "as": "stage",
        "body": {"units": {"repeat": "count", "block": "DropPath", "rate": "0.8 * depth.fraction"}},
    }
    net = model({"first": layers, "second": layers})
    for name in ("first", "second"):
        rates = [
            module.rate
            for path, module in net.named_modules()
            if path.startswith(name) and hasattr(module, "rate")
        ]
        assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_drop_path_grows_linearly_with_the_layer_and_the_idle_first_one_is_left_out():
    net = model(
        {
            "layers": {
                "repeat": 5,
                "body": {
                    "a": linear(D),
                    "drop": {"block": "DropPath", "rate": "0.4 * layer.fraction"},
                },
            }
        }
    )
    rates = {name: module.rate for name, module in net.named_modules() if name.endswith("drop")}
    assert rates == pytest.approx({f"layers.{i}.drop": 0.1 * i for i in range(1, 5)})
    assert "drop" not in net.get_submodule("layers.0").code


@pytest.mark.parametrize(
    "block", [{"block": "Identity"}, {"block": "Dropout", "rate": 0.0}, {"block": "DropPath"}]
)
def test_nodes_that_do_nothing_are_left_out_of_the_code(block):
    net, x = model({"a": linear(5), "idle": block, "b": linear(3)}), tokens()
    assert "idle" not in net.code
    assert not hasattr(net, "idle")
    assert torch.equal(net(x), net.b(net.a(x)))


# Share and tie ------------------------------------------------------------------------------------


def test_share_in_the_same_room_is_one_module():
    net, x = model({"a": linear(D), "b": {"block": "ReLU"}, "again": {"share": "a"}}), tokens()
    assert torch.equal(net(x), net.a(F.relu(net.a(x))))
    assert len(list(net.parameters())) == 2


def test_the_gradient_of_a_shared_module_is_the_sum_over_its_uses():
    shared = model({"a": linear(D, bias=False), "b": {"share": "a"}})
    apart = model({"a": linear(D, bias=False), "b": linear(D, bias=False)})
    with torch.no_grad():
        apart.a.weight.copy_(shared.a.weight)
        apart.b.weight.copy_(shared.a.weight)
    x = tokens()
    for net in (shared, apart):
        net(x).square().sum().backward()
    assert torch.allclose(
        shared.a.weight.grad, apart.a.weight.grad + apart.b.weight.grad, atol=1e-5, rtol=1e-5
    )


def test_share_across_rooms_is_the_very_module():
    graph = {
        "left": {"body": {"deep": linear(D)}},
        "right": {"body": {"deep": {"share": "left.deep"}}},
    }
    net, x = model(graph), tokens()
    assert net.left.deep is net.right.deep
    assert torch.equal(net(x), net.left.deep(net.left.deep(x)))


def test_siamese_towers_share_whole_bodies():
    tower = {"body": {"a": linear(5), "b": {"block": "ReLU"}, "c": linear(3)}, "in": "left"}
    graph = {
        "tower": tower,
        "twin": {"share": "tower", "in": "right"},
        "both": {"block": "Concat", "in": ["tower", "twin"]},
    }
    net = model(graph, inputs={"left": TOKENS, "right": TOKENS})
    x, y = tokens(), tokens()
    assert torch.equal(net(x, y), torch.cat([net.tower(x), net.tower(y)], dim=-1))
    assert len(list(net.parameters())) == 4


def test_repeats_that_share_are_one_module():
    net, x = (
        model(
            {
                "layers": {
                    "repeat": 3,
                    "share": True,
                    "body": {"a": linear(D), "b": {"block": "Tanh"}},
                }
            }
        ),
        tokens(),
    )
    one = net.get_submodule("layers.0.a")
    expected = x
    for _ in range(3):
        expected = torch.tanh(one(expected))
    assert torch.equal(net(x), expected)
    assert len(list(net.parameters())) == 2


def test_shared_weights_survive_training_and_loading():
    graph = {
        "left": {"body": {"deep": linear(D)}},
        "right": {"body": {"deep": {"share": "left.deep"}}},
    }
    net, copy, x = model(graph), model(graph), tokens()
    net(x).sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    copy.load_state_dict(net.state_dict())
    assert torch.equal(net(x), copy(x))
    assert copy.left.deep is copy.right.deep


def test_tie_makes_one_parameter_of_two():
    graph = {
        "embed": {"block": "Embedding", "vocab": 11, "dim": D},
        "norm": {"block": "LayerNorm"},
        "head": linear(11, bias=False),
    }
    net = model(
        graph, inputs={"x": {"shape": [N], "dtype": "int"}}, tie={"head.weight": "embed.weight"}
    )
    assert net.head.weight is net.embed.weight
    net(torch.randint(11, (B, N))).sum().backward()
    assert net.embed.weight.grad is net.head.weight.grad
    assert sum(p.numel() for p in net.parameters()) == 11 * D + 2 * D


def test_no_node_hides_an_attribute_of_its_module():
    """Names that begin with an underscore are refused anyway."""
    public = {name for name in dir(Graph) if not name.startswith("_")}
    assert public <= RESERVED


# A pattern of ties --------------------------------------------------------------------------------


def test_a_pattern_ties_all_that_match():
    graph = {
        "embed": {"block": "Linear", "features": D},
        "layers": {"repeat": 3, "body": {"inner": linear(D)}},
    }
    built = model(graph, tie={"layers.*.inner.weight": "layers.1.inner.weight"})
    weights = {id(built.get_parameter(f"layers.{i}.inner.weight")) for i in range(3)}
    assert len(weights) == 1
    assert id(built.get_parameter("embed.weight")) not in weights
    single = {"layers": {"repeat": 1, "body": {"inner": linear(D)}}}
    model(single, tie={"layers.*.inner.weight": "layers.0.inner.weight"})  # nothing is left to tie


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"layers.*.wait": "layers.0.inner.weight"}, "no parameter 'layers.*.wait' to tie"),
        ({"layers.*.weight": "layers.0.weight"}, "no parameter 'layers.0.weight' to tie"),
        ({"*": "layers.0.inner.weight"}, "tied parameters differ in shape"),
        ({"layers.{}*.weight": "layers.0.inner.weight"}, "{} is no name"),
    ],
)
def test_a_pattern_of_ties_that_fits_nothing_is_told(line, message):
    graph = {"layers": {"repeat": 2, "body": {"inner": linear(D)}}}
    assert any(message in mistake for mistake in mistakes(graph, tie=line))
