"""One run: data, network, training, test, record. What happens here is the same for every task."""

import logging
import math
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from blocks.graph import Composed, ConfigError, Problem, fine_tune, plan, recompute
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.errors import guess
from tasks.callbacks import gradient_stats
from tasks.callbacks.step_time import StepTime
from tasks.config import instantiate, ranges, secrets, write_policy
from tasks.config.targets import update_targets
from tasks.data.base import READER
from tasks.errors import ArgumentError
from tasks.learn.base import share_of_time
from tasks.parallel import strategy
from tasks.process import runtime
from tasks.process.signals import Heed
from tasks.process.watchdog import Overseer, take_over
from tasks.report import report
from tasks.resume import adopt, lightning
from tasks.resume.checkpoint_file import SafeFiles
from tasks.resume.start import beginning
from tasks.run import batch_size, contract, out_of_memory, run_folder
from tasks.sweep import figure

log = logging.getLogger(__name__)

CHECKPOINT, PRUNE = "tasks.resume.checkpoint.Checkpoint", "tasks.sweep.pruning.Prune"
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
    "ckpt_path",
    "carry_over",
    "tune",
)


def check_sections(composed: Any) -> None:
    """Raise a ConfigError for a section that nobody reads, and for a seed that is none."""
    problems = []
    update_targets(composed.config)
    for name, value in composed.config.items():
        if name not in SECTIONS:
            inside = next(iter(value), "") if isinstance(value, dict) else ""
            where = composed.origin(f"{name}.{inside}" if inside else name)
            fix, fits = guess(name, SECTIONS), ", ".join(SECTIONS)
            problems.append(Problem(f"there is no section {name}", where, name, fits=fits, fix=fix))
    seed = composed.config.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        text = "seed must be a whole number from 0 to 4294967295"
        problems.append(instantiate.problem(composed, ("seed",), text, got=f"seed={seed!r}"))
    named = set(targets(composed.config))
    for name in getattr(composed, "typed", {}).get("trust") or []:
        if name not in named:
            text, fits = f"this changes nothing: no _target_ is {name}", ", ".join(sorted(named))
            problems.append(instantiate.problem(composed, ("trust",), text, fits=fits))
    trainer = composed.config["trainer"] if isinstance(composed.config.get("trainer"), dict) else {}
    for word in runtime.OURS:
        if bound := ranges.outside("trainer", word, trainer.get(word)):
            at, got = ("trainer", word), f"{word}={trainer[word]!r}"
            problems.append(
                instantiate.problem(composed, at, f"{word} {bound.must}", got=got, fits=bound.fits)
            )
        problems += instantiate.excess(composed, ("trainer", word), trainer.get(word))
    for name in ("model", "data", "task", "optimizer", "trainer"):
        if not isinstance(composed.config.get(name), dict):
            text = f"the section {name} is missing"
            problems.append(
                instantiate.problem(composed, (name,), text, fix=f"choose one: {name}=...")
            )
    wanted = composed.config.get("tune", False)
    if not isinstance(wanted, bool):
        text = "tune must be true or false"
        problems.append(
            instantiate.problem(composed, ("tune",), text, got=f"tune={wanted!r}", fits="tune=true")
        )
    problems += figure.check(composed)
    if problems:
        raise ConfigError(problems)


def targets(value: Any) -> Iterator[str]:
    """Every text behind a `_target_`."""
    if isinstance(value, dict):
        yield from (str(item) for key, item in value.items() if key == "_target_")
        for item in value.values():
            yield from targets(item)


def train(composed: Any, place: Path, record: run_folder.Record) -> dict[str, float]:
    """Train and test what `composed` describes, and leave everything worth keeping in `place`.

    Returns:
        The test metrics.

    Raises:
        Stopped: a signal came; what was learned until then is saved.
    """

    def leave(status: int, text: str) -> None:
        stopped = status > 128
        told = {"status": "interrupted"} if stopped else {"status": "failed", "error": text}
        record.add(**told, ended=run_folder.now())
        if not record.quiet:
            print(f"\n{secrets.hide_in_message(text)}", file=sys.stderr)

    with Heed(Overseer(leave)), out_of_memory.told():
        return learn(composed, place, record)


def learn(composed: Any, place: Path, record: run_folder.Record) -> dict[str, float]:
    """What `train` does once signals are heeded."""
    started, worked = time.monotonic(), time.process_time()
    check_sections(composed)
    secrets.keep(composed.config)
    kept = yaml.safe_dump(secrets.hidden(composed.config), sort_keys=False, allow_unicode=True)
    (place / run_folder.CONFIG).write_text(kept, encoding="utf-8", errors="backslashreplace")
    write_policy.move(composed, place)
    pl.seed_everything(composed.config["seed"], workers=True, verbose=False)

    data = read_data(composed)
    facts = data.facts()
    data.save(place)
    planned = plan(composed, facts)
    contract.check_contract(composed, planned, facts)
    macs = multiply_adds(planned)
    network = planned.materialise()
    runtime.use(composed.config["trainer"])
    rates = take_weights(composed, network, data)
    task = make_task(composed, network, facts, rates)
    check_task(composed, task, data)
    check_monitors(composed, task)
    trainer = make_trainer(composed, place)
    check_schedule(composed, trainer, task.schedule)
    strategy.check(network, trainer)
    sizes = data.sizes()
    check_processes(
        composed,
        trainer,
        min(sizes.values()) if gradient_stats.in_shards(trainer) else sizes["train"],
    )
    batch_size.check(
        composed,
        facts,
        data.batch_size,
        sizes["train"] // (trainer.world_size // strategy.copies(trainer)),
    )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    record.add(choices=composed.choices, macs=macs)
    record.add(
        facts=facts,
        samples=data.sizes(),
        notes=data.notes,
        parameters=parameters,
        machine=run_folder.machine(),
    )
    if trainer.is_global_zero:
        announce(composed, place, data, parameters, data.reading(trainer))

    if composed.config["trainer"].get("checkpoint_activations") and not recompute(network):
        text, fits = (
            "nothing is repeated in this network: there is nothing to compute anew",
            "false",
        )
        raise ConfigError(
            [instantiate.problem(composed, ("trainer", "checkpoint_activations"), text, fits=fits)]
        )
    tuning = composed.config.get("tune")
    begin = None if tuning else beginning(composed, trainer, network, data, record)
    runtime.prepare(network, composed.config["trainer"])
    if tuning:
        return tune_batch_size(composed, task, data, record)
    try:
        uninterrupted(trainer.fit, task, datamodule=data, ckpt_path=begin)
    except MisconfigurationException as error:
        raise ConfigError([unmonitored(composed, str(error))]) from error
    record.add(**measured(trainer))
    best, epoch = best_checkpoint(trainer)
    tested = uninterrupted(trainer.test, task, datamodule=data, ckpt_path=best, verbose=False)
    metrics = {
        name: float(value) for found in tested for name, value in found.items()
    }  # none without a test batch
    spent, work = round(time.monotonic() - started, 1), round(time.process_time() - worked, 1)
    record.add(
        **{
            "status": "finished",
            "test": metrics,
            "seconds": spent,
            "cpu seconds": work,
            "ended": run_folder.now(),
        }
    )
    record.add(**{"checkpoint": relative(best, place), "best epoch": epoch})
    if trainer.is_global_zero:
        report.write(place, composed, record.entries, data, task)
    return metrics


def measured(trainer: pl.Trainer) -> dict[str, float]:
    """What only training shows: the mean loss of the last epoch, and the time of a step."""
    found = {"train/loss": float(trainer.callback_metrics.get("train/loss", math.nan))}
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    found["train/step seconds"] = next(
        each.median for each in callbacks if isinstance(each, StepTime)
    )
    return {name: value for name, value in found.items() if math.isfinite(value)}


def unmonitored(composed: Any, text: str) -> Problem:
    """What to tell where Lightning finds out after an epoch only, as of a metric that nobody
    logs.
    """
    callbacks = (composed.config.get("callbacks") or {}).items()
    named = [
        (name, each["monitor"])
        for name, each in callbacks
        if each and f"'{each.get('monitor')}'" in text
    ]
    if not named:
        return instantiate.problem(
            composed, ("trainer",), " ".join(text.split())[:300], fix="other values of the trainer"
        )
    known = re.findall(r"'([^']+)'", text.partition("[")[2].partition("]")[0])
    return unlogged(composed, *named[0], known)


def unlogged(composed: Any, name: str, metric: str, known: Sequence[str]) -> Problem:
    """A callback that watches a metric which nobody logs."""
    fits = guess(metric, known) or ", ".join(known)
    return instantiate.problem(
        composed, ("callbacks", name, "monitor"), "nobody logs this", got=metric, fits=fits
    )


def announce(composed: Any, place: Path, data: Any, parameters: int, reading: str = "") -> None:
    """The first lines of a run: its seed, its folder, its data and who reads them, its size."""
    told = ", ".join(f"{count:,} {part}" for part, count in data.sizes().items())
    print(f"seed {composed.config['seed']}, run folder {run_folder.near(place)}")
    print(
        f"data {told}{f', {reading}' * bool(reading)}; network {parameters:,} parameters",
        flush=True,
    )
    for note in data.notes:
        print(f"note: {secrets.hide_in_message(note)}", flush=True)


def read_data(composed: Any) -> Any:
    """The data module, with its data read and checked against what the YAML declares."""
    data = instantiate.make(composed, ("data",))
    try:
        data.read()
    except ArgumentError as error:
        raise ConfigError([instantiate.told(composed, ("data",), error)]) from error
    check_facts(composed, data.facts())
    return data


def check_facts(composed: Any, read: dict[str, Any]) -> None:
    """Raise a ConfigError where the YAML declares other facts than the data have."""
    declared = composed.config["data"].get("facts") or {}
    problems = list(differences(composed, ("data", "facts"), declared, read))
    if problems:
        raise ConfigError(problems)


def differences(composed: Any, path: tuple[str, ...], declared: Any, read: Any) -> Any:
    """Problems where the YAML declares something else than the data has. Empty entries declare
    nothing.
    """
    if isinstance(declared, dict) and isinstance(read, dict):
        for key, value in declared.items():
            if key in read:
                yield from differences(composed, (*path, key), value, read[key])
            elif not declares_nothing(value):
                text, fits = (
                    f"the data say nothing of {key}",
                    guess(key, read) or ", ".join(map(str, read)),
                )
                yield instantiate.problem(
                    composed, (*path, key), text, got=f"{key}={value} declared", fits=fits
                )
    elif declared not in (None, "???") and declared != read:
        name = path[-1]
        fix = f"{'.'.join(path)}={read}, or leave it out"
        text = "the data differ from what is declared"
        yield instantiate.problem(
            composed, path, text, got=f"{name}={declared} declared, {name}={read} read", fix=fix
        )


def declares_nothing(fact: Any) -> bool:
    """Whether a declared fact states no size: `null`, or axes that are all `null`."""
    if isinstance(fact, dict):
        return all(size is None for axis, size in fact.items() if axis != "dtype")
    return fact is None or fact == "???"


def take_weights(composed: Any, network: Any, data: Any) -> dict[str, float]:
    """Do what the section `weights` says; the multipliers of the learning rate by parameter."""
    try:
        loaded, frozen, rates = fine_tune(network, composed.config.get("weights") or {})
    except ConfigError as error:
        where = [composed.origin(problem.path or "weights.load") for problem in error.problems]
        pairs = zip(error.problems, where, strict=True)
        raise ConfigError(
            [replace(told, where=told.where or place) for told, place in pairs]
        ) from error
    if loaded is not None:
        data.notes.append(str(loaded))
    if frozen:
        data.notes.append(
            f"{len(frozen)} parameters rest: "
            f"{', '.join(frozen[:3])}{', ...' if len(frozen) > 3 else ''}"
        )
    return rates


def make_task(
    composed: Any, network: Any, facts: dict, rates: dict[str, float]
) -> pl.LightningModule:
    """The task around the network; its optimiser is made once before training, so that mistakes
    show at once.
    """
    optimizer = instantiate.make(composed, ("optimizer",), leave=("params",))
    schedule = (
        instantiate.make(composed, ("schedule",)) if composed.config.get("schedule") else None
    )
    kept = {"config": secrets.hidden(composed.config), "facts": facts}
    given = {
        "network": network,
        "optimizer": optimizer,
        "schedule": schedule,
        "facts": facts,
        "rates": rates,
        "config": kept,
    }
    kind = instantiate.find(composed, ("task",))
    contract.check_facts_of(composed, kind, facts)
    try:
        optimizer([torch.zeros(1, requires_grad=True)])
    except (TypeError, ValueError) as error:
        at = ("optimizer", *instantiate.named_in(str(error).lower(), composed.config["optimizer"]))
        fix = f"another value of {'.'.join(at)}"
        raise ConfigError([instantiate.problem(composed, at, str(error), fix=fix)]) from error
    return instantiate.make(composed, ("task",), given)


def check_task(composed: Any, task: Any, data: Any) -> None:
    """Let the task look at the network and the data once, before anything is trained."""
    try:
        task.check(data)
        if adopt.place_of(composed.config.get("resume")) is None:  # a run goes on as it began
            task.check_alone(data)
    except ArgumentError as error:
        raise ConfigError([instantiate.told(composed, ("task",), error)]) from error


def check_processes(composed: Any, trainer: pl.Trainer, samples: int) -> None:
    """Raise a ConfigError where several processes train with less than a sample for each, or
    tune.
    """
    count = trainer.world_size
    if samples < count // strategy.copies(trainer):
        parts = "every" if gradient_stats.in_shards(trainer) else "the training"
        text, got = (
            f"each process needs a sample of {parts} part",
            f"{count} processes, {samples} samples",
        )
        fix = f"trainer.devices={samples}, or more data"
        raise ConfigError(
            [instantiate.problem(composed, ("trainer", "devices"), text, got=got, fix=fix)]
        )
    if count > 1 and composed.config.get(
        "tune"
    ):  # one that runs out of memory would leave the others waiting
        text, got = "the batch size is tuned on one device", f"tune=true with {count} processes"
        raise ConfigError(
            [
                instantiate.problem(
                    composed, ("tune",), text, got=got, fix="tune=true trainer.devices=1"
                )
            ]
        )


def check_monitors(composed: Any, task: Any) -> None:
    """Raise a ConfigError, before training, for a callback that watches a metric which the task
    does not log.
    """
    if not type(task).__module__.startswith("tasks."):
        return  # a class of the user's own may log anything; Lightning finds out after an epoch
    known, problems = task.measured(), []
    if not composed.config["trainer"].get("limit_val_batches", 1.0):
        known = [name for name in known if not name.startswith("val/")]
    for name, each in (composed.config.get("callbacks") or {}).items():
        metric = each.get("monitor") if each else None
        if (
            metric is None
            or metric in known
            or each.get("strict") is False
            or each["_target_"] == PRUNE
        ):
            continue
        if each["_target_"] == CHECKPOINT and metric in task.measured():
            continue  # without a validation it keeps the last epoch alone
        problems.append(unlogged(composed, name, str(metric), known))
    if problems:
        raise ConfigError(problems)


def check_schedule(composed: Any, trainer: pl.Trainer, schedule: Any) -> None:
    """Raise a ConfigError for a schedule that needs to know where the training ends where nothing
    ends it.
    """
    endless = (
        trainer.max_epochs == -1 and trainer.max_steps == -1 and share_of_time(trainer) is None
    )
    if endless and not getattr(schedule, "endless", True):
        text, got = (
            "this schedule needs to know where the training ends",
            "max_epochs=-1, max_steps=-1, no max_time",
        )
        fits = "trainer.max_epochs=60, trainer.max_steps=1000 or +trainer.max_time=00:01:00:00"
        raise ConfigError(
            [
                instantiate.problem(
                    composed, ("schedule",), text, got=got, fits=fits, fix="schedule=constant"
                )
            ]
        )


def make_trainer(composed: Any, place: Path) -> pl.Trainer:
    """Lightning's trainer with the callbacks and loggers of the configuration."""
    made = {
        part: [
            instantiate.make(composed, (part, name))
            for name, value in (composed.config.get(part) or {}).items()
            if value
        ]
        for part in ("callbacks", "logger")
    }
    given: dict[str, Any] = {
        "callbacks": [*made["callbacks"], StepTime()],
        "logger": made["logger"] or False,
        "default_root_dir": str(place),
        "plugins": [SafeFiles(write_policy.writable(composed, place))],
    }
    if not any(isinstance(callback, pl.callbacks.Checkpoint) for callback in made["callbacks"]):
        given["enable_checkpointing"] = (
            False  # otherwise Lightning saves on its own, in a place of its own
        )
    ours = strategy.strategy(composed.config["trainer"])
    without = (*runtime.OURS, *ours, *(name for name in given if name == "enable_checkpointing"))
    trainer = instantiate.make(composed, ("trainer",), given | ours, without=without)
    lightning.leave_signals_alone(trainer)
    take_over(trainer, Heed.current.overseer if Heed.current is not None else None)
    return trainer


def tune_batch_size(
    composed: Any, task: Any, data: Any, record: run_folder.Record
) -> dict[str, float]:
    """Tell which batch size is the fastest, and end; what was trained on the way is of no use."""
    few = {
        "max_steps": batch_size.STEPS,
        "max_epochs": -1,
        "limit_val_batches": 0,
        "enable_checkpointing": False,
    }
    short = Composed({**composed.config, "trainer": {**composed.config["trainer"], **few}})

    def fit(callbacks: list[Any]) -> None:
        given = {"callbacks": callbacks, "logger": False}
        trainer = instantiate.make(short, ("trainer",), given, without=runtime.OURS)
        uninterrupted(trainer.fit, task, train_dataloaders=data.train_dataloader())

    found = []
    for tried in batch_size.find(
        batch_size.Measure(fit, data), data.batch_size, data.sizes()["train"]
    ):
        print(tried, flush=True)
        found.append(tried)
    chosen = batch_size.best(found)
    margin = f"the smallest within {batch_size.GAIN - 1:.0%} of the fastest"
    print(
        f"data.batch_size={chosen.batch_size} is {margin}; another batch size wants another "
        "optimizer.lr"
    )
    tune = [{"batch_size": tried.batch_size, "speed": tried.speed} for tried in found]
    record.add(status="finished", tune=tune, ended=run_folder.now())
    return {}


def uninterrupted(step: Any, *arguments: Any, **options: Any) -> Any:
    """Run a step of the trainer; where Lightning turns Ctrl-C into an exit, turn it back."""
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 asks torch 2.13 for a class it has deprecated; nothing a user could do
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            # of a resumed run whose callbacks differ, which `differs` says already
            warnings.filterwarnings(
                "ignore", message="Be aware that when using `ckpt_path`, callbacks used"
            )
            # of a process without a sample, which adds nothing to the sums of the others
            warnings.filterwarnings(
                "ignore", message="The ``compute`` method of metric .* was called before"
            )
            warnings.filterwarnings(
                "ignore", message="You defined a `validation_step` but have no `val_dataloader`"
            )
            return step(*arguments, **options)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from error
        raise


def judge(run: Any, changes: dict[str, Any]) -> dict[str, float]:
    """The test metrics of a finished run.

    Args:
        run: as `tasks.run.load_run.open_run` gives it.
        changes: entries of the section `data` that are to differ; its facts are read anew.
    """
    composed, data = reopened(run, changes)
    if data.decided:
        print(f"note: {data.decided}", file=sys.stderr)
    read = data.facts()
    for name in ("classes", "vocab", "image", "mask"):
        if read.get(name) != run.facts.get(name):
            fits = f"{name}={run.facts.get(name)}, as in training"
            raise ArgumentError(
                "data", "the data do not fit the network", got=f"{name}={read.get(name)}", fits=fits
            )
    if data.classes and (run.place / READER).is_file() and data.classes != run.classes:
        got, fits = ("classes " + ", ".join(names[:8]) for names in (data.classes, run.classes))
        raise ArgumentError("data", "the classes are not those of training", got=got, fits=fits)
    task = make_task(composed, run.network, run.facts, {})
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    trainer = pl.Trainer(accelerator="cpu", use_distributed_sampler=False, **quiet)
    metrics = uninterrupted(trainer.test, task, datamodule=data, verbose=False)[0]
    return {name: float(value) for name, value in metrics.items()}


def reopened(run: Any, changes: dict[str, Any]) -> tuple[Composed, Any]:
    """The configuration of a finished run and its data, read again. Arguments: those of `judge`."""
    kept = dict(run.config["data"])
    if runtime.beyond(("data", "workers"), kept.get("workers"), typed=False):
        kept["workers"] = "auto"  # it was trained on a larger machine
    composed = Composed(
        {**run.config, "data": {**kept, **changes}}, typed={"trust": list(run.trust)}
    )
    data = instantiate.make(composed, ("data",), without=("facts",))
    data.restore(run.place)
    try:
        data.read()
    except ArgumentError as error:
        raise ConfigError([instantiate.told(composed, ("data",), error)]) from error
    return composed, data


def best_checkpoint(trainer: pl.Trainer) -> tuple[str | None, int | None]:
    """The checkpoint to test and its epoch: the best where one was kept; otherwise the weights stay
    as they are.
    """
    for callback in trainer.checkpoint_callbacks:
        best = getattr(callback, "best_model_path", "")
        if best:
            if not Path(best).is_file():
                raise OSError(f"the checkpoint {best} could not be written")
            epoch = getattr(
                callback, "best_epoch", None
            )  # Lightning's own keeps it in the file alone
            return best, epoch or torch.load(best, weights_only=True)["epoch"] + 1
    return None, None


def relative(path: str | None, place: Path) -> str | None:
    """A path as seen from the run folder."""
    return str(Path(path).relative_to(place)) if path and Path(path).is_relative_to(place) else path
