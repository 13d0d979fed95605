"""What a block says of itself so that several devices can share its work: tensor parallelism.

A layer whose outputs are shared out ("columns") needs all inputs and gives each device its share; one whose inputs are
shared out ("rows") takes such shares, and its outputs are summed over the devices. Between the two nothing is sent.
Shoeybi et al. 2019, arXiv:1909.08053, section 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Division:
    """How a block works when each device has a share of it: what its method `division(devices)` gives.

    Args:
        columns: linear layers inside whose outputs are shared out: name -> sizes of the parts that lie side by side in
            them (q, k and v, say); of each part every device has its share.
        rows: linear layers inside whose inputs are shared out.
        counts: attributes of the block that are a share of themselves then, such as the number of heads.
    """

    columns: Mapping[str, tuple[int, ...]]
    rows: tuple[str, ...]
    counts: tuple[str, ...] = ()
