"""Random numbers and permutations that are computed at any place alone, without those before it.

They take no memory that grows with the data, and a resumed run asks for the same ones.
"""

import numpy as np
import torch
from torch import Tensor

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
ROUNDS = 6  # of the network; even, so that both halves have their own width again
BITS = 64


def mix_key(*numbers: int) -> int:
    """Return one number in [0, 2^63) that depends on all of them and on their order."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % (1 << 63)
    return mixed


def hash_places(key: int, places: np.ndarray) -> np.ndarray:
    """Return 64 random bits for each place.

    Args:
        key: another one gives other bits.
        places: unsigned 64-bit integers.

    Source:
        SplitMix64: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators".
    """
    mixed = places * np.uint64(GOLDEN) + np.uint64(key)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(FIRST)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(SECOND)
    return mixed ^ (mixed >> np.uint64(31))


def random_rows(key: int, rows: Tensor, width: int) -> Tensor:
    """Return numbers in [0, 1) for rows of a table, whatever other rows are asked for.

    Args:
        key: of the table.
        rows: (rows,), the number of each row.
        width: numbers in a row.

    Returns:
        (rows, width), in float64.
    """
    first = rows.numpy().astype(np.uint64)[:, None] * np.uint64(width)
    bits = hash_places(key, first + np.arange(width, dtype=np.uint64))
    return torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


class Permutation:
    """A permutation of the numbers below `size`, each computed alone.

    Args:
        size: how many numbers there are.
        key: another one gives another permutation.

    Source:
        A Feistel network over the next power of two, applied until the number is below `size`:
        Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains", section 3.
    """

    def __init__(self, size: int, key: int):
        bits = max((size - 1).bit_length(), 2)
        self.size, self.widths = size, (bits - bits // 2, bits // 2)
        self.keys = [mix_key(key, number) for number in range(ROUNDS)]

    def __call__(self, places: Tensor) -> Tensor:
        """Return the number at each place (places,)."""
        numbers = self._scramble(places.numpy().astype(np.uint64))
        outside = np.flatnonzero(numbers >= self.size)
        while len(outside):
            numbers[outside] = self._scramble(numbers[outside])
            outside = outside[numbers[outside] >= self.size]
        return torch.from_numpy(numbers.astype(np.int64))

    def _scramble(self, numbers: np.ndarray) -> np.ndarray:
        """Permute the numbers below the power of two."""
        high, low = map(np.uint64, self.widths)
        for key in self.keys:
            left, right = numbers >> low, numbers & ((np.uint64(1) << low) - np.uint64(1))
            left ^= hash_places(key, right) >> (np.uint64(BITS) - high)
            numbers = (right << high) | left
            high, low = low, high
        return numbers
