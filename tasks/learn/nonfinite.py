"""Numbers that must stay finite: noticed within one step, and traced to the node where they first
went wrong.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


class NotFiniteError(RuntimeError):
    """The loss or a gradient became infinite or not a number."""


class FiniteMonitor:
    """Whether everything was finite so far, without keeping the device waiting.

    On the processor a tensor is known when it is made. On a GPU each step's answer is copied to the
    host beside the work and read in the step after, when it has arrived; only a save waits for it.
    """

    def __init__(self) -> None:
        self.finite: Tensor | None = None
        self.copied: tuple[Tensor, Any] | None = (
            None  # the answer on the host, and what says that it is there
        )

    def add(self, value: Tensor) -> None:
        """Take a number into account, of any shape, on any device."""
        finite = value.detach().isfinite().all()
        self.finite = finite if self.finite is None else self.finite & finite

    def bad(self, *, wait: bool = False) -> bool:
        """Whether something is known not to be finite. `wait` also for what the device has not
        computed yet.
        """
        if self.finite is None:
            return False
        if wait or not self.finite.is_cuda:
            return not bool(self.finite)
        known = self.copied is not None and self.copied[1].query() and not bool(self.copied[0])
        if self.copied is None or self.copied[1].query():
            host = torch.empty((), dtype=torch.bool, pin_memory=True)
            host.copy_(self.finite, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
            self.copied = (host, arrived)
        return known


def find_nonfinite(network: nn.Module, loss: Callable[[], Tensor]) -> str | None:
    """The node of `network` where numbers first go wrong when `loss` is computed again, and how.

    Looks at the parameters, then at the output of each module as it runs, then at gradients as they
    flow back.
    """
    for name, parameter in network.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"the parameter {name} is not finite any more"
    found: list[str] = []
    names = {module: name for name, module in network.named_modules()}
    handles = [
        module.register_forward_hook(noting(name, found)) for module, name in names.items() if name
    ]
    try:
        with torch.enable_grad():
            result = loss()
            if not found and bool(result.isfinite().all()):
                network.zero_grad()
                result.backward()
    finally:
        for handle in handles:
            handle.remove()
        network.zero_grad()
    return found[0] if found else None


def noting(name: str, found: list[str]) -> Callable[..., None]:
    """A forward hook that notes the first output, and the first gradient of an output, that is not
    finite.
    """

    def forward(module: nn.Module, given: Any, output: Any) -> None:
        if any(True for _ in module.children()):
            return  # the nodes inside it say more
        for tensor in tensors(output):
            if not bool(tensor.isfinite().all()):
                found.append(
                    f"first in what {name} ({type(module).__name__}) gives: {kinds(tensor)}"
                )
            elif tensor.requires_grad:
                tensor.register_hook(backward)

    def backward(gradient: Tensor) -> None:
        if not bool(gradient.isfinite().all()):
            found.append(f"first in the gradient that flows back into {name}: {kinds(gradient)}")

    return forward


def kinds(tensor: Tensor) -> str:
    """How many of the values are not numbers, how many infinite."""
    nan, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
    told = [
        f"{count:,} {word}"
        for count, word in ((nan, "not a number"), (infinite, "infinite"))
        if count
    ]
    return f"{' and '.join(told)} of {tensor.numel():,}"


def tensors(value: Any) -> Iterator[Tensor]:
    """All floating-point tensors in what a module gives."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)
