"""From a name, a composed configuration or a dictionary to a model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blocks.catalog import catalog
from blocks.errors import BlockError
from blocks.graph.assemble.model import assemble_model
from blocks.graph.compose.compose import Composed, compose, stated_facts
from blocks.graph.compose.facts import declared_facts, example_of
from blocks.graph.errors import ConfigError, Problem, did_you_mean, show
from blocks.graph.language.expression import limited
from blocks.graph.language.words import MODEL_WORDS
from blocks.graph.record.limits import bounded
from blocks.graph.record.module import Graph
from blocks.graph.record.record import Built
from blocks.graph.steps import STEPS
from blocks.graph.weights.finetune import fine_tune
from blocks.support.conf_folders import conf_folders


def plan(
    composed: Composed, facts: Mapping[str, Any] | None = None, library: Iterable[str] = ()
) -> Built:
    """Assemble the model of a composed configuration on the meta device.

    Args:
        facts: of the data, in place of those that its YAML declares (`data.facts`).
        library: folders or packages of the user's own blocks, over `library` on the command line.

    Raises:
        ConfigError: every problem found.
    """
    config = composed.config.get("model") or {}
    known = {**declared_facts(composed), **(facts or {})}
    stated = {*known, *stated_facts()}
    known = {name: _named(name, value) for name, value in known.items() if value is not None}
    choices = {
        group.removeprefix("model/"): option
        for group, option in composed.choices.items()
        if group.startswith("model/")
    }
    problems = _check_model(composed, config)
    blocks = _catalog(composed, library)
    if problems:
        raise ConfigError(problems)
    limits = composed.typed.get("limits") or {}
    where = composed.origin(("model",))
    typed = [path for path, origin in composed.origins.items() if origin.file is None]
    with bounded(limits.get("modules"), where) as most, limited(max(STEPS, 60 * most), where):
        return assemble_model(
            config,
            typed,
            catalog=blocks,
            origin=composed.origin,
            facts=known,
            choices=choices,
            altered=composed.altered,
            most=most,
            stated=stated,
        )


def _named(name: str, fact: Any) -> Any:
    """`image: [3, 224, 224]` is short for channels, height and width."""
    if name == "image" and isinstance(fact, list | tuple) and len(fact) == 3:
        return dict(zip(("channels", "height", "width"), fact, strict=True))
    return fact


def assemble(
    composed: Composed, facts: Mapping[str, Any] | None = None, device: str = "cpu"
) -> Graph:
    """The model of a composed configuration, ready to train; raises ConfigError."""
    planned = plan(composed, facts)
    return planned.model if device == "meta" else planned.materialise(device)


def build(
    model: str | Mapping[str, Any],
    overrides: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    *,
    data: str | None = None,
    library: Iterable[str] = (),
    config_dir: str | None = None,
    device: str = "cpu",
) -> Graph:
    """Build a model by name, or from a dictionary in the language of `docs/grammar.md`.

    Args:
        model: a file of `conf/model/` without its ending, or the model itself. A folder, or
            "hub:USER/NAME@REVISION", is a shared model, whose weights are loaded.
        overrides: as on the command line, without `model.` in front: "params.depth=6",
            "attention=window", "weights.load=null".
        facts: of the data: {"image": [3, 224, 224], "classes": 10}; those that a shared model
            states, if neither they nor data are given.
        data: whose declared facts to use (a file of `conf/data/`); the default of `conf/train.yaml`
            when left out.
        library: folders or packages with blocks of your own.
        config_dir: a folder with YAML of your own (`model/`, `data/`, ...).
        device: where the parameters are made; "meta" takes no memory.

    Raises:
        ConfigError: every problem found, each with its place and a fix.
    """
    if isinstance(model, Mapping):
        composed = Composed({"model": dict(model), "data": {"facts": {}}})
    else:
        folders = [*conf_folders(), *([Path(config_dir)] if config_dir else [])]
        chosen = [f"model={model}", *([f"data={data}"] if data else [])]
        chosen += [_full_override(text, folders) for text in overrides]
        composed = compose(chosen, config_dir=config_dir)
        if composed.shared and facts is None and data is None:
            facts = example_of(composed)
    planned = plan(composed, facts, library)
    if device == "meta":
        return planned.model
    built = planned.materialise(device)
    if composed.shared:
        fine_tune(built, composed.config["weights"])
    return built


def _full_override(text: str, folders: Sequence[Path]) -> str:
    """ "params.depth=6" -> "model.params.depth=6"; "attention=window" ->
    "model/attention=window".
    """
    marks, key, rest = re.fullmatch(r"([+~]*)([^=]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if re.match(r"(model|data|weights)([./=]|$)", key) or key in ("model", "data"):
        return text
    slot, at, place = key.partition("@")
    is_slot = "." not in slot and any((folder / "model" / slot).is_dir() for folder in folders)
    if not is_slot or rest.startswith("={"):
        return f"{marks}model.{key}{rest}"
    return f"{marks}model/{slot}{f'@model.{place}' * bool(at)}{rest}"


def _catalog(composed: Composed, library: Iterable[str]) -> Mapping[str, Any]:
    """The catalogue with the user's own blocks: named on the command line, never by a YAML file."""
    origin = composed.origin(("library",))
    try:
        return catalog([*composed.typed.get("library", []), *library])
    except BlockError as error:
        raise ConfigError(
            Problem(
                error.problem,
                origin,
                "library",
                got=error.got,
                fits=error.fits,
                fix=error.fix or (None if error.fits else "mend that file, or leave it out"),
                code=error.code,
            )
        ) from error


def _check_model(composed: Composed, config: Mapping[str, Any]) -> list[Problem]:
    """Whether a model has its sections and nothing but sections and slots."""
    if not isinstance(config, Mapping):
        return [
            Problem(
                "a model is a mapping",
                composed.origin(("model",)),
                "model",
                got=f"a {type(config).__name__}",
                fits="inputs: {...}, graph: {...}",
                code="bad-node",
            )
        ]
    problems = []
    for section in ("inputs", "graph"):
        if not isinstance(config.get(section), Mapping) or not config[section]:
            got = f"{section}: {show(config[section])}" if section in config else None
            problems.append(
                Problem(
                    f"a model needs {section!r}",
                    composed.origin(("model", section)),
                    "model",
                    got=got,
                    fits={
                        "inputs": "inputs: {image: data.image}",
                        "graph": "graph: {name: {block: Name}}",
                    }[section],
                    code="missing-key",
                )
            )
    for key, value in config.items():
        if key in MODEL_WORDS:
            if (
                key in ("params", "entries", "expect", "tie", "initialise", "example")
                and value is not None
                and not isinstance(value, Mapping)
            ):
                problems.append(
                    Problem(
                        f"{key!r} is a mapping",
                        composed.origin(("model", key)),
                        f"model.{key}",
                        got=f"{key}: {show(value)}",
                        fits=f"{key}: {{name: value}}",
                        code="bad-value",
                    )
                )
        elif not isinstance(value, Mapping) or not {"block", "use", "body"} & set(value):
            problems.append(
                Problem(
                    f"no section {key!r} in a model",
                    composed.origin(("model", key)),
                    f"model.{key}",
                    got=f"{key}: {show(value)}",
                    fits=did_you_mean(key, MODEL_WORDS),
                    code="unknown-key",
                )
            )
    return problems
