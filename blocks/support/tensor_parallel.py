"""How a block is divided among devices: tensor parallelism.

A layer whose outputs are split ("columns") needs all inputs and computes a share of the outputs on
each device. A layer whose inputs are split ("rows") takes such shares, and its outputs are summed
over the devices. Nothing is sent between the two. Shoeybi et al. 2019, arXiv:1909.08053, section 3.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from blocks.errors import BlockError, must_divide


@dataclass(frozen=True)
class Division:
    """How a block is divided, as its method `division(devices)` returns.

    Args:
        columns: linear layers of the block whose outputs are split: name -> sizes of the adjacent
            parts, e.g. of q, k and v; each device has its share of each part.
        rows: linear layers of the block whose inputs are split.
        counts: attributes of the block that are divided by the number of devices, such as the
            number of heads.
    """

    columns: Mapping[str, tuple[int, ...]]
    rows: tuple[str, ...]
    counts: tuple[str, ...] = ()


def _needs_all_heads(attention: nn.Module) -> str | None:
    """The option of an attention that needs all its heads on one device."""
    options = {
        "value_mix": "value_residual=true",
        "v_bias": "key_bias=false",
        "sinks": "sinks=true",
    }
    for name in ("qk_norm", "position_bias"):
        part = getattr(attention, name, None)
        if part is not None:
            return f"{name}={type(part).__name__}"
    for name, option in options.items():
        if getattr(attention, name, None) is not None:
            return option
    return "return_weights=true" if attention.return_weights else None


def divide_heads(**columns: tuple[str, ...]) -> Callable[[nn.Module, int], Division]:
    """Make the method `division` of attention that has `heads`, `kv_heads` and `head_dim`, and ends
    in the layer `project`.

    Args:
        columns: linear layer -> "heads", "kv_heads" or "values" (kv_heads of `value_dim` each) for
            each of its parts, in order.

    Raises:
        BlockError: the number of devices does not divide the number of heads, or something needs
            all heads.
    """

    def division(self: nn.Module, devices: int) -> Division:
        counts = {name: int(getattr(self, name)) for name in ("heads", "kv_heads")}
        for name, count in counts.items():
            must_divide("devices", devices, name, count)
        got = _needs_all_heads(self)
        if got is not None:
            raise BlockError(
                "attention needs all its heads on one device", got=got, fits="attention without it"
            )
        width = int(self.head_dim)  # type: ignore[arg-type]
        widths = {name: count * width for name, count in counts.items()}
        widths["values"] = counts["kv_heads"] * int(getattr(self, "value_dim", width))
        sizes = {}
        for layer, parts in columns.items():
            sizes[layer] = tuple(widths[part] for part in parts)
        gate = getattr(self, "gate", None)
        if gate is not None:
            sizes["gate"] = (int(gate.out_features),)
        return Division(sizes, ("project",), tuple(counts))

    return division
