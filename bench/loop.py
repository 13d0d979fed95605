"""The loop of `train.py` against a bare loop over the same network, data, optimiser and schedule, at a real size.

python -m bench.loop [--rounds N] [--epochs N]
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench import table
from bench.measure import Times
from blocks.graph import compose, plan

WORDS = ["data=digits", "model=vit", "data.batch_size=64", "callbacks.progress.style=none", "schedule=constant"]


def parts(composed: Any) -> tuple[Any, Any]:
    """The task with its network, and the data."""
    from tasks import run

    torch.manual_seed(0)
    data = run.read_data(composed)
    facts = data.facts()
    network = plan(composed, facts).materialise()
    return run.make_task(composed, network, facts, {}), data


def by_lightning(composed: Any, epochs: int) -> float:
    """Seconds for the epochs with all callbacks and loggers of the default, without what comes before and after."""
    import pytorch_lightning as pl

    from tasks import run

    task, data = parts(composed)
    marks: list[float] = []

    class Clock(pl.Callback):
        def on_train_start(self, *_: Any) -> None:
            marks.append(time.process_time())

        def on_train_end(self, *_: Any) -> None:
            marks.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        run.move_places(composed.config, Path(folder))
        trainer = run.make_trainer(composed, Path(folder))
        trainer.callbacks.append(Clock())  # type: ignore[attr-defined]
        run.uninterrupted(trainer.fit, task, train_dataloaders=data.train_dataloader())
    return marks[1] - marks[0]


def bare(composed: Any, epochs: int) -> float:
    """The same steps by hand: loss, gradients, clipping, optimiser."""
    from tasks.optimizer import optimise

    task, data = parts(composed)
    optimizer = optimise(task.network, task.make_optimizer)
    parameters, loader = list(task.network.parameters()), data.train_dataloader()
    task.network.train()
    start = time.process_time()
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            task.loss(task(batch), batch["label"]).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.loop", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("words", nargs="*", help="words of train.py: model.params.dim=192, ...")
    given = parser.parse_args()
    times = Times({"train.py": [], "bare loop": []})
    for number in range(given.rounds):
        for kind in (("train.py", by_lightning), ("bare loop", bare))[:: 1 if number % 2 else -1]:
            words = [*WORDS, f"trainer.max_epochs={given.epochs}", "trainer.limit_val_batches=0", *given.words]
            times.clock[kind[0]].append(kind[1](compose(words), given.epochs))
    rows = [[name, f"{times.median(name):.2f} s", table.ratio(times.ratio(name, "bare loop"))] for name in times.clock]
    print(table.table(("", "processor time", "of the bare loop"), rows))


if __name__ == "__main__":
    main()
