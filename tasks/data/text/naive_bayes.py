"""Naive Bayes over pieces of words: a baseline for classifiers without training."""

from collections.abc import Sequence

import torch

from tasks.data.sampler import generator

ENOUGH = 1_000_000  # characters
PIECES = (1, 3)  # characters, the shortest and the longest


def naive_bayes(
    known: Sequence[tuple[str, str]], asked: Sequence[tuple[str, str]], seed: int
) -> float:
    """Return the accuracy of naive Bayes over pieces of one to three characters.

    Args:
        known: texts with labels to learn from.
        asked: texts with labels to classify.
        seed: which texts are used, if they have more than a million characters.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    texts, labels = zip(*choose_rows(known, seed), strict=True)
    count = CountVectorizer(analyzer="char_wb", ngram_range=PIECES, lowercase=False)
    model = MultinomialNB(alpha=0.1).fit(count.fit_transform(texts), labels)
    texts, labels = zip(*choose_rows(asked, seed), strict=True)
    return float(model.score(count.transform(texts), labels))


def choose_rows(rows: Sequence[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """Return rows in a random order, up to a million characters; long texts are shortened."""
    found: list[tuple[str, str]] = []
    left = ENOUGH
    for number in torch.randperm(len(rows), generator=generator(seed)).tolist():
        text, label = rows[number]
        found.append((text[: ENOUGH // 100], label))
        left -= len(found[-1][0])
        if left <= 0:
            break
    return found
