"""How an error ends the program: its text, its record, the exit status."""

import os
import sys
from typing import Any

from hydra.errors import HydraException

from blocks.support.program import started_as_dougong

OK, CRASH, MISTAKE, INTERRUPTED = 0, 1, 2, 130
COMMAND_LINE = "the command line"


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
    status = MISTAKE if is_mistake(error) else CRASH
    # the first process reports which one was lost
    if run_folder.is_first() or not isinstance(error, ProcessLostError):
        print_failure(error, ending["error"], status)
    return status


def print_failure(error: BaseException, text: str, status: int) -> None:
    """Print an error as text, or as JSON with `DOUGONG_ERRORS=json`."""
    from blocks.graph import locate
    from blocks.support.answers import error_entries, print_error
    from tasks.config.secrets import hide_in_message

    print_error(text, error_entries(error, locate(error)), status, hide=hide_in_message)


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
    from blocks.graph import ConfigError, corrected_line, locate

    if isinstance(error, ConfigError):
        line = corrected_line(error, sys.argv[1:]) if started_as_dougong() else None
        return "\n\n".join(filter(None, (str(error), line)))
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
