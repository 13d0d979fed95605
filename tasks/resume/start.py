"""Where a training begins: anew, or at a checkpoint, with what is not as it was told before
anything is learned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from blocks.graph import ConfigError
from tasks.config import instantiate, secrets
from tasks.errors import ArgumentError
from tasks.lightning import Point
from tasks.resume import adopt, checkpoint_file, compare, state
from tasks.resume.state import KEY
from tasks.run import run_folder

WORDS = ("last", "best", "intact")  # what ckpt_path may say besides a file
SHOWN = 12
LEARNED = (
    "seed",
    "model",
    "data",
    "task",
    "optimizer",
    "schedule",
    "weights",
)  # sections a result hangs on


def find_start(
    composed: Any, trainer: pl.Trainer, network: Any, data: Any, record: run_folder.Record
) -> Path | None:
    """The checkpoint to go on from, or None. Tells what is not as it was before anything is
    learned.
    """
    place, word = (
        adopt.parse_folder(composed.config.get("resume")),
        composed.config.get("ckpt_path"),
    )
    try:
        path = find_checkpoint(place, word)
        if path is None:
            return None
        now = {
            "config": secrets.hidden(composed.config),
            "environment": state.environment(trainer),
            "network": network,
        }
        found = examine_checkpoint(path, **now, data=state.data_fingerprint(data))
        if found.changed and not composed.config.get("carry_over"):
            raise changed_graph(found)
        if not found.changed:
            check_end(found, composed.config["trainer"])
    except ArgumentError as error:
        where = ("ckpt_path" if word is not None else "resume",)
        raise ConfigError(
            [instantiate.problem(composed, where, error.problem, **parts_of(error))]
        ) from error
    lines = [f"goes on from {run_folder.near(path)}: {found.told}"]
    if found.changed:
        lines = [carry_over_weights(found, network)]
    lines += [f"differs   {line}" for line in found.differences]
    record.add_session(checkpoint=str(path), differences=found.differences)
    if trainer.is_global_zero:
        print("\n".join(lines), flush=True)
    return None if found.changed else path


def parts_of(error: ArgumentError) -> dict[str, str]:
    """The parts of an error that a Problem has as well."""
    parts = {"got": error.got, "fits": error.fits, "fix": error.fix}
    return {name: text for name, text in parts.items() if text is not None}


def find_checkpoint(place: Path | None, word: str | None) -> Path | None:
    """The checkpoint to go on from.

    Args:
        place: the run folder that is resumed, if one is.
        word: "last", "best", "intact" for the newest that is whole, or a file; "last" when left
            out.

    Raises:
        ArgumentError: it is missing or damaged; names those that are whole.
    """
    if place is None and word is None:
        return None
    if word is not None and word not in WORDS:
        path = Path(word).expanduser()
    elif place is None:
        fix = f"resume=RUN ckpt_path={word}, or ckpt_path=FILE"
        raise ArgumentError("ckpt_path", f"ckpt_path={word} does not say of which run", fix=fix)
    elif word == "intact":
        whole = checkpoint_file.list_intact(place / "checkpoints")
        if not whole:
            raise ArgumentError(
                "ckpt_path",
                f"{run_folder.near(place)} has no checkpoint that is whole",
                fix="begin anew",
            )
        return whole[0]
    else:
        path = place / "checkpoints" / f"{word or 'last'}.ckpt"
        if (
            word is None and not path.exists()
        ):  # killed between the first best.ckpt and the first last.ckpt
            path = next(iter(checkpoint_file.list_intact(path.parent)), path)
    where = place / "checkpoints" if place is not None else path.parent
    damage = checkpoint_file.find_damage(path) if path.exists() else "it is not there"
    if damage is not None:
        raise ArgumentError(
            "ckpt_path",
            f"the checkpoint {run_folder.near(path)} cannot be used: {damage}",
            **others(where, place),
        )
    return path


def others(where: Path, place: Path | None) -> dict[str, str]:
    """What fits instead of a damaged checkpoint, of the run in `place` if one is resumed."""
    whole = [path.name for path in checkpoint_file.list_intact(where)] if where.is_dir() else []
    if not whole and place is None:
        return {"fix": "the path of one that is whole: ckpt_path=RUN/checkpoints/last.ckpt"}
    if not whole:
        return {"fix": "begin anew, without resume; the run had saved nothing that is whole"}
    return {
        "fits": f"{', '.join(whole)}, the newest first",
        "fix": "ckpt_path=intact takes the newest that is whole",
    }


@dataclass
class Found:
    """A checkpoint, and what is not as it was when it was made.

    Args:
        path: the file.
        epoch: epochs that are over.
        step: steps of the optimiser that are done.
        point: what had been done when it was made, in words.
        differences: one line each.
        changed: nodes of the graph that are new, gone or reshaped.
        weights: the tensors of the network.
    """

    path: Path
    epoch: int
    step: int
    point: str
    differences: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    weights: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """Where it stands."""
        return f"epoch {self.epoch + 1}, step {self.step}, {self.point}"


def examine_checkpoint(
    path: Path,
    *,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    network: Any,
    data: str,
) -> Found:
    """Open a checkpoint and compare it with what is about to run.

    Args:
        config: the composed configuration.
        environment: as `tasks.resume.state.environment` gives it.
        network: the network that is to go on.
        data: the fingerprint of the data.
    """
    content = checkpoint_file.load_checkpoint(path)
    if not {"optimizer_states", "lr_schedulers", "state_dict"} <= set(content):
        raise ArgumentError(
            "ckpt_path", f"{path} has weights only", fix=f"weights.load={path}, to begin with them"
        )
    try:
        found = read_checkpoint(path, content)
        before, kept = content.get("hyper_parameters", {}).get("config", {}), content.get(KEY, {})
        found.differences += compare.compare_config(before, config)
        found.differences += compare.compare_environment(kept.get("environment", {}), environment)
        sizes = {name: list(value.shape) for name, value in found.weights.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArgumentError(
            "ckpt_path", f"{path} is no checkpoint of a run", fix="take another one"
        ) from error
    if kept.get("data") not in (None, data):
        found.differences.append("data: the samples are not those of before")
    found.changed += compare.compare_shapes(sizes, state.shapes(network))
    if not found.changed and kept.get("graph") not in (None, state.graph_fingerprint(network)):
        found.differences.append("model: the graph computes something else with the same weights")
    return found


def read_checkpoint(path: Path, content: Mapping[str, Any]) -> Found:
    """Where a checkpoint stands, and its weights."""
    prefix = "network."
    weights = {
        n.removeprefix(prefix): value
        for n, value in content["state_dict"].items()
        if n.startswith(prefix)
    }
    epoch, point = int(content["epoch"]), content.get(KEY, {}).get("point", "of another program")
    return Found(path, epoch, int(content["global_step"]), point, weights=weights)


def changed_graph(found: Found) -> ArgumentError:
    """What to tell where the weights do not fit the network."""
    shown = "\n            ".join(
        [*found.changed[:SHOWN], *(["..."] if len(found.changed) > SHOWN else [])]
    )
    kept = len(found.weights) - sum(line.startswith(("gone", "reshaped")) for line in found.changed)
    fix = (
        f"carry_over=true begins a new run with what fits ({kept} of {len(found.weights)} "
        "tensors), or the old model"
    )
    return ArgumentError(
        "ckpt_path",
        f"the graph is not the one of {run_folder.near(found.path)}",
        got=shown,
        fix=fix,
    )


def check_end(found: Found, trainer: Mapping[str, Any]) -> None:
    """Raise an ArgumentError where nothing is left to be learned of what is asked: the record would
    say what never was.

    Args:
        trainer: the section of that name.
    """
    limit, fix = trainer.get("max_epochs"), "a larger trainer.max_epochs"
    if isinstance(limit, int) and 0 <= limit < found.epoch:
        got = f"trainer.max_epochs={limit}, epoch {found.epoch + 1} reached"
        text = f"the run is further than it is to go: {run_folder.near(found.path)}"
        raise ArgumentError("ckpt_path", text, got=got, fix=fix)
    over = found.epoch + 1 == limit or found.step == trainer.get("max_steps")
    vain = [
        line for line in found.differences if line.replace(":", ".").partition(".")[0] in LEARNED
    ]
    if over and found.point == Point.EPOCH.value and vain:
        text = "the run is over: nothing would be learned with this"
        raise ArgumentError("resume", text, got=vain[0], fix=f"{fix}, or a new run")


def carry_over_weights(found: Found, network: Any) -> str:
    """Load what fits; what to tell about it."""
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in found.weights.items()
        if name in own and own[name].shape == value.shape
    }
    network.load_state_dict(fitting, strict=False)
    counts = {
        word: sum(line.startswith(word) for line in found.changed)
        for word in ("new", "gone", "reshaped")
    }
    rest = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return (
        f"{len(fitting)} of {len(own)} tensors carried over from "
        f"{run_folder.near(found.path)}; {rest}"
    )
