"""Tables of pairs and of labelled texts, read as the data sets read them."""

from tasks.data.tables.rows import read_rows
from tasks.data.tables.wanted import wanted_labelled, wanted_pair


def read_pairs(path, source=None, target=None, header="auto"):
    """Pairs of texts, and notes on lines that were left out."""
    rows, notes, _ = read_rows(path, wanted_pair(source, target), header)
    return [(row[0], row[1]) for row in rows], notes


def read_labelled(path, text=None, label=None, header="auto"):
    """Texts with labels, and notes on lines that were left out."""
    rows, notes, _ = read_rows(path, wanted_labelled(text, label), header)
    return [(row[0], row[1]) for row in rows], notes
