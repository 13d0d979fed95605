"""What a frozen embedding knows of the classes: a linear probe and the nearest neighbours."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # inverse strengths of the penalty that are tried
NEIGHBOURS = 20
ITERATIONS = 1000

Parts = Mapping[str, tuple[np.ndarray, np.ndarray]]  # embeddings and labels of each part


@dataclass(frozen=True)
class Probed:
    """The accuracy on the test part.

    Args:
        linear: of a logistic regression.
        knn: of the nearest neighbours by cosine.
        strength: the inverse strength of the penalty that was best on the validation part.
        neighbours: the number of neighbours that was best on the validation part.
    """

    linear: float
    knn: float
    strength: float
    neighbours: int


def probe(parts: Parts, neighbours: Sequence[int] = (NEIGHBOURS,)) -> Probed:
    """Fit on the training part, choose the penalty and the number of neighbours on the validation
    part, judge on the test part.

    Args:
        parts: "train", "val" and "test": embeddings (samples, dim) and labels (samples,).
        neighbours: how many vote, each with the inverse of its distance; fewer where the training
            part has fewer. One of several is chosen.

    Source:
        The protocols of Chen et al. 2020 (SimCLR), arXiv:2002.05709, section 2.3, and of Wu et al.
        2018, arXiv:1805.01978, section 3.4, with scikit-learn.
    """
    scores = {}
    for strength in STRENGTHS:
        scores[strength] = fit_linear(parts, strength, "val")
    # where several are best, the strongest penalty
    best = max(STRENGTHS, key=lambda strength: (scores[strength], -strength))
    chosen = neighbours[0]
    if len(neighbours) > 1:
        found = {count: score_neighbours(parts, count, "val") for count in neighbours}
        # where several are best, the fewest
        chosen = max(sorted(found), key=lambda count: found[count])
    linear = fit_linear(parts, best, "test")
    return Probed(linear, score_neighbours(parts, chosen), best, chosen)


def fit_linear(parts: Parts, strength: float, judged: str) -> float:
    """Return the accuracy of a logistic regression on standardised embeddings.

    Args:
        parts: as `probe` takes them.
        strength: the inverse strength of the penalty.
        judged: the part.
    """
    values, label = parts["train"]
    if len(parts[judged][1]) == 0:
        return 0.0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=ITERATIONS))
    with warnings.catch_warnings():
        # a probe that is not converged is still one, and the same for every run
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(values, label)
    return float(model.score(*parts[judged]))


def score_neighbours(parts: Parts, neighbours: int = NEIGHBOURS, judged: str = "test") -> float:
    """Return the accuracy of the nearest training samples on a part."""
    values, label = parts["train"]
    count = min(neighbours, len(label))
    model = KNeighborsClassifier(count, metric="cosine", weights="distance", algorithm="brute")
    model.fit(values, label)
    return float(model.score(*parts[judged]))


def spread(count: int, most: int) -> np.ndarray:
    """Return the numbers of at most `most` of `count` samples, evenly spaced, so that data that are
    sorted by class keep all classes.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
