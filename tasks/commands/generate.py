"""`python -m tasks generate`: continue a text, token by token."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tasks.commands.common import OK, add_no_cache_option, add_run_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument("--prompt", default="", help="the beginning of the text")
    parser.add_argument("--tokens", type=int, default=400, help="the most tokens to write (400)")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0 takes the most probable token (0.8)"
    )
    parser.add_argument("--top-k", type=int, help="sample among the K most probable tokens")
    parser.add_argument(
        "--top-p", type=float, help="sample among the most probable tokens that add up to P"
    )
    parser.add_argument(
        "--stop", action="append", default=[], help="a text of one token after which to stop"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--draft",
        type=Path,
        metavar="RUN",
        help="a smaller run with the same tokenizer that proposes tokens, which the run checks "
        "together: faster, and what is written has the same probabilities",
    )
    parser.add_argument(
        "--ahead", type=int, default=4, help="tokens that the draft proposes together (4)"
    )
    add_no_cache_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the continuation of the prompt as it grows."""
    import torch

    from tasks.data.text.tokenizer import MASK, PAD, START, UNKNOWN
    from tasks.decode.search import Sampler
    from tasks.errors import must_be_positive
    from tasks.run.load_run import open_run

    must_be_positive("tokens", arguments.tokens)
    run = open_run(arguments.run, tuple(arguments.library))
    check_language_model(run)
    tokenizer = run.tokenizer
    stop = encode_stops(tokenizer, arguments.stop)
    sampler = Sampler(
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        generator=torch.Generator().manual_seed(arguments.seed),
        forbidden=(PAD, START, UNKNOWN, MASK),
    )
    start = torch.tensor([[START, *tokenizer.encode(arguments.prompt)]])
    stream = stream_drafted if arguments.draft else stream_plain
    print(arguments.prompt, end="", flush=True)
    for piece in decode_stream(stream(arguments, run, sampler, start, stop), tokenizer):
        print(piece, end="", flush=True)
    print()
    return OK


def make_scorer(run: Any, cache: bool) -> Any:
    """Return the network of a run as a source of logits."""
    from tasks.decode.scorer import NextTokenScorer

    window = run.facts["tokens"]["tokens"]
    return NextTokenScorer(run.network, run.facts, "tokens", window=window, cache=cache)


def stream_plain(
    arguments: argparse.Namespace, run: Any, sampler: Any, start: Any, stop: list[int]
) -> Iterator[Any]:
    """Yield the tokens of the run alone."""
    from tasks.decode import search

    score = make_scorer(run, not arguments.no_cache)
    return search.stream_tokens(
        score.score({}, start.shape[1] + arguments.tokens),
        start,
        end=None,
        limit=arguments.tokens,
        temperature=sampler.temperature,
        top_k=sampler.top_k,
        top_p=sampler.top_p,
        generator=sampler.generator,
        stop=stop,
        forbidden=sampler.forbidden,
    )


def stream_drafted(
    arguments: argparse.Namespace, run: Any, sampler: Any, start: Any, stop: list[int]
) -> Iterator[Any]:
    """Yield the tokens of the run, proposed by its draft; then write on standard error how many
    were accepted.
    """
    from tasks.decode.speculative import DraftedDecoding
    from tasks.run.load_run import open_run

    draft = open_run(arguments.draft, tuple(arguments.library))
    check_language_model(draft)
    check_same_tokenizer(run, draft)
    cache = not arguments.no_cache
    decoding = DraftedDecoding(
        make_scorer(run, cache), make_scorer(draft, cache), sampler, ahead=arguments.ahead
    )
    begin, written = time.perf_counter(), 0
    for token in decoding.stream(start, limit=arguments.tokens, stop=stop):
        written += 1
        yield token
    counts, seconds = decoding.counts, time.perf_counter() - begin
    share = counts.accepted / max(counts.proposed, 1)
    print(
        f"\ndraft: {counts.accepted} of {counts.proposed} tokens accepted ({share:.0%}), "
        f"{written / seconds:,.0f} tokens/s",
        file=sys.stderr,
    )


def check_same_tokenizer(run: Any, draft: Any) -> None:
    """Raise an ArgumentError unless the draft was trained with the same tokenizer."""
    from tasks.errors import ArgumentError

    if run.tokenizer.trained.to_str() != draft.tokenizer.trained.to_str():
        raise ArgumentError(
            "draft",
            f"{draft.folder} has another vocabulary",
            got=f"{draft.tokenizer.vocab} tokens, {run.folder} has {run.tokenizer.vocab}",
            fits="a run that was trained on the same texts with the same data.tokenizer",
        )


def check_language_model(run: Any) -> None:
    """Raise an ArgumentError for a run that cannot continue a text."""
    from tasks.errors import ArgumentError

    if "tokens" not in run.network.input_names or "classes" in run.facts:
        raise ArgumentError(
            "run", f"{run.folder} is no language model", fits="a run of task=language"
        )
    if run.facts.get("mask"):
        raise ArgumentError(
            "run",
            f"{run.folder} fills gaps in a text and cannot continue one",
            got=f"data.mask={run.facts['mask']}",
            fits="a run with data.mask=0",
        )


def encode_stops(tokenizer: Any, texts: list[str]) -> list[int]:
    """Return the token of each stop; raise an ArgumentError for a stop of several tokens."""
    from tasks.errors import ArgumentError

    tokens = []
    for text in texts:
        ids = tokenizer.encode(text)
        if len(ids) != 1:
            raise ArgumentError(
                "stop", "a stop must be one token", got=str(texts), fits='--stop "."'
            )
        tokens.append(ids[0])
    return tokens


def decode_stream(stream: Iterable[Any], tokenizer: Any) -> Iterator[str]:
    """Yield pieces of text; a character of several tokens is yielded once it is complete."""
    pending: list[int] = []
    for token in stream:
        pending.append(int(token[0]))
        text = tokenizer.decode(pending)
        if not text.endswith("\ufffd"):
            yield text
            pending.clear()
