"""Read images for prediction by a network that was trained on images and captions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.data.base import TOKENIZER
from tasks.data.captions.prompts import Prompts, encode_prompts
from tasks.data.readers.image import ImageReader
from tasks.data.text.tokenizer import UNKNOWN, Tokenizer
from tasks.errors import ArgumentError


class CaptionReader(ImageReader):
    """Images, which are compared with the texts of the classes.

    Args:
        tokenizer: of the run.
        length: the most tokens of a text.
        prompts: the texts of each class; none where the data have no classes.
        options: those of `ImageReader`.
    """

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        length: int,
        prompts: Sequence[Sequence[str]],
        **options: Any,
    ):
        super().__init__(**options)
        self.tokenizer, self.length, self.texts = tokenizer, length, prompts

    @classmethod
    def open(cls, place: Path, kept: dict[str, Any]) -> "CaptionReader":
        return cls(tokenizer=Tokenizer.load(place / TOKENIZER), **kept)

    def prompts(self) -> Prompts:
        """Return the texts of the classes as tokens."""
        return encode_prompts(self.texts, self.tokenizer, self.length)

    def compare(self, captions: Sequence[str]) -> None:
        """Set the texts that images are compared with, a class each.

        Raises:
            ArgumentError: a text cannot be read.
        """
        for text in captions:
            ids = self.tokenizer.encode(text)
            problem = None
            if not ids:
                problem = "it is empty"
            elif UNKNOWN in ids:
                problem = "training never saw one of its words where it stands"
            elif len(ids) > self.length:
                problem = f"{len(ids)} tokens, the longest text of training had {self.length}"
            if problem:
                fits = "words of training"
                if self.texts:
                    fits += f", e.g. {self.texts[0][0]!r}"
                raise ArgumentError(
                    "caption", f"a text cannot be read: {problem}", got=repr(text), fits=fits
                )
        self.texts = [[text] for text in captions]
