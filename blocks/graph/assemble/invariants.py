"""What a finished model must satisfy: ties that fit, claims that hold, and no word that changes
nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import Path
from blocks.graph.assemble.inputs import misspelt_fact
from blocks.graph.errors import ConfigError, NodeError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError, evaluate, to_whole
from blocks.graph.language.scope import MISSING
from blocks.graph.language.words import MODEL_WORDS
from blocks.graph.record.initialise import Reader, Section
from blocks.graph.record.module import Graph, bind_parameters, resolve_ties
from blocks.graph.record.record import count_parameters


def finish(
    assembly: Assembly, model: Graph, config: Mapping[str, Any], overridden: Iterable[Path] = ()
) -> Graph:
    """Tie, read how parameters start, check the model's claims; raises ConfigError with every
    problem found.
    """
    _check_params(assembly, config.get("params") or {})
    if not assembly.problems:
        for target, source in assembly.ties.items():
            bind_parameters(model, target, source)
        tie(assembly, model, config.get("tie") or {})
    if not assembly.problems:
        _initialise(assembly, model, config.get("initialise") or {})
        assembly.problems += idle_words(assembly, overridden)
    if not assembly.problems:
        expect(assembly, model, config.get("expect") or {})
    if assembly.problems:
        raise ConfigError(assembly.problems)
    return model


def _check_params(assembly: Assembly, params: Mapping[str, Any]) -> None:
    for name, value in params.items():
        place = ("model", "params", name)
        if value == MISSING and place not in assembly.read_params:
            problem, fix = (
                f"{name} is missing (???), and no node reads it",
                "leave it out, or let a node read it",
            )
            assembly.report(
                Problem(problem, path=f"model.params.{name}", fix=fix, code="missing-key"),
                place,
                "",
            )


def idle_words(assembly: Assembly, overridden: Iterable[Path]) -> list[Problem]:
    """What the command line says of the model and nothing reads: silence there would be a lie."""
    problems = []
    for path in overridden:
        if path[0] != "model" or len(path) < 3:
            continue
        unread = path[-2] == "params" and path not in assembly.read_params
        idle = path[1] not in MODEL_WORDS and path[1] not in assembly.used_slots
        if unread or idle:
            what = f"no node reads {path[-1]!r}" if unread else f"no node uses the slot {path[1]!r}"
            where, shown = str(assembly.origin(path)), ".".join(map(str, path))
            fix = "leave it out, or let a node read it"
            problems.append(
                Problem(f"this changes nothing: {what}", where, shown, fix=fix, code="unused")
            )
    return problems


def _initialise(assembly: Assembly, model: nn.Module, lines: Mapping[str, Any]) -> None:
    """Read how parameters start; `Built.materialise` does it."""
    reader = Reader(assembly.origin, tuple(assembly.catalog), assembly.altered)
    assembly.starts = reader.read(model, [Section(lines, assembly.outermost), *assembly.sections])
    assembly.problems += reader.problems


def tie(assembly: Assembly, model: nn.Module, ties: Mapping[str, str]) -> None:
    """One parameter at several places: `tie: {head.weight: embedding.weight}`."""
    if not ties:
        return
    known = dict(model.named_parameters(remove_duplicate=False))
    for written, of in ties.items():
        place = ("model", "tie", written)
        try:
            pairs = resolve_ties(known, {written: of})
        except ExpressionError as error:
            problem = Problem(error.problem, fits=error.fits, fix=error.fix, code=error.code)
            assembly.report(problem, place, "tie")
            continue
        for target, source in (pairs or {written: of}).items():
            wrong = _tie_one(model, known, target, source)
            if wrong is not None:
                assembly.report(wrong, place, "tie")
                break


def _tie_one(
    model: nn.Module, known: Mapping[str, nn.Parameter], target: str, source: str
) -> Problem | None:
    """Bind a parameter to another; return what is wrong instead."""
    lost = [name for name in (target, source) if not isinstance(name, str) or name not in known]
    if lost:
        return Problem(
            f"no parameter {show(lost[0])!r} to tie",
            got=f"{show(target)}: {show(source)}",
            fits=did_you_mean(show(lost[0]), known),
            code="unknown-name",
        )
    if known[target].shape != known[source].shape:
        return Problem(
            "tied parameters differ in shape",
            got=f"{target} {tuple(known[target].shape)}, {source} {tuple(known[source].shape)}",
            fits="two parameters of one shape",
            code="shape-mismatch",
        )
    bind_parameters(model, target, source)
    return None


def expect(assembly: Assembly, model: nn.Module, claims: Mapping[str, Any]) -> None:
    """The claims of a model file, about the file as it stands: its parameter count, for the data
    that `when` names.
    """
    for claim in claims:
        if claim not in ("parameters", "when"):
            fits = did_you_mean(claim, ("parameters", "when"))
            assembly.report(
                Problem(f"a model cannot expect {claim!r}", fits=fits, code="unknown-key"),
                ("model", "expect", claim),
                "expect",
            )
    with assembly.reporting(("model", "expect", "when"), "expect"):
        claimed = _claimed(assembly, claims.get("when", True))
        _compare(assembly, model, claims, claimed and not assembly.altered)


def _compare(
    assembly: Assembly, model: nn.Module, claims: Mapping[str, Any], claimed: bool
) -> None:
    wanted = to_whole(claims.get("parameters"))
    if wanted is not None and (not isinstance(wanted, int) or isinstance(wanted, bool)):
        got, fits = f"parameters: {show(wanted)}", "a whole number"
        problem = Problem("the number of parameters is none", got=got, fits=fits, code="bad-value")
        assembly.report(problem, ("model", "expect", "parameters"), "expect")
        return
    count = count_parameters(model)
    if wanted is not None and claimed and count != wanted:
        problem = Problem(
            "the model has not the parameters it claims",
            got=f"{count:,}",
            fits=f"{wanted:,}",
            fix="correct the graph, or the claim\nin a file that starts from this one: its own "
            "number, or expect: {when: false}",
            code="expectation-failed",
        )
        assembly.report(problem, ("model", "expect", "parameters"), "expect")


def _claimed(assembly: Assembly, when: Any) -> bool:
    """Whether the claim is about these data; raises NodeError for a condition that no data could
    meet.
    """
    facts, got = assembly.facts, f"when: {show(when)}"
    asked = re.findall(r"\bdata\.(\w+)(?:\.(\w+))?", when) if isinstance(when, str) else []
    for fact, member in asked:
        sizes = facts.get(fact)
        misspelt = misspelt_fact(fact, (*facts, *assembly.stated))
        if not misspelt and member and isinstance(sizes, Mapping):
            misspelt = misspelt_fact(member, sizes)
        if misspelt:
            raise NodeError(
                Problem(
                    f"no data state {'.'.join(filter(None, (fact, member)))!r}",
                    got=got,
                    fits=misspelt,
                    code="unknown-fact",
                )
            )
    try:
        value = evaluate(when, assembly.outermost) if isinstance(when, str) else when
    except ExpressionError as error:
        if asked:
            return False  # other data than the claim is about
        raise NodeError(
            Problem(
                f"when: {error.problem}", got=got, fits=error.fits, fix=error.fix, code=error.code
            )
        ) from None
    if not isinstance(value, bool):
        raise NodeError(
            Problem(
                "`when` is true or false",
                got=got,
                fits="a comparison: data.classes == 1000",
                code="bad-value",
            )
        )
    return value
