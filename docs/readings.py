"""What the figures of docs/results.md say about each claim: a verdict and a text.

A text never asserts more than is checked. A verdict needs five runs of each arm with seeds of
their own, and an arm that learned: one at chance says nothing about the other.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from tasks.sweep.intervals import mean_interval

Row = dict[str, Any]
CONFIRMED, REFUTED, UNDECIDED, UNJUDGED = "confirmed", "refuted", "not decided", "not judged"
Reading = tuple[str, str]
SEEDS = 5  # runs of an arm that a verdict needs


class Difference(NamedTuple):
    """The mean of the differences of paired runs, and its 95 % t-interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"

    def factor(self) -> str:
        """Return a ratio in words."""
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def verdict(self) -> str:
        """Confirmed where the interval is above 0, refuted where it is below."""
        return CONFIRMED if self.low > 0 else REFUTED if self.high < 0 else UNDECIDED


def mean_of(found: Sequence[float]) -> Difference:
    """Return the mean of values of independent runs, and its interval."""
    interval = mean_interval(found) if len(found) > 1 else (found[0], found[0])
    return Difference(statistics.fmean(found), *interval)


def joint_verdict(*gaps: Difference) -> str:
    """Confirmed where every interval is above 0, refuted where one of them is below."""
    found = {gap.verdict() for gap in gaps}
    if REFUTED in found:
        return REFUTED
    return UNDECIDED if UNDECIDED in found else CONFIRMED


@dataclass(frozen=True)
class Figures:
    """The runs of a sweep, selected by their settings.

    Args:
        rows: one for each run: "settings", a mapping of texts, and the measures of those that
            finished.
    """

    rows: Sequence[Row]

    def runs(self, **wanted: Any) -> list[Row]:
        """Return the runs with these settings; `__` replaces a dot: `data__lag=5`."""
        settings = {key.replace("__", "."): str(value) for key, value in wanted.items()}
        return [
            row
            for row in self.rows
            if all(named(row, key).lower() == value.lower() for key, value in settings.items())
        ]

    def all(self, measure: str, **wanted: Any) -> list[float]:
        return [row[measure] for row in self.runs(**wanted) if measure in row]

    def mean(self, measure: str, **wanted: Any) -> float:
        return statistics.fmean(self.all(measure, **wanted))

    def paired(self, measure: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Difference:
        """Return by how much `one` is above `other`, in pairs of equal seeds."""
        first, second = (self.by_seed(measure, **each) for each in (one, other))
        return mean_of([first[seed] - second[seed] for seed in first if seed in second])

    def ratio(self, measure: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Difference:
        """Return how many times `one` is `other`: the geometric mean over pairs of equal seeds."""
        first, second = (self.by_seed(measure, **each) for each in (one, other))
        logs = mean_of([math.log(first[seed] / second[seed]) for seed in first if seed in second])
        return Difference(*map(math.exp, logs))

    def by_seed(self, measure: str, **wanted: Any) -> dict[str, float]:
        return {row["settings"].get("seed", "0"): row[measure] for row in self.runs(**wanted)}

    def values(self, key: str) -> list[str]:
        """Return the values of a setting, in the order of the sweep."""
        return list(dict.fromkeys(named(row, key) for row in self.rows))


def named(row: Row, key: str) -> str:
    """Return a setting by its path or the last part of it: `residual` for `model/residual`."""
    found = row["settings"]
    return (
        found[key]
        if key in found
        else next(v for k, v in found.items() if k.replace("/", ".").endswith(f".{key}"))
    )


def listing(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs)


def memory(f: Figures) -> Reading:
    names = {
        "rnn": "RNN",
        "orthogonal": "RNN with an orthogonal start",
        "gru": "GRU",
        "lstm": "LSTM with forget bias 1",
        "chrono": "LSTM with chrono start",
        "attention": "Transformer",
    }
    lags = sorted(map(int, f.values("data.lag")))
    last = lags[-1]
    right = {
        (arm, lag): f.mean("test/accuracy", arm=arm, data__lag=lag) for arm in names for lag in lags
    }
    reach = {}
    for arm in names:
        held = [n for n in lags if min(right[arm, x] for x in lags if x <= n) >= 0.9]
        reach[arm] = max(held, default=0)
    gated = max(
        ("gru", "lstm", "chrono"), key=lambda arm: f.mean("val/accuracy", arm=arm, data__lag=last)
    )

    def gain(one: str, other: str) -> Difference:
        cells = ({"arm": arm, "data.lag": last} for arm in (one, other))
        return f.paired("test/accuracy", *cells)

    gates, attention = gain(gated, "rnn"), gain("attention", "rnn")
    text = (
        "On average at least 0.9 of the symbols are right up to: "
        f"{listing((names[arm], f'{lag} steps') for arm, lag in reach.items())}; {last} were the "
        f"most tried. There the {names[gated]}, the best of the gated ones by the validation, is "
        f"ahead of the RNN by {gates}, and the Transformer by {attention}; the chrono start is "
        f"worth {gain('chrono', 'lstm')} to the LSTM, and the orthogonal one "
        f"{gain('orthogonal', 'rnn')} to the RNN."
    )
    if right["rnn", lags[0]] < 0.9:
        return UNJUDGED, f"The RNN has not learned {lags[0]} steps. {text}"
    if min(right[gated, last], right["attention", last]) < 0.9:
        return UNDECIDED, text
    return joint_verdict(gates, attention), text


def serial(f: Figures) -> Reading:
    lags = sorted(map(int, f.values("data.lag")))

    def ratio(lag: int, threads: int) -> Difference:
        cells = ({"model": m, "data.lag": lag} for m in ("rnn_language", "gpt"))
        return f.ratio("train/step seconds", *({**cell, "threads": threads} for cell in cells))

    works = {
        lag: f.ratio("macs", *({"model": m, "data.lag": lag} for m in ("rnn_language", "gpt"))).mean
        for lag in lags
    }
    even = min(lags, key=lambda lag: abs(math.log(works[lag])))
    shown = [
        f"at {lag + 1} tokens {works[lag]:.2f} times the multiply-adds take "
        f"{ratio(lag, 1).factor()} times as long on one thread and {ratio(lag, 2).factor()} times "
        "on two"
        for lag in lags
    ]
    text = (
        f"A step of the RNN against one of the Transformer: {'; '.join(shown)}. On hardware that "
        "processes many tokens in parallel the ratio is larger."
    )
    found = ratio(even, 1)
    return (CONFIRMED if found.low > 1 else REFUTED if found.high < 1 else UNDECIDED), text


def depth(f: Figures) -> Reading:
    depths = sorted(map(int, f.values("depth")))
    arms = {"with": "prenorm", "without": "norm_only"}
    loss = {
        (arm, n): f.mean("train/loss", residual=arms[arm], depth=n) for arm in arms for n in depths
    }
    shown = [
        f"{n} layers {loss['with', n]:.3f} with and {loss['without', n]:.3f} without"
        for n in depths
    ]
    costs = {
        n: f.paired("train/loss", *({"residual": arms[a], "depth": n} for a in ("without", "with")))
        for n in depths
    }
    text = (
        f"Training loss, with the residual path and without: {', '.join(shown)}. Without the path "
        f"it is higher by {listing((str(gap), f'at {n} layers') for n, gap in costs.items())}."
    )
    learned = loss["without", depths[0]] < 0.9 * math.log(10)
    return (costs[depths[-1]].verdict() if learned else UNJUDGED), text


def share_of_a_set(length: int, symbols: int) -> float:
    """Return the share of a sequence that is guessed right, at best, from the set of its symbols
    and those before.

    What is left of the set is as random as the whole, so that the best guess at a place is the
    symbol that is left most often.

    Args:
        length: of sequences whose symbols are drawn independently.
        symbols: from which they are drawn.
    """

    def most(number: int) -> float:
        """Return how often the most frequent of this many symbols occurs, on average."""
        return sum(1 - at_most(number, times) for times in range(number))

    def at_most(number: int, times: int) -> float:
        """Return the probability that no symbol occurs more often than `times`."""
        # of one symbol, then of all: number of sequences of each length, over its factorial
        one = np.zeros(number + 1)
        one[: times + 1] = [1 / math.factorial(k) for k in range(min(number, times) + 1)]
        ways, left = np.eye(1, number + 1)[0], symbols
        while left:  # the power of a polynomial, by squares
            if left % 2:
                ways = np.convolve(ways, one)[: number + 1]
            one, left = np.convolve(one, one)[: number + 1], left // 2
        return float(ways[number]) * math.factorial(number) / symbols**number

    return statistics.fmean(most(n) / n for n in range(1, length + 1))


def positions(f: Figures) -> Reading:
    arms = f.values("arm")
    right = {arm: f.mean("test/accuracy", arm=arm) for arm in arms}
    kinds = [arm for arm in arms if arm not in ("sort", "none")]
    best = max(kinds, key=lambda arm: f.mean("val/accuracy", arm=arm))
    gain = f.paired("test/accuracy", {"arm": best}, {"arm": "none"})
    text = (
        f"Without positions sorting reaches {right['sort']:.3f} and reversing {right['none']:.3f}, "
        f"where a set allows {share_of_a_set(6, 16):.3f}. Reversing with positions: "
        f"{listing((arm, f'{right[arm]:.3f}') for arm in kinds)}; {best}, best by the validation, "
        f"is ahead of none by {gain}."
    )
    if right["sort"] < 0.9:
        return UNJUDGED, text
    low, _ = mean_interval(f.all("test/accuracy", arm="none"))
    return (gain.verdict() if low <= share_of_a_set(6, 16) else UNDECIDED), text


def causal(f: Figures) -> Reading:
    cells = [{"causal": mask} for mask in ("true", "false")]
    measures = ("train/loss", "test/exact_match")
    loss, exact = ([f.mean(m, **cell) for cell in cells] for m in measures)
    leak, gain = (f.paired(m, *cells) for m in measures)
    text = (
        f"The training loss ends at {loss[0]:.3f} with the mask and at {loss[1]:.4f} without it, a "
        f"difference of {leak}; of the texts that the decoder generates, {exact[0]:.1%} and "
        f"{exact[1]:.1%} are right, a difference of {gain}."
    )
    if exact[0] < 0.1:
        return UNJUDGED, text
    return joint_verdict(leak, gain), text


def search(f: Figures) -> Reading:
    lags = sorted(map(int, f.values("data.lag")))
    right = {
        (arm, n): f.mean("test/accuracy", arm=arm, data__lag=n)
        for arm in ("attention", "summary", "longer")
        for n in lags
    }
    shown = [
        f"of {n} words {right['attention', n]:.3f} with attention, {right['summary', n]:.3f} "
        f"without, {right['longer', n]:.3f} without after four times the steps"
        for n in lags
    ]
    last = lags[-1]
    cells = ({"arm": arm, "data.lag": last} for arm in ("attention", "longer"))
    gain = f.paired("test/accuracy", *cells)
    text = (
        f"Share of the words that are right, at equal parameters: {'; '.join(shown)}. At {last} "
        f"words attention is ahead of the longer training without it by {gain}."
    )
    return (gain.verdict() if right["longer", lags[0]] >= 0.5 else UNJUDGED), text


def patches(f: Figures) -> Reading:
    sides = "1248"
    steps = {side: f"steps_{side}" for side in sides}
    work = {**{side: f"work_{side}" for side in sides}, "2": "steps_2"}
    gains, shown = [], []
    for arms in (steps, work):
        found = {side: f.mean("val/accuracy", arm=arms[side]) for side in "124"}
        best = max(found, key=lambda side: found[side])
        gains.append(f.paired("test/accuracy", {"arm": arms[best]}, {"arm": arms["8"]}))
        right = ((f"{n}x{n}", f"{f.mean('test/accuracy', arm=arms[n]):.3f}") for n in sides)
        shown.append(
            f"{listing(right)}; {best}x{best}, best of the smaller ones by the validation, is "
            f"ahead of one patch for the whole image by {gains[-1]}"
        )
    text = (
        f"Accuracy by the side of a patch in pixels, after equally many steps: {shown[0]}. After "
        f"equally many multiply-adds: {shown[1]}."
    )
    verdict = gains[0].verdict()
    if verdict != CONFIRMED:
        text += (
            " That smaller patches are better shows on larger images: of ViTs on ImageNet those "
            "with patches of 16 pixels are ahead of those with patches of 32 (Dosovitskiy et al. "
            "2021, arXiv:2010.11929, table 5)."
        )
    return (verdict if f.mean("test/accuracy", arm="steps_8") > 0.2 else UNJUDGED), text


def windows(f: Figures) -> Reading:
    sides = sorted(map(int, f.values("size")))

    def power(measure: str, model: str) -> Difference:
        """Return the slope of a measure against the area, both as logarithms, of each seed."""
        areas = [2 * math.log(side) for side in sides]
        rows = [f.by_seed(measure, model=model, size=side) for side in sides]
        lines = ([math.log(row[seed]) for row in rows] for seed in rows[0])
        return mean_of([statistics.linear_regression(areas, line).slope for line in lines])

    work, time = (
        {model: power(measure, model) for model in ("vit", "swin")}
        for measure in ("macs", "train/step seconds")
    )
    text = (
        f"From {sides[0]} to {sides[-1]} pixels of a side the multiply-adds grow with the area to "
        f"the power of {work['vit'].mean:.2f} in the ViT and {work['swin'].mean:.2f} in the Swin. "
        f"The time of a step grows with the powers {time['vit'].factor()} and "
        f"{time['swin'].factor()}: slopes of the logarithms of {len(f.rows)} medians."
    )
    holds = work["swin"].mean <= 1.02 and time["vit"].low > time["swin"].high
    return (CONFIRMED if holds else UNDECIDED), text


def shift(f: Figures) -> Reading:
    arms = [{"arm": name} for name in ("shifted", "unshifted")]
    with_, without = (f.mean("test/accuracy", **arm) for arm in arms)
    gain = f.paired("test/accuracy", *arms)
    text = f"Accuracy {with_:.3f} with the shift and {without:.3f} without: {gain}."
    return (UNJUDGED if without <= 0.2 else gain.verdict()), text


def sharing(f: Figures) -> Reading:
    right = {
        (model, n): f.mean("test/accuracy", arm=f"{model}_{n}")
        for model in ("cnn", "mlp")
        for n in range(3)
    }
    gains = [f.paired("test/accuracy", {"arm": f"cnn_{n}"}, {"arm": f"mlp_{n}"}) for n in range(3)]
    shown = [
        f"{right['cnn', n]:.3f} and {right['mlp', n]:.3f} at {n}, a difference of {gain}"
        for n, gain in enumerate(gains)
    ]
    text = (
        "Accuracy of the CNN and of a perceptron of equally many parameters, by the largest shift "
        f"of the test images in pixels: {'; '.join(shown)}."
    )
    return (gains[-1].verdict() if right["mlp", 2] > 0.2 else UNJUDGED), text


def pooling(f: Figures) -> Reading:
    pools, activations, seeds = (f.values(key) for key in ("pool", "activation", "seed"))
    cells = [{"pool": p, "activation": a} for p in pools for a in activations]
    right = [[f.mean("test/accuracy", **cell, seed=n) for n in seeds] for cell in cells]
    every = [x for line in right for x in line]
    whole, means = statistics.fmean(every), [statistics.fmean(line) for line in right]
    by_seed = [statistics.fmean(line) for line in zip(*right, strict=True)]
    between = len(seeds) * sum((m - whole) ** 2 for m in means)
    blocks = len(cells) * sum((m - whole) ** 2 for m in by_seed)
    total = sum((x - whole) ** 2 for x in every)
    rest = total - between - blocks
    degrees = len(cells) - 1, (len(cells) - 1) * (len(seeds) - 1)
    ratio = between / degrees[0] / (rest / degrees[1])
    p = float(stats.f.sf(ratio, *degrees))
    order = sorted(range(len(cells)), key=lambda n: means[n])
    worst, best = cells[order[0]], cells[order[-1]]
    text = (
        f"Of the variance of the accuracy {between / total:.0%} belongs to the pair of pooling and "
        f"activation, {blocks / total:.0%} to the seed (weights, order and split), and "
        f"{rest / total:.0%} to neither alone; F({degrees[0]}, {degrees[1]}) = {ratio:.2f}, "
        f"p = {p:.2g}. Best: {best['pool']} pooling with {best['activation']}, "
        f"{means[order[-1]]:.3f}; worst: {worst['pool']} pooling with {worst['activation']}, "
        f"{means[order[0]]:.3f}; between them {f.paired('test/accuracy', best, worst)}, where both "
        "were picked from these figures."
    )
    for one, other in combinations(pools, 2):
        alone = [
            statistics.fmean(f.all("test/accuracy", pool=one, seed=n))
            - statistics.fmean(f.all("test/accuracy", pool=other, seed=n))
            for n in seeds
        ]
        gap = Difference(statistics.fmean(alone), *mean_interval(alone))
        text += f" Over all activations {one} pooling is ahead of {other} pooling by {gap}"
        text += (
            ", which tells them apart."
            if gap.low * gap.high > 0
            else (
                ", which does not tell them apart: on images of 96 and 140 pixels a maximum was better "
                "(Scherer et al. 2010, doi:10.1007/978-3-642-15825-4_10)."
            )
        )
    if between < blocks:
        text += " The choice matters less than the seed."
    if min(means) <= 0.2:
        return UNJUDGED, text
    return (CONFIRMED if p < 0.05 else UNDECIDED), text


def rates(f: Figures) -> Reading:
    best: dict[str, tuple[float, float, dict[str, str]]] = {}
    for optimizer in f.values("optimizer"):
        for loss in f.values("task.loss"):
            arm = {"optimizer": optimizer, "task.loss": loss}
            cells = [{**arm, "optimizer.lr": rate} for rate in f.values("optimizer.lr")]
            whole = [cell for cell in cells if len(f.all("val/accuracy", **cell)) >= SEEDS]
            cell = max(whole, key=lambda cell: f.mean("val/accuracy", **cell))
            name = f"{optimizer} with {loss.replace('_', ' ')}"
            best[name] = float(cell["optimizer.lr"]), f.mean("test/accuracy", **cell), cell
    shown = listing((name, f"at {rate:g} ({right:.3f})") for name, (rate, right, _) in best.items())
    text = f"The best rate of each pair by the validation, with the accuracy of the test: {shown}."
    judged = sorted((name for name in best if best[name][1] >= 0.9), key=lambda name: best[name][0])
    if len(judged) < 2:
        return UNJUDGED, f"{text} Fewer than two pairs reach 0.9."
    losses = []
    for name, other in ((judged[0], judged[-1]), (judged[-1], judged[0])):
        own, foreign = best[name][2], best[other][2]["optimizer.lr"]
        losses.append(f.paired("test/accuracy", own, {**own, "optimizer.lr": foreign}))
        text += f" At the rate of {other}, {name} loses {losses[-1]}."
    apart: dict[str, list[float]] = {name.partition(" ")[0]: [] for name in best}
    for name, (rate, _, _) in best.items():
        apart[name.partition(" ")[0]].append(rate)
    factors = ((name, f"{max(found) / min(found):.0f} times") for name, found in apart.items())
    text += f" Between the losses the best rates are apart by: {listing(factors)}."
    return (CONFIRMED if min(loss.low for loss in losses) > 0 else UNDECIDED), text


def cat(f: Figures) -> Reading:
    names = {"vit_equal": "ViT", "vit_small": "small ViT", "swin_equal": "Swin", "cat_equal": "CAT"}
    right, size, work = (
        {arm: f.mean(measure, arm=arm) for arm in names}
        for measure in ("test/accuracy", "parameters", "macs")
    )
    cells = (
        (
            names[arm],
            f"{right[arm]:.3f} ({size[arm]:,.0f} parameters, {work[arm]:,.0f} multiply-adds)",
        )
        for arm in names
    )
    to = {arm: f.paired("test/accuracy", {"arm": "cat_equal"}, {"arm": arm}) for arm in names}
    text = (
        f"Accuracy: {listing(cells)}. CAT is ahead of Swin by {to['swin_equal']}, of the ViT of "
        f"equally many parameters by {to['vit_equal']}, and of the one of equally many "
        f"multiply-adds by {to['vit_small']}."
    )
    gap = to["swin_equal"]
    verdict = CONFIRMED if gap.low > -0.02 else REFUTED if gap.high < -0.02 else UNDECIDED
    return (UNJUDGED if right["swin_equal"] <= 0.2 else verdict), text


def modern(f: Figures) -> Reading:
    measure, old = "test/bits_per_character", {"modern": "gpt2"}
    changes = [arm for arm in f.values("modern") if arm not in ("gpt2", "all")]
    best = min(changes, key=lambda arm: f.mean(measure, modern=arm))
    text = (
        f"GPT-2's blocks need {f.mean(measure, **old):.3f} bits per character of the test, all "
        f"changes together {f.mean(measure, modern='all'):.3f}; the best change alone, {best}, "
        f"{f.mean(measure, modern=best):.3f}. Differences to GPT-2's blocks: "
    )
    sides: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for arm in [*changes, "all"]:
        gap = f.paired(measure, {"modern": arm}, old)
        side = {CONFIRMED: "worse", REFUTED: "better"}.get(gap.verdict(), "not told apart")
        sides[side].append(f"{arm} {gap}")
    shown = [f"{side}: {', '.join(arms) or 'none'}" for side, arms in sides.items()]
    verdict = f.paired(measure, old, {"modern": "all"}).verdict()
    return verdict, text + "; ".join(shown) + "."
