"""A question takes a bounded number of steps, whatever its expressions and patterns say."""

import contextlib
import random
import re
import time

import pytest

from blocks.graph import ConfigError, build, compose, freeze, learning_rates, plan
from blocks.graph.compose.combinations import combinations
from blocks.graph.language.expression import ExpressionError, evaluate, limited
from blocks.graph.language.patterns import match_name
from blocks.graph.steps import STEPS, budget

INPUTS = {"x": {"tokens": 7, "dim": 6}}
NAMES = ("*", "?", "[ab]", "[!a]", "a", "b", "ab", ".", "{i}", "{j}", "{r*}", "{i}", "{s*}")


def doubled(text):
    return {"p0": 1, **{f"p{n}": text(f"p{n - 1}") for n in range(1, 41)}}


BOMBS = {
    "round": ({}, "round(5, -999999999)"),
    "tuples": (doubled(lambda p: f"[{p}, {p}]"), "len(p40)"),
    "lists": (doubled(lambda p: [p, p]), "len(p40)"),
    "sums": (doubled(lambda p: f"{p} + {p}"), "p40"),
    "conditions": (doubled(lambda p: f"{p} if {p} else {p}"), "p40"),
    "defaults": (
        doubled(lambda p: f"default(params.{p}, 1) + default(params.{p}, 1)"),
        "params.p40",
    ),
    "comparisons": (doubled(lambda p: f"{p} == {p}"), "p40"),
    "squares": ({**doubled(lambda p: f"{p} * {p}"), "p0": 3}, "p40"),
    "a chain": ({"p0": 1, **{f"p{n}": f"p{n - 1} + 1" for n in range(1, 3000)}}, "p2999"),
    "a number of a million bits": ({"p0": 2**1_000_000}, "p0 * p0"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_expression_takes_long(name):
    params, features = BOMBS[name]
    model = {
        "inputs": INPUTS,
        "params": params,
        "graph": {"head": {"block": "Linear", "features": features}},
    }
    begun = time.process_time()
    with pytest.raises(ConfigError):
        build(model, device="meta")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "pattern", ["*" * 25 + "#", "*a" * 100 + "#", "{a*}{b*}{c*}{d*}{e*}#", "{a*}" * 9 + "?#"]
)
def test_no_pattern_takes_long(pattern):
    begun = time.process_time()
    assert match_name(pattern, "a" * 1000) is None
    assert time.process_time() - begun < 1


def test_a_piece_that_stands_twice_has_a_bounded_search():
    name = "".join(random.Random(0).choices("abcdefgh", k=300))
    begun = time.process_time()
    with pytest.raises(ConfigError, match="too many steps"):
        match_name("{a*}{b*}{c*}{d*}{a*}{b*}{c*}{d*}", name)
    assert time.process_time() - begun < 2


def test_patterns_match_what_regular_expressions_match():
    """Against a translation that backtracks, on short names."""
    source = random.Random(0)
    for _ in range(5000):
        pattern = "".join(source.choices(NAMES, k=source.randint(1, 6)))
        name = "".join(source.choices("ab.", k=source.randint(0, 9)))
        found = backtracking(pattern).fullmatch(name)
        assert match_name(pattern, name) == (found and found.groupdict()), (pattern, name)


def backtracking(pattern):
    parts, seen = [], set()
    for piece in re.findall(r"\{\w+\*?\}|\[!?\w+\]|.", pattern):
        name = piece.strip("{}*")
        if piece.startswith("{"):
            kind = ".+" if "*" in piece else "[^.]+"
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{kind})")
            seen.add(name)
        else:
            parts.append({"*": ".*", "?": ".", ".": r"\."}.get(piece, piece.replace("!", "^")))
    return re.compile("".join(parts))


def test_honest_models_need_few_steps():
    with limited():
        plan(compose(["model=swin_b", "data=imagenet"]))
        left = budget.get().left
    assert STEPS - left < 12_000


def test_a_budget_is_shared_and_ends():
    with pytest.raises(ConfigError, match="10 steps in all"), limited(10):
        evaluate(" + ".join("1" * 20), None)
    for _ in range(20):
        assert evaluate("1 + 1", None) == 2
    with pytest.raises(ExpressionError, match="too large"):
        evaluate(" * ".join(["99999"] * 9), None)


def test_ten_thousand_mistakes_are_told_soon():
    lines = {f"*no{n}#": "zeros" for n in range(9000)}
    model = {
        "inputs": INPUTS,
        "graph": {"head": {"block": "Linear", "features": 5}},
        "initialise": lines,
    }
    begun = time.process_time()
    with pytest.raises(ConfigError):
        build(model, device="meta")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("values", [10, 9000])
def test_ten_thousand_expressions_over_a_list_take_little_time(values):
    asks = {f"p{n}": "len(big)" for n in range(9000)}
    model = {"inputs": INPUTS, "params": {"big": list(range(values)), **asks}}
    model["graph"] = {"head": {"block": "Linear", "features": "p8999"}}
    begun = time.process_time()
    with contextlib.suppress(ConfigError):
        build(model, device="meta")
    assert time.process_time() - begun < 2


def test_patterns_that_are_asked_directly_share_one_budget():
    model = build({"inputs": INPUTS, "graph": {"head": {"block": "Linear", "features": 5}}})
    begun = time.process_time()
    with pytest.raises(ConfigError, match="too many steps"):
        freeze(model, ["*"] * 150_000)
    with pytest.raises(ConfigError, match="too many steps"):
        learning_rates(model, {f"{{piece{n}*}}": 1 for n in range(100_000)})
    assert time.process_time() - begun < 4


SWEEPS = {
    "a range": ["seed=range(1000000000)"],
    "a shuffled range": ["seed=shuffle(range(1000000000))"],
    "a fine range": ["optimizer.lr=range(0,1,1e-30)"],
    "an endless range": ["seed=range(0,9,0)"],
    "choices": [f"data.{name}={','.join(map(str, range(10)))}" for name in "abcde"],
    "files": [
        f"model/{slot}=glob(*)"
        for slot in ("attention", "mlp", "norm", "position", "residual", "initialise")
    ],
}


@pytest.mark.parametrize("name", SWEEPS)
def test_the_runs_of_a_sweep_are_counted_before_they_are_made(name):
    begun = time.process_time()
    with pytest.raises(ConfigError, match="too many runs"):
        combinations(SWEEPS[name])
    assert time.process_time() - begun < 2


def test_a_file_cannot_ask_for_a_billion_runs(tmp_path):
    file = tmp_path / "experiment/evil.yaml"
    file.parent.mkdir()
    cases = {
        "range(1000000000)": (combinations, "too many runs"),
        "1," * 9000: (compose, "too long"),
        "[" * 4000: (combinations, "cannot be read"),
    }
    for value, (ask, told) in cases.items():
        file.write_text(
            f"# @package _global_\nhydra: {{sweeper: {{params: {{seed: '{value}'}}}}}}\n",
            encoding="utf-8",
        )
        begun = time.process_time()
        with pytest.raises(ConfigError, match=told):
            ask(["experiment=evil"], config_dir=str(tmp_path))
        assert time.process_time() - begun < 2


def test_as_many_runs_as_people_ask_for_are_made():
    assert (
        len(
            combinations(
                ["seed=range(100)", "model.params.depth=1,2,3", "optimizer.lr=range(0,1,0.1)"]
            )
        )
        == 3000
    )
