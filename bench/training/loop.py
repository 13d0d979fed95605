"""The loop of `train.py` against a bare loop over the same network, batches, loss, clipping and
optimiser.

python -m bench.training.loop [--rounds N] [words of train.py: model.params.dim=192 ...]
python -m bench.training.loop trainer=gpu ...    on a GPU, in bfloat16

The two take turns of some epochs in one process. Those of `train.py` have all callbacks and loggers
of the default and end with a checkpoint; neither validates. The first epoch does not count. A
thread writes the checkpoints: the clock shows what a training waits for, and the processor's time
has the thread in it.
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
    """Runs as many bare epochs after some of Lightning's, and times both.

    Before a turn ends, its last checkpoint is on the disk.

    Args:
        bare: an epoch by hand, by its number.
        epochs: of a turn; the first one of the training counts as none.
    """

    def __init__(self, bare: Callable[[int], None], epochs: int):
        self.bare, self.epochs = bare, epochs
        self.times = Times({name: [] for name in NAMES}, {name: [] for name in NAMES})

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch % self.epochs == 1 % self.epochs:
            self._turn(trainer)
            self.started = time.perf_counter(), time.process_time()

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._turn(trainer)

    def _turn(self, trainer: pl.Trainer) -> None:
        if trainer.checkpoint_callback is not None:
            trainer.checkpoint_callback.writer.wait()  # type: ignore[attr-defined]
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        between = time.perf_counter(), time.process_time()
        asked = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(False)  # trainer=cpu asks for them, a bare loop does not
        number = trainer.current_epoch
        for epoch in range(max(number - self.epochs, 0), number):
            self.bare(epoch)
        torch.use_deterministic_algorithms(asked)
        end = time.perf_counter(), time.process_time()
        if number <= 1:
            return
        kinds = self.times.clock, self.times.processor
        for kind, begun, middle, after in zip(kinds, self.started, between, end, strict=True):
            kind[NAMES[0]].append((middle - begun) / self.epochs)
            kind[NAMES[1]].append((after - middle) / self.epochs)


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
    """An epoch without Lightning, on the device and in the precision of the trainer."""
    task, data = parts(composed)
    options = composed.config["trainer"]
    device = "cuda" if options["accelerator"] == "gpu" else "cpu"
    network, inputs = task.network.train().to(device), task.input_names
    optimizer, loader = build_optimizer(network, task.make_optimizer), data.train_dataloader()
    parameters = list(network.parameters())
    mixed = torch.autocast(device, torch.bfloat16, enabled=options["precision"] == "bf16-mixed")

    def epoch(number: int) -> None:
        loader.sampler.set_epoch(number)
        for batch in loader:
            batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
            optimizer.zero_grad()
            with mixed:
                logits = network(**{name: batch[name] for name in inputs})["logits"]
                loss = task.loss(logits, batch["label"])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, options["gradient_clip_val"])
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return epoch


def taking_turns(composed: Any, epochs: int) -> Times:
    """Seconds of an epoch in each turn, by either loop."""
    with tempfile.TemporaryDirectory() as folder, SignalGuard() as guard, explain_out_of_memory():
        write_policy.move_into_run_folder(composed, Path(folder))
        turns = Turns(by_hand(composed), epochs)
        task, data = parts(composed)
        trainer = make_trainer(composed, Path(folder), guard)
        trainer.callbacks.insert(0, turns)  # type: ignore[attr-defined]
        run_trainer(trainer.fit, task, datamodule=data)
    return turns.times


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.training.loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=15, help="turns of each that count (15)")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of a turn (1)")
    parser.add_argument("words", nargs="*", help="words of train.py: model.params.dim=192, ...")
    given = parser.parse_args()
    epochs = given.rounds * given.epochs + 1
    whole = compose(WORDS).config
    samples = (
        whole["callbacks"]["nodes"]["samples"] * epochs / whole["trainer"]["max_epochs"]
    )  # as often as there
    length = [f"trainer.max_epochs={epochs}", f"callbacks.nodes.samples={max(1, round(samples))}"]
    times = taking_turns(compose([*WORDS, *ALONE, *length, *given.words]), given.epochs)
    rows = []
    for name in NAMES:
        ratios = (table.ratio(times.ratio(name, NAMES[1], kind)) for kind in ("clock", "processor"))
        rows.append([name, f"{times.median(name):.2f} s", *ratios])
    head = ("an epoch", "by the clock", "of the bare loop", "of its processor time")
    print(table.table(head, rows))


if __name__ == "__main__":
    main()
