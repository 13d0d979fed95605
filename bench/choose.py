"""Which families and peers the command line asks for."""

import sys
from collections.abc import Mapping, Sequence

from bench.compare.contender import Family


def choose(
    found: Mapping[str, Family], only: Sequence[str] | None, named: Sequence[str] | None
) -> list[Family]:
    """The families to measure; one that has none of the named peers is left out, with a line.

    Args:
        found: every family by its name.
        only: names of families; if left out, all but those that only a GPU compares.
        named: names of peers, all if left out.

    Raises:
        SystemExit: a name that nothing bears, or no family is left; says what fits.
    """
    if unknown := [name for name in only or () if name not in found]:
        sys.exit(f"no family {', '.join(unknown)}\n  fits      {', '.join(found)}")
    chosen = [
        family for name, family in found.items() if (name in only if only else not family.only_gpu)
    ]
    if not named:
        return chosen
    known = {
        peer: [family.name for family in found.values() if peer in family.peers] for peer in named
    }
    if strange := [peer for peer, families in known.items() if not families]:
        sys.exit(f"no peer {', '.join(strange)}\n  fits      {fitting(chosen)}")
    left = [family for family in chosen if set(family.peers) & set(named)]
    if not left:
        having = "\n            ".join(
            f"{peer}: --only {' '.join(families)}" for peer, families in known.items()
        )
        told = f"no peer {', '.join(named)} in {', '.join(only or ())}"
        sys.exit(f"{told}\n  got       {fitting(chosen)}\n  fits      {having}")
    for family in chosen:
        if family not in left:
            print(f"{family.name} is left out: its peers are {', '.join(family.peers)}", flush=True)
    return left


def fitting(families: Sequence[Family]) -> str:
    """The peers of some families, each once."""
    return ", ".join(dict.fromkeys(peer for family in families for peer in family.peers))
