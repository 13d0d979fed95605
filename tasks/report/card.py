"""The model card of a run, and its network as plain PyTorch: what makes a folder of weights usable
by strangers.
"""

import json
import re
from pathlib import Path
from typing import Any

from blocks.graph import Composed, plan
from blocks.graph.describe.draw import draw_mermaid
from blocks.graph.describe.emit import CannotEmit, emit
from tasks.run import run_folder
from tasks.run.load_run import Finished

SOURCE = "model.py"


def write_card(run: Finished, place: Path) -> str | None:
    """Write README.md, and model.py where the network can be written as plain PyTorch.

    Returns:
        The name of the class in model.py; None where a block of the user's own stands on more than
        torch.
    """
    record = run_folder.read_record(run.folder) or {}
    choices = record.get("choices")
    record = {**record, "choices": choices if isinstance(choices, dict) else {}}
    name = re.sub(
        r"[^\w.-]+", "_", str(record["choices"].get("model") or "model")
    )  # whoever wrote the record
    planned = plan(Composed({"model": run.config["model"]}), run.facts, run.library)
    try:
        source = emit(
            planned, name, record.get("command", "train.py"), f"The network of a run, {name}."
        )
        (place / SOURCE).write_text(source, encoding="utf-8")
        kind = re.findall(r"^class (\w+)", source, re.MULTILINE)[
            -1
        ]  # the whole stands behind its parts
    except CannotEmit:
        kind = None
    use = plain_use(kind) if kind else []
    text = card(name, record, use, draw_mermaid(planned, name))
    (place / "README.md").write_text(text, encoding="utf-8", errors="backslashreplace")
    return kind


def card(name: str, record: dict[str, Any], use: list[str], graph: str) -> str:
    """The text of README.md, with the head that the Hub reads."""
    data = record.get("choices", {}).get("data") or "data of its own"
    scores = [
        f"| {metric.removeprefix('test/').replace('_', ' ')} | {value:.4f} |"
        for metric, value in scored(record)
    ]
    head = ["---", "library_name: dougong", "tags:", "- pytorch", f"- {name}", "---", ""]
    lines = [
        *head,
        f"# {name} on {data}",
        "",
        f"{record.get('parameters', 0):,} parameters, seed {record.get('seed')}. Made by",
        "",
        "```sh",
        record.get("command", ""),
        "```",
        "",
        *(["| test | |", "|---|---|", *scores, ""] if scores else []),
        "## Use",
        "",
        *use,
        *composed_use(),
        "## Inputs and outputs",
        "",
        "```json",
        json.dumps(record.get("facts", {}), indent=2, ensure_ascii=False),
        "```",
        "",
        "## Architecture",
        "",
        "```mermaid",
        graph.rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def scored(record: dict[str, Any]) -> list[tuple[str, float]]:
    """The test metrics of a run."""
    return sorted(record.get("test", {}).items())


def plain_use(kind: str) -> list[str]:
    """How to run it with torch and safetensors alone."""
    return [
        "With torch and safetensors alone:",
        "",
        "```python",
        "from safetensors.torch import load_model",
        "",
        f"from {SOURCE.removesuffix('.py')} import {kind}",
        "",
        f"network = {kind}()",
        'load_model(network, "model.safetensors")',
        "network.eval()",
        "```",
        "",
    ]


def composed_use() -> list[str]:
    """How to run it as a graph of blocks."""
    return [
        "With Dougong, as a graph that can be changed:",
        "",
        "```python",
        "import json",
        "",
        "from blocks.graph import build, load_weights",
        "",
        'config = json.load(open("config.json", encoding="utf-8"))',
        'network = build(config["model"], facts=config["facts"]).eval()',
        'load_weights(network, "model.safetensors")',
        "```",
        "",
    ]
