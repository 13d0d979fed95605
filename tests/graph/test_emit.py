"""Emitted files: they need torch alone, have the keys of the composed model and its logits to
the bit.
"""

import subprocess
from pathlib import Path

import pytest
import torch

from blocks.__main__ import main
from blocks.graph import compose, plan
from blocks.graph.describe.emit import emit, read_header
from tests.graph.emitted import RUFF, must_be_tidy, run_alone

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
WORDS = {"tokens": 7, "dtype": "int", "vocab": 53}
FACTS = {
    "classes": 10,
    "tokens": WORDS,
    "source": WORDS,
    "target": {**WORDS, "tokens": 5},
    "vocab": 53,
    "question": WORDS,
    "numbers": {"features": 6},
    "categories": {"columns": 3, "dtype": "int", "vocab": 53},
    "signal": {"tokens": 40, "dim": 1},
    "video": {"channels": 1, "frames": 4, "height": 16, "width": 16},
    "text": WORDS,
}
SIDES = {
    "lenet5": (1, 28),
    "resnet18": (3, 32),
    "cnn": (3, 16),
    "mlp": (3, 8),
    "vit": (3, 8),
    "cat": (3, 16),
    "swin": (3, 16),
    "unet": (3, 32),
    "segformer": (3, 32),
    "vit_segment": (3, 16),
    "vae": (1, 8),
    "convnext_t": (3, 32),
    "vgg16": (3, 32),
    "mixer_b16": (3, 32),
}
DECODER = [
    "kv_heads=2",
    "depth=2",
    "dim=64",
    "heads=2",
    "hidden=96",
    "vocab=53",
    "length=16",
]
SMALL = {
    "vit": ["depth=3"],
    "gpt": ["depth=2"],
    "llama": ["depth=2"],
    "transformer": ["depth=2"],
    "bert": ["depth=2"],
    "transformer_deepnorm": ["depth=2", "dim=64", "heads=4", "hidden=96", "vocab=53", "length=16"],
    "gemma2_2b": [*DECODER, "window=5"],
    "mamba2_130m": ["depth=2", "dim=64", "heads=2", "state=8", "vocab=53", "length=16"],
    "mamba_130m": ["depth=2", "dim=64", "state=8", "vocab=53", "length=16"],
    "qwen3_600m": DECODER,
    "dory_4b": [
        *("vocab=53", "length=16", "dim=48", "hidden=40", "heads=4", "kv_heads=2", "head_dim=8"),
        *("before=2", "looped=2", "ending=1", "window=5"),
    ],
    "llama_7b": DECODER,
    "llama32_1b": DECODER,
    "albert_base": [*DECODER[1:4], "width=16", *DECODER[5:]],
    "clip_b32": [
        "depth=2",
        "dim=48",
        "heads=2",
        "side=64",
        "text_dim=32",
        "text_depth=2",
        "text_heads=2",
        "vocab=53",
        "length=9",
    ],
    "detr_r50": ["depth=2", "dim=48", "heads=2", "hidden=96", "queries=7", "width=8"],
    "maxvit_t": ["stem=8", "widths=[16,32]", "depths=[1,2]", "window=2"],
    "perceiver_io": [*DECODER[1:4], "latents=7", "latent_dim=64", "head_dim=8", *DECODER[5:]],
    "dit_xl2": ["depth=2", "dim=48", "heads=2", "side=8", "labels=9", "waves=8"],
    "t5_small": DECODER[1:],
    "whisper_tiny": [*DECODER[1:4], "bands=8", "frames=24", *DECODER[5:]],
    "mixtral_8x7b": [*DECODER, "experts=4"],
    "gpt_oss_20b": [*DECODER, "experts=4", "top=2", "window=5"],
    "deepseek_v3": [*DECODER[1:], "dense=1", "experts=16", "expert_hidden=24"],
}
MODELS = sorted(file.stem for file in CONF.glob("*.yaml"))
OFTEN = (
    "cat",
    "cnn",
    "convnext_t",
    "gpt",
    "llama",
    "lstm",
    "mlp",
    "resnet18",
    "seq2seq",
    "swin",
    "transformer",
    "unet",
    "vit",
)


def planned(model, *overrides):
    channels, side = SIDES.get(model, (3, 64))
    image = {"channels": channels, "height": side, "width": side}
    words = [f"model.params.{word}" for word in SMALL.get(model, [])]
    return plan(compose([f"model={model}", *words, *overrides]), {**FACTS, "image": image})


def example(made):
    """Inputs of the shapes that the model was planned with."""
    known = {**FACTS, **made.facts}
    given = {}
    for name, says in made.config["inputs"].items():
        fact = known.get(says.removeprefix("data.")) if isinstance(says, str) else says
        if not isinstance(fact, dict) or name not in made.model.input_names or "optional" in fact:
            continue
        fact = {key: made.config.get("params", {}).get(value, value) for key, value in fact.items()}
        sizes = [size for key, size in fact.items() if key not in ("dtype", "vocab")]
        integer = fact.get("dtype") == "int"
        given[name] = (
            torch.randint(0, fact["vocab"], (2, *sizes)) if integer else torch.randn(2, *sizes)
        )
    return given


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.slow] * (name not in OFTEN)) for name in MODELS]
)
def test_an_emitted_model_runs_alone_and_is_equal_to_the_bit(model, tmp_path):
    made = planned(model)
    about = read_header(CONF / f"{model}.yaml")
    text = emit(made, model, f"python -m blocks emit model={model}", about)
    torch.manual_seed(1)
    run_alone(made, text, tmp_path, example(made))
    must_be_tidy(text)


@pytest.mark.parametrize("model", ["gpt", "llama", "lstm_language", "transformer"])
def test_what_decoding_keeps_is_not_written_out(model):
    text = emit(planned(model), model, "emit")
    assert "def forward(" in text
    assert "memory: DecodeCache" not in text
    assert "def step(" not in text


@pytest.mark.parametrize("model", ["lstm", "swin", "seq2seq"])
def test_names_are_defined_and_read_without_a_formatter_too(model, monkeypatch):
    monkeypatch.setattr("blocks.graph.describe.emit.file.tidy", lambda text: text)
    check = [*RUFF, "check", "--isolated", "--quiet", "--select", "F,I", "-"]
    text = emit(planned(model), model, "emit")
    assert (
        subprocess.run(check, input=text, encoding="utf-8", capture_output=True, check=False).stdout
        == ""
    )


def test_the_command_writes_a_file_and_says_which(tmp_path, capsys):
    file = tmp_path / "vit.py"
    assert main(["emit", "model=vit", "-o", str(file)]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    text = file.read_text(encoding="utf-8")
    assert text.startswith('"""A small Vision Transformer for small images')
    assert "self.layers = nn.Sequential(*(Layer() for _ in range(4)))" in text
    assert len(text.splitlines()) < 170


def test_a_block_that_needs_more_than_torch_is_named(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "odd.yaml").write_text(
        "inputs: {x: [3]}\ngraph: {odd: {block: Odd}}\n", encoding="utf-8"
    )
    (tmp_path / "odd.py").write_text(
        "import numpy\nfrom torch import nn\n\n\nclass Odd(nn.Module):\n    def forward(self, x):\n"
        "        return x * float(numpy.pi)\n",
        encoding="utf-8",
    )
    assert (
        main(
            ["emit", "model=odd", f"library=[{tmp_path / 'odd.py'}]", "--config-dir", str(tmp_path)]
        )
        == 2
    )
    assert "odd imports numpy" in capsys.readouterr().err


def test_tied_parameters_stay_one():
    text = emit(planned("gpt"), "gpt", "emit")
    assert "self.head.weight = self.embedding.weight" in text


def test_padding_masks_are_taken_and_may_be_left_out(tmp_path):
    made = planned("transformer")
    text = emit(made, "transformer", "emit")
    inputs = example(made)
    real = torch.arange(7) < torch.tensor([[7], [4]])
    run_alone(
        made,
        text,
        tmp_path,
        {**inputs, "source_mask": real, "target_mask": real[:, :5]},
    )


def test_bodies_that_differ_by_one_child_are_one_class():
    text = emit(planned("unet"), "unet", "emit")
    assert text.count("class ") == 3
    assert "self.level = Level(3, 32, Level(32, 64, Level(64, 128, Conv(128, 256))))" in text


def test_options_that_a_model_does_not_use_are_left_out():
    text = emit(planned("vit"), "vit", "emit")
    assert "mask" not in text
    assert "return_weights" not in text
    assert "raise" not in text
