"""The front door: compose the YAML, build, train, test, write the run folder.

python train.py                                   the default model on the default data
python train.py model=vit model.params.depth=4    another depth
python train.py -m model.params.depth=2,4 seed=1,2,3
python train.py --help
"""

import contextlib
import datetime
import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException

ROOT = Path(__file__).resolve().parent
FINE, CRASH, MISTAKE, INTERRUPTED = 0, 1, 2, 130


class Door:
    """What one start of the program knows: the composed configuration of a single run, and how it
    ended.
    """

    composed: Any = None
    claimed: Path | None = None
    status: int = FINE


def explain(error: BaseException) -> str:
    """What a person needs to know about an error; `DOUGONG_DEBUG=1` shows where it came from as
    well.
    """
    from tasks.config.secrets import hide_in_message

    if os.environ.get("DOUGONG_DEBUG") == "1":
        import traceback

        print(hide_in_message("".join(traceback.format_exception(error))), file=sys.stderr)
    return hide_in_message(describe(error))


def describe(error: BaseException) -> str:
    """An error as a mistake of the user's, with a place and a fix, or as a crash, with the node
    where it began.
    """
    if isinstance(error, HydraException):
        return (
            f"the command line\n  this cannot be read: {str(error).splitlines()[0]}\n  fix   "
            "    quote it: 'key=[1,2]'"
        )
    if is_mistake(error):
        return str(error)
    from blocks.graph import locate

    where = locate(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return "\n".join([*([where] if where else []), text, "DOUGONG_DEBUG=1 shows the traceback"])


def is_mistake(error: BaseException) -> bool:
    """Whether the user can mend it in the YAML or on the command line."""
    from blocks.graph import ConfigError

    return isinstance(error, (ConfigError, HydraException))


def job(_: Any) -> dict[str, Any]:
    """One run inside Hydra.

    Never raises but for Ctrl-C, so that a sweep goes on; the record tells how it ended.
    """
    from blocks.graph import compose
    from tasks.resume import adopt
    from tasks.run import run_folder

    place, overrides = Path(HydraConfig.get().runtime.output_dir), typed()
    first = run_folder.is_first()
    record = None
    try:
        resumed = adopt.requested_folder(overrides) == place
        run_folder.check_unused(place) if first and not resumed else None
        composed = Door.composed or compose(
            overrides, config_name=HydraConfig.get().job.config_name or "train"
        )
        known = run_folder.identity(composed.config, adopt.run_overrides(overrides), ROOT)
        record = run_folder.Record(place, quiet=not first, resumed=resumed, **known)
        from tasks.run.train import train

        metrics = train(composed, place, record)
        if first and metrics:
            print(run_folder.farewell(place, metrics))
        Door.status = FINE
    except BaseException as error:
        Door.status = ended(error, record)
        if not isinstance(error, (Exception, SystemExit)):
            raise  # Ctrl-C and other signals end a sweep, too
        if Door.status == MISTAKE and place == Door.claimed:
            run_folder.remove(place)  # nothing has run
        elif Door.status == MISTAKE and record is not None:
            record.take_back()
    return {"status": Door.status, "folder": str(place)}


def typed() -> list[str]:
    """The command line as it was typed: to walk through Hydra's list would put the environment into
    it.
    """
    from omegaconf import OmegaConf

    words = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return [str(word) for word in words] if isinstance(words, list) else []


def ended(error: BaseException, record: Any) -> int:
    """Tell and record how a run failed; returns the exit status."""
    from tasks.process.signals import Interrupted
    from tasks.process.watchdog import ProcessLostError
    from tasks.run import run_folder

    interrupted = isinstance(error, (KeyboardInterrupt, Interrupted))
    silent = isinstance(error, ProcessLostError) and not run_folder.is_first()
    done = (
        record is not None and record.entries["status"] == "finished"
    )  # what failed is the report of it
    told = (
        {"status": "interrupted"} if interrupted else {"status": "failed", "error": explain(error)}
    )
    if record is not None:
        try:
            record.add(**({"report": told} if done else {**told, "ended": run_folder.now()}))
        except OSError as problem:  # a full disk, say; the run ends with its own error all the same
            print(f"run.json could not be written: {problem}", file=sys.stderr)
    if isinstance(error, Interrupted):
        return (
            FINE if record is not None and record.quiet else error.status
        )  # the first process speaks for all
    if interrupted:
        return INTERRUPTED
    if not silent:  # the first process reports which one was lost
        print(told["error"], file=sys.stderr, flush=True)
    return MISTAKE if is_mistake(error) else CRASH


def quote_what_hydra_cannot_read(arguments: Any) -> None:
    """A path with spaces, brackets or Chinese characters is a value like any other."""
    from blocks.graph.compose.overrides import readable

    quoted = {text: readable(text) for text in arguments.overrides}
    arguments.overrides = list(quoted.values())
    sys.argv[1:] = [quoted.get(text, text) for text in sys.argv[1:]]


def parse_command_line() -> Any:
    """Hydra's arguments; options may stand anywhere.

    `sys.argv` is put in order, as Hydra reads it again.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    arguments, unknown = parser.parse_known_intermixed_args()
    if unknown:
        from blocks.graph.compose.flags import refuse_flags

        raise refuse_flags(sys.argv[1:], unknown, parser.format_usage())
    options = [word for word in sys.argv[1:] if word not in arguments.overrides]
    sys.argv[1:] = [*arguments.overrides, *options]
    return arguments


def refuse_pickles(arguments: Any) -> None:
    """Hydra can run a job again from a pickle, which runs whatever is in it, and read another
    `conf/` than ours.
    """
    if arguments.experimental_rerun is None and arguments.config_path is None:
        return
    from blocks.graph import ConfigError, Problem

    problems = []
    if arguments.experimental_rerun is not None:
        text, fix = "a pickle runs whatever is in it", "the command in run.json runs the same again"
        problems.append(Problem(text, "the command line: --experimental-rerun", fix=fix))
    if arguments.config_path is not None:
        text, fix = "the configuration lies in conf/", "--config-dir FOLDER lays yours beside it"
        problems.append(
            Problem(text, "the command line: --config-path", got=arguments.config_path, fix=fix)
        )
    if problems:
        raise ConfigError(problems)


def check_runs(composed: Any) -> None:
    """Raise a ConfigError where `runs` names no folder."""
    from blocks.graph import ConfigError, Problem

    runs = composed.config.get("runs", "runs")
    if not isinstance(runs, str) or not runs:
        where = composed.origin("runs")
        raise ConfigError(
            [
                Problem(
                    "runs names a folder", where, "runs", got=f"runs={runs!r}", fits="runs=FOLDER"
                )
            ]
        )


def check_folder_is_named(together: bool) -> None:
    """Raise a ConfigError where processes that were started together would each take a folder of
    its own.
    """
    from blocks.graph import ConfigError, Problem

    if together:
        text, got = (
            "processes that were started together need one run folder",
            "several processes, and no folder",
        )
        fix = "hydra.run.dir=runs/NAME, the same for all of them"
        raise ConfigError([Problem(text, "the command line", "hydra.run.dir", got=got, fix=fix)])


def prepare(arguments: Any) -> None:
    """Check a single run before Hydra starts it, and give it a folder of its own."""
    from blocks.graph import compose
    from tasks.resume import adopt
    from tasks.run import run_folder

    check_resume(arguments.overrides)
    of_the_run = adopted(arguments.overrides)
    name, own = arguments.config_name or "train", arguments.config_dir
    Door.composed = compose(
        arguments.overrides, config_name=name, config_dir=own, adopted=of_the_run
    )
    sys.argv[1:] = [*of_the_run, *sys.argv[1:]]  # found harmless; Hydra composes them once more
    chosen = [text.partition("=")[0] for text in arguments.overrides]
    place = adopt.requested_folder(arguments.overrides)
    if "hydra.run.dir" in chosen:
        run_folder.must_be_writable(arguments.overrides)
        return
    if place is not None and not Door.composed.config.get("carry_over"):
        sys.argv.insert(1, f"hydra.run.dir='{place}'")
    else:
        check_runs(Door.composed)
        check_folder_is_named(run_folder.started_together())
        stamp = datetime.datetime.now().strftime("%Y-%m-%d/%H-%M-%S")
        Door.claimed = run_folder.claim(
            Path(str(Door.composed.config.get("runs", "runs"))).absolute() / stamp
        )
        sys.argv.insert(1, f"hydra.run.dir='{Door.claimed}'")


def check_resume(overrides: list[str], *, sweeps: bool = False) -> None:
    """Raise a ConfigError where `resume` says what means nothing here: a sweep knows `true` alone,
    a run a folder.
    """
    from blocks.graph import ConfigError, Problem
    from tasks.resume import adopt

    text = "a sweep goes on as a whole" if sweeps else "resume names the folder of a run"
    fix = "resume=true with the same command; one run by itself without -m: resume=SWEEP/3"
    fix = fix if sweeps else "resume=RUN, the folder that train.py named in its first line"
    for word in overrides:
        value = word.partition("=")[2]
        fits = (
            value in ("true", "null")
            if sweeps
            else value == "null" or adopt.requested_folder([word]) is not None
        )
        if adopt.override_key(word) == "resume" and not fits:
            raise ConfigError([Problem(text, "the command line", "resume", got=word, fix=fix)])


def adopted(overrides: list[str]) -> list[str]:
    """The overrides that a run which is resumed had, as far as they are not said anew."""
    from blocks.graph import ConfigError, Problem
    from tasks.errors import ArgumentError
    from tasks.resume import adopt

    try:
        return adopt.read_overrides(overrides)
    except ArgumentError as error:
        raise ConfigError(
            [Problem(error.problem, "the command line", "resume", fix=error.fix)]
        ) from error


def check_sweep(arguments: Any) -> None:
    """Raise the error of the first run if none of a sweep can be composed; single ones become rows
    of its table.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from blocks.graph import ConfigError, compose
    from blocks.graph.compose.combinations import check_count, check_swept_once, swept_by_files
    from hydra_plugins.dougong import RESUME

    check_resume(arguments.overrides, sweeps=True)
    name = arguments.config_name or "train"
    given = [text for text in arguments.overrides if text != RESUME]
    bare = [text for text in given if "=" not in text and not text.startswith("~")]
    if bare:
        compose(bare, config_name=name, config_dir=arguments.config_dir)  # raises
    check_swept_once(given)
    words = [*swept_by_files(given, name, arguments.config_dir), *given]
    overrides = OverridesParser.create().parse_overrides(words)
    if any(override.key_or_group == "hydra/sweeper" for override in overrides):
        return  # another sweeper has its own idea of what there is to run
    check_count(overrides)
    first = None
    for combination in BasicSweeper.split_arguments(overrides, None)[0]:
        try:
            compose(combination, config_name=name, config_dir=arguments.config_dir)
            return
        except ConfigError as error:
            first = first or error
    if first is not None:
        raise first


def main() -> None:
    """Run, and leave with 0, 2 for a mistake in the configuration, 1 for a crash, 128 + n after
    signal n.
    """
    from blocks.support.streams import spare_streams
    from tasks.process.parent import die_with_parent
    from tasks.run import run_folder

    spare_streams()
    if run_folder.is_rank():
        die_with_parent()
    try:
        arguments = parse_command_line()
        asks = (
            arguments.help,
            arguments.hydra_help,
            arguments.cfg,
            arguments.info,
            arguments.shell_completion,
        )
        refuse_pickles(arguments)
        if any(asks):
            from blocks.support.environment import unread_environment

            with unread_environment():
                enter()
            sys.exit(FINE)
        quote_what_hydra_cannot_read(arguments)
        (check_sweep if arguments.multirun else prepare)(arguments)
        enter()
    except KeyboardInterrupt:
        Door.status = INTERRUPTED
        print("\nstopped by Ctrl-C", file=sys.stderr)
    except BaseException as error:
        if isinstance(error, SystemExit):
            raise
        Door.status = told_at_the_door(error)
    if (
        Door.status and run_folder.is_rank()
    ):  # the way out of Python may wait for a process that is lost
        flush()
        os._exit(Door.status)
    sys.exit(Door.status)


def flush() -> None:
    """Write out what was printed, where somebody still reads it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def told_at_the_door(error: BaseException) -> int:
    """Tell what ended the program; returns the exit status."""
    from tasks.process.signals import Interrupted

    if isinstance(error, Interrupted):
        if Door.status:  # set by the job, which knows whether this process is the first
            name = "Ctrl-C" if error.name == "SIGINT" else error.name
            print(f"\nstopped by {name}", file=sys.stderr)
            if error.saved:
                print(f"saved {error.saved}; resume=RUN goes on from there", file=sys.stderr)
        return Door.status
    print(explain(error), file=sys.stderr)
    return MISTAKE if is_mistake(error) else CRASH


enter = hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="train")(job)

if __name__ == "__main__":
    main()
