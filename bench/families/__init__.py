"""The families of models that are compared, each with the sizes of docs/speed.md."""

from bench.compare.contender import Family
from bench.families import decoders, encoder_decoder, images, language, lstm, state_spaces


def families(batch: int, device: str = "cpu", large: bool = False) -> dict[str, Family]:
    """All of them.

    Args:
        batch: counts images; texts have batches of their own.
        device: where models and batches lie.
        large: models of texts with the sizes of their papers, which fill a GPU.
    """
    found = [
        *images.families(batch, device),
        *language.families(device, large),
        encoder_decoder.family(device, large),
        lstm.family(device, large),
        *state_spaces.families(device),
        *decoders.families(device),
    ]
    return {family.name: family for family in found}
