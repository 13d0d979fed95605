"""How many accelerators the jobs of a sweep need, and whether there are as many."""

from collections.abc import Mapping, Sequence
from typing import Any

from blocks.graph import ConfigError, Problem

ON_GPU = ("gpu", "cuda", "auto")  # accelerators of a trainer


def count_needed(trainer: Mapping[str, Any], share: int) -> int:
    """Return how many accelerators a job uses; 0 on the CPU.

    Args:
        trainer: the section of the job's configuration.
        share: what a job gets that asks for all.

    Raises:
        ConfigError: the job names its accelerators, which are its own here.
    """
    if trainer.get("accelerator", "auto") not in ON_GPU:
        return 0
    devices = trainer.get("devices", "auto")
    text = str(devices)
    if text in ("auto", "-1"):
        return share
    if text.isdecimal():
        return int(text)
    names = text.strip("[]").split(",")
    raise ConfigError(
        Problem(
            "each job of this sweep has accelerators of its own, numbered from 0",
            path="trainer.devices",
            got=f"trainer.devices={text}",
            fits="a number of accelerators",
            fix=f"trainer.devices={len(names)}, or hydra.launcher.share_devices=true",
            code="bad-value",
        )
    )


def check_fit(needs: Sequence[int], jobs: int, devices: Sequence[str]) -> None:
    """Raise a ConfigError where jobs that may run at once need more accelerators than there are.

    Args:
        needs: the accelerators of each job.
        jobs: how many jobs run at once.
        devices: the names of all accelerators.
    """
    at_once = sorted(needs, reverse=True)[:jobs]
    if sum(at_once) <= len(devices):
        return
    largest = at_once[0]
    fitting = len(devices) // largest
    fix = f"hydra.launcher.n_jobs={fitting}"
    if not fitting:
        fix = f"trainer.devices={len(devices)}"
    raise ConfigError(
        Problem(
            "the jobs need more accelerators than this machine has",
            "the command line",
            "hydra.launcher.n_jobs",
            got=f"{len(at_once)} jobs at once, with up to {largest} each: {sum(at_once)} in all",
            fits=f"{len(devices)} in all: {', '.join(devices)}",
            fix=f"{fix}, or hydra.launcher.share_devices=true",
            code="too-large",
        )
    )
