"""The assembler: YAML -> nn.Module. A graph of blocks is a block.

from blocks.graph import build
model = build("vit", overrides=["params.depth=6"], facts={"image": [3, 224, 224], "classes": 10})
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from blocks.catalog import catalog, here
from blocks.errors import BlockError
from blocks.graph.assemble.body_builder import Row, Wire
from blocks.graph.assemble.invariants import bind_parameters, finish
from blocks.graph.assemble.limits import bounded, must_fit
from blocks.graph.assemble.model import Assembler
from blocks.graph.compose.compose import Composed, compose, conf_folder, stated_facts
from blocks.graph.compose.facts import declared_facts
from blocks.graph.compose.overrides import parse_changes
from blocks.graph.compose.policy import stays_inside
from blocks.graph.errors import ConfigError, Origin, Problem, did_you_mean, show
from blocks.graph.language.expression import limited
from blocks.graph.language.words import MODEL_WORDS
from blocks.graph.record.module import Graph, locate, materialise
from blocks.graph.run.activation_checkpoint import recompute, repeats
from blocks.graph.run.compile_regions import compile_network
from blocks.graph.run.incremental import Stepper
from blocks.graph.run.inplace import overwrite
from blocks.graph.run.inspect import look
from blocks.graph.run.onednn import linear, quicken
from blocks.graph.run.split_head import Headless, split_head
from blocks.graph.run.tensor_parallel import Columns, Divided, divide
from blocks.graph.run.verify_incremental import prove
from blocks.graph.steps import STEPS
from blocks.graph.weights import Report, load_weights, save_weights
from blocks.graph.weights.finetune import fine_tune, freeze, learning_rates
from blocks.graph.weights.safe_load import read_archive
from blocks.support.decode_cache import StepError


@dataclass(frozen=True)
class Plan:
    """A model on the meta device, with what is known of it: no memory is taken, every shape is
    there.

    Args:
        model: the composed module, parameters on the meta device.
        rows: one row a node, nested as the graph is.
        outputs: what the model gives, by name.
    """

    model: Graph
    rows: list[Row]
    outputs: dict[str, Wire]
    assembler: Assembler
    config: Mapping[str, Any]
    where: Origin = field(default_factory=Origin)

    def whole(self) -> "Plan":
        """The same model with the calls that do nothing, `DropPath` at rate 0 say, so that repeats
        stay alike.
        """
        before = self.assembler
        assembler = Assembler(
            before.catalog,
            before.origin,
            before.facts,
            before.choices,
            before.altered,
            before.most,
            before.stated,
        )
        assembler.whole = True
        model = assembler.model(self.config)
        finish(assembler, model, self.config, [])
        return Plan(model, assembler.rows, assembler.outputs, assembler, self.config)

    def run(self, samples: int) -> None:
        """Run the model as it trains, on the meta device, with so many samples in the batch; raises
        what it raises.
        """
        found = {name: wire.tensor for name, wire in self.assembler.inputs.items()}
        with torch.no_grad(), torch.device("meta"):
            self.model(
                **{name: tensor[:samples] for name, tensor in found.items() if tensor is not None}
            )

    def materialise(self, device: str | torch.device = "cpu") -> Graph:
        """The same model with real parameters: as each block starts, then as `initialise` says."""
        if torch.device(device).type == "cpu":
            must_fit(self.model, self.where)
        ties = self.config.get("tie") or {}
        anew = {*ties, *(start.path for start in self.assembler.starts if not start.part)}
        with torch.device(device):
            materialise(self.model, self.assembler.recipes, anew)
        for target, source in ties.items():
            bind_parameters(self.model, target, source)
        for start in self.assembler.starts:
            start.apply(self.model)
        return self.model


def plan(
    composed: Composed, facts: Mapping[str, Any] | None = None, library: Iterable[str] = ()
) -> Plan:
    """Assemble the model of a composed configuration on the meta device.

    Args:
        facts: what the data says of itself, over what its YAML declares (`data.facts`).
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
        assembler = Assembler(
            blocks, composed.origin, known, choices, composed.altered, most, stated
        )
        model = assembler.model(config)
        finish(assembler, model, config, typed)
    return Plan(model, assembler.rows, assembler.outputs, assembler, config, where)


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
        model: a file of `conf/model/` without its ending, or the model itself.
        overrides: as on the command line, without `model.` in front: "params.depth=6",
            "attention=window".
        facts: what the data says: {"image": [3, 224, 224], "classes": 10}.
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
        folders = [conf_folder(), *([Path(config_dir)] if config_dir else [])]
        chosen = [f"model={model}", *([f"data={data}"] if data else [])]
        chosen += [_full_override(text, folders) for text in overrides]
        composed = compose(chosen, config_dir=config_dir)
    planned = plan(composed, facts, library)
    return planned.model if device == "meta" else planned.materialise(device)


def _full_override(text: str, folders: Sequence[Path]) -> str:
    """ "params.depth=6" -> "model.params.depth=6"; "attention=window" ->
    "model/attention=window".
    """
    marks, key, rest = re.fullmatch(r"([+~]*)([^=]*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    if re.match(r"(model|data)([./=]|$)", key) or key in ("model", "data"):
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
            [
                Problem(
                    error.problem,
                    origin,
                    "library",
                    got=error.got,
                    fits=error.fits,
                    fix=error.fix or (None if error.fits else "mend that file, or leave it out"),
                )
            ]
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
                )
            )
    for key, value in config.items():
        if key in MODEL_WORDS:
            if (
                key in ("params", "expect", "tie", "initialise", "example")
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
                )
            )
    return problems


__all__ = [
    "Columns",
    "Composed",
    "ConfigError",
    "Divided",
    "Graph",
    "Headless",
    "Origin",
    "Plan",
    "Problem",
    "Report",
    "StepError",
    "Stepper",
    "assemble",
    "build",
    "compile_network",
    "compose",
    "did_you_mean",
    "divide",
    "fine_tune",
    "freeze",
    "here",
    "learning_rates",
    "linear",
    "load_weights",
    "locate",
    "look",
    "overwrite",
    "parse_changes",
    "plan",
    "prove",
    "quicken",
    "read_archive",
    "recompute",
    "repeats",
    "save_weights",
    "split_head",
    "stays_inside",
]
