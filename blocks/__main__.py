"""Questions about an architecture, answered without a minute of training: `python -m blocks explain
model=vit`.
"""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):
    # `python -m` looks into the folder where the user stands before all others: a yaml.py or
    # hydra_plugins/ of a stranger's folder would run. The project is found where it is; blocks of
    # the user's own are named by `library`.
    sys.path.pop(0)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path.extend([] if root in sys.path else [root])

import argparse
import gc
import importlib
import traceback
from collections.abc import Callable
from functools import partial

CRASH, MISTAKE = 1, 2
# a file of blocks/commands each; imported only when it is called, so that --help answers at once
COMMANDS = {
    "explain": "one row a node: block, output shape, parameters, multiply-adds; --why: where a "
    "value comes from",
    "check": "models and every combination of a sweep, before the first run",
    "diff": "what differs between two models: nodes, shapes, parameters, multiply-adds",
    "fit": "the value of a param that meets a budget of parameters or multiply-adds",
    "draw": "a picture: a page, an SVG, Mermaid or DOT",
    "watch": "explain, check or diff again whenever a file is saved; answers the same commands "
    "elsewhere",
    "emit": "the model as one file of plain PyTorch that needs torch alone",
    "catalog": "every block: what it takes, gives and does; which models use it",
    "schema": "JSON Schema for editors: completes and checks YAML as it is written",
    "studio": "a local page: the model is seen, changed, checked, compared and trained",
    "load": "weights of timm, transformers, torchvision or our own into a model; says what "
    "became of each tensor",
}
EXAMPLES = """examples:
  python -m blocks explain model=vit_ti16 data=imagenet
  python -m blocks explain model=vit model/mlp=swiglu model.params.depth=6 --depth 2
  python -m blocks explain model=swin --why stages.1.merge.dim
  python -m blocks check model=vit,swin model/norm=layernorm,rmsnorm
  python -m blocks watch explain model=vit
  python -m blocks diff model=vit model=vit,model/residual=postnorm
  python -m blocks fit model=vit,swin 'model.params.dim=?' parameters=1e6
  python -m blocks draw model=swin -o swin.svg
  python -m blocks catalog SelfAttention
  python -m blocks load model=vit_b16 data=imagenet --weights FILE --map timm_vit --save OUT
"""


def list_commands(program: str) -> int:
    """Print the commands, and return the exit status of a line without one."""
    print(f"{program} COMMAND ...")
    for name, summary in COMMANDS.items():
        print(f"  {name:<8} {summary}")
    return MISTAKE


def main(arguments: list[str] | None = None, program: str = "python -m blocks") -> int:
    """Run a command.

    Args:
        arguments: of the command line.
        program: how the user calls it.

    Returns:
        The exit status: 0, or 2 after a mistake of the user's.
    """
    return prepare(sys.argv[1:] if arguments is None else arguments, program)()


def prepare(arguments: list[str], program: str) -> Callable[[], int]:
    """Read a command line and import what it needs; return what runs it."""
    from blocks.support.answers import Parser

    parser = Parser(
        program,
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    if not arguments:
        return partial(list_commands, program)
    modules, usage = {}, parser
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in arguments[:1]:
            modules[name] = importlib.import_module(f"blocks.commands.{name}")
            modules[name].arguments(command)
            usage = command
    chosen, rest = parser.parse_known_args(arguments)
    words = next((name for name in ("overrides", "words") if hasattr(chosen, name)), "")
    flags = [word for word in rest if word.startswith("-")]
    if rest and not words:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    elif rest:  # overrides behind an option
        setattr(chosen, words, [*getattr(chosen, words), *rest])
    from blocks.support.program import spare_streams

    spare_streams()
    run = partial(modules[chosen.command].run, chosen)
    if flags:
        run = partial(refuse, arguments, flags, usage.format_usage())
    return partial(run_command, run, arguments, program)


def refuse(words: list[str], flags: list[str], usage: str) -> int:
    """Raise a ConfigError for options that a command does not have."""
    from blocks.graph.compose.flags import refuse_flags

    raise refuse_flags(words, flags, usage)


def run_command(run: Callable[[], int], words: list[str], program: str) -> int:
    """Run a command, print its error, and return the exit status."""
    from blocks.graph import ConfigError, corrected_line
    from blocks.support.answers import asks_for_json, error_entries, print_error

    try:
        return run()
    except ConfigError as error:
        if os.environ.get("DOUGONG_DEBUG") == "1":
            traceback.print_exc()
        text = str(error)
        line = corrected_line(error, words) if program == "dougong" else None
        if line is not None:
            text = f"{text}\n\n{line}"
        print_error(text, error_entries(error), MISTAKE, words)
        return MISTAKE
    except Exception as error:
        if isinstance(error, BrokenPipeError) or not asks_for_json(words):
            raise
        print_error("", error_entries(error), CRASH, words)
        return CRASH


def start(arguments: list[str], program: str = "python -m blocks") -> int:
    """Let the process of `watch` answer, or run the command here; the exit status."""
    from blocks.support.program import run_quietly

    return run_quietly(partial(answer, arguments, program))


def answer(arguments: list[str], program: str) -> int:
    """Do what `start` says."""
    from blocks.watch.client import ask

    status = ask(arguments, program)
    if status is not None:
        return status
    if arguments[:1] == ["studio"]:
        from blocks.studio.ahead import started_ahead

        with started_ahead(arguments[1:]):
            return run_here(arguments, program)
    return run_here(arguments, program)


def run_here(arguments: list[str], program: str) -> int:
    """Run the command in this process; the exit status."""
    from blocks.support.stand_ins import restore_the_compiler, spare_the_compiler

    spare_the_compiler()
    gc.disable()  # until all is imported: what imports make is kept, and looked through in vain
    try:
        run = prepare(arguments, program)
        gc.freeze()
        gc.enable()
        return run()
    finally:
        gc.enable()
        restore_the_compiler()  # the rest of this process may train


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
