"""`python -m tasks translate`: translate texts, one line each."""

import argparse
import sys

from tasks.commands.common import FAILED, OK, add_no_cache_option, add_run_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument(
        "text", nargs="*", help="texts; without any, lines of standard input are read"
    )
    parser.add_argument("--beams", type=int, default=1, help="width of the beam (1: greedy)")
    parser.add_argument("--length-penalty", type=float, default=0.6)
    add_no_cache_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one line for each text; a bad text is reported and does not stop the rest."""
    import torch

    from tasks.decode import translate_lines
    from tasks.decode.translate_lines import SourceLine
    from tasks.errors import ArgumentError
    from tasks.learn.translate import Translate
    from tasks.run.load_run import open_run

    run = open_run(arguments.run, tuple(arguments.library))
    if "source" not in run.network.input_names:
        raise ArgumentError(
            "run", f"{arguments.run} does not translate", fits="a run of task=translate"
        )
    task = Translate(
        run.network,
        optimizer=torch.optim.SGD,
        facts=run.facts,
        cache=not arguments.no_cache,
        beams=arguments.beams,
        length_penalty=arguments.length_penalty,
    ).eval()
    batches = [arguments.text] if arguments.text else translate_lines.read_ready_lines(sys.stdin)
    length = run.facts["source"]["tokens"]
    status = OK
    for texts in batches:
        lines = [SourceLine.encode(text, run.tokenizer, length) for text in texts]
        translations = translate_lines.translate_lines(task, run.tokenizer, lines)
        for line, translation in zip(lines, translations, strict=True):
            if line.note:
                status = FAILED
                print(line.note, file=sys.stderr)
            # an empty line for a bad text: the translations keep their line numbers
            print(translation, flush=True)
    return status
