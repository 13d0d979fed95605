"""Questions about images of four handwritten digits: neither input answers alone."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from tasks.data.base import RawSample
from tasks.data.images import augment
from tasks.data.readers.question import QuestionReader
from tasks.data.sampler import generator
from tasks.data.sequences.base import InMemorySequences, Part, pad_rows
from tasks.data.split import PARTS, split
from tasks.data.text.phrasings import ANSWERS, DIGITS, KINDS, PLACES, Question, answer, questions
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import must_be_positive, must_be_share, must_not_be_negative

DIGIT_SHARES = {"val": 0.1, "test": 0.2}  # of the handwritten digits, as in `data=digits`


class Questions(InMemorySequences):
    """Four of scikit-learn's digits in one image of 16x16 pixels, and a question about them.

    The digits are split first, stratified: none of the test is in an image of training. Training
    has new images and questions in every epoch, which depend on (seed, epoch) alone; validation and
    test stay. All kinds of question are equally frequent. A digit that is asked for is in half of
    the images (presence), or 0 to 4 times, equally often (count). A batch has "image" (batch, 1,
    16, 16) in [0, 1], "question" (batch, tokens), "question_mask", "label", "kind" and "index".

    Args:
        train: samples of an epoch.
        val: samples for validation.
        test: samples for the test.
        shift: move each digit of training by up to this many pixels.
        rotate: rotate it by up to this many degrees.
        scale: make it larger or smaller by up to this share.
        options: those of `InMemorySequences`.

    Source:
        The task is visual question answering, Antol et al. 2015, arXiv:1505.00468; generated
        questions whose answers follow from the image as in CLEVR, Johnson et al. 2017,
        arXiv:1612.06890.
    """

    quick = True

    reader = QuestionReader
    noun = "question"
    padding: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "question_mask": ("question", "question_mask")
    }

    def __init__(
        self,
        *,
        train: int = 16000,
        val: int = 1000,
        test: int = 4000,
        shift: float = 0.5,
        rotate: float = 10,
        scale: float = 0.1,
        **options: Any,
    ):
        super().__init__(**options)
        self.counts = {"train": train, "val": val, "test": test}
        for name, value in self.counts.items():
            must_be_positive(name, value)
        must_not_be_negative("shift", shift)
        must_not_be_negative("rotate", rotate)
        must_be_share("scale", scale)
        self.moved = {"shift": shift, "rotate": rotate, "scale": scale}
        self.classes, self.kinds = list(ANSWERS), list(KINDS)
        self.questions = questions()

    def load(self) -> dict[str, Part]:
        texts = [question.text for question in self.questions]
        self.tokenizer = self.tokenizer or Tokenizer.train(texts, "words")
        encoded = list(map(self.tokenizer.encode, texts))
        self.length = max(map(len, encoded))
        self.encoded = pad_rows(encoded, self.length, PAD)
        self.pools = pools(self.split_seed)
        # validation and test have random sources of their own, which no epoch of training uses
        parts = {}
        for salt, part in enumerate(PARTS):
            parts[part] = self.make(part, self.counts[part], self.split_seed, -1 - salt)
        return parts

    def fresh(self, epoch: int) -> Part:
        return self.make("train", self.counts["train"], self.seed, epoch)

    def make(self, part: str, count: int, *numbers: int) -> Part:
        """Return samples from the digits of a part, which depend on `numbers` only."""
        source = generator(*numbers)
        chosen = self._choose(count, source)
        digits = self._digits(chosen, source)
        asked = self._questions(chosen)
        answers = map(answer, asked, digits.tolist())
        question = self.encoded[chosen]
        return {
            "image": self._images(part, digits, source),
            "question": question,
            "question_mask": question != PAD,
            "label": torch.tensor(list(map(ANSWERS.index, answers))),
            "kind": kinds_of(asked),
            "number": chosen,
            "digits": digits,
        }

    def _questions(self, chosen: Tensor) -> list[Question]:
        return [self.questions[number] for number in chosen.tolist()]

    def _choose(self, count: int, source: torch.Generator) -> Tensor:
        """Return numbers of questions: a kind, and one of its questions, each equally likely."""
        size = kinds_of(self.questions).bincount()
        first = size.cumsum(0) - size
        kind = torch.randint(len(KINDS), (count,), generator=source)
        return first[kind] + (torch.rand(count, generator=source) * size[kind]).long()

    def _digits(self, chosen: Tensor, source: torch.Generator) -> Tensor:
        """Return the digit at each place, (samples, 4).

        A digit that is asked for is placed as often as its question needs.
        """
        count, places = len(chosen), len(PLACES)
        digits = torch.randint(len(DIGITS), (count, places), generator=source)
        asked = self._questions(chosen)
        wanted = torch.tensor([[question.about[0]] for question in asked])
        step = torch.randint(1, len(DIGITS), (count, places), generator=source)
        other = (wanted + step) % len(DIGITS)
        often = torch.randint(places + 1, (count, 1), generator=source)
        present = (torch.rand(count, 1, generator=source) < 0.5).long() * often.clamp(min=1)
        rank = torch.rand(count, places, generator=source).argsort(1)
        kind = kinds_of(asked)[:, None]
        counts, presence = kind == KINDS.index("count"), kind == KINDS.index("presence")
        placed = torch.where(rank < torch.where(counts, often, present), wanted, other)
        return torch.where(counts | presence, placed, digits)

    def _images(self, part: str, digits: Tensor, source: torch.Generator) -> Tensor:
        """Return images of handwritten digits of the part, (samples, 1, 16, 16)."""
        image, label = self.pools[part]
        order, size = label.argsort(stable=True), label.bincount(minlength=len(DIGITS))
        first = size.cumsum(0) - size
        drawn = torch.rand(digits.shape, generator=source)
        number = order[first[digits] + (drawn * size[digits]).long()]
        small = image[number.flatten()]
        if part == "train" and any(self.moved.values()):
            small = augment.move(small, source, **self.moved)
        square = small.unflatten(0, (len(digits), 2, 2))  # samples, row, column, channel, y, x
        return square.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def facts(self) -> dict[str, Any]:
        self.read()
        channels, height, width = self.parts["test"]["image"].shape[1:]
        vocab = self.tokenizer.vocab
        return {
            "image": {"channels": channels, "height": height, "width": width},
            "question": {"tokens": self.length, "dtype": "int", "vocab": vocab},
            "question_mask": {"tokens": self.length, "dtype": "bool"},
            "vocab": vocab,
            "classes": len(ANSWERS),
            "kinds": len(KINDS),
        }

    def narrow(self, batch: Part) -> Part:
        kept = {name: value for name, value in batch.items() if name not in ("number", "digits")}
        return super().narrow(kept)

    def names(self, part: str) -> list[str]:
        return [question.text for question in self._questions(self.parts[part]["number"])]

    def raw_sample(self, part: str, index: int) -> RawSample:
        samples = self.parts[part]
        question = self.questions[int(samples["number"][index])]
        return RawSample(image=samples["image"][index].clamp(0, 1), text=f"{question.text}?")

    def reader_arguments(self) -> dict[str, Any]:
        image = self.facts()["image"]
        return {"height": image["height"], "width": image["width"], "length": self.length}


def kinds_of(questions: list[Question]) -> Tensor:
    """Return the number of each question's kind."""
    return torch.tensor([KINDS.index(question.kind) for question in questions])


def pools(split_seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the digits of each part: images (samples, 1, 8, 8) in [0, 1], and labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    image = torch.from_numpy(bunch.images).float()[:, None] / 16  # pixels are 0..16
    label = torch.from_numpy(bunch.target)
    chosen = split(label, DIGIT_SHARES["val"], DIGIT_SHARES["test"], split_seed)
    return {part: (image[index], label[index]) for part, index in chosen.items()}
