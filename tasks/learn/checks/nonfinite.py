"""Detection of infinite and NaN values within one step, and the node where they first appear."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


class NotFiniteError(RuntimeError):
    """The loss or a gradient became infinite or not a number."""

    code = "not-finite"


class FiniteMonitor:
    """Records whether all values so far were finite, without waiting for the device.

    On the CPU the value of a tensor is available at once. On a GPU the answer of each step is
    copied to the host asynchronously and read in a later step, when it has arrived; only a save
    waits for it.
    """

    def __init__(self) -> None:
        self.finite: Tensor | None = None
        # the answer on the host, and the event that it has arrived
        self.copied: tuple[Tensor, torch.cuda.Event] | None = None

    def add(self, value: Tensor) -> None:
        """Take a tensor into account, of any shape, on any device."""
        finite = value.detach().isfinite().all()
        if self.finite is not None:
            finite = self.finite & finite
        self.finite = finite

    def has_failed(self, *, wait: bool = False) -> bool:
        """Return whether a value is known not to be finite.

        Args:
            wait: for the device, to know it of all values so far.
        """
        if self.finite is None:
            return False
        if wait or not self.finite.is_cuda:
            return not bool(self.finite)
        failed = False
        if self.copied is not None:
            host, arrived = self.copied
            if not arrived.query():
                return False
            failed = not bool(host)
        host = torch.empty((), dtype=torch.bool, pin_memory=True)
        host.copy_(self.finite, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self.copied = (host, arrived)
        return failed


def find_nonfinite(network: nn.Module, loss: Callable[[], Tensor]) -> str | None:
    """Return where values first stop being finite when the loss is computed again, as a phrase.

    Checks the parameters, then the output of each module as it runs, then the gradients as they
    are backpropagated.

    Args:
        network: whose modules are checked.
        loss: computes the loss.
    """
    for name, parameter in network.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"the parameter {name} is not finite any more"
    found: list[str] = []
    handles = []
    for name, module in network.named_modules():
        if name:
            handles.append(module.register_forward_hook(make_hook(name, found)))
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
    if not found:
        return None
    return found[0]


def make_hook(name: str, found: list[str]) -> Callable[..., None]:
    """Return a forward hook that records outputs, and gradients of outputs, that are not finite.

    Args:
        name: of the module.
        found: receives a phrase for each.
    """

    def forward(module: nn.Module, inputs: Any, output: Any) -> None:
        if any(True for _ in module.children()):
            return  # the modules inside are more specific
        for tensor in iterate_tensors(output):
            if not bool(tensor.isfinite().all()):
                kind = type(module).__name__
                found.append(f"first in the output of {name} ({kind}): {count_nonfinite(tensor)}")
            elif tensor.requires_grad:
                tensor.register_hook(backward)

    def backward(gradient: Tensor) -> None:
        if not bool(gradient.isfinite().all()):
            found.append(f"first in the gradient of {name}: {count_nonfinite(gradient)}")

    return forward


def count_nonfinite(tensor: Tensor) -> str:
    """Return how many of the values are NaN and how many infinite, as a phrase."""
    parts = []
    if nan := int(tensor.isnan().sum()):
        parts.append(f"{nan:,} not a number")
    if infinite := int(tensor.isinf().sum()):
        parts.append(f"{infinite:,} infinite")
    return f"{' and '.join(parts)} of {tensor.numel():,}"


def iterate_tensors(value: Any) -> Iterator[Tensor]:
    """Yield all floating-point tensors in the output of a module."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from iterate_tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from iterate_tensors(item)
