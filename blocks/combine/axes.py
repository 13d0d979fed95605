"""The places of axes, and shapes that can be combined."""

from torch import Tensor

from blocks.errors import BlockError


def axis_index(axis: int, count: int) -> int:
    if not -count <= axis < count:
        raise BlockError(
            "there is no such axis",
            got=f"axis={axis}, {count} axes",
            fits=f"axis in {-count}..{count - 1}",
        )
    return axis % count


def must_agree(inputs: tuple[Tensor, ...], purpose: str) -> None:
    """Raise a BlockError unless all inputs have as many axes and each size is the same, or 1.

    Stricter than torch, which aligns shapes from the right: (batch, dim) added to (batch, tokens,
    dim) is a mistake that would pass whenever batch and tokens happen to be equal.
    """
    if not inputs:
        raise BlockError(
            f"there must be something to {purpose}",
            got="no input",
            fits="one input or more",
            code="wrong-inputs",
        )
    if all(each.shape == inputs[0].shape for each in inputs[1:]):
        return
    so_far, *others = (tuple(each.shape) for each in inputs)
    for number, shape in enumerate(others, start=2):
        if shape == so_far:
            continue
        if len(shape) != len(so_far) or any(
            a not in (b, 1) and b != 1 for a, b in zip(so_far, shape, strict=True)
        ):
            before = "input 1"
            if number > 2:
                before = f"inputs 1 to {number - 1}"
            raise BlockError(
                f"shapes to {purpose} must agree",
                got=f"{before} {so_far}, input {number} {shape}",
                fits="as many axes, on each the same size or 1",
                code="shape-mismatch",
            )
        so_far = tuple(b if a == 1 else a for a, b in zip(so_far, shape, strict=True))
