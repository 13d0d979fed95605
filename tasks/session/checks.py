"""Checks before Hydra runs, so that a mistake leaves no folder behind."""

import argparse
import sys
from typing import Any

from blocks.support.conf_folders import project_folder, unread_files
from tasks.session.failures import COMMAND_LINE


def quote_overrides(arguments: argparse.Namespace) -> None:
    """Quote the values that Hydra cannot read otherwise, e.g. paths with spaces, brackets or
    Chinese characters; name shared models by path or commit.
    """
    from blocks.graph.compose.overrides import make_readable
    from blocks.graph.compose.shared import name_models

    overrides = name_models(arguments.overrides, arguments.config_dir)
    arguments.overrides = [make_readable(text) for text in overrides]


def note_unread_files() -> None:
    """Print which files of the project's `conf/` are not read, on the first process."""
    from tasks.run.run_folder import is_first

    project = project_folder()
    if project is None or not is_first():
        return
    for name in unread_files(project):
        print(
            f"conf/{name} of this folder is not read: settings of your own go into "
            "conf/experiment/NAME.yaml",
            file=sys.stderr,
        )


def refuse_unsafe_options(arguments: argparse.Namespace) -> None:
    """Raise a ConfigError for options of Hydra that run a pickle or read another `conf/`."""
    rerun, config_path = arguments.experimental_rerun, arguments.config_path
    if rerun is None and config_path is None:
        return
    from blocks.graph import ConfigError, Problem

    problems = []
    if rerun is not None:
        problems.append(
            Problem(
                "a pickle can run any code",
                f"{COMMAND_LINE}: --experimental-rerun",
                fix="the command in run.json runs the same again",
                code="not-allowed",
            )
        )
    if config_path is not None:
        problems.append(
            Problem(
                "the configuration is in conf/",
                f"{COMMAND_LINE}: --config-path",
                got=config_path,
                fix="--config-dir FOLDER adds yours",
                code="not-allowed",
            )
        )
    raise ConfigError(problems)


def check_runs(composed: Any) -> None:
    """Raise a ConfigError where `runs` names no folder."""
    from blocks.graph import ConfigError, Problem

    runs = composed.config.get("runs", "runs")
    if not isinstance(runs, str) or not runs:
        where = composed.origin("runs")
        raise ConfigError(
            Problem(
                "runs names a folder",
                where,
                "runs",
                got=f"runs={runs!r}",
                fits="runs=FOLDER",
                code="bad-value",
            )
        )


def check_folder_is_named(together: bool) -> None:
    """Raise a ConfigError where processes of one run would each create a folder of their own.

    Args:
        together: several processes were started with one command.
    """
    from blocks.graph import ConfigError, Problem

    if together:
        raise ConfigError(
            Problem(
                "processes that were started together need one run folder",
                COMMAND_LINE,
                "hydra.run.dir",
                got="several processes, and no folder",
                fix="hydra.run.dir=runs/NAME, the same for all of them",
                code="bad-command",
            )
        )


def check_resume(overrides: list[str], *, sweeps: bool = False) -> None:
    """Raise a ConfigError for a value of `resume` that is neither `true` in a sweep nor a folder in
    a run.
    """
    from blocks.graph import ConfigError, Problem
    from tasks.resume import adopt

    problem = "resume names the folder of a run"
    fix = "resume=RUN, the folder that the training named in its first line"
    if sweeps:
        problem = "a sweep is resumed as a whole"
        fix = "resume=true with the same command; one run by itself without -m: resume=SWEEP/3"
    for text in overrides:
        value = text.partition("=")[2]
        if adopt.override_key(text) != "resume" or value == "null":
            continue
        fits = value == "true" if sweeps else adopt.requested_folder([text]) is not None
        if not fits:
            raise ConfigError(
                Problem(problem, COMMAND_LINE, "resume", got=text, fix=fix, code="bad-run")
            )


def adopt_overrides(overrides: list[str]) -> list[str]:
    """Return the overrides of the run that is resumed, except those that are given again."""
    from blocks.graph import ConfigError, Problem
    from tasks.errors import ArgumentError
    from tasks.resume import adopt

    try:
        return adopt.read_overrides(overrides)
    except ArgumentError as error:
        raise ConfigError(
            Problem(error.problem, COMMAND_LINE, "resume", fix=error.fix, code=error.code)
        ) from error


def check_sweep(arguments: argparse.Namespace) -> None:
    """Raise the error of the first run if no run of a sweep can be composed; otherwise a run that
    cannot be composed becomes a row of its table.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    from blocks.graph import ConfigError, compose
    from blocks.graph.compose.combinations import (
        check_count,
        check_swept_once,
        parse_sweep,
        swept_by_files,
    )
    from hydra_plugins.dougong import RESUME

    check_resume(arguments.overrides, sweeps=True)
    name = arguments.config_name or "train"
    folder = arguments.config_dir
    given = [text for text in arguments.overrides if text != RESUME]
    bare = [text for text in given if "=" not in text and not text.startswith("~")]
    if bare:
        compose(bare, config_name=name, config_dir=folder)  # raises
    check_swept_once(given)
    overrides = parse_sweep([*swept_by_files(given, name, folder), *given])
    if any(override.key_or_group == "hydra/sweeper" for override in overrides):
        return  # another sweeper chooses its own runs
    check_count(overrides)
    first = None
    for combination in BasicSweeper.split_arguments(overrides, None)[0]:
        try:
            compose(combination, config_name=name, config_dir=folder)
            return
        except ConfigError as error:
            first = first or error
    if first is not None:
        raise first
