"""What counting pieces of words makes of texts with labels: a yardstick for classifiers that costs
no training.
"""

from collections.abc import Sequence

import torch

from tasks.data.sampler import generator

ENOUGH = 1_000_000  # characters
PIECES = (1, 3)  # characters


def naive_bayes(
    known: Sequence[tuple[str, str]], asked: Sequence[tuple[str, str]], seed: int
) -> float:
    """The accuracy of naive Bayes over pieces of one to three characters; of much text, of a
    million characters.

    Args:
        known: texts with labels to learn from.
        asked: texts with labels to judge.
        seed: which texts are taken, where there are more.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    known, asked = some(known, seed), some(asked, seed)
    count = CountVectorizer(analyzer="char_wb", ngram_range=PIECES, lowercase=False)
    model = MultinomialNB(alpha=0.1)
    model.fit(count.fit_transform([text for text, _ in known]), [label for _, label in known])
    return float(
        model.score(count.transform([text for text, _ in asked]), [label for _, label in asked])
    )


def some(rows: Sequence[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """Rows in a random order, as many as have a million characters together; a long text counts by
    its beginning.
    """
    found: list[tuple[str, str]] = []
    left = ENOUGH
    for number in torch.randperm(len(rows), generator=generator(seed)).tolist():
        text, label = rows[number]
        found.append((text[: ENOUGH // 100], label))
        left -= len(found[-1][0])
        if left <= 0:
            break
    return found
