"""One run: prepare -> build -> fit -> test -> report, the same for every task."""

import sys
import time
from pathlib import Path

from blocks.graph import Composed
from tasks.config import secrets
from tasks.process import runtime
from tasks.process.out_of_memory import explain_out_of_memory
from tasks.process.signals import SignalGuard
from tasks.process.watchdog import Watchdog
from tasks.report import report
from tasks.resume.start import find_start
from tasks.run import run_folder
from tasks.run.build import build_run
from tasks.run.evaluate import test_run
from tasks.run.fit import fit_run
from tasks.run.prepare import prepare_run
from tasks.tune.batch_size import tune_batch_size
from tasks.tune.learning_rate import adopt_rate, find_rate


def train(composed: Composed, folder: Path, record: run_folder.Record) -> dict[str, float]:
    """Train and test the model that `composed` describes, and write the results into `folder`.

    Returns:
        The test metrics.

    Raises:
        ConfigError: the configuration is wrong.
        Interrupted: a signal came; the state of the training is saved.
    """

    def record_end(status: int, text: str) -> None:
        if status > 128:
            ending = {"status": "interrupted"}
        else:
            ending = {"status": "failed", "error": text}
        record.add(**ending, ended=run_folder.current_time())
        if not record.quiet:
            print(f"\n{secrets.hide_in_message(text)}", file=sys.stderr)

    with SignalGuard(Watchdog(record_end)) as guard, explain_out_of_memory():
        return run_steps(composed, folder, record, guard)


def run_steps(
    composed: Composed, folder: Path, record: run_folder.Record, guard: SignalGuard
) -> dict[str, float]:
    """Run the steps of `train`, inside its handling of signals and errors."""
    started = time.monotonic()
    started_cpu = time.process_time()
    adopt_rate(composed, record)
    prepared = prepare_run(composed, folder, record)
    find_rate(prepared, guard)
    built = build_run(prepared, guard)
    trainer = built.trainer
    is_tuning = bool(composed.config.get("tune"))
    checkpoint = None
    if not is_tuning:
        checkpoint = find_start(composed, trainer, built.network, prepared.data, record)
    runtime.prepare_network(built.network, composed.config["trainer"])
    if is_tuning:
        tried = tune_batch_size(composed, built.task, prepared.data)
        record.add(status="finished", tune=tried, ended=run_folder.current_time())
        return {}
    record.add(**fit_run(prepared, built, checkpoint))
    tested = test_run(prepared, built)
    times = {
        "seconds": round(time.monotonic() - started, 1),
        "cpu seconds": round(time.process_time() - started_cpu, 1),
    }
    record.add(status="finished", test=tested.metrics, **times, ended=run_folder.current_time())
    best = {"best epoch": tested.epoch}
    record.add(checkpoint=relative_to_run(tested.checkpoint, folder), **best)
    if trainer.is_global_zero:
        report.write(folder, composed, record.entries, prepared.data, built.task)
    return tested.metrics


def relative_to_run(path: str | None, folder: Path) -> str | None:
    """Return a path relative to the run folder, if it lies inside."""
    if path is not None and Path(path).is_relative_to(folder):
        return str(Path(path).relative_to(folder))
    return path
