"""Split samples into training, validation and test sets, each class in the same proportion."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tasks.data.sampler import generator
from tasks.errors import ArgumentError, must_be_share

PARTS = ("train", "val", "test")
WORDS = {  # in a column that states the part of each row
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def check_shares(val: float, test: float) -> None:
    """Raise an ArgumentError unless something is left for training."""
    must_be_share("val", val)
    must_be_share("test", test)
    if val + test >= 1:
        raise ArgumentError(
            "val",
            "val and test leave nothing for training",
            got=f"val={val}, test={test}",
            fits="val + test < 1",
        )


def check_classes(
    classes: list[str], samples: int, noun: str, fits: str = "two classes or more"
) -> None:
    """Raise an ArgumentError if all samples are of one class."""
    if len(classes) == 1:
        got = f"{samples:,} {noun}s of the class {classes[0]}"
        raise ArgumentError("path", "there is one class only", got=got, fits=fits)


def check_parts(
    sizes: Mapping[str, int], shares: Mapping[str, float], classes: list[str], noun: str
) -> None:
    """Raise an ArgumentError if a part with a share of the samples has none of them."""
    for part in PARTS:
        if sizes[part] == 0 and shares.get(part) != 0:
            samples = f"{sum(sizes.values()):,} {noun}s"
            if len(classes) == 1:
                raise ArgumentError(
                    "path",
                    f"too few {noun}s for the part {part}",
                    got=samples,
                    fits=f"three {noun}s or more: one for each part",
                )
            raise ArgumentError(
                "path",
                f"too few {noun}s of each class for the part {part}",
                got=f"{samples}, {len(classes):,} classes",
                fits=f"three {noun}s of a class, or more: one for each part",
                fix=f"more {noun}s of each class",
            )


def hold_out(label: Tensor, share: float, seed: int, salt: int = 0) -> tuple[Tensor, Tensor]:
    """Hold out a share of each class, at least one sample if the class has two.

    The choice depends on `seed`, `salt` and the labels only, so that runs that differ in their
    training seed share it.

    Args:
        label: (samples,), the class of each sample.
        share: of the samples to hold out.
        seed: seed of the choice.
        salt: separates the choices of one seed.

    Returns:
        The sorted indices of the samples that stay, and of those that are held out.
    """
    stay, take = [], []
    # NumPy sorts a million labels that are nearly in order within a few milliseconds
    names, counts = np.unique(label.numpy(), return_counts=True)
    grouped = torch.from_numpy(np.argsort(label.numpy(), kind="stable"))
    for name, members in zip(names.tolist(), grouped.split(counts.tolist()), strict=True):
        members = members[torch.randperm(len(members), generator=generator(seed, salt, name))]
        count = round(share * len(members))
        if share > 0 and len(members) > 1:
            count = min(max(count, 1), len(members) - 1)
        take.append(members[:count])
        stay.append(members[count:])
    first, second = np.sort(torch.cat(stay).numpy()), np.sort(torch.cat(take).numpy())
    return torch.from_numpy(first), torch.from_numpy(second)


def stratify(label: Tensor) -> Tensor:
    """Return the class of each sample (samples,); of several labels the rarest, and 0 where a
    sample has none.

    Args:
        label: (samples,), or (samples, classes), 1 for each label that a sample has.
    """
    if label.dim() == 1:
        return label
    counts = label.sum(0)
    # of equally rare labels the first
    rarity = torch.where(label > 0, counts, len(label) + 1)
    return torch.where(label.sum(1) > 0, rarity.argmin(1) + 1, 0)


def split(label: Tensor, val: float, test: float, seed: int) -> dict[str, Tensor]:
    """Return the indices of the three parts: stratified, by the shares of validation and test."""
    rest, last = hold_out(label, test, seed, salt=1)
    train, middle = hold_out(label[rest], val / (1 - test), seed, salt=2)
    return {"train": rest[train], "val": rest[middle], "test": last}


def split_missing(
    label: Tensor, given: Collection[str], val: float, test: float, seed: int
) -> dict[str, Tensor]:
    """Return indices into the training samples for training and for each part that is not given."""
    if "val" not in given and "test" not in given:
        return split(label, val, test, seed)
    for part, share in (("val", val), ("test", test)):
        if part not in given:
            stay, take = hold_out(label, share, seed)
            return {"train": stay, part: take}
    return {}


def read_parts(cells: Sequence[str], lines: Sequence[int], where: object) -> np.ndarray:
    """Return the part that a column states for each row (rows,).

    Args:
        cells: "train", "val" or "test", or a usual word for one of them.
        lines: the line of each row.
        where: the file.

    Raises:
        ArgumentError: another word, or no row of the training part.
    """
    known = {cell: WORDS.get(cell.strip().lower(), "") for cell in set(cells)}
    part_of = np.array(list(map(known.__getitem__, cells)), "U5")
    strange = np.flatnonzero(part_of == "")
    if len(strange):
        row = int(strange[0])
        raise ArgumentError(
            "split_column",
            f"{where}, line {lines[row]}: {len(strange):,} of {len(cells):,} rows name no part",
            got=repr(cells[row].strip()),
            fits=", ".join(WORDS),
        )
    if not (part_of == "train").any():
        raise ArgumentError(
            "split_column",
            f"{where} has no row of the part train",
            got=", ".join(sorted(set(part_of.tolist()))),
            fits="rows of train; val and test are cut from them where they are not there",
        )
    return part_of


def choose_stated(
    strata: Tensor, part_of: np.ndarray, val: float, test: float, seed: int
) -> dict[str, Tensor]:
    """Return the indices of the parts that rows state; others are cut from the training part.

    Args:
        strata: (rows,), by which a cut is stratified.
        part_of: (rows,), the part of each row.
        val: share of the training rows for validation, if no row is of it.
        test: the same for the test.
        seed: of the cut.
    """
    chosen = {}
    for part in PARTS:
        found = np.flatnonzero(part_of == part)
        if len(found):
            chosen[part] = torch.from_numpy(found)
    train = chosen["train"]
    missing = split_missing(strata[train], chosen, val, test, seed)
    return chosen | {part: train[index] for part, index in missing.items()}
