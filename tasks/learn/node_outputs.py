"""The outputs of a network by name, and those of its inner nodes."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor, nn

from tasks.learn.base import Batch


class NodeOutputs:
    """Runs a network, and returns its outputs and those of some of its nodes.

    Args:
        network: gives a tensor, a tuple, or a mapping by name.
        paths: of the nodes.
    """

    def __init__(self, network: nn.Module, paths: Iterable[str] = ()):
        self.network = network
        self.names: tuple[str, ...] = getattr(network, "input_names", ("image",))
        self.found: dict[str, Tensor] = {}
        modules = dict(network.named_modules())
        for path in paths:
            modules[path].register_forward_hook(partial(self.keep, path))

    def keep(self, path: str, module: nn.Module, inputs: tuple, output: Any) -> None:
        """Store the first output of a node."""
        if isinstance(output, tuple):
            output = output[0]
        self.found[path] = output

    def run(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of the network and of the nodes, by name and by path.

        Args:
            batch: entries that are no inputs of the network are left out.
        """
        result = self.network(**{name: batch[name] for name in self.names if name in batch})
        if isinstance(result, Tensor):
            result = {"logits": result}
        elif not isinstance(result, dict):
            result = {f"[{number}]": tensor for number, tensor in enumerate(result)}
        found = {**self.found, **result}
        self.found.clear()  # keeps no graph of gradients alive
        return found
