"""What general compressors reach on a text: a baseline for language models without training."""

import bz2
import gzip
import lzma
from collections.abc import Callable

ENOUGH = 1_000_000  # characters; more of them change the last digit, and take long
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def compressed(known: str, text: str) -> str:
    """Describe how many bits per character general compressors need for a text.

    Args:
        known: what they may read before; of a longer text the last million characters.
        text: what is compressed; of a longer text the first million characters.

    Returns:
        The bits of each compressor, alone and after `known`.
    """
    before, content = known[-ENOUGH:].encode(), text[:ENOUGH].encode()
    length = len(text[:ENOUGH])
    found = []
    for name, compress in COMPRESSORS.items():
        alone = len(compress(content))
        after = len(compress(before + content)) - len(compress(before))
        found.append(
            f"{name} {8 * alone / length:.3f} (after the training text {8 * after / length:.3f})"
        )
    return f"{', '.join(found)} bits per character"
