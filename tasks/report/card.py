"""The model card of a run, and its network as plain PyTorch, beside exported weights."""

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

CARD = """---
library_name: dougong
tags:
- pytorch
- {name}
---

# {name} on {data}

{parameters:,} parameters, seed {seed}. Made by

```sh
{command}
```

{scores}## Use

{plain_use}With Dougong, as a graph that can be changed:

```python
from dougong import build

network = build("FOLDER").eval()  # or build("hub:USER/NAME@REVISION")
```

```sh
dougong explain model=FOLDER
dougong train model=FOLDER
```

## Inputs and outputs

```json
{facts}
```

## Architecture

```mermaid
{graph}
```
"""
PLAIN_USE = """With torch and safetensors alone:

```python
from safetensors.torch import load_model

from {module} import {kind}

network = {kind}()
load_model(network, "model.safetensors")
network.eval()
```

With transformers, which runs the code of this folder:

```python
from transformers import AutoModel

network = AutoModel.from_pretrained("FOLDER", trust_remote_code=True)
```

"""


def write_card(run: Finished, folder: Path) -> str | None:
    """Write README.md, and model.py where the network can be written as plain PyTorch.

    Returns:
        The name of the class in model.py; None where a block of the user's own needs more than
        torch.
    """
    record = dict(run_folder.read_record(run.folder) or {})
    if not isinstance(record.get("choices"), dict):
        record["choices"] = {}
    # the record may be of anybody
    name = re.sub(r"[^\w.-]+", "_", str(record["choices"].get("model") or "model"))
    planned = plan(Composed({"model": run.config["model"]}), run.facts, run.library)
    command, kind = record.get("command", "train.py"), None
    try:
        source = emit(planned, name, command, f"The network of a run, {name}.")
        (folder / SOURCE).write_text(source, encoding="utf-8")
        kind = re.findall(r"^class (\w+)", source, re.MULTILINE)[-1]  # the whole network is last
    except CannotEmit:
        pass
    text = format_card(name, record, kind, draw_mermaid(planned, name))
    (folder / "README.md").write_text(text, encoding="utf-8", errors="backslashreplace")
    return kind


def format_card(name: str, record: dict[str, Any], kind: str | None, graph: str) -> str:
    """Return the text of README.md, with the header that the Hub reads.

    Args:
        kind: the name of the class in model.py, if there is one.
        graph: the drawing of the network.
    """
    scores = plain_use = ""
    if record.get("test"):
        scores = "| test | |\n|---|---|\n"
        for metric, value in sorted(record["test"].items()):
            title = metric.removeprefix("test/").replace("_", " ")
            scores += f"| {title} | {value:.4f} |\n"
        scores += "\n"
    if kind is not None:
        plain_use = PLAIN_USE.format(module=SOURCE.removesuffix(".py"), kind=kind)
    return CARD.format(
        name=name,
        data=record["choices"].get("data") or "data of its own",
        parameters=record.get("parameters", 0),
        seed=record.get("seed"),
        command=record.get("command", ""),
        scores=scores,
        plain_use=plain_use,
        facts=json.dumps(record.get("facts", {}), indent=2, ensure_ascii=False),
        graph=graph.rstrip(),
    )
