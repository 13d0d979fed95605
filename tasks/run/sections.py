"""The sections of a configuration, checked as a whole before any of them is instantiated."""

from collections.abc import Iterator
from typing import Any

from blocks.graph import Composed, ConfigError, Problem
from blocks.graph.errors import guess
from tasks.config import instantiate, ranges
from tasks.config.targets import update_targets
from tasks.process import runtime
from tasks.sweep import figure, study

REQUIRED = ("model", "data", "task", "optimizer", "trainer")
SECTIONS = (
    "model",
    "data",
    "task",
    "optimizer",
    "schedule",
    "trainer",
    "callbacks",
    "logger",
    "seed",
    "library",
    "trust",
    "limits",
    "runs",
    "resume",
    "weights",
    "picture",
    "study",
    "ckpt_path",
    "carry_over",
    "tune",
)


def check_sections(composed: Composed) -> None:
    """Raise a ConfigError for sections that are unknown or missing, and for values that no class
    checks: `seed`, `trust`, `tune`, `picture`, `study` and our own options of `trainer`.
    """
    update_targets(composed.config)
    problems = [
        *find_unknown_sections(composed),
        *check_seed(composed),
        *check_trust(composed),
        *check_trainer_options(composed),
        *find_missing_sections(composed),
        *check_tune(composed),
        *check_search(composed),
        *figure.check_picture(composed),
        *study.check_study(composed),
    ]
    if problems:
        raise ConfigError(problems)


def find_unknown_sections(composed: Composed) -> Iterator[Problem]:
    """Yield a problem for each section that nothing reads."""
    for name, value in composed.config.items():
        if name in SECTIONS:
            continue
        path = name
        if isinstance(value, dict) and value:
            path = f"{name}.{next(iter(value))}"
        yield Problem(
            f"there is no section {name}",
            composed.origin(path),
            name,
            fits=", ".join(SECTIONS),
            fix=guess(name, SECTIONS),
            code="unknown-key",
        )


def check_seed(composed: Composed) -> Iterator[Problem]:
    """Yield a problem where the seed is no 32-bit number."""
    seed = composed.config.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        text = "seed must be a whole number from 0 to 4294967295"
        yield instantiate.problem(composed, ("seed",), text, got=f"seed={seed!r}", code="bad-value")


def check_trust(composed: Composed) -> Iterator[Problem]:
    """Yield a problem for each trusted class that no `_target_` names."""
    named = set(find_targets(composed.config))
    for name in getattr(composed, "typed", {}).get("trust") or []:
        if name not in named:
            text = f"this changes nothing: no _target_ is {name}"
            fits = ", ".join(sorted(named))
            yield instantiate.problem(composed, ("trust",), text, fits=fits, code="unused")


def find_targets(value: Any) -> Iterator[str]:
    """Yield the value of every `_target_`, at any depth."""
    if not isinstance(value, dict):
        return
    if "_target_" in value:
        yield str(value["_target_"])
    for item in value.values():
        yield from find_targets(item)


def check_trainer_options(composed: Composed) -> Iterator[Problem]:
    """Yield problems with the options of `trainer` that are ours, not Lightning's."""
    trainer = composed.config.get("trainer")
    if not isinstance(trainer, dict):
        return
    for option in runtime.OWN_OPTIONS:
        path = ("trainer", option)
        value = trainer.get(option)
        bound = ranges.find_violation("trainer", option, value)
        if bound is not None:
            text = f"{option} {bound.must}"
            got = f"{option}={value!r}"
            yield instantiate.problem(
                composed, path, text, got=got, fits=bound.fits, code="bad-value"
            )
        yield from instantiate.check_excess(composed, path, value)
    if trainer.get("time") and trainer.get("max_time"):
        yield instantiate.problem(
            composed,
            ("trainer", "time"),
            "time and max_time both limit the training",
            got=f"time={trainer['time']}, max_time={trainer['max_time']}",
            fix="one of them",
            code="bad-value",
        )


def find_missing_sections(composed: Composed) -> Iterator[Problem]:
    """Yield a problem for each required section that is missing."""
    for name in REQUIRED:
        if not isinstance(composed.config.get(name), dict):
            text = f"the section {name} is missing"
            yield instantiate.problem(
                composed, (name,), text, fix=f"choose one: {name}=...", code="missing-key"
            )


def check_tune(composed: Composed) -> Iterator[Problem]:
    """Yield a problem where `tune` is no boolean."""
    tune = composed.config.get("tune", False)
    if not isinstance(tune, bool):
        yield instantiate.problem(
            composed,
            ("tune",),
            "tune must be true or false",
            got=f"tune={tune!r}",
            fits="tune=true",
            code="bad-value",
        )


def check_search(composed: Composed) -> Iterator[Problem]:
    """Yield a problem for each option that contradicts `trainer.find_lr`."""
    trainer, optimizer = composed.config.get("trainer"), composed.config.get("optimizer")
    if not isinstance(trainer, dict) or not isinstance(optimizer, dict):
        return
    if trainer.get("find_lr") is not True:
        return
    if composed.is_typed(("optimizer", "lr")):
        yield instantiate.problem(
            composed,
            ("optimizer", "lr"),
            "find_lr chooses optimizer.lr, which is given, too",
            got=f"optimizer.lr={optimizer['lr']}, trainer.find_lr=true",
            fix="one of them",
            code="bad-value",
        )
    if optimizer.get("adamw_lr") is not None:
        yield instantiate.problem(
            composed,
            ("optimizer", "adamw_lr"),
            "find_lr finds one rate, and adamw_lr is a second one",
            got=f"adamw_lr={optimizer['adamw_lr']}",
            fits="null, for the same rate",
            code="bad-value",
        )
    if composed.config.get("tune"):
        yield instantiate.problem(
            composed,
            ("tune",),
            "tune measures batch sizes and trains nothing, so that find_lr has no effect",
            got="tune=true, trainer.find_lr=true",
            fix="one after the other: the best rate depends on the batch size",
            code="bad-value",
        )
