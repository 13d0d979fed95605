"""Two handwritten digits on a canvas, and a caption that says how they lie: nothing to download."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from tasks.data.base import RawSample
from tasks.data.captions.prompts import Prompts, encode_prompts
from tasks.data.images import augment
from tasks.data.readers.caption import CaptionReader
from tasks.data.sampler import generator
from tasks.data.sequences.base import InMemorySequences, Part, pad_rows
from tasks.data.split import PARTS
from tasks.data.text.phrasings import ONES
from tasks.data.text.questions import pools
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError, must_be_positive, must_be_share, must_not_be_negative

DIGITS, SIDE = 10, 8
# axis of the canvas -> the two ways to say it: the first digit of a scene is left or above
RELATIONS = (("left of", "right of"), ("above", "below"))
SCENES = len(RELATIONS) * DIGITS * DIGITS
ACROSS = 3  # the most pixels that the digits differ along the other axis
HELD_OUT = {"test": 2, "val": 1}  # of the ten partners of a digit, in each relation and order


class DigitCaptions(InMemorySequences):
    """Two of scikit-learn's digits on a canvas, and a caption: "a three left of a seven".

    A scene is two digits and an axis; each has two captions, e.g. "a seven right of a three", one
    of which a sample has. The parts show different scenes: 20 % of the 200 are in the test only and
    10 % in the validation only, each digit equally often in each place. They show different digits,
    too: none of the test is in an image of training. Training has new images in every epoch, which
    depend on (seed, epoch) alone; validation and test stay. A batch has "image" (batch, 1, size,
    size) in [0, 1], "text" (batch, tokens), "text_mask", "label" and "group", the number of the
    scene, and "index".

    Args:
        train: samples of an epoch.
        val: samples for validation.
        test: samples for the test.
        size: height and width of a canvas.
        noise: standard deviation of the normal noise on each pixel.
        shift: move each digit of training by up to this many pixels.
        rotate: rotate it by up to this many degrees.
        scale: make it larger or smaller by up to this share.
        options: those of `InMemorySequences`.

    Source:
        Held-out combinations of known words, as in the compositional split of CLEVR, Johnson et al.
        2017, arXiv:1612.06890, section 4.7.
    """

    quick = True

    reader = CaptionReader
    noun = "caption"
    padding: ClassVar[Mapping[str, tuple[str, ...]]] = {"text_mask": ("text", "text_mask")}

    def __init__(
        self,
        *,
        train: int = 16000,
        val: int = 500,
        test: int = 1000,
        size: int = 16,
        noise: float = 0.05,
        shift: float = 0.5,
        rotate: float = 10,
        scale: float = 0.1,
        **options: Any,
    ):
        super().__init__(**options)
        self.counts = {"train": train, "val": val, "test": test}
        for name, value in self.counts.items():
            must_be_positive(name, value)
        if size < 2 * SIDE:
            raise ArgumentError(
                "size",
                "two digits of 8x8 pixels must fit side by side",
                got=f"size={size}",
                fits=f"{2 * SIDE} or more",
            )
        must_be_share("noise", noise)
        must_not_be_negative("shift", shift)
        must_not_be_negative("rotate", rotate)
        must_be_share("scale", scale)
        self.size, self.noise = size, noise
        self.moved = {"shift": shift, "rotate": rotate, "scale": scale}
        self.captions = list_captions()
        self.classes = [first for first, _ in self.captions]

    def load(self) -> dict[str, Part]:
        texts = [text for pair in self.captions for text in pair]
        self.tokenizer = self.tokenizer or Tokenizer.train(texts, "words")
        encoded = list(map(self.tokenizer.encode, texts))
        self.length = max(map(len, encoded))
        self.encoded = pad_rows(encoded, self.length, PAD)
        self.pools = pools(self.split_seed)
        self.scenes = split_scenes(self.split_seed)
        # validation and test have random sources of their own, which no epoch of training uses
        parts = {}
        for salt, part in enumerate(PARTS):
            parts[part] = self.make(part, self.counts[part], self.split_seed, -1 - salt)
        return parts

    def fresh(self, epoch: int) -> Part:
        return self.make("train", self.counts["train"], self.seed, epoch)

    def make(self, part: str, count: int, *numbers: int) -> Part:
        """Return samples of the scenes and digits of a part, which depend on `numbers` only."""
        source = generator(*numbers)
        scenes = self.scenes[part]
        scene = scenes[torch.randint(len(scenes), (count,), generator=source)]
        caption = 2 * scene + torch.randint(2, (count,), generator=source)
        text = self.encoded[caption]
        return {
            "image": self._draw(part, scene, source),
            "text": text,
            "text_mask": text != PAD,
            "label": scene,
            "group": scene,
            "caption": caption,
        }

    def _draw(self, part: str, scene: Tensor, source: torch.Generator) -> Tensor:
        """Return canvases (samples, 1, size, size) in [0, 1]."""
        axis, first, second = read_scenes(scene)
        small = self._pick_digits(part, torch.stack([first, second], 1), source)
        count, most = len(scene), self.size - SIDE
        apart = draw_integers(torch.full((count,), SIDE), most, source)
        along = draw_integers(torch.zeros(count).long(), most - apart, source)
        across = torch.randint(most + 1, (count, 1), generator=source)
        other = across + torch.randint(-ACROSS, ACROSS + 1, (count, 1), generator=source)
        lines = torch.stack([along, along + apart], 1)
        rest = torch.cat([across, other.clamp(0, most)], 1)
        is_row = (axis == 1)[:, None]
        top, left = torch.where(is_row, lines, rest), torch.where(is_row, rest, lines)
        canvas = self.noise * torch.randn(count, self.size, self.size, generator=source)
        step = torch.arange(SIDE)
        sample = torch.arange(count)[:, None, None]
        for number in range(2):
            row = top[:, number, None, None] + step[:, None]
            column = left[:, number, None, None] + step
            canvas[sample, row, column] += small[:, number]
        return canvas.clamp(0, 1)[:, None]

    def _pick_digits(self, part: str, digits: Tensor, source: torch.Generator) -> Tensor:
        """Return handwritten digits of a part (samples, 2, 8, 8), changed at random in training."""
        image, label = self.pools[part]
        order, size = label.argsort(stable=True), label.bincount(minlength=DIGITS)
        first = size.cumsum(0) - size
        drawn = torch.rand(digits.shape, generator=source)
        number = order[first[digits] + (drawn * size[digits]).long()]
        small = image[number.flatten()]
        if part == "train" and any(self.moved.values()):
            small = augment.move(small, source, **self.moved)
        return small[:, 0].unflatten(0, digits.shape)

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab = self.tokenizer.vocab
        return {
            "image": {"channels": 1, "height": self.size, "width": self.size},
            "text": {"tokens": self.length, "dtype": "int", "vocab": vocab},
            "text_mask": {"tokens": self.length, "dtype": "bool"},
            "vocab": vocab,
            "classes": SCENES,
        }

    def narrow(self, batch: Part) -> Part:
        kept = {name: value for name, value in batch.items() if name != "caption"}
        return super().narrow(kept)

    def shown(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def prompts(self) -> Prompts:
        """Return the captions of each scene, which are its class."""
        self.read()
        return encode_prompts(self.captions, self.tokenizer, self.length)

    def names(self, part: str) -> list[str]:
        texts = [text for pair in self.captions for text in pair]
        return [texts[number] for number in self.parts[part]["caption"].tolist()]

    def raw_sample(self, part: str, index: int) -> RawSample:
        image = self.parts[part]["image"][index]
        return RawSample(image=image, text=self.names(part)[index])

    def reader_arguments(self) -> dict[str, Any]:
        image = self.facts()["image"]
        arguments = {"mean": [0.0], "std": [1.0], "length": self.length}
        return {**image, **arguments, "prompts": list(map(list, self.captions))}


def list_captions() -> list[tuple[str, str]]:
    """Return both captions of each scene, in the order of their numbers."""
    found = []
    for way, back in RELATIONS:
        for first in ONES:
            for second in ONES:
                found.append((f"{first} {way} {second}", f"{second} {back} {first}"))
    return found


def read_scenes(scene: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return axis, first and second digit of scenes by their numbers."""
    return scene // DIGITS**2, scene // DIGITS % DIGITS, scene % DIGITS


def split_scenes(seed: int) -> dict[str, Tensor]:
    """Return the numbers of the scenes of each part.

    In each part, a digit is equally often in each place of each relation.
    """
    source = generator(seed)
    axis, first, second = read_scenes(torch.arange(SCENES))
    number = torch.empty(SCENES, dtype=torch.long)
    for each in range(len(RELATIONS)):
        own = axis == each
        renamed = torch.randperm(DIGITS, generator=source)[second[own]]
        number[own] = (first[own] + renamed) % DIGITS
    test, val = HELD_OUT["test"], HELD_OUT["val"]
    chosen = {
        "train": number >= test + val,
        "val": (number >= test) & (number < test + val),
        "test": number < test,
    }
    return {part: mask.nonzero()[:, 0] for part, mask in chosen.items()}


def draw_integers(low: Tensor, high: Tensor | int, source: torch.Generator) -> Tensor:
    """Return a random whole number from `low` to `high` for each, both included."""
    drawn = torch.rand(low.shape, generator=source)
    return low + (drawn * (high - low + 1)).long()
