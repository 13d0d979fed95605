"""The header of a folder of tokens: what is in its files, and how it was made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blocks.support.files import read_file
from tasks.data.split import PARTS
from tasks.data.text.tokenizer import Tokenizer
from tasks.errors import ArgumentError

HEADER = "tokens.json"
FORMAT, VERSION = "dougong tokens", 1
DTYPES = ("<u2", "<u4")  # unsigned integers of 16 and 32 bits, the lowest byte first


@dataclass(frozen=True)
class PartFile:
    """The tokens of a part, in a file of its own.

    Args:
        tokens: how many there are, the start in front included.
        characters: of the text.
        bytes: of the text in UTF-8.
        unknown_bytes: those that unknown tokens stand for; counted in the test part alone.
    """

    tokens: int
    characters: int
    bytes: int
    unknown_bytes: int = 0


@dataclass(frozen=True)
class Header:
    """What a folder of tokens holds.

    Args:
        dtype: of a token, as NumPy writes it.
        kind: of the tokenizer: characters, bytes, words or bpe; "given" if it was not trained.
        vocab: the number of different tokens.
        tokenizer: SHA-256 of the tokenizer as it is saved.
        sources: SHA-256 of names and contents of the documents.
        documents: how many there are.
        split: val, test and seed, by which the documents were divided.
        parts: the files, train.bin, val.bin and test.bin.
        compressed: what general compressors reach on the test text.
        notes: on what was read.
    """

    dtype: str
    kind: str
    vocab: int
    tokenizer: str
    sources: str
    documents: int
    split: Mapping[str, float]
    parts: Mapping[str, PartFile]
    compressed: str = ""
    notes: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (folder / HEADER).write_text(text, encoding="utf-8")


def part_file(folder: Path, part: str) -> Path:
    """Return the file of a part."""
    return folder / f"{part}.bin"


def hash_tokenizer(tokenizer: Tokenizer) -> str:
    """Return the SHA-256 of a tokenizer as it is saved."""
    return hashlib.sha256(tokenizer.trained.to_str().encode()).hexdigest()


def read_header(folder: Path) -> Header:
    """Read the header of a folder.

    Raises:
        ArgumentError: there is none, it is damaged, or of another version.
    """
    path = folder / HEADER
    again = f"python -m tasks tokenize FILES -o {folder}"
    if not folder.is_dir() or not path.exists():
        raise ArgumentError(
            "path",
            f"{folder} is no folder of tokens",
            got=f"no {HEADER} in it",
            fits="a folder that `tokenize` wrote",
            fix=f"{again}; texts themselves are read by data=text",
        )
    try:
        content = json.loads(read_file(path))
        if content["format"] != FORMAT:
            raise ValueError(f"the format {content['format']!r}")
        version = content["version"]
        if version == VERSION:
            return parse_header(content)
    except OSError as error:
        raise ArgumentError("path", f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArgumentError("path", f"{path} is damaged", got=str(error), fix=again) from error
    raise ArgumentError(
        "path",
        f"{path} is of another version of the format",
        got=f"version {version}",
        fits=f"version {VERSION}",
        fix=again,
    )


def parse_header(content: Mapping[str, Any]) -> Header:
    """Return a header from JSON; raises KeyError, TypeError or ValueError if it is damaged."""
    if content["dtype"] not in DTYPES:
        raise ValueError(f"the type {content['dtype']!r}")
    parts = {part: PartFile(**content["parts"][part]) for part in PARTS}
    for part, found in parts.items():
        for name, number in asdict(found).items():
            least = int(name != "unknown_bytes")
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ValueError(f"{number!r} {name} in the part {part}")
    return Header(
        dtype=content["dtype"],
        kind=str(content["kind"]),
        vocab=int(content["vocab"]),
        tokenizer=str(content["tokenizer"]),
        sources=str(content["sources"]),
        documents=int(content["documents"]),
        split=dict(content["split"]),
        parts=parts,
        compressed=str(content["compressed"]),
        notes=list(map(str, content["notes"])),
    )
