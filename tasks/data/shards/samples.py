"""Images in shards, each by its place in a file: any of them is read without those before it."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from blocks.support.files import open_file
from tasks.data.images.listing.samples import Samples
from tasks.data.shards.scan import Shard


class ShardSamples(Samples):
    """Images in shards with the names of their classes.

    Attributes:
        files: the shards.
        shards: (images,), the shard of each image.
        offsets: (images,), where it begins.
        sizes: (images,), its bytes.
    """

    files: list[Path]
    shards: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray

    @classmethod
    def join(cls, shards: Sequence[Shard]) -> "ShardSamples":
        """Return the images of some shards, in their order."""
        names: list[str] = []
        labels: list[str] = []
        for shard in shards:
            names += [f"{shard.path.name}/{name}" for name in shard.names]
            labels += shard.labels
        packed = Samples.pack(Path(), names, labels)
        found = cls(
            Path(), packed.content, packed.starts, packed.ends, packed.codes, packed.classes
        )
        counts = [len(shard.names) for shard in shards]
        found.files = [shard.path for shard in shards]
        found.shards = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
        found.offsets = np.concatenate([np.array(shard.offsets, np.int64) for shard in shards])
        found.sizes = np.concatenate([np.array(shard.sizes, np.int64) for shard in shards])
        return found

    def place(self, index: int) -> str:  # type: ignore[override]
        return self.name(index)

    def open_raw(self, index: int) -> BinaryIO:
        with open_file(self.files[self.shards[index]]) as file:
            file.seek(int(self.offsets[index]))
            content = file.read(int(self.sizes[index]))
        if not content:
            raise OSError("an empty file")
        return io.BytesIO(content)

    def take(self, indices: np.ndarray) -> "ShardSamples":
        """Return some of the images, which share the names with these."""
        packed = super().take(indices)
        found = ShardSamples(
            packed.root, packed.content, packed.starts, packed.ends, packed.codes, packed.classes
        )
        found.files, found.shards = self.files, self.shards[indices]
        found.offsets, found.sizes = self.offsets[indices], self.sizes[indices]
        return found

    def counts(self) -> np.ndarray:
        """Return the images of each shard (shards,)."""
        return np.bincount(self.shards, minlength=len(self.files))

    def fingerprint_parts(self) -> Iterator[Any]:
        """Yield what identifies the images: names, classes and places."""
        for index in range(len(self)):
            yield self.content[self.starts[index] : self.ends[index]]
        yield from self.classes
        for numbers in (self.codes, self.offsets, self.sizes):
            yield numbers.tobytes()
