"""The places of axes."""

from blocks.errors import BlockError


def axis_index(axis: int, count: int) -> int:
    if not -count <= axis < count:
        raise BlockError(
            "there is no such axis",
            got=f"axis={axis}, {count} axes",
            fits=f"axis in {-count}..{count - 1}",
        )
    return axis % count
