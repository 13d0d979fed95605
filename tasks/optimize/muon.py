"""Muon: momentum, orthogonalised, for the matrices inside a network; AdamW for the rest."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from tasks.errors import must_be_one_of, must_be_positive, must_be_share

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic; the steepest at zero that stays bounded
SMALLEST = 1e-7  # norm
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Muon(Optimizer):
    """Muon for the matrices inside a network; AdamW for embeddings, first and last layers, biases,
    norms and positions.

    Query, key and value in one projection, and the experts of a mixture, are orthogonalised each by
    itself; the kernel of a convolution as a matrix (out, in times positions).

    Args:
        params: groups, of which those with a `form` have Muon: "matrix", "kernel" or "stack"; with
            `rows`, the sizes of the matrices below each other in a parameter.
        lr: learning rate.
        momentum: share of the momentum that a step keeps, in [0, 1).
        nesterov: look ahead by one step.
        weight_decay: decoupled, of all matrices.
        steps: Newton-Schulz iterations.
        scale: of an update (out, in): match_adamw, 0.2 sqrt(max(out, in)), so that the rate and the
            decay of AdamW fit; original, sqrt(max(1, out / in)).
        dtype: in which the iteration computes: float32, bfloat16.
        adamw_lr: learning rate of the rest; null for `lr`.
        betas: of AdamW.
        eps: of AdamW.
        fused: update the rest with one kernel.

    Source:
        Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Liu et al.
        2025, arXiv:2502.16982, equation 4, for match_adamw.
    """

    splits_matrices = True  # asks for groups with `form` and `rows`

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.1,
        steps: int = 5,
        scale: Literal["match_adamw", "original"] = "match_adamw",
        dtype: Literal["float32", "bfloat16"] = "float32",
        adamw_lr: float | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        fused: bool | None = None,
    ):
        must_be_share("momentum", momentum)
        must_be_positive("steps", steps)
        must_be_one_of("scale", scale, ("match_adamw", "original"))
        must_be_one_of("dtype", dtype, tuple(DTYPES))
        self.steps, self.scale, self.dtype = steps, scale, DTYPES[dtype]
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "form": "",
            "rows": [],
        }
        super().__init__(params, defaults)
        rest = self._rest_groups()
        if adamw_lr is not None:
            for group in rest:
                group["lr"] *= adamw_lr / lr
        self.rest: AdamW | None = None
        if rest:
            self.rest = AdamW(rest, lr, betas, eps, weight_decay, fused=fused)
            self._share_state()

    def _rest_groups(self) -> list[dict[str, Any]]:
        return [group for group in self.param_groups if not group["form"]]

    def _share_state(self) -> None:
        """Let AdamW work on the groups and the state of this optimizer."""
        if self.rest is not None:
            self.rest.param_groups = self._rest_groups()
            self.rest.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share_state()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["form"]:
                self._step_group(group)
        if self.rest is not None:
            self.rest.step()
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        updates = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                updates[parameter] = self._add_momentum(parameter, group)
        # matrices of one shape are orthogonalised together
        alike: dict[torch.Size, list[Tensor]] = {}
        for update in updates.values():
            for matrix in cut_matrices(update, group["form"], group["rows"]):
                alike.setdefault(matrix.shape, []).append(matrix)
        for matrices in alike.values():
            together = orthogonalise(torch.stack(matrices), self.steps, self.dtype)
            together *= self._find_scale(group["form"], *matrices[0].shape)
            for matrix, orthogonal in zip(matrices, together, strict=True):
                matrix.copy_(orthogonal)
        for parameter, update in updates.items():
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"])

    def _add_momentum(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """Add a gradient to the momentum; return what is to be orthogonalised, a new tensor."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"]
        buffer.lerp_(gradient, 1 - group["momentum"])
        if not group["nesterov"]:
            return buffer.clone(memory_format=torch.contiguous_format)
        return gradient.lerp(buffer, group["momentum"]).contiguous()

    def _find_scale(self, form: str, rows: int, columns: int) -> float:
        if self.scale == "match_adamw":
            return 0.2 * max(rows, columns) ** 0.5
        if form == "stack":  # (in, out)
            rows, columns = columns, rows
        return max(1.0, rows / columns) ** 0.5


def cut_matrices(value: Tensor, form: str, rows: list[int]) -> list[Tensor]:
    """Return the matrices of a parameter as views.

    Args:
        value: contiguous.
        form: matrix (out, in); kernel (out, in, ...); stack, of matrices (in, out).
        rows: of the matrices that lie below each other; empty for one.
    """
    if form == "stack":
        return list(value.flatten(0, -3))
    matrix = value.view(len(value), -1)
    if rows:
        return list(matrix.split(rows))
    return [matrix]


def orthogonalise(matrices: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Return each matrix with all its singular values moved to about 1.

    Args:
        matrices: (count, rows, columns).
        steps: Newton-Schulz iterations.
        dtype: in which they compute.
    """
    first, third, fifth = COEFFICIENTS
    value = matrices.to(dtype)
    is_tall = matrices.shape[1] > matrices.shape[2]
    if is_tall:
        value = value.mT
    value = value / value.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST)
    for _ in range(steps):
        gram = value @ value.mT
        change = torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth)
        value = torch.baddbmm(value, change, value, beta=first)
    if is_tall:
        value = value.mT
    return value.to(matrices.dtype)
