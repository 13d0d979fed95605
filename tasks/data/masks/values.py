"""What the values of masks and the names of their classes must be."""

from collections.abc import Sequence

from tasks.errors import ArgumentError

LARGEST = 65535  # of a value: a predicted mask has 16 bits at most


def check_named(
    classes: Sequence[str] | None, values: Sequence[int] | None, ignored: Sequence[int]
) -> None:
    """Raise an ArgumentError unless the options of the classes agree.

    Args:
        classes: the names of the classes, if they are given.
        values: the value of each class in the masks, if they are given.
        ignored: the values of pixels that are not judged.
    """
    if classes is not None and values is not None and len(classes) != len(values):
        got = f"{len(classes)} classes, {len(values)} values"
        fix = "name as many classes as values"
        raise ArgumentError("values", "each class has one value in the masks", got=got, fix=fix)
    for option, given in (("classes", classes), ("values", values)):
        if given is None:
            continue
        twice = sorted({each for each in given if list(given).count(each) > 1})
        if twice:
            raise ArgumentError(
                option,
                f"{option} has an entry twice",
                got=str(twice[0]),
                fits="a name and a value of its own for each class",
                fix="ignore the pixels of a class, or give one mask value to each class",
            )
        if len(given) < 2:
            raise ArgumentError(
                option,
                "there is one class only",
                got=f"{option}={list(given)}",
                fits="two or more",
                fix=f"data.{option} with one more entry, for the background",
            )
    if values is None:
        return
    check_range(values)
    both = sorted({*values} & {*ignored})
    if both:
        raise ArgumentError(
            "ignore",
            "a value is both that of a class and ignored",
            got=f"{both[0]}",
            fits="values of no class",
            fix=f"data.ignore=null, or data.values without {both[0]}",
        )


def check_found(values: Sequence[int], ignored: Sequence[int]) -> None:
    """Raise an ArgumentError unless the values that the masks have make classes.

    Args:
        values: those that are not ignored.
        ignored: the values of pixels that are not judged.
    """
    check_range(values, fix=f"data.ignore=[{','.join(map(str, [*ignored, *outside(values)][:8]))}]")
    if len(values) > 1:
        return
    problem = "there is one class only"
    if not values:
        problem = "all pixels of all masks are ignored"
    raise ArgumentError(
        "path",
        problem,
        got=f"masks with the values {list(values)}; ignored: "
        f"{', '.join(map(str, ignored)) or 'none'}",
        fits="masks with two values or more",
        fix=f"data.ignore=null, if {' and '.join(map(str, ignored))} is a class",
    )


def outside(values: Sequence[int]) -> list[int]:
    """Return the values that no predicted mask could have."""
    return [value for value in values if not 0 <= value <= LARGEST]


def check_range(values: Sequence[int], fix: str | None = None) -> None:
    """Raise an ArgumentError where a predicted mask could not have one of the values."""
    strange = outside(values)
    if strange:
        raise ArgumentError(
            "values",
            "a value of a class does not fit into 16 bits",
            got=str(strange[0]),
            fits=f"0 to {LARGEST:,}",
            fix=fix or "write the masks with smaller numbers",
        )


def too_few(part: str, pairs: int) -> ArgumentError:
    """Return an error for a part that gets none of the pairs."""
    fix = "more pairs"
    if part != "train":
        fix += f", or data.{part}=0, to do without"
    return ArgumentError(
        "path",
        f"too few pairs of image and mask for the part {part}",
        got=f"{pairs:,} pairs",
        fits="three pairs or more: one for each part",
        fix=fix,
    )
