"""How large a network may grow while it is put together: a number too many in a shared file must
not take a day.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules import module as hooks

from blocks.graph.errors import ConfigError, Origin, Problem
from blocks.support.files import memory
from blocks.support.program import command_line

MODULES = 5_000  # a ResNet of 1,001 layers has 3,300; five thousand take some seconds


class _TooLarge(BaseException):
    """Ends the building at once: no handler of a block's own mistakes takes it for one."""


@contextmanager
def bounded(most: Any, where: Origin) -> Iterator[int]:
    """Build at most so many modules, and four times as many tensors of parameters.

    Args:
        most: the value on the command line, or None.
        where: the place of the model, for the error.

    Raises:
        ConfigError: the network is larger.
    """
    most = MODULES if most is None else most
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        problem = "limits.modules is a whole number"
        raise ConfigError(
            Problem(
                problem,
                "the command line",
                "limits.modules",
                got=str(most),
                fits="e.g. 20000",
                code="bad-value",
            )
        )
    left = {"modules": most, "tensors": 4 * most}

    def count(kind: str) -> Any:
        def counted(*_: Any) -> None:
            left[kind] -= 1
            if left[kind] < 0:
                raise _TooLarge

        return counted

    held = [
        hooks.register_module_module_registration_hook(count("modules")),
        hooks.register_module_parameter_registration_hook(count("tensors")),
    ]
    try:
        yield most
    except _TooLarge:
        fix = f"smaller numbers of layers, or if it is meant: limits.modules={most * 10}"
        problem = (
            f"the network has more than {most:,} modules, or {4 * most:,} tensors of parameters"
        )
        raise ConfigError(
            Problem(problem, where, "model", fits="less", fix=fix, code="too-large")
        ) from None
    finally:
        for handle in held:
            handle.remove()


def must_fit(model: nn.Module, where: Origin) -> None:
    """Raise a ConfigError where the parameters need more memory than this machine has."""
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    there = memory()
    if there is not None and needed > there:
        got, fits = f"{needed / 1e9:,.0f} GB", f"{there / 1e9:,.0f} GB, the memory of this machine"
        raise ConfigError(
            Problem(
                "the weights do not fit into memory",
                where,
                "model",
                got=got,
                fits=fits,
                fix=f"smaller numbers; {command_line('blocks', 'explain')} needs no memory",
                code="too-large",
            )
        )
