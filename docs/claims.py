"""The claims of docs/results.md, and what decides about each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import readings
from readings import Figures, Reading


@dataclass(frozen=True)
class Claim:
    """One claim.

    Args:
        name: the experiment that measures it.
        title: the claim in a sentence.
        measures: the columns of its table.
        read: returns whether the figures confirm it, and a text of the figures.
        threshold: the condition, in words.
        may_fail: whether a run that fails, e.g. at too high a learning rate, counts as a result.
        look: settings of the run whose attention the page shows.
        parts: instead of one table of all runs: the arms of each table, by its title.
        places: whether the loss at each place of a text is measured after the training.
        timed: whether it compares times, so that its runs must be alone.
    """

    name: str
    title: str
    measures: tuple[str, ...]
    read: Callable[[Figures], Reading]
    threshold: str
    may_fail: bool = False
    look: Mapping[str, str] | None = None
    parts: Mapping[str, tuple[str, ...]] | None = None
    places: bool = False
    timed: bool = False


CLAIMS = [
    Claim(
        "memory",
        "A plain recurrent network does not learn a long dependency, a gated one learns a longer "
        "one, and attention one of any distance",
        ("test/accuracy", "parameters"),
        readings.memory,
        "at the most steps a gated network and the Transformer are 0.9 right, and the intervals of "
        "both differences to the RNN are above 0; the RNN has learned the fewest steps",
    ),
    Claim(
        "serial",
        "Recurrence is serial",
        ("train/step seconds", "parameters", "macs"),
        readings.serial,
        "on one thread, at the length where both do most nearly the same number of multiply-adds, "
        "the interval of the ratio of their times is above 1",
        timed=True,
    ),
    Claim(
        "depth",
        "Residual paths make depth trainable",
        ("train/loss", "test/accuracy"),
        readings.depth,
        "the interval of what the deepest network's training loss gains without the path is above "
        "0; without it the shallowest is a tenth below the loss of chance",
    ),
    Claim(
        "positions",
        "Without positions attention sees an unordered set",
        ("test/accuracy", "test/exact"),
        readings.positions,
        "without positions sorting is 0.9 right, the interval of reversing reaches down to what a "
        "set allows, and that of what the best kind of position is worth is above 0",
    ),
    Claim(
        "causal",
        "Without the causal mask teacher forcing leaks the target",
        ("train/loss", "test/accuracy", "test/exact_match"),
        readings.causal,
        "the intervals of both differences, of the training loss and of the right texts, are above "
        "0; with the mask a tenth of the texts is right",
        places=True,
    ),
    Claim(
        "search",
        "Cross-attention keeps the whole source available",
        ("test/accuracy", "test/exact", "parameters"),
        readings.search,
        "at the longest source the interval of attention against four times the steps without it "
        "is above 0; without it half of the shortest source is right",
        look={"study.arm": "attention", "data.lag": "10"},
    ),
    Claim(
        "patches",
        "A patch is a token",
        ("test/accuracy", "train/steps", "parameters", "macs"),
        readings.patches,
        "after equally many steps, the interval between the best smaller patch and the whole image "
        "as one patch is above 0, and the latter is above chance",
        parts={
            "After equally many steps": ("steps_1", "steps_2", "steps_4", "steps_8"),
            "After equally many multiply-adds": ("work_1", "steps_2", "work_4", "work_8"),
        },
    ),
    Claim(
        "windows",
        "Windows make cost linear",
        ("train/step seconds", "parameters", "macs"),
        readings.windows,
        "the multiply-adds of the Swin grow with the area to a power of at most 1.02, and the "
        "interval of the power of its time is below that of the ViT's",
        timed=True,
    ),
    Claim(
        "shift",
        "Shifting connects windows",
        ("test/accuracy", "test/loss"),
        readings.shift,
        "the interval of what the shift is worth is above 0; the arm without it is above chance",
    ),
    Claim(
        "sharing",
        "Convolution shares weights",
        ("test/accuracy", "parameters", "macs"),
        readings.sharing,
        "at the largest shift, the interval of the CNN against the perceptron is "
        "above 0, and the latter is above chance",
    ),
    Claim(
        "pooling",
        "The pair of pooling and activation changes the accuracy",
        ("test/accuracy",),
        readings.pooling,
        "an F-test of the pairs, with the seeds as blocks, has p below 0.05",
    ),
    Claim(
        "rates",
        "Optimizer, loss and learning rate depend on each other",
        ("test/accuracy",),
        readings.rates,
        "of the pairs that reach 0.9, the two whose best rates lie furthest apart lose at the rate "
        "of each other, both intervals above 0",
        may_fail=True,
    ),
    Claim(
        "cat",
        "Attention inside patches and between them is as accurate as attention in windows, at "
        "equal parameters and steps",
        ("test/accuracy", "parameters", "macs"),
        readings.cat,
        "the interval of CAT against Swin is above -0.02, and Swin is above chance",
    ),
    Claim(
        "modern",
        "Seven years of blocks learn a text better, at equal parameters and equal time",
        ("test/bits_per_character", "test/loss", "parameters", "macs", "cpu seconds"),
        readings.modern,
        "the interval of the difference between GPT-2's blocks and all changes is above 0",
    ),
]
