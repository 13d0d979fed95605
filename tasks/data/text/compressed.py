"""What general compressors make of a text: a yardstick for language models that costs no
training.
"""

import bz2
import gzip
import lzma
from typing import Any

ENOUGH = 1_000_000  # characters; more of them change the last digit, and take long


def compressed(known: str, text: str) -> str:
    """What general compressors need for `text`, in bits per character: alone, and after they have
    read `known`.

    Of longer texts the first million characters are compressed, after the last million of what is
    known.
    """
    known, text = known[-ENOUGH:], text[:ENOUGH]
    told = []
    compressors: dict[str, Any] = {
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
    }
    for name, compress in compressors.items():
        alone = len(compress(text.encode()))
        after = len(compress((known + text).encode())) - len(compress(known.encode()))
        told.append(
            f"{name} {8 * alone / len(text):.3f} (after the training text "
            f"{8 * after / len(text):.3f})"
        )
    return ", ".join(told) + " bits per character"
