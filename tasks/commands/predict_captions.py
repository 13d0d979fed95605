"""Predict which text an image is nearest to, with a network of two towers."""

from typing import Any

from torch import Tensor

from tasks.learn.metrics.retrieval import average_prompts
from tasks.run.load_run import Finished


def compares_texts(run: Finished) -> bool:
    """Return whether a run compares images with texts."""
    names = getattr(run.network, "output_names", ())
    return {"image_projection", "text_projection"} <= set(names)


def compare_texts(run: Finished, inputs: dict[str, Tensor]) -> Tensor:
    """Return the logits (batch, classes) of images: the products with the texts of the classes.

    Args:
        run: with a network of two towers, which takes another number of texts than of images.
        inputs: with an "image".
    """
    reader: Any = run.reader
    prompts = reader.prompts()
    batch = inputs | prompts.batch()
    names = run.network.input_names
    found = run.network(**{name: batch[name] for name in names if name in batch})
    classes = average_prompts(found["text_projection"], prompts.owner)
    return found["image_projection"] @ classes.T


def choose_captions(run: Finished, captions: list[str]) -> None:
    """Set the texts that images are compared with; they are then the classes of the run.

    Raises:
        ArgumentError: the run compares no texts, or one cannot be read.
    """
    run.reader.compare(captions)
    run.classes[:] = captions
