"""Expressions: they agree with Python, never execute anything, and say what they do not know."""

import ast
import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.graph import ConfigError, build, compose, plan
from blocks.graph.describe.why import why
from blocks.graph.language.expression import ExpressionError, evaluate

B, N, D = 2, 7, 6
TOKENS = {"tokens": N, "dim": D}


def model(graph, inputs=None, facts=None, **sections):
    return build({"inputs": inputs or {"x": TOKENS}, "graph": graph, **sections}, facts=facts)


class Names(dict):
    def value(self, name):
        if name not in self:
            raise ExpressionError(f"no name {name!r}")
        return self[name]

    def attribute(self, name, attribute):
        raise ExpressionError(f"no attribute {attribute!r}")

    def has(self, name, attribute):
        raise ExpressionError(f"no attribute {attribute!r}")


NUMBERS = st.integers(-20, 20).map(str) | st.sampled_from(["dim", "depth", "0.5", "2.25"])
ARITHMETIC = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.tuples(
            inner,
            st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "<", ">=", "and", "or"]),
            inner,
        ).map(lambda t: f"({' '.join(t)})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
        inner.map(lambda text: f"(-{text})"),
        inner.map(lambda text: f"(not {text})"),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(ARITHMETIC, st.integers(1, 100), st.integers(1, 100))
def test_arithmetic_agrees_with_python(text, dim, depth):
    names = {"dim": dim, "depth": depth}
    try:
        expected = eval(text, {"__builtins__": {}, "min": min, "max": max}, names)
    except ZeroDivisionError:
        with pytest.raises(ExpressionError):
            evaluate(text, Names(names))
        return
    found = evaluate(text, Names(names))
    assert type(found) is type(expected)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="dimx0123456789+-*/%()[]{}<>=!.,:'\"_ abeflorst@~^&|\n\\", max_size=40))
def test_any_text_has_a_value_or_a_plain_error(text):
    with suppress(ExpressionError):
        evaluate(text, Names(dim=3))


HOSTILE = [
    "__import__('os').system('touch hacked')",
    "open('hacked', 'w')",
    "eval('1')",
    "exec('import os')",
    "dim.__class__",
    "().__class__.__bases__[0].__subclasses__()",
    "(lambda: 1)()",
    "[x for x in (1, 2)]",
    "{1: 2}",
    "{1, 2}",
    "f'{dim}'",
    "dim.real",
    "'a' * 10**9",
    "(1, 2) * 10**9",
    "[0] * 10**10",
    "9**9**9",
    "2 ** 10**9",
    "(-2) ** 65",
    "1 << 10**9",
    "10**18 * 10**18 ** 64",
    "min.__self__",
    "min(key=open)",
    "max(*dim)",
    "round(dim, ndigits=open)",
    "print('hacked')",
    "dim := 5",
    "import os",
    "dim; open('hacked')",
    "getattr(dim, 'real')",
    "globals()",
    "breakpoint()",
    "'%s' % dim",
    "'{0.__class__}'.format(dim)",
    "b'bytes'",
    "1j",
    "...",
    "await dim",
    "yield dim",
    "not " * 300 + "dim",
    "(" * 200 + "dim" + ")" * 200,
    "-" * 400 + "1",
    "dim if",
    "",
    " ",
    "a" * 600,
    "\0",
    "min(dim)()",
    "default(dim)",
    "default(dim.real, 1)",
    "default(open('hacked', 'w').mode, 1)",
    "default(dim.__class__, 1)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_never_executed(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if text.startswith(("not ", "-", "(" * 9)):  # long but honest
        with suppress(ExpressionError):
            assert evaluate(text, Names(dim=3)) in (3, 1, False, True)
    else:
        with pytest.raises(ExpressionError):
            evaluate(text, Names(dim=3))
    assert list(tmp_path.iterdir()) == []


def test_the_evaluator_knows_a_closed_list_of_syntax():
    """Everything Python can parse but the language does not name is refused, whatever future
    versions add.
    """
    allowed = {
        "Constant",
        "Name",
        "Attribute",
        "Subscript",
        "UnaryOp",
        "BinOp",
        "BoolOp",
        "Compare",
        "IfExp",
        "List",
        "Tuple",
        "Call",
    }
    refused = {
        "dim @ dim",
        "dim | 1",
        "dim & 1",
        "dim ^ 1",
        "~dim",
        "dim is 1",
        "lambda: 1",
        "{}",
        "{1}",
        "[x for x in dim]",
        "f'{dim}'",
    }
    for text in refused:
        assert not {
            type(node).__name__ for node in ast.walk(ast.parse(text, mode="eval").body)
        } <= allowed - {
            "BinOp",
            "UnaryOp",
            "Compare",
        }
        with pytest.raises(ExpressionError):
            evaluate(text, Names(dim=3))


def test_and_or_and_if_do_not_look_at_what_they_do_not_need():
    assert evaluate("dim == 3 or nothing > 1", Names(dim=3)) is True
    assert evaluate("dim if dim else nothing", Names(dim=3)) == 3


def test_indexing_and_membership():
    names = Names(shape=(4, 5, 6), dim=3)
    assert evaluate("shape[-1]", names) == 6
    assert evaluate("shape[1:]", names) == (5, 6)
    assert evaluate("5 in shape and dim not in shape", names) is True
    assert evaluate("[dim, 2 * dim]", names) == (3, 6)


def default_of(features, params, facts=None):
    """The width of a linear layer whose `features` are an expression with `default`."""
    graph = {"head": {"block": "Linear", "features": features}}
    return model(graph, params=params, facts=facts).head.out_features


def test_default_takes_the_name_where_it_exists_and_the_second_argument_elsewhere():
    assert default_of("default(params.heads, 11)", {"heads": "depth + 7", "depth": 6}) == 13
    assert default_of("default(params.heads, max(11, dim))", {"depth": 2}) == 11
    assert default_of("default(x.dim, 11) + default(x.channels, 11)", {}) == D + 11
    assert default_of("default(data.classes, 11)", {}, {"classes": 17}) == 17
    assert default_of("default(data.classes, 11)", {}, {"classes": "???"}) == 11
    assert default_of("default(params.a, default(params.b, 11))", {"b": 13}) == 13


def test_default_evaluates_its_second_argument_only_where_the_name_is_absent():
    assert default_of("default(params.heads, nothing)", {"heads": 11}) == 11
    with pytest.raises(ConfigError, match="no name 'nothing' in scope here"):
        default_of("default(params.heads, nothing)", {})


@pytest.mark.parametrize(
    ("features", "message", "fits"),
    [
        ("default(parms.heads, 1)", "no node or counter 'parms'", "did you mean params?"),
        ("default(dta.classes, 1)", "no node or counter 'dta'", "did you mean data?"),
        ("default(heads, 1)", "default takes a dotted name", "default(params.heads, 4)"),
        ("default(params.heads)", "default takes a dotted name", "default(params.heads, 4)"),
        ("default(params.heads, 1, 2)", "default takes a dotted name", "default(params.heads, 4)"),
        (
            "defalt(params.heads, 1)",
            "cannot call defalt",
            "min, max, round, len, sqrt, log, default",
        ),
        (
            "default(params.broken, 1)",
            "no name 'nothing'",
            "",
        ),  # it exists, so it must have a value
        ("default(params.missing, 1)", "missing is missing (???)", ""),
    ],
)
def test_default_hides_no_mistake(features, message, fits):
    with pytest.raises(ConfigError) as raised:
        default_of(features, {"broken": "nothing + 1", "missing": "???"})
    assert message in str(raised.value)
    assert fits in str(raised.value)


def test_a_param_read_by_default_counts_as_read():
    planned = plan(compose(["model=vit", "model.params.heads=2"]))
    assert ("model", "params", "heads") in planned.read_params
    assert "read by   layers.*.attention.inner.heads" in why(planned, "params.heads")
    told = why(planned, "layers.0.attention.inner.heads")
    assert "heads: default(params.heads, max(1, dim // 64))\n  with      heads=2" in told
