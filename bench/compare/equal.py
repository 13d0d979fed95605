"""Contenders do the same work: with the same weights they say the same."""

import torch

from bench.compare.contender import Contender, Family
from blocks.graph import load_weights

TOLERANCE = 1e-4  # of the largest value: whole models in float32, summed in another order


def check(family: Family, made: dict[str, Contender]) -> None:
    """Copy the weights of each peer that has a map into ours and compare what both say; raise where
    it differs.
    """
    ours = made[next(iter(family.contenders))]
    for name, source_map in family.maps.items():
        if name not in made:
            continue
        load_weights(ours.model, made[name].state(), source_map)
        expected, found = made[name].asker()(), ours.asker()()
        error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1.0))
        if found.shape != expected.shape or not error < TOLERANCE:
            raise RuntimeError(
                f"{family.name}: ours differs from {name} by {error:.1e} of the largest value"
            )
        losses = [float(one.loss().detach()) for one in (ours, made[name])]
        if not abs(losses[0] - losses[1]) < TOLERANCE * max(1.0, losses[1]):
            raise RuntimeError(
                f"{family.name}: our loss is {losses[0]:.6f}, that of {name} {losses[1]:.6f}"
            )
        ours.model.zero_grad(set_to_none=True)
        made[name].model.zero_grad(set_to_none=True)
    torch.manual_seed(0)
