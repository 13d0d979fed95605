"""Names of classes: after the model, the slots and the nodes."""

import re
from collections.abc import Mapping

UPPER = ("bert", "cat", "cnn", "gpt", "gpt2", "gru", "lstm", "mlp", "rnn", "vgg16")
TITLES = {
    "vit": "ViT",
    "unet": "UNet",
    "resnet": "ResNet",
    "resnet18": "ResNet18",
    "resnet50": "ResNet50",
    "alexnet": "AlexNet",
    "lenet5": "LeNet5",
    "convnext": "ConvNeXt",
}


def suggest_names(paths: list[str], labels: Mapping[str, str]) -> list[str]:
    """Names for a class, the plainest first: its slot or its node, then the nodes around it."""
    slots = {labels.get(path, "").partition(":")[0] for path in paths}
    parts = paths[0].split(".")
    names = [part for part in parts if not part.isdigit() and part != "inner"] or ["part"]
    word = names.pop()
    if parts[-1].isdigit():
        word = f"{word}_layer" if word == word.rstrip("s") else word[:-1]
    if len(slots) == 1 and ":" in labels.get(paths[0], ""):
        names.append(word)
        word = slots.pop()
    found = [word]
    for name in reversed(names):
        if name.rstrip("s") != word.rstrip("s"):
            found.append(name)
    return list(map(to_camel_case, found))


def to_camel_case(word: str) -> str:
    """ "cross_attention" -> "CrossAttention", "mlp" -> "MLP"."""
    parts = []
    for part in re.split(r"\W+|_", word):
        usual = part.upper() if part in UPPER else part[:1].upper() + part[1:]
        parts.append(TITLES.get(part, usual))
    return "".join(parts)
