"""Nothing in the language is silent: a word means what the page of the language says, or is refused
with its place.
"""

import pytest
import torch

from blocks.graph import ConfigError, Problem, build, compose, plan
from blocks.graph.compose.compose import Composed
from blocks.graph.describe.table import describe

N, D = 7, 6
TOKENS = {"tokens": N, "dim": D}
STEP = {"sum": {"block": "Add", "in": ["x", "h"]}, "next": {"block": "Linear", "features": D}}
RECURRENCE = {"scan": {"state": {"h": D}}, "body": STEP}


def linear(features=D, **words):
    return {"block": "Linear", "features": features, **words}


def model(graph, inputs=None, facts=None, **sections):
    torch.manual_seed(0)
    return build({"inputs": inputs or {"x": TOKENS}, "graph": graph, **sections}, facts=facts)


def mistakes(graph, inputs=None, facts=None, **sections):
    with pytest.raises(ConfigError) as caught:
        model(graph, inputs, facts, **sections)
    return [problem.problem for problem in caught.value.problems]


def test_a_scan_is_repeated_with_weights_of_its_own():
    net, x = model({"a": {"repeat": 3, **RECURRENCE}}), torch.randn(2, N, D)
    assert sum(parameter.numel() for parameter in net.parameters()) == 3 * (D * D + D)
    sequence = x
    for index in range(3):
        sequence, _ = net.get_submodule(f"a.{index}")(sequence)
    assert torch.equal(net(x), sequence)


def test_a_shared_node_is_applied_several_times():
    inner = {"n": linear(), "twice": {"repeat": 2, "share": "n"}}
    net, x = (
        model({"n": linear(), "a": {"repeat": 3, "share": "n"}, "b": {"body": inner}}),
        torch.randn(2, N, D),
    )
    outer = net.n(net.n(net.n(net.n(x))))
    assert torch.equal(net(x), net.b.n(net.b.n(net.b.n(outer))))
    assert sum(parameter.numel() for parameter in net.parameters()) == 2 * (D * D + D)


def test_a_body_of_a_scan_may_read_its_state_alone():
    net = model({"a": {"scan": {"state": {"h": D}}, "body": {"next": linear(**{"in": "h"})}}})
    state, out = torch.zeros(2, D), net(torch.randn(2, N, D))
    for step in range(N):
        state = net.a.next(state)
        torch.testing.assert_close(out[:, step], state, rtol=0, atol=1e-6)


def test_repeats_of_one_module_have_no_index():
    shared = {"repeat": 3, "share": True}
    gain = {"block": "Gain", "factor": "layer.index + 1.0"}
    wrong = (
        "Gain: layer.index differs from repeat to repeat, and `share: true` makes all one module"
    )
    assert mistakes({"a": {**shared, **gain}}) == [wrong]
    inner = {"repeat": 2, "block": "Gain", "factor": "depth.index + 1.0"}
    assert mistakes({"a": {**shared, "body": {"b": inner}}})[0].startswith(
        "Gain: depth.index differs"
    )
    assert mistakes({"a": {**shared, "repeat": {"f": [1, 2]}, "block": "Gain", "factor": "f"}}) == [
        "one module cannot take another element of a list at each repeat"
    ]
    counted = model({"a": {**shared, "block": "Gain", "factor": "layer.count + 0.5"}})
    assert counted.get_submodule("a.0").factor == 3.5


def test_depth_counts_the_repeats_of_a_shared_module():
    inner = {"l": {"repeat": 2, "block": "Gain", "factor": 1.5}}
    after = {"repeat": 2, "block": "Gain", "factor": "depth.index + 10 * depth.count"}
    net = model({"a": {"body": {"s": {"repeat": 3, "share": True, "body": inner}, "after": after}}})
    assert [net.get_submodule(f"a.after.{index}").factor for index in range(2)] == [86, 87]


def test_depth_counts_the_repeats_inside_a_slot():
    """Stages of 1, 2 and 3 repeats, each inside the template that the stage uses."""
    gain = {"block": "Gain", "factor": "depth.index + 10 * depth.count"}
    stage = {"params": {"layers": 1}, "body": {"l": {"repeat": "layers", **gain}}}
    stages = {"repeat": {"n": [1, 2, 3]}, "use": "stage", "layers": "n"}
    net = model({"a": stages}, stage=stage)
    factors = [module.factor for module in net.modules() if hasattr(module, "factor")]
    assert factors == [60, 61, 62, 63, 64, 65]


MASK = {"x": TOKENS, "m": {"shape": "data.padding_msk", "optional": True, "dtype": "bool"}}
ATTENTION = {"a": {"block": "SelfAttention", "heads": 2, "in": {"x": "x", "padding_mask": "m"}}}


@pytest.mark.parametrize("facts", [{}, {"padding_mask": [N]}])
def test_a_misspelt_optional_fact_is_no_absent_one(facts):
    assert mistakes(ATTENTION, MASK, facts) == ["no data state 'padding_msk'"]
    assert mistakes(
        ATTENTION, {**MASK, "m": {**MASK["m"], "shape": "dta.padding_mask"}}, facts
    ) == ["no node or counter 'dta' in scope here"]
    assert mistakes(ATTENTION, {**MASK, "m": {**MASK["m"], "optional": "yes"}}, facts) == [
        "whether m is optional is true or false"
    ]


BROKEN = {
    "a state named out": {"a": {"scan": {"state": {"out": D}}, "body": STEP}},
    "a state named x": {"a": {"scan": {"state": {"x": D}}, "body": STEP}},
    "no steps": {"a": {**RECURRENCE, "in": []}},
    "a negative state": {"a": {"scan": {"state": {"h": -8}}, "body": STEP}},
    "a part that is shared": {
        "n": linear(),
        "a": {"block": "SelfAttention", "heads": 2, "rotary": {"share": "n"}},
    },
    "share of a number": {"n": linear(), "a": {"share": 3}},
    "no outputs": {"a": {"body": {"b": linear()}, "outputs": {}}},
    "two outputs of one name": {
        "g": {"block": "GRU", "hidden": 5},
        "b": {"body": STEP, "outputs": ["g.a", "g.b"]},
    },
    "two inputs of one name": {
        "l": linear(),
        "a": {"in": ["l", "x"], "body": {"b": {"block": "Identity"}}},
    },
    "an input by number": {
        "l": {"repeat": 2, **linear()},
        "a": {"in": ["x", "l.0"], "body": {"b": linear()}},
    },
    "a state of another start": {"h": linear(3), "a": {**RECURRENCE, "in": {"x": "x", "h": "h"}}},
    "reverse: maybe": {"a": {"scan": {"state": {"h": D}, "reverse": "maybe"}, "body": STEP}},
    "share: false alone": {"a": linear(share=False)},
    "as beside scan": {"a": {**RECURRENCE, "as": "step"}},
    "as: data": {"a": {"repeat": 2, "as": "data", **linear()}},
    "words beside share": {"n": linear(), "a": {"share": "n", "features": 3}},
    "expect of a number": {"a": linear(expect={"shape": 3})},
    "nothing left to read": {
        "t": {"block": "ReLU", "in": [], "when": False},
        "a": linear(**{"in": "t"}),
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_means_nothing_is_refused_with_its_place(name):
    with pytest.raises(ConfigError) as caught:
        model(BROKEN[name])
    assert all(problem.path.startswith("graph.") for problem in caught.value.problems)


@pytest.mark.parametrize("name", ["RelativeBias", "ALiBi"])
@pytest.mark.parametrize(
    "flow", [["x", "x", "x"], ["x", "x"], {"queries": "x", "keys": "x", "like": "x"}]
)
def test_a_part_is_no_node(name, flow):
    arguments = {"heads": 2, "size": 4} if name == "RelativeBias" else {"heads": 2}
    assert mistakes({"a": {"block": name, **arguments, "in": flow}})


def test_two_options_of_one_slot_bear_their_own_names(tmp_path):
    (tmp_path / "model").mkdir()
    text = (
        "defaults: [residual: prenorm, residual@scaled: layerscale, norm: layernorm, mlp: gelu, "
        "_self_]\n"
        "inputs: {x: {tokens: 7, dim: 6}}\n"
        "graph:\n  a: {use: residual, inner: {use: mlp}}\n  b: {use: scaled, inner: {use: mlp}}\n"
    )
    (tmp_path / "model" / "both.yaml").write_text(text, encoding="utf-8")
    composed = compose(["model=both"], config_dir=str(tmp_path))
    planned = plan(composed)
    found = describe(planned)["nodes"]
    assert [node["block"] for node in found] == ["residual: prenorm", "scaled: layerscale"]
    assert composed.choices["model/residual"] == "prenorm"


# ---------------------------------------------------------------- files that start from others, and
# templates


def write(folder, **files):
    """Write `conf/model` of a user's own; "/" stands in a name as two underscores."""
    for name, text in files.items():
        file = folder / "model" / f"{name.replace('__', '/')}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return str(folder)


PARENT = """\
inputs: {x: {tokens: 7, dim: 6}, m: {tokens: 7, dim: 6}}
graph:
  a: {block: Add, in: [x, m]}
  b: {block: Linear, features: 4, in: a}
  c: {body: {l: {block: Linear, features: 4}, s: {block: Tanh}}, in: {x: a}, outputs: {s: s, l: l}}
  d: {block: Linear, features: 6, in: c.s}
  e: {block: Add, in: [c.s, c.l]}
  f: {block: CrossAttention, heads: 2, in: {x: d, context: a}}
outputs: {logits: f, pooled: b, sum: e}
tie: {b.bias: c.l.bias}
"""
REMOVE = {
    "outputs.pooled": "outputs: {pooled: null}\ngraph: {b: null}\ntie: {b.bias: null}",
    "tie": "tie: {b.bias: null}",
    "graph.c.body.s": "graph: {c: {body: {s: null}, outputs: {s: null}}, e: {in: [c.l, b]}, d: "
    "{in: c}}",
    "inputs.m": "inputs: {m: null}\ngraph: {a: null, b: {in: x}, c: {in: {x: x}}, f: {in: "
    "{context: x}}}",
    "graph.f.in": "graph: {f: {block: SelfAttention, in: {context: null}}}",
}


@pytest.mark.parametrize("name", REMOVE)
def test_null_removes_what_a_file_starts_from(name, tmp_path):
    folder = write(tmp_path, parent=PARENT, child=f"defaults: [parent, _self_]\n{REMOVE[name]}\n")
    before, net = (build(model, config_dir=folder) for model in ("parent", "child"))
    out = net(torch.randn(2, N, D), **({} if name == "inputs.m" else {"m": torch.randn(2, N, D)}))
    assert before.b.bias is before.c.l.bias
    if name == "outputs.pooled":
        assert set(out) == {"logits", "sum"}
        assert not hasattr(net, "b")
    elif name == "tie":
        assert net.b.bias is not net.c.l.bias
    elif name == "graph.c.body.s":
        assert not hasattr(net.c, "s")
        assert net.c.output_names == ("l",)
    elif name == "inputs.m":
        assert net.input_names == ("x",)
    else:
        assert type(net.f).__name__ == "SelfAttention"


def test_null_on_the_command_line_removes_as_well(tmp_path):
    folder = write(tmp_path, parent=PARENT)
    net = build(
        "parent",
        ["outputs={pooled: null}", "graph.b=null", "tie={b.bias: null}"],
        config_dir=folder,
    )
    assert net.output_names == ("logits", "sum")


@pytest.mark.parametrize(
    "words", ["outputs: {poled: null}", "graph: {g: null}", "inputs: {n: null}"]
)
def test_null_where_nothing_is_to_be_removed_is_a_mistake(words, tmp_path):
    folder = write(tmp_path, parent=PARENT, child=f"defaults: [parent, _self_]\n{words}\n")
    with pytest.raises(
        ConfigError, match=f"model/child.yaml:2:{words.index('{') + 2}|child.yaml:2:1"
    ):
        build("child", config_dir=folder)


OUTER = (
    "holes: [inner]\nparams: {rate: 0.5}\nbody:\n  i: {use: inner}\n  d: {block: Dropout, "
    "rate: rate}\n"
)
INNER = (
    "params: {hidden: 4 * dim}\nbody:\n  up: {block: Linear, features: hidden}\n  down: "
    "{block: Linear, features: 6}\n"
)
FILLED = {
    "{use: outer, inner: {use: inner, hidden: dmi * 2}}": (
        "no name 'dmi' in scope here",
        "did you mean dim?",
    ),
    "{use: outer, inner: {use: inner}, rate: layr.fraction}": (
        "no node or counter 'layr'",
        "data, params, x",
    ),
    "{use: outer, inner: {block: Linear, featurs: 4}}": (
        "no argument 'featurs'",
        "did you mean features",
    ),
    "{use: outer, inner: {use: inner}, in: {x: x, y: x}}": (
        "outer: own has no input 'y'",
        "nothing",
    ),
    "{use: outer, inner: {use: inner}, rate: 2.0}": ("Dropout fails", ""),
    "{use: outer, inner: {use: inner, hidden: -1}}": ("Linear", ""),
}


@pytest.mark.parametrize("node", FILLED)
def test_a_mistake_in_a_template_shows_the_line_that_filled_it(node, tmp_path):
    text = (
        f"defaults: [outer: own, inner: own, _self_]\ninputs: {{x: {{tokens: 7, dim: "
        f"6}}}}\ngraph:\n  a: {node}\n"
    )
    folder = write(tmp_path, mine=text, outer__own=OUTER, inner__own=INNER)
    with pytest.raises(ConfigError) as caught:
        build("mine", config_dir=folder)
    told, (problem, fits) = str(caught.value), FILLED[node]
    assert problem in told
    assert fits in told
    assert "mine.yaml:4:3" in told


def test_a_second_input_that_no_node_of_a_body_reads_is_a_mistake():
    inputs, inner = {"x": TOKENS, "m": TOKENS}, {"l": linear()}
    after = {"b": {"block": "Add", "in": ["a", "m"]}}
    assert mistakes({"a": {"body": inner, "in": ["x", "m"]}, **after}, inputs) == [
        "nothing reads the input 'm'"
    ]
    repeated = {"repeat": 2, "body": inner, "in": ["x", "m"]}
    assert mistakes({"a": repeated, **after}, inputs) == ["nothing reads the input 'm'"]


def test_build_chooses_an_option_of_ones_own_slot(tmp_path):
    own = "defaults: [mixer: a, mixer@other: a, _self_]\ninputs: {x: {tokens: 7, dim: 6}}\n"
    graph = "graph:\n  a: {use: mixer}\n  b: {use: other}\n  c: {block: Linear, features: 2}\n"
    option = "block: Linear\nfeatures: 3\n"
    folder = write(tmp_path, net=own + graph, mixer__a="block: Identity\n", mixer__b=option)
    assert build("net", ["mixer=b"], config_dir=folder).a.out_features == 3
    assert build("net", ["mixer@other=b"], config_dir=folder).b.out_features == 3
    with pytest.raises(ConfigError, match="a group is chosen by a name"):
        build("net", ["mixer=5"], config_dir=folder)


# ---------------------------------------------------------------- names and numbers

NAMES = ["ｓｅｌｆ", "ſelf", "__debug__", "ｘ", "ﬁ", "class", "self", "a b", "", "1", "__class__"]


@pytest.mark.parametrize("name", NAMES)
def test_one_rule_for_all_names(name):
    """An input, node, port, state, param, counter, output: what Python would read otherwise has no
    place in a model.
    """
    add = {"block": "Add", "in": ["x", name]}
    graphs = {
        "an input": ({"a": add}, {"x": TOKENS, name: TOKENS}, {}),
        "a node": ({name: linear()}, None, {}),
        "a port": ({"a": {"in": {"x": "x", name: "x"}, "body": {"a": add}}}, None, {}),
        "a state": ({"a": {"scan": {"state": {name: D}}, "body": {"a": add}}}, None, {}),
        "a param": ({"a": linear()}, None, {"params": {name: 3}}),
        "a param of a body": ({"a": {"body": {"b": linear()}, "params": {name: 3}}}, None, {}),
        "a counter": ({"a": {"repeat": 2, "as": name, **linear()}}, None, {}),
        "a list": ({"a": {"repeat": {name: [1, 2]}, **linear()}}, None, {}),
        "an output": ({"a": {"body": {"b": linear()}, "outputs": {name: "b"}}}, None, {}),
        "an output of the model": ({"a": linear()}, None, {"outputs": {name: "a"}}),
        "an axis": ({"a": linear()}, {"x": {name: N, "dim": D}}, {}),
    }
    for what, (graph, inputs, sections) in graphs.items():
        with pytest.raises(ConfigError) as caught:
            model(graph, inputs, **sections)
        assert caught.value.problems[0].path, what
        assert len(str(caught.value).splitlines()) <= 24


def test_whole_numbers_are_whole_however_they_are_written():
    net = model(
        {
            "a": linear(64.0),
            "b": linear("1e1"),
            "c": linear("width / 2"),
            "d": {"repeat": 2.0, **linear("widths[1.0]")},
            "e": {"scan": {"axis": 1.0, "state": {"h": 8.0}}, "body": STEP | {"next": linear(8.0)}},
            "f": {"block": "SelfAttention", "heads": 2.0, "expect": {"shape": ["batch", 7.0, 8.0]}},
        },
        inputs={"x": {"tokens": 7.0, "dim": 6.0}},
        params={"width": 32.0, "widths": [4, 8.0]},
    )
    assert net.a.out_features == 64
    assert [type(getattr(net, name).out_features) for name in "abc"] == [int, int, int]
    assert [net.get_submodule(f"d.{index}").out_features for index in range(2)] == [8, 8]
    assert net(torch.randn(2, N, D)).shape == (2, N, 8)
    assert mistakes({"a": linear(64.5)}) == ["Linear: features takes a whole number"]


def test_long_chains_of_params_and_huge_sizes_are_refused():
    chain = {"p0": 6, **{f"p{i}": f"p{i - 1}" for i in range(1, 3000)}}
    assert mistakes({"a": linear("p2999")}, params=chain) == [
        "Linear: 'p2899' leads on to more than 100 names, or to itself"
    ]
    words = {"p0": "tanh", **{f"p{i}": f"p{i - 1}" for i in range(1, 3000)}}
    assert (
        "more than 100 names"
        in mistakes({"a": {"block": "GELU", "approximate": "p2999"}}, params=words)[0]
    )
    assert "more than 100 names" in mistakes({"a": linear("p")}, params={"p": "q", "q": "p"})[0]
    assert mistakes({"a": linear()}, inputs={"x": {"tokens": 2**62, "dim": D}})[0].startswith(
        "the shape of x"
    )
    assert mistakes({"a": linear(10**4500)}) == ["Linear: the number is too large"]


def test_outputs_are_given_or_refused():
    planned = plan(
        Composed(
            {"model": {"inputs": {"x": TOKENS}, "graph": {"a": linear()}, "outputs": {"y": "a"}}}
        )
    )
    assert list(planned.outputs) == ["y"]
    for outputs in ({}, [], 3, {"y": 3}, ["a", "a"], True, ""):
        assert mistakes({"a": linear()}, outputs=outputs)


# ---------------------------------------------------------------- characters that look like others

HEAD = "inputs: {x: {tokens: 7, dim: 6}}\ngraph:\n"
LOOK_ALIKES = {
    "  a: {block: Linear, features\uff1a3}": "FULLWIDTH COLON: write ':'",
    "  a: {block: Linear\uff0c features: 3}": "FULLWIDTH COMMA: write ','",
    "  a: {block: ReLU}\n  b\uff1a {block: ReLU}": "FULLWIDTH COLON: write ':'",
    "  a: {block: ReLU}\n\u00a0\u00a0b: {block: ReLU}": "NO-BREAK SPACE: write a space",
    "  a: {block: Linear, features: \u201c3\u201d}": "LEFT DOUBLE QUOTATION MARK: write '\"'",
    "  a: {block: Re\u200bLU}": "delete the invisible character U+200B ZERO WIDTH SPACE",
    "  a: {block: Linear, feat\u200bures: 3}": "delete the invisible character U+200B ZERO "
    "WIDTH SPACE",
    "  a: {block: Linear, features: dim \u00d7 2}": "MULTIPLICATION SIGN: write '*'",
}


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_a_character_that_looks_like_another_is_named(text, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "broken.yaml").write_text(f"{HEAD}{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        plan(compose(["model=broken"], config_dir=str(tmp_path)))
    assert LOOK_ALIKES[text] in str(caught.value)
    assert "broken.yaml:" in str(caught.value)


def test_a_message_is_one_screen():
    text = str(
        ConfigError(
            [
                Problem(
                    "p" * 999,
                    path="graph.a",
                    got="1" * 9999,
                    source="\n".join("abc" * 99),
                    fix="x",
                    code="bad-value",
                )
            ]
        )
    )
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 220
