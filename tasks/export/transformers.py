"""What opens an exported run with `transformers.AutoModel.from_pretrained(FOLDER,
trust_remote_code=True)`.
"""

import json
from pathlib import Path
from typing import Any

from blocks.graph.weights.file import list_tensors
from tasks.run.load_run import Finished

MODELING = "modeling_dougong.py"
CODE = '''"""The network of this folder for transformers, from `model.py`."""

import torch
from transformers import PretrainedConfig, PreTrainedModel

from .model import {kind}


class DougongConfig(PretrainedConfig):
    model_type = "dougong"


class DougongModel(PreTrainedModel):
    config_class = DougongConfig
    base_model_prefix = "network"
    _tied_weights_keys = {ties}

    def __init__(self, config):
        super().__init__(config)
        with torch.device("cpu"):
            self.network = {kind}()
        for module in self.modules():  # tables that no file has, which transformers clears
            module.computed = {{}}
            for name, table in module.named_buffers(recurse=False):
                if name in module._non_persistent_buffers_set:
                    module.computed[name] = table.clone()
        self.post_init()

    def _init_weights(self, module):
        for name, table in getattr(module, "computed", {{}}).items():
            module._buffers[name].copy_(table)

    def forward(self, *inputs, **named):
        return self.network(*inputs, **named)
'''


def write_transformers(run: Finished, folder: Path, class_name: str | None) -> None:
    """Write config.json, and modeling_dougong.py where the network is plain PyTorch.

    Args:
        class_name: the class of the network in model.py, if there is one.
    """
    ties = {}
    for name, (_, others) in list_tensors(run.network).items():
        for other in others:
            ties[f"network.{other}"] = f"network.{name}"
    config: dict[str, Any] = {"model_type": "dougong"}
    if class_name is not None:
        module = MODELING.removesuffix(".py")
        config["architectures"] = ["DougongModel"]
        config["auto_map"] = {
            "AutoConfig": f"{module}.DougongConfig",
            "AutoModel": f"{module}.DougongModel",
        }
        config["tie_word_embeddings"] = bool(ties)
        source = CODE.format(kind=class_name, ties=ties)
        (folder / MODELING).write_text(source, encoding="utf-8")
    config["facts"] = run.facts
    config["data"] = run.config.get("data", {}).get("_target_")
    text = json.dumps(config, indent=2, ensure_ascii=False)
    path = folder / "config.json"
    path.write_text(f"{text}\n", encoding="utf-8", errors="backslashreplace")
