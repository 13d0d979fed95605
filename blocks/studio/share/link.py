"""The text of a model in an address, behind `#`: no server sees it, and no request carries it."""

import base64
import binascii
import zlib

from blocks.studio.drafts import LONGEST

MOST = 60_000  # characters of a text in an address


def write_link(text: str) -> str:
    """Return a text as a part of an address."""
    packed = zlib.compress(text.encode(), 9)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_link(packed: str) -> str | None:
    """Return the text of an address; None where there is none, or it is too long."""
    if not packed.isascii() or len(packed) > MOST:
        return None
    try:
        content = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        reader = zlib.decompressobj()
        text = reader.decompress(content, 4 * LONGEST)
        found = text.decode() if reader.eof else ""
    except (binascii.Error, zlib.error, UnicodeDecodeError):
        return None
    if not 0 < len(found) <= LONGEST:
        return None
    return found
