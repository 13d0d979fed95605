"""What a question does not import, so that it is answered as soon as torch is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SLOW = {"lightning_fabric", "numba", "pandas", "pytorch_lightning", "scipy", "sklearn", "sympy"}
SLOW |= {"tokenizers", "torch._dynamo", "torch._inductor", "torchmetrics", "transformers"}
# convolutions, norms, attention, windows, recurrences, experts, scans, a decoder with a source
MODELS = "vit,swin,cat_t,resnet18,gpt2,mixtral_8x7b,mamba_130m,deepseek_v3,lstm,unet,whisper_tiny"
QUESTIONS = [
    "explain model=vit data=digits",
    "explain model=vit --why layers.0.attention.inner.heads",
    f"check model={MODELS}",
    "diff model=vit model=swin",
]
# the vocabulary and the lengths of these are read, by the tokenizer
READ = ["explain model=transformer data=phrases", "check model=gpt data=text"]
CODE = """
import gc, json, sys, train
from blocks.__main__ import start
status = [start(line.split()) for line in json.loads(sys.argv[1])]
print(json.dumps([status, gc.isenabled(), list(sys.modules)]), file=sys.stderr)
import torch
from torch.fx.experimental.symbolic_shapes import ShapeEnv  # the modules themselves again
import sympy, torch._dynamo
assert sympy.Symbol("x").is_Symbol and torch._dynamo.reset and ShapeEnv
"""


def ask(questions):
    """Answer questions in a new process; what it imported, its status, its collector."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(questions)],
        cwd=ROOT,
        env={**os.environ, "DOUGONG_NO_SERVER": "1"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return json.loads(done.stderr.splitlines()[-1])


def test_questions_import_neither_lightning_nor_sympy_nor_the_compiler():
    statuses, is_collecting, modules = ask(QUESTIONS)
    assert not SLOW & set(modules)
    assert statuses == [0] * len(QUESTIONS)
    assert is_collecting


def test_facts_of_texts_are_read_without_lightning():
    statuses, _, modules = ask(READ)
    assert not (SLOW - {"tokenizers"}) & set(modules)
    assert "tasks.data.text.tokenizer" in modules
    assert statuses == [0] * len(READ)
