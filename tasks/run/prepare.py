"""The first step of a run: check the configuration, read the data, plan the network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from blocks.graph import Built, Composed, plan
from blocks.graph.describe.cost import multiply_adds
from tasks.config import secrets, write_policy
from tasks.run import run_folder
from tasks.run.contract import check_contract
from tasks.run.data_facts import read_data
from tasks.run.objective import PlannedObjective, plan_objective
from tasks.run.sections import check_sections


@dataclass(frozen=True)
class Prepared:
    """A run whose data are read and whose network is planned.

    Args:
        composed: the configuration, its relative folders placed in the run folder.
        folder: the run folder.
        record: the `run.json` of the run.
        data: the data module.
        facts: the facts of the data.
        plan: the network on the meta device.
        macs: multiply-adds of one sample.
        objective: of a task that composes its loss.
    """

    composed: Composed
    folder: Path
    record: run_folder.Record
    data: Any
    facts: dict[str, Any]
    plan: Built
    macs: int | None
    objective: PlannedObjective | None = None


def prepare_run(composed: Composed, folder: Path, record: run_folder.Record) -> Prepared:
    """Write the configuration into the run folder, seed, read the data and plan the network.

    Raises:
        ConfigError: a section, the data, or the contract of task and model is wrong.
    """
    check_sections(composed)
    secrets.keep(composed.config)
    write_config(composed, folder)
    write_policy.move_into_run_folder(composed, folder)
    pl.seed_everything(composed.config["seed"], workers=True, verbose=False)
    data = read_data(composed)
    facts = data.facts()
    data.save(folder)
    planned = plan(composed, facts)
    check_contract(composed, planned, facts)
    objective = plan_objective(composed, planned)
    macs = multiply_adds(planned)
    return Prepared(composed, folder, record, data, facts, planned, macs, objective)


def write_config(composed: Composed, folder: Path) -> None:
    """Write config.yaml, without secrets."""
    text = yaml.safe_dump(secrets.hidden(composed.config), sort_keys=False, allow_unicode=True)
    path = folder / run_folder.CONFIG
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
