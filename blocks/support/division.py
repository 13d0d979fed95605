"""What a block says of itself so that several devices can share its work: tensor parallelism.

A layer whose outputs are shared out ("columns") needs all inputs and gives each device its share;
one whose inputs are shared out ("rows") takes such shares, and its outputs are summed over the
devices. Between the two nothing is sent. Shoeybi et al. 2019, arXiv:1909.08053, section 3.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from blocks.errors import BlockError, must_divide


@dataclass(frozen=True)
class Division:
    """How a block works when each device has a share of it: what its method `division(devices)`
    gives.

    Args:
        columns: linear layers inside whose outputs are shared out: name -> sizes of the parts that
            lie side by side in them (q, k and v, say); of each part every device has its share.
        rows: linear layers inside whose inputs are shared out.
        counts: attributes of the block that are a share of themselves then, such as the number of
            heads.
    """

    columns: Mapping[str, tuple[int, ...]]
    rows: tuple[str, ...]
    counts: tuple[str, ...] = ()


def shares_heads(**columns: tuple[str, ...]) -> Callable[[nn.Module, int], Division]:
    """The method `division` of attention that has `heads`, `kv_heads` and `head_dim`, and ends in
    the layer `project`.

    Args:
        columns: linear layer -> of what its parts are the heads, in their order: "heads" or
            "kv_heads".

    Raises:
        BlockError: the number of devices does not divide that of heads; something needs the heads
            of all.
    """

    def division(self: nn.Module, devices: int) -> Division:
        counts = {name: int(getattr(self, name)) for name in ("heads", "kv_heads")}
        for name, count in counts.items():
            must_divide("devices", devices, name, count)
        bias = getattr(self, "position_bias", None)
        if bias is not None or self.return_weights:
            got = "return_weights=true" if bias is None else f"position_bias={type(bias).__name__}"
            raise BlockError(
                "attention needs all its heads on one device", got=got, fits="attention without it"
            )
        width = int(self.head_dim)  # type: ignore[arg-type]
        sizes = {}
        for layer, parts in columns.items():
            sizes[layer] = tuple(counts[part] * width for part in parts)
        return Division(sizes, ("project",), tuple(counts))

    return division
