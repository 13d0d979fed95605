"""Make a block without drawing the random numbers that `initialise` replaces."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

from torch import Tensor, is_grad_enabled, nn
from torch.overrides import TorchFunctionMode

WHOLE = frozenset(
    (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)
)  # those that torch lets be overridden
METHODS = frozenset((Tensor.normal_, Tensor.uniform_))  # in which the others end
LOOKS = frozenset((Tensor.dim, Tensor.size, Tensor.shape.__get__))  # type: ignore[attr-defined]


class SkipInit(TorchFunctionMode):
    """Leaves out what fills a tensor with random numbers, and remembers which tensors it left."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[Tensor] = []
        self.read = False  # whether anything was made of numbers that are not there

    def __torch_function__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function in WHOLE or function in METHODS:
            tensor: Tensor = args[0] if args else kwargs["tensor"]
            if function in WHOLE or not (
                tensor.requires_grad and is_grad_enabled()
            ):  # torch refuses that
                self.left.append(tensor)
                return tensor
        elif self.left and function not in LOOKS:
            self.read = self.read or any(
                value is left for value in _each(args, kwargs) for left in self.left
            )
        return function(*args, **kwargs)


def _each(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    for value in (*args, *kwargs.values()):
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def make(recipe: Callable[[], nn.Module], path: str, replaced: Collection[str]) -> nn.Module:
    """A block as its constructor starts it, but for parameters that something else fills later.

    Where the constructor draws for other tensors too, or reads what it drew, it runs again and
    draws all of it.

    Args:
        path: of the block in the model.
        replaced: paths of the parameters that are filled later.
    """
    with SkipInit() as skipped:
        module = recipe()
    later = {id(value) for name, value in module.named_parameters() if f"{path}.{name}" in replaced}
    return (
        recipe()
        if skipped.read or any(id(tensor) not in later for tensor in skipped.left)
        else module
    )
