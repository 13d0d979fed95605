"""Metrics of probabilities, from counts in bins: their size does not grow with the samples, and the
sums of all processes are those of one.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

FINE = 801  # edges of the bins, at equal distances of the logit
WIDEST = 12.0  # the largest logit among them
CANDIDATES = torch.arange(1, 100) / 100  # thresholds that are tried
NEUTRAL = 0.5  # the threshold of classes without a label in the validation
BINS = 15  # of the calibration error


class Histogram(Metric):
    """Counts of the probabilities of each class, apart for samples with and without it.

    The edges of the bins are dense where probabilities are near 0 and 1, and include each hundredth
    and the thresholds that are given, so that counts at those are exact.

    Args:
        classes: how many.
        thresholds: more edges, in (0, 1).
    """

    higher_is_better = True
    full_state_update = False
    counts: Tensor
    edges: Tensor

    def __init__(self, classes: int, thresholds: Tensor | None = None):
        super().__init__()
        fine = torch.linspace(-WIDEST, WIDEST, FINE).sigmoid()
        edges = torch.cat([fine, CANDIDATES])
        if thresholds is not None:
            edges = torch.cat([edges, thresholds.float()])
        self.register_buffer("edges", edges.unique(), persistent=False)
        self.classes = classes
        shape = (2, classes, len(self.edges) + 1)
        self.add_state("counts", torch.zeros(shape, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, probability: Tensor, label: Tensor) -> None:
        """Add the samples of a batch.

        Args:
            probability: (batch, classes).
            label: (batch, classes), 1 where a sample has the label; or (batch,), the number of its
                class.
        """
        bins = torch.bucketize(probability.contiguous(), self.edges, right=True)
        if label.dim() == 1:
            label = label[:, None] == torch.arange(self.classes, device=label.device)
        column = torch.arange(self.classes, device=bins.device)
        width = self.counts.shape[2]
        place = ((label > 0).long() * self.classes + column) * width + bins
        ones = torch.ones_like(place).flatten()
        self.counts.view(-1).index_add_(0, place.flatten(), ones)

    def above(self) -> tuple[Tensor, Tensor]:
        """Return how many samples without and with each class have at least the probability of each
        edge: (classes, edges + 1), the first entry being all of them.
        """
        negative, positive = self.counts.flip(2).cumsum(2).flip(2)
        return negative, positive

    def at(self, thresholds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return true positives, false positives and false negatives of each class (classes,).

        Args:
            thresholds: (classes,), each of them an edge.
        """
        negative, positive = self.above()
        place = 1 + torch.searchsorted(self.edges, thresholds.to(self.edges).contiguous())[:, None]
        right = positive.gather(1, place)[:, 0]
        wrong = negative.gather(1, place)[:, 0]
        return right, wrong, positive[:, 0] - right


class AveragePrecision(Histogram):
    """Mean average precision: the mean over the classes of the precision, averaged over the steps
    of the recall. A class that no sample has does not count.
    """

    def compute(self) -> Tensor:
        negative, positive = (counts.double() for counts in self.above())
        precision = positive / (positive + negative).clamp_min(1)
        recall = positive / positive[:, :1].clamp_min(1)
        step = recall - torch.nn.functional.pad(recall[:, 1:], (0, 1))
        return mean_of((step * precision).sum(1), positive[:, 0] > 0)


class AreaUnderROC(Histogram):
    """Area under the curve of true against false positives, the mean over the classes. A class that
    all samples have, or none, does not count.
    """

    def compute(self) -> Tensor:
        negative, positive = (counts.double() for counts in self.above())
        true = torch.nn.functional.pad(positive / positive[:, :1].clamp_min(1), (0, 1))
        false = torch.nn.functional.pad(negative / negative[:, :1].clamp_min(1), (0, 1))
        area = ((false[:, :-1] - false[:, 1:]) * (true[:, :-1] + true[:, 1:]) / 2).sum(1)
        return mean_of(area, (positive[:, 0] > 0) & (negative[:, 0] > 0))


class Threshold(Histogram):
    """The threshold with the best F1; its value is the mean over the classes.

    Args:
        classes: how many.
        each: one for each class, else one for all of them, with the best macro F1.
    """

    def __init__(self, classes: int, *, each: bool):
        super().__init__(classes)
        self.each = each
        self.chosen = torch.full((classes,), NEUTRAL)  # by the last `compute`, over all processes

    def choose(self) -> Tensor:
        """Return the threshold of each class (classes,). Of equally good ones that nearest to 0.5
        is taken.
        """
        scores = []
        candidates = CANDIDATES.to(self.edges)
        for candidate in candidates:
            counts = self.at(candidate.expand(self.classes))
            scores.append(f1_of(*counts))
        score = torch.stack(scores, 1)
        order = (candidates - NEUTRAL).abs().argsort(stable=True)
        common = candidates[order[score.mean(0)[order].argmax()]]
        chosen = common.expand(self.classes).clone()
        if self.each:
            best = candidates[order[score[:, order].argmax(1)]]
            chosen = torch.where(self.counts[1].sum(1) > 0, best, chosen)
        return chosen

    def compute(self) -> Tensor:
        self.chosen = self.choose()
        return self.chosen.mean()


class AtThreshold(Histogram):
    """A score of the labels whose probability is at least a threshold.

    Args:
        score: f1, precision, recall: the means over the classes, zero where a ratio has no meaning;
            f1_micro: of all labels together; accuracy: the share of the labels, had or not, that
            are right.
        thresholds: (classes,); the task may set others later, of `CANDIDATES`.
    """

    thresholds: Tensor

    def __init__(self, score: str, thresholds: Tensor):
        super().__init__(len(thresholds), thresholds)
        self.score = score
        self.register_buffer("thresholds", thresholds, persistent=False)

    def compute(self) -> Tensor:
        right, wrong, missed = self.at(self.thresholds)
        if self.score == "accuracy":
            return 1 - (wrong + missed).sum() / self.counts.sum().clamp_min(1)
        if self.score == "f1_micro":
            return f1_of(right.sum(), wrong.sum(), missed.sum())
        if self.score == "precision":
            return (right / (right + wrong).clamp_min(1)).mean()
        if self.score == "recall":
            return (right / (right + missed).clamp_min(1)).mean()
        return f1_of(right, wrong, missed).mean()


class CalibrationError(Metric):
    """Expected calibration error: how far the share that is right lies from the probability that
    was stated, the mean over 15 bins of the probability, weighted by their samples.

    Several labels are judged together, each by its own probability.

    Source:
        Guo et al. 2017, arXiv:1706.04599, equation 3.
    """

    higher_is_better = False
    full_state_update = False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        zeros = torch.zeros((3, BINS), dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, probability: Tensor, label: Tensor) -> None:
        """Add the samples of a batch.

        Args:
            probability: (batch, classes).
            label: (batch,), the number of a class, or (batch, classes), 1 for each label.
        """
        if label.dim() == 1:
            stated, chosen = probability.max(1)
            right = (chosen == label).double()
        else:
            stated, right = probability.flatten(), label.flatten().double()
        bins = (stated * BINS).long().clamp(0, BINS - 1)
        values = torch.stack([torch.ones_like(right), stated.double(), right])
        self.sums.index_add_(1, bins, values)

    def compute(self) -> Tensor:
        count, stated, right = self.sums
        return (stated - right).abs().sum() / count.sum().clamp_min(1)


def f1_of(right: Tensor, wrong: Tensor, missed: Tensor) -> Tensor:
    """Return F1; zero for a class that no sample has and that is never predicted."""
    return 2 * right / (2 * right + wrong + missed).clamp_min(1)


def mean_of(values: Tensor, present: Tensor) -> Tensor:
    """Return the mean over the classes that count; not a number where none does."""
    kept = torch.where(present, values, 0.0)
    return (kept.sum() / present.sum()).float()
