"""Numbers of the interactive parts that need a trained network: mask and temperature."""

import math
from typing import Any

import torch
from drawing.canvas import open_network, rounded
from drawing.meeting import ask_questions, read_questions
from drawing.sequences import read_lines

# Causal mask --------------------------------------------------------------------------------------


def describe_mask(folder: str) -> dict[str, Any]:
    """Return a line of the test and where each of its places looks, with the mask and without.

    Args:
        folder: a run of lesson 12, of one layer.
    """
    from blocks.graph.run.inspect import record_attention

    network = open_network(folder)
    tokens = read_lines(folder, 1)
    (attention,) = (module for module in network.modules() if hasattr(module, "causal"))
    found: dict[str, Any] = {"tokens": tokens[0].tolist()}
    for name, causal in (("masked", True), ("unmasked", False)):
        attention.causal = causal  # type: ignore[assignment]
        (record,) = record_attention(network, {"tokens": tokens}).values()
        found[name] = rounded(record.weights[0], 3)
    return found


# Temperature --------------------------------------------------------------------------------------

TEMPERATURES = [round(0.1 * step, 1) for step in range(1, 31)]
SHOWN = 8  # answers, the most likely ones


def describe_softmax(folder: str) -> dict[str, Any]:
    """Return the scores of one question's answers, and their shares at each temperature.

    Args:
        folder: a run of lesson 11 that answers questions.
    """
    from tasks.decode.search import Sampler

    question = "sum of the left column"
    data = read_questions(folder)
    with torch.no_grad():
        logits = open_network(folder)(**ask_questions(data, [question]))["logits"]
    order = logits[0].argsort(descending=True)[:SHOWN]
    shares, entropies = [], []
    for temperature in TEMPERATURES:
        share = Sampler(temperature).weigh(logits)[0]
        shares.append(rounded(share[order], 4))
        entropies.append(round(float(torch.special.entr(share).sum()) / math.log(2), 3))
    return {
        "question": question,
        "answers": [data.classes[place] for place in order.tolist()],
        "scores": rounded(logits[0][order], 2),
        "temperatures": TEMPERATURES,
        "shares": shares,
        "bits": entropies,
    }
