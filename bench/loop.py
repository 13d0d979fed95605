"""The loop of `train.py` against a bare loop over the same network, batches, loss, clipping and
optimiser.

python -m bench.loop [--rounds N] [words of train.py: model.params.dim=192 ...]

Epochs of the two take turns in one process. That of `train.py` has all callbacks and loggers of the
default and ends with a checkpoint; neither validates. The first epoch of each does not count.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from bench import table
from bench.measure import Times
from blocks.graph import compose, plan
from tasks.config import write_policy
from tasks.optimize.groups import build_optimizer
from tasks.process import runtime
from tasks.process.out_of_memory import explain_out_of_memory
from tasks.process.signals import SignalGuard
from tasks.run.build import make_task, make_trainer
from tasks.run.data_facts import read_data
from tasks.run.fit import run_trainer

WORDS = ["data=digits", "model=vit", "callbacks.progress.style=none", "schedule=constant"]
ALONE = ["trainer.limit_val_batches=0"]
NAMES = ("train.py", "bare loop")


class Turns(pl.Callback):
    """Runs a bare epoch after each one of Lightning's, and times both by the processor."""

    def __init__(self, bare: Callable[[int], None]):
        self.bare, self.started = bare, 0.0
        self.seconds: dict[str, list[float]] = {name: [] for name in NAMES}

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch:
            self._turn(trainer.current_epoch - 1)
        self.started = time.process_time()

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._turn(trainer.current_epoch - 1)

    def _turn(self, epoch: int) -> None:
        between = time.process_time()
        asked = (
            torch.are_deterministic_algorithms_enabled()
        )  # by trainer=cpu; a bare loop asks for nothing
        torch.use_deterministic_algorithms(False)
        self.bare(epoch)
        torch.use_deterministic_algorithms(asked)
        for name, taken in zip(
            NAMES, (between - self.started, time.process_time() - between), strict=True
        ):
            self.seconds[name] += [taken] if epoch else []


def parts(composed: Any) -> tuple[Any, Any]:
    """The task with its network as `train.py` prepares it, and the data."""
    torch.manual_seed(0)
    data = read_data(composed)
    facts = data.facts()
    network = plan(composed, facts).materialise()
    runtime.configure_process(composed.config["trainer"])
    runtime.prepare_network(network, composed.config["trainer"])
    return make_task(composed, network, facts, {}), data


def by_hand(composed: Any) -> Callable[[int], None]:
    """An epoch without Lightning."""
    task, data = parts(composed)
    network, inputs, most = (
        task.network.train(),
        task.input_names,
        composed.config["trainer"]["gradient_clip_val"],
    )
    optimizer, loader = build_optimizer(network, task.make_optimizer), data.train_dataloader()
    parameters = list(network.parameters())

    def epoch(number: int) -> None:
        loader.sampler.set_epoch(number)
        for batch in loader:
            optimizer.zero_grad()
            logits = network(**{name: batch[name] for name in inputs})["logits"]
            task.loss(logits, batch["label"]).backward()
            torch.nn.utils.clip_grad_norm_(parameters, most)
            optimizer.step()

    return epoch


def taking_turns(composed: Any) -> Times:
    """Seconds of each epoch, by either loop."""
    with tempfile.TemporaryDirectory() as folder, SignalGuard() as guard, explain_out_of_memory():
        write_policy.move_into_run_folder(composed, Path(folder))
        turns = Turns(by_hand(composed))
        task, data = parts(composed)
        trainer = make_trainer(composed, Path(folder), guard)
        trainer.callbacks.insert(0, turns)  # type: ignore[attr-defined]
        run_trainer(trainer.fit, task, datamodule=data)
    return Times(turns.seconds, turns.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=15, help="epochs of each that count (15)")
    parser.add_argument("words", nargs="*", help="words of train.py: model.params.dim=192, ...")
    given = parser.parse_args()
    epochs = given.rounds + 1
    whole = compose(WORDS).config
    samples = (
        whole["callbacks"]["nodes"]["samples"] * epochs / whole["trainer"]["max_epochs"]
    )  # as often as there
    length = [f"trainer.max_epochs={epochs}", f"callbacks.nodes.samples={max(1, round(samples))}"]
    times = taking_turns(compose([*WORDS, *ALONE, *length, *given.words]))
    rows = [
        [name, f"{times.median(name):.2f} s", table.ratio(times.ratio(name, NAMES[1]))]
        for name in NAMES
    ]
    print(table.table(("an epoch", "processor time", "of the bare loop"), rows))


if __name__ == "__main__":
    main()
