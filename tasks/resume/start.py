"""The start of a training: from the beginning or from a checkpoint, whose differences are reported
before anything is trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from blocks.graph import Composed, read_whole
from tasks.config import instantiate, secrets
from tasks.errors import ArgumentError
from tasks.lightning import Point
from tasks.resume import adopt, checkpoint_file, compare, state
from tasks.resume.state import KEY
from tasks.run import run_folder

CHOICES = ("last", "best", "intact")  # values of ckpt_path other than a file
SHOWN = 12  # changed tensors in a message
# sections on which a result depends
TRAINED_SECTIONS = ("seed", "model", "data", "task", "optimizer", "schedule", "weights")


@dataclass
class Found:
    """A checkpoint, and what differs from the run that made it.

    Args:
        path: of the file.
        epoch: number of completed epochs.
        step: number of optimizer steps.
        point: what had been done when it was made, as a phrase.
        differences: one line each.
        changed: tensors of the network that are new, gone or reshaped, one line each.
        weights: the tensors of the network, by name.
    """

    path: Path
    epoch: int
    step: int
    point: str
    differences: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    weights: Mapping[str, Any] = field(default_factory=dict)

    @property
    def position(self) -> str:
        """Epoch, step and point, as a phrase."""
        return f"epoch {self.epoch + 1}, step {self.step}, {self.point}"


def find_start(
    composed: Composed, trainer: pl.Trainer, network: Any, data: Any, record: run_folder.Record
) -> Path | None:
    """Return the checkpoint to resume, None to start from the beginning; report differences.

    Raises:
        ConfigError: the checkpoint is missing or damaged, or does not fit the network.
    """
    folder = adopt.parse_folder(composed.config.get("resume"))
    choice = composed.config.get("ckpt_path")
    key = "resume" if choice is None else "ckpt_path"
    with instantiate.locating(composed, (key,), exact=True):
        path = find_checkpoint(folder, choice)
        if path is None:
            return None
        found = examine_checkpoint(
            path,
            config=secrets.hidden(composed.config),
            environment=state.describe_environment(trainer),
            network=network,
            data=state.data_fingerprint(data),
            values=bool(composed.config.get("carry_over")),
        )
        if found.changed and not composed.config.get("carry_over"):
            raise changed_graph(found)
        if not found.changed:
            check_end(found, composed.config["trainer"])
    if found.changed:
        lines = [carry_over_weights(found, network)]
    else:
        lines = [f"continues from {run_folder.shorten_path(path)}: {found.position}"]
    lines += [f"differs   {line}" for line in found.differences]
    record.add_session(checkpoint=str(path), differences=found.differences)
    if trainer.is_global_zero:
        print("\n".join(lines), flush=True)
    if found.changed:
        return None
    return path


def find_checkpoint(folder: Path | None, choice: str | None) -> Path | None:
    """Return the checkpoint to resume, None where neither argument is given.

    Args:
        folder: the run folder that is resumed, if one is.
        choice: "last", "best", "intact" for the newest that is whole, or a file; None is "last".

    Raises:
        ArgumentError: it is missing or damaged; names those that are whole.
    """
    if folder is None and choice is None:
        return None
    if choice is not None and choice not in CHOICES:
        path = Path(choice).expanduser()
    elif folder is None:
        raise ArgumentError(
            "ckpt_path",
            f"ckpt_path={choice} does not say of which run",
            fix=f"resume=RUN ckpt_path={choice}, or ckpt_path=FILE",
        )
    elif choice == "intact":
        return newest_intact(folder)
    else:
        path = folder / "checkpoints" / f"{choice or 'last'}.ckpt"
        if choice is None and not path.exists():
            # killed between the first best.ckpt and the first last.ckpt
            path = next(iter(checkpoint_file.list_intact(path.parent)), path)
    damage: str | None = "it is not there"
    if path.exists():
        damage = checkpoint_file.find_damage(path)
    if damage is not None:
        raise ArgumentError(
            "ckpt_path",
            f"the checkpoint {run_folder.shorten_path(path)} cannot be used: {damage}",
            **suggest_others(path, folder),
        )
    return path


def newest_intact(folder: Path) -> Path:
    """Return the newest checkpoint of a run that is whole; raise ArgumentError without one."""
    intact = checkpoint_file.list_intact(folder / "checkpoints")
    if not intact:
        text = f"{run_folder.shorten_path(folder)} has no checkpoint that is whole"
        raise ArgumentError("ckpt_path", text, fix="start a new run")
    return intact[0]


def suggest_others(path: Path, folder: Path | None) -> dict[str, str]:
    """Return the parts of an error that name what fits instead of a damaged checkpoint.

    Args:
        path: of the checkpoint.
        folder: the run that is resumed, if one is.
    """
    siblings = path.parent
    if folder is not None:
        siblings = folder / "checkpoints"
    names = []
    if siblings.is_dir():
        names = [intact.name for intact in checkpoint_file.list_intact(siblings)]
    if names:
        return {
            "fits": f"{', '.join(names)}, the newest first",
            "fix": "ckpt_path=intact takes the newest that is whole",
        }
    if folder is None:
        return {"fix": "the path of one that is whole: ckpt_path=RUN/checkpoints/last.ckpt"}
    return {"fix": "start a new run, without resume; this one has saved nothing that is whole"}


def examine_checkpoint(
    path: Path,
    *,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    network: Any,
    data: str,
    values: bool = True,
) -> Found:
    """Open a checkpoint and compare it with the run that is about to start.

    Args:
        path: of the checkpoint.
        config: the composed configuration.
        environment: from `tasks.resume.state.describe_environment`.
        network: the network that is to be trained.
        data: the fingerprint of the data.
        values: read tensors that lie in shards, not their shapes alone.

    Raises:
        ArgumentError: the file is no checkpoint of a run.
    """
    content = checkpoint_file.load_checkpoint(path, partial(read_whole, values=values))
    if not {"optimizer_states", "lr_schedulers", "state_dict"} <= set(content):
        raise ArgumentError(
            "ckpt_path", f"{path} has weights only", fix=f"weights.load={path}, to start with them"
        )
    try:
        found = read_position(path, content)
        ours = content.get(KEY, {})
        config_before = content.get("hyper_parameters", {}).get("config", {})
        found.differences += compare.compare_config(config_before, config)
        found.differences += compare.compare_environment(ours.get("environment", {}), environment)
        shapes = {name: list(value.shape) for name, value in found.weights.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArgumentError(
            "ckpt_path", f"{path} is no checkpoint of a run", fix="take another one"
        ) from error
    if ours.get("data") not in (None, data):
        found.differences.append("data: the samples differ from those before")
    found.changed += compare.compare_shapes(shapes, state.tensor_shapes(network))
    if not found.changed and ours.get("graph") not in (None, state.graph_fingerprint(network)):
        found.differences.append("model: the graph computes something else with the same weights")
    return found


def read_position(path: Path, content: Mapping[str, Any]) -> Found:
    """Return the position of a checkpoint and its weights."""
    prefix = "network."
    weights = {}
    for name, value in content["state_dict"].items():
        if name.startswith(prefix):
            weights[name.removeprefix(prefix)] = value
    point = content.get(KEY, {}).get("point", "of another program")
    return Found(path, int(content["epoch"]), int(content["global_step"]), point, weights=weights)


def changed_graph(found: Found) -> ArgumentError:
    """Return the error for weights that do not fit the network."""
    lines = found.changed[:SHOWN]
    if len(found.changed) > SHOWN:
        lines.append("...")
    lost = sum(line.startswith(("gone", "reshaped")) for line in found.changed)
    total = len(found.weights)
    return ArgumentError(
        "ckpt_path",
        f"the graph is not the one of {run_folder.shorten_path(found.path)}",
        got="\n            ".join(lines),
        fix=(
            f"carry_over=true starts a new run with what fits ({total - lost} of {total} "
            "tensors), or the old model"
        ),
    )


def check_end(found: Found, trainer: Mapping[str, Any]) -> None:
    """Raise an ArgumentError where a change could have no effect, because the training is over.

    The record of the run would otherwise state what was never trained.

    Args:
        found: the checkpoint.
        trainer: the section of that name.
    """
    limit, fix = trainer.get("max_epochs"), "a larger trainer.max_epochs"
    if isinstance(limit, int) and 0 <= limit < found.epoch:
        raise ArgumentError(
            "ckpt_path",
            f"the run is beyond the end that is set: {run_folder.shorten_path(found.path)}",
            got=f"trainer.max_epochs={limit}, epoch {found.epoch + 1} reached",
            fix=fix,
        )
    is_over = found.epoch + 1 == limit or found.step == trainer.get("max_steps")
    if not is_over or found.point != Point.EPOCH.value:
        return
    for line in found.differences:
        if line.replace(":", ".").partition(".")[0] in TRAINED_SECTIONS:
            text = "the run is over: nothing would be trained with this"
            raise ArgumentError("resume", text, got=line, fix=f"{fix}, or a new run")


def carry_over_weights(found: Found, network: Any) -> str:
    """Load the weights that fit into the network; return a line that reports it."""
    own = network.state_dict()
    fitting = {}
    for name, value in found.weights.items():
        if name in own and own[name].shape == value.shape:
            fitting[name] = value
    network.load_state_dict(fitting, strict=False)
    rest = []
    for word in ("new", "gone", "reshaped"):
        count = sum(line.startswith(word) for line in found.changed)
        if count:
            rest.append(f"{count} {word}")
    return (
        f"{len(fitting)} of {len(own)} tensors carried over from "
        f"{run_folder.shorten_path(found.path)}; {', '.join(rest)}"
    )
