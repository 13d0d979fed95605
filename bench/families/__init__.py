"""The families of models that are compared, each with the sizes of docs/speed.md."""

from bench.contender import Family
from bench.families import encoder_decoder, images, language, lstm


def families(batch: int) -> dict[str, Family]:
    """All of them. `batch` counts images; texts have batches of their own."""
    found = [*images.families(batch), *language.families(), encoder_decoder.family(), lstm.family()]
    return {family.name: family for family in found}
