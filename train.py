"""Train a model: compose the YAML, build, train, test, and write the run folder.

python train.py                                   the default model on the default data
python train.py model=vit model.params.depth=4    another depth
python train.py -m model.params.depth=2,4 seed=1,2,3
python train.py --help
"""

import argparse
import contextlib
import datetime
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException

ROOT = Path(__file__).resolve().parent
OK, CRASH, MISTAKE, INTERRUPTED = 0, 1, 2, 130
COMMAND_LINE = "the command line"


def main() -> None:
    """Run the command line, and exit.

    The status is 0; 2 after a mistake of the user's; 1 after a crash; 128 + n after signal n.
    """
    from blocks.support.streams import spare_streams
    from tasks.process.parent import die_with_parent
    from tasks.run import run_folder

    spare_streams()
    if run_folder.is_rank():
        die_with_parent()
    session = Session()
    try:
        session.start(sys.argv[1:])
    except SystemExit:
        raise
    except KeyboardInterrupt:
        session.status = INTERRUPTED
        print("\nstopped by Ctrl-C", file=sys.stderr)
    except BaseException as error:
        session.report_error(error)
    if session.status and run_folder.is_rank():
        # the regular exit of Python may wait for a process that is lost
        flush_streams()
        os._exit(session.status)
    sys.exit(session.status)


# Command line -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CommandLine:
    """A command line, parsed by Hydra's parser.

    Args:
        arguments: the overrides and the value of each option.
        options: the options as they were typed.
    """

    arguments: argparse.Namespace
    options: list[str]

    @property
    def asks_hydra(self) -> bool:
        """Whether Hydra prints something, e.g. the help, instead of running a job."""
        arguments = self.arguments
        return any(
            (
                arguments.help,
                arguments.hydra_help,
                arguments.cfg,
                arguments.info,
                arguments.shell_completion,
            )
        )

    def words(self, before: Sequence[str] = ()) -> list[str]:
        """Return the command line in the order that Hydra's own parser needs: all overrides, then
        the options.

        Args:
            before: overrides that come before those of the command line.
        """
        return [*before, *self.arguments.overrides, *self.options]


def parse_command_line(words: list[str]) -> CommandLine:
    """Parse a command line, in which options and overrides may stand in any order.

    Raises:
        ConfigError: an unknown option.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    arguments, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        from blocks.graph.compose.flags import refuse_flags

        raise refuse_flags(words, unknown, parser.format_usage())
    options = [word for word in words if word not in arguments.overrides]
    return CommandLine(arguments, options)


def run_hydra(job: Callable[[Any], Any], words: list[str]) -> None:
    """Let Hydra read a command line and run `job` once, or once for each combination of a sweep.

    `hydra.main` reads `sys.argv`, and so does Lightning where it starts this program again for the
    other processes of a run. No other function sets it.
    """
    sys.argv[1:] = words
    hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="train")(job)()


# Session ------------------------------------------------------------------------------------------


class Session:
    """One start of the program: what was composed before Hydra runs, and the exit status.

    Hydra composes again to start the job. Its configuration is not used: ours knows where each
    value came from.
    """

    def __init__(self) -> None:
        self.composed: Any = None  # the configuration of a single run
        self.created: Path | None = None  # the folder that was created for it
        self.status = OK

    def start(self, words: list[str]) -> None:
        """Check a command line, and run it.

        Raises:
            ConfigError: nothing of it can run.
        """
        command = parse_command_line(words)
        refuse_unsafe_options(command.arguments)
        if command.asks_hydra:
            from blocks.support.environment import unread_environment

            with unread_environment():
                run_hydra(self.run_job, command.words())
            sys.exit(OK)
        quote_overrides(command.arguments)
        added: list[str] = []
        if command.arguments.multirun:
            check_sweep(command.arguments)
        else:
            added = self.claim_folder(command.arguments)
        run_hydra(self.run_job, command.words(added))

    def claim_folder(self, arguments: argparse.Namespace) -> list[str]:
        """Check a single run before Hydra starts it, and create its folder.

        Returns:
            Overrides to add: the run folder, and the overrides of the run that is resumed.
        """
        from blocks.graph import compose
        from tasks.resume import adopt
        from tasks.run import run_folder

        overrides = arguments.overrides
        check_resume(overrides)
        adopted = adopt_overrides(overrides)
        self.composed = compose(
            overrides,
            config_name=arguments.config_name or "train",
            config_dir=arguments.config_dir,
            adopted=adopted,
        )
        if any(text.partition("=")[0] == "hydra.run.dir" for text in overrides):
            run_folder.check_writable(overrides)
            return adopted
        folder = adopt.requested_folder(overrides)
        if folder is None or self.composed.config.get("carry_over"):
            check_runs(self.composed)
            check_folder_is_named(run_folder.started_together())
            time = datetime.datetime.now().strftime("%Y-%m-%d/%H-%M-%S")
            runs = Path(self.composed.config.get("runs", "runs"))
            folder = self.created = run_folder.claim_folder(runs.absolute() / time)
        return [f"hydra.run.dir='{folder}'", *adopted]

    def run_job(self, _: Any) -> dict[str, Any]:
        """Run one job of Hydra; record and print its errors, so that a sweep continues.

        Raises:
            BaseException: an interrupt, which ends a sweep as well.
        """
        from blocks.graph import compose
        from tasks.resume import adopt
        from tasks.run import run_folder

        folder = Path(HydraConfig.get().runtime.output_dir)
        overrides = typed_overrides()
        is_first = run_folder.is_first()
        record = None
        try:
            is_resumed = adopt.requested_folder(overrides) == folder
            if is_first and not is_resumed:
                run_folder.check_unused(folder)
            composed = self.composed or compose(
                overrides, config_name=HydraConfig.get().job.config_name or "train"
            )
            known = run_folder.describe_start(composed.config, adopt.run_overrides(overrides), ROOT)
            record = run_folder.Record(folder, quiet=not is_first, resumed=is_resumed, **known)
            from tasks.run.train import train

            metrics = train(composed, folder, record)
            if is_first and metrics:
                print(run_folder.summary_lines(folder, metrics))
            self.status = OK
        except BaseException as error:
            self.status = record_failure(error, record)
            if not isinstance(error, (Exception, SystemExit)):
                raise
            if self.status == MISTAKE and folder == self.created:
                run_folder.remove_folder(folder)  # nothing has run
            elif self.status == MISTAKE and record is not None:
                record.take_back()
        return {"status": self.status, "folder": str(folder)}

    def report_error(self, error: BaseException) -> None:
        """Print the error that ended the program, and set the exit status."""
        from tasks.process.signals import Interrupted

        if not isinstance(error, Interrupted):
            print(explain_error(error), file=sys.stderr)
            self.status = MISTAKE if is_mistake(error) else CRASH
        elif self.status:  # set by the job, and OK in all processes of a run but the first
            name = "Ctrl-C" if error.name == "SIGINT" else error.name
            print(f"\nstopped by {name}", file=sys.stderr)
            if error.saved:
                print(f"saved {error.saved}; resume=RUN continues from it", file=sys.stderr)


def typed_overrides() -> list[str]:
    """Return the overrides as they were typed; iterating over Hydra's list would resolve
    `${oc.env:NAME}` in them.
    """
    from omegaconf import OmegaConf

    words = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(words, list)
    return [str(word) for word in words]


def flush_streams() -> None:
    """Flush the standard streams, unless they are closed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


# Errors -------------------------------------------------------------------------------------------


def record_failure(error: BaseException, record: Any) -> int:
    """Print an error of a run, and write it into the record.

    Returns:
        The exit status.
    """
    from tasks.process.signals import Interrupted
    from tasks.process.watchdog import ProcessLostError
    from tasks.run import run_folder

    is_interrupt = isinstance(error, (KeyboardInterrupt, Interrupted))
    ending = {"status": "interrupted"}
    if not is_interrupt:
        ending = {"status": "failed", "error": explain_error(error)}
    if record is not None:
        try:
            if record.entries["status"] == "finished":  # its report failed
                record.add(report=ending)
            else:
                record.add(**ending, ended=run_folder.current_time())
        except OSError as problem:  # e.g. a full disk; the run ends with its own error
            print(f"run.json could not be written: {problem}", file=sys.stderr)
    if isinstance(error, Interrupted):
        is_other_process = record is not None and record.quiet
        return OK if is_other_process else error.status
    if is_interrupt:
        return INTERRUPTED
    # the first process reports which one was lost
    if run_folder.is_first() or not isinstance(error, ProcessLostError):
        print(ending["error"], file=sys.stderr, flush=True)
    return MISTAKE if is_mistake(error) else CRASH


def explain_error(error: BaseException) -> str:
    """Return the message of an error without secrets; print the traceback with
    `DOUGONG_DEBUG=1`.
    """
    from tasks.config.secrets import hide_in_message

    if os.environ.get("DOUGONG_DEBUG") == "1":
        import traceback

        print(hide_in_message("".join(traceback.format_exception(error))), file=sys.stderr)
    return hide_in_message(describe_error(error))


def describe_error(error: BaseException) -> str:
    """Describe a mistake of the user's with its fix, or a crash with the node where it began."""
    if isinstance(error, HydraException):
        return f"{COMMAND_LINE}\n  {str(error).splitlines()[0]}"
    if is_mistake(error):
        return str(error)
    from blocks.graph import locate

    lines = [type(error).__name__]
    if str(error):
        lines = [f"{type(error).__name__}: {error}"]
    node = locate(error)
    if node:
        lines.insert(0, node)
    return "\n".join([*lines, "DOUGONG_DEBUG=1 shows the traceback"])


def is_mistake(error: BaseException) -> bool:
    """Return whether the user can correct an error in the YAML or on the command line."""
    from blocks.graph import ConfigError

    return isinstance(error, (ConfigError, HydraException))


# Checks before Hydra runs -------------------------------------------------------------------------


def quote_overrides(arguments: argparse.Namespace) -> None:
    """Quote the values that Hydra cannot read otherwise, e.g. paths with spaces, brackets or
    Chinese characters.
    """
    from blocks.graph.compose.overrides import make_readable

    arguments.overrides = [make_readable(text) for text in arguments.overrides]


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
    fix = "resume=RUN, the folder that train.py named in its first line"
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


if __name__ == "__main__":
    main()
