"""Images with captions of a user's own: `data=captions`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from tasks.data.base import DataModule, RawSample
from tasks.data.captions.rows import CaptionRows, group_pairs, number_files
from tasks.data.images.image_folder import ImageFiles, Images
from tasks.data.images.listing.inspect import leave_out_broken
from tasks.data.images.listing.samples import ImageSource, Samples
from tasks.data.readers.caption import CaptionReader
from tasks.data.sequences.base import Part, pad_rows, trim_padding
from tasks.data.split import PARTS, split_missing
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive


class CaptionTable(Images):
    """Images and captions that a table lists: a row for each pair, with a path and a text.

    An image may have several captions; all of them are in one part. A batch has "image" (batch,
    channels, size, size), "text" (batch, tokens), "text_mask", "group", equal for pairs that share
    an image or a caption, directly or by other pairs of their part, and "index".

    Args:
        table: .csv, .tsv, .jsonl or .parquet.
        path: the folder that the paths begin in; None: that of the table.
        image: the column of the paths; None: the one called image, path, file or filename.
        caption: the column of the captions; None: the one called caption, text, title, description
            or sentence, or the only other one.
        split_column: the column of the part of each pair: train, val or test. A part that no pair
            has is cut from the training part.
        tokenizer: characters, words or bpe; trained on the captions of the training part.
        vocab: the most different tokens, for words and bpe.
        length: the most tokens of a caption; longer ones are cut, with a note.
        crop: as of `Images`, near 1: a caption may tell of what a crop leaves out.
        flip: as of `Images`, off: a caption may tell left from right.
        options: size, channels, batch_size, erase, randaugment, magnitude, mean, std, span, val,
            test, workers, check, seed, split_seed, facts: those of `Images`.
    """

    reader = CaptionReader
    noun = "caption"
    padding: ClassVar[Mapping[str, tuple[str, ...]]] = {"text_mask": ("text", "text_mask")}

    def __init__(
        self,
        table: str,
        *,
        path: str | None = None,
        image: str | None = None,
        caption: str | None = None,
        split_column: str | None = None,
        tokenizer: Literal["characters", "words", "bpe"] = "bpe",
        vocab: int = 4000,
        length: int = 64,
        crop: float = 0.9,
        flip: bool = False,
        **options: Any,
    ):
        must_be_one_of("tokenizer", tokenizer, ("characters", "words", "bpe"))
        must_be_positive("vocab", vocab)
        must_be_positive("length", length)
        super().__init__(path, table=table, crop=crop, flip=flip, **options)
        named = tuple(filter(None, [caption]))
        self.table = CaptionRows(Path(table).expanduser(), image, named, None, split_column)
        self.kind, self.vocab, self.length = tokenizer, vocab, length
        self.text = torch.zeros(0, 0, dtype=torch.long)
        self.group: dict[str, Tensor] = {}

    def read(self) -> None:
        """Read the table and its captions, once; decode each image if `check` is on."""
        if self.parts:
            return
        parts = self._find_parts()
        if self._must_check(sum(map(len, parts.values()))):
            parts, notes = leave_out_broken(parts, self.channels, self.span, self.path)
            self.notes += notes
        found = self._split_missing(parts)
        shares = {"train": None, "val": self.val, "test": self.test}
        for part in PARTS:
            if not len(found[part]) and shares[part] != 0:
                raise ArgumentError(
                    "table",
                    f"too few images for the part {part}",
                    got=f"{sum(map(len, found.values())):,} pairs",
                    fits="three images or more: one for each part",
                )
        self._encode(found)
        self.parts = found
        for part in PARTS:
            self.group[part] = torch.from_numpy(group_pairs(self.pairs(part))).long()
        self._note_shared()

    def pairs(self, part: str) -> Samples:
        """Return the pairs of a part; the class of each is its caption."""
        found = self.parts[part]
        assert isinstance(found, Samples)
        return found

    def _split_missing(self, parts: dict[str, ImageSource]) -> dict[str, ImageSource]:
        """Cut the parts that the table does not state from the training part, by images."""
        train, found = parts["train"], dict(parts)
        assert isinstance(train, Samples)
        file = number_files(train)
        one = torch.zeros(int(file.max()) + 1, dtype=torch.long)
        chosen = split_missing(one, parts, self.val, self.test, self.split_seed)
        for name, files in chosen.items():
            found[name] = train.take(np.flatnonzero(np.isin(file, files.numpy())))
        return found

    def _encode(self, parts: Mapping[str, ImageSource]) -> None:
        """Encode each caption once, with a tokenizer of those of the training part."""
        captions = parts["train"].classes
        if self.tokenizer is None:
            texts = (captions[code] for code in parts["train"].codes)
            self.tokenizer = Tokenizer.train(texts, self.kind, self.vocab)
        rows = list(map(self.tokenizer.encode, captions))
        cut = sum(len(row) > self.length for row in rows)
        if cut:
            total = f"{cut:,} of {len(rows):,} captions"
            self.notes.append(f"{total} are longer than {self.length} tokens, and cut")
        self.text = pad_rows([row[: self.length] for row in rows], self.length, PAD)

    def _note_shared(self) -> None:
        """Note images that share captions, which recall counts as one."""
        shared = 0
        for part in PARTS:
            files = number_files(self.pairs(part))
            shared += len(np.unique(files)) - len(self.group[part].unique())
        if shared:
            self.notes.append(
                f"{shared:,} images share a caption with another one of their part: the captions "
                "of each are right for all of them"
            )

    def _labels(self, found: ImageSource) -> Tensor:
        return torch.from_numpy(found.codes.astype(np.int64))

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab = self.tokenizer.vocab
        return {
            "image": self._shape(),
            "text": {"tokens": self.length, "dtype": "int", "vocab": vocab},
            "text_mask": {"tokens": self.length, "dtype": "bool"},
            "vocab": vocab,
        }

    def names(self, part: str) -> list[str]:
        found = self.pairs(part)
        return [found.classes[code] for code in found.codes]

    def raw_sample(self, part: str, index: int) -> RawSample:
        found = self.pairs(part)
        caption = found.classes[found.codes[index]]
        return RawSample(image=super().raw_sample(part, index).image, text=caption)

    def reader_arguments(self) -> dict[str, Any]:
        return {**super().reader_arguments(), "length": self.length, "prompts": []}

    def restore(self, place: Path) -> None:
        DataModule.restore(self, place)

    def shown(self, ids: list[int]) -> str:
        """Return tokens as text for people."""
        return self.tokenizer.decode(ids)

    def token_names(self, ids: list[int]) -> list[str]:
        """Return each token by itself as text for people."""
        return list(map(self.tokenizer.name, ids))

    def narrow(self, batch: Part) -> Part:
        """Return the batch without the columns that are padding in every row."""
        return trim_padding(batch, self.padding)

    def padded_batch(self, count: int = 4) -> Part | None:
        """Return a batch of training pairs from the shortest to the longest caption; None if all
        are as long.
        """
        size = (self.text[self._labels(self.parts["train"])] != PAD).sum(1)
        order = size.argsort(stable=True)
        order = order[size[order] > 0]
        if not len(order) or size[order[0]] == size[order[-1]]:
            return None
        rows = order[torch.linspace(0, len(order) - 1, count).long()].unique()
        dataset = self._dataset("train", is_augmented=False)
        return self.narrow(default_collate([dataset[0, row] for row in rows.tolist()]))

    def _dataset(self, part: str, *, is_augmented: bool) -> "PairFiles":
        return PairFiles(self, part, is_augmented=is_augmented)


class PairFiles(ImageFiles, Dataset[dict[str, Any]]):
    """The pairs of one part; a key is (epoch, index)."""

    def __init__(self, data: CaptionTable, part: str, *, is_augmented: bool):
        super().__init__(data, part, data._labels(data.parts[part]), is_augmented=is_augmented)
        self.text, self.group = data.text, data.group[part]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        sample = super().__getitem__(key)
        text = self.text[sample.pop("label")]
        group = self.group[sample["index"]]
        return sample | {"text": text, "text_mask": text != PAD, "group": group}
