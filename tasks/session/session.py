"""Start the program: check the command line, create the run folder, let Hydra run the job."""

import argparse
import contextlib
import datetime
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig

from blocks.support.conf_folders import conf_folder
from blocks.support.program import HOME
from tasks.session.checks import (
    adopt_overrides,
    check_folder_is_named,
    check_resume,
    check_runs,
    check_sweep,
    note_unread_files,
    quote_overrides,
    refuse_unsafe_options,
)
from tasks.session.command_line import asks_hydra, parse_command_line
from tasks.session.failures import (
    CRASH,
    INTERRUPTED,
    MISTAKE,
    OK,
    explain_error,
    is_mistake,
    print_failure,
    record_failure,
)


def main(words: list[str] | None = None) -> None:
    """Run a command line of `train.py`, and exit.

    The status is 0; 2 after a mistake of the user's; 1 after a crash; 128 + n after signal n.
    """
    from blocks.support.files import is_confined
    from blocks.support.program import spare_streams
    from tasks.process.parent import die_with_parent
    from tasks.run import run_folder

    gc.disable()  # until all is imported: what imports make is kept, and looked through in vain
    spare_streams()
    if run_folder.is_rank():
        die_with_parent()
    elif is_confined():
        die_with_parent(signal.SIGTERM)  # saves
    session = Session()
    try:
        session.start(sys.argv[1:] if words is None else words)
    except SystemExit:
        raise
    except KeyboardInterrupt:
        session.status = INTERRUPTED
        print_failure(KeyboardInterrupt("stopped by Ctrl-C"), "\nstopped by Ctrl-C", INTERRUPTED)
    except BaseException as error:
        session.report_error(error)
    finally:
        gc.enable()
    if session.status and run_folder.is_rank():
        # the regular exit of Python may wait for a process that is lost
        flush_streams()
        os._exit(session.status)
    sys.exit(session.status)


class Session:
    """One start of the program: what was composed before Hydra runs, and the exit status.

    Hydra composes again to start the job. Its configuration is not used: ours knows where each
    value came from.
    """

    def __init__(self) -> None:
        self.composed: Any = None  # the configuration of a single run
        self.created: Path | None = None  # the folder that was created for it
        self.options: list[str] = []  # where the configuration is
        self.status = OK

    def start(self, words: list[str]) -> None:
        """Check a command line, and run it.

        Raises:
            ConfigError: nothing of it can run.
        """
        arguments = parse_command_line(words)
        refuse_unsafe_options(arguments)
        if arguments.cfg:
            quote_overrides(arguments)
        if asks_hydra(arguments):
            from blocks.support.environment import unread_environment

            with unread_environment():
                run_hydra(self.run_job, arguments)
            sys.exit(OK)
        quote_overrides(arguments)
        self.options = config_options(arguments)
        note_unread_files()
        if arguments.multirun:
            check_sweep(arguments)
        else:
            arguments.overrides = [*self.claim_folder(arguments), *arguments.overrides]
        run_hydra(self.run_job, arguments)

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
            known = run_folder.describe_start(
                composed.config, adopt.run_overrides(overrides), HOME, self.options
            )
            record = run_folder.Record(folder, quiet=not is_first, resumed=is_resumed, **known)
            from tasks.run.train import train

            gc.freeze()
            gc.enable()
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
            self.status = MISTAKE if is_mistake(error) else CRASH
            print_failure(error, explain_error(error), self.status)
        elif self.status:  # set by the job, and OK in all processes of a run but the first
            name = "Ctrl-C" if error.name == "SIGINT" else error.name
            text = f"\nstopped by {name}"
            if error.saved:
                text += f"\nsaved {error.saved}; resume=RUN continues from it"
            print_failure(error, text, self.status)


def config_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options of a command line that say where its configuration is."""
    found = []
    for option in ("config_name", "config_dir"):
        if value := getattr(arguments, option):
            found += [f"--{option.replace('_', '-')}", str(value)]
    return found


def typed_overrides() -> list[str]:
    """Return the overrides as they were typed; iterating over Hydra's list would resolve
    `${oc.env:NAME}` in them.
    """
    from omegaconf import OmegaConf

    words = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(words, list)
    return [str(word) for word in words]


def run_hydra(job: Callable[[Any], Any], arguments: argparse.Namespace) -> None:
    """Let Hydra run `job` once, or once for each combination of a sweep.

    `hydra.main` would read `sys.argv`.
    """
    from blocks.support.config_source import checked_files

    version.setbase("1.3")
    with checked_files():
        _run_hydra(
            args=arguments,
            args_parser=get_args_parser(),
            task_function=job,
            config_path=str(conf_folder()),
            config_name="train",
        )


def flush_streams() -> None:
    """Flush the standard streams, unless they are closed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
