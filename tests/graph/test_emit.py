"""Emitted files: they need torch alone, have the keys of the composed model and its logits to the bit."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from blocks.__main__ import main
from blocks.graph import Composed, compose, plan
from blocks.graph.emit import emit, header

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
WORDS = {"tokens": 7, "dtype": "int", "vocab": 53}
FACTS = {"classes": 10, "tokens": WORDS, "source": WORDS, "target": {**WORDS, "tokens": 5}, "vocab": 53,
         "question": WORDS, "signal": {"tokens": 40, "dim": 1}}  # fmt: skip
SIDES = {"lenet5": (1, 28), "resnet18": (3, 32), "cnn": (3, 16), "mlp": (3, 8), "vit": (3, 8), "cat": (3, 16),
         "swin": (3, 16), "unet": (3, 32), "convnext_t": (3, 32), "vgg16": (3, 32), "mixer_b16": (3, 32)}  # fmt: skip
SMALL = {
    "vit": ["depth=3"],
    "gpt": ["depth=2"],
    "llama": ["depth=2"],
    "transformer": ["depth=2"],
    "bert": ["depth=2"],
    "transformer_deepnorm": ["depth=2", "dim=64", "heads=4", "hidden=96", "vocab=53", "length=16"],
    "llama_7b": ["depth=2", "dim=64", "heads=2", "kv_heads=2", "hidden=96", "vocab=53", "length=16"],
}
MODELS = sorted(file.stem for file in CONF.glob("*.yaml"))
OFTEN = ("cat", "cnn", "convnext_t", "gpt", "llama", "lstm", "mlp", "resnet18", "seq2seq", "swin", "transformer",
         "unet", "vit")  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    """The number of threads changes the last bit; the emitted file runs with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


ALONE = """
import pathlib, sys, types

class Alone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("blocks", "tasks", "einops", "jaxtyping", "hydra", "omegaconf"):
            raise ImportError(name + " must not be needed")

sys.meta_path.insert(0, Alone())
import torch

torch.set_num_threads(1)
saved = torch.load(sys.argv[2])
space = types.ModuleType("emitted")
exec(compile(pathlib.Path(sys.argv[1]).read_text(), sys.argv[1], "exec"), space.__dict__)
torch.manual_seed(0)
model = getattr(space, sys.argv[3])().eval()
assert list(model.state_dict()) == list(saved["weights"]), set(model.state_dict()) ^ set(saved["weights"])
model.load_state_dict(saved["weights"])
with torch.no_grad():
    found = model(**saved["inputs"])
found = found if isinstance(found, dict) else {"out": found}
assert list(found) == list(saved["outputs"])
for name, tensor in saved["outputs"].items():
    assert torch.equal(found[name], tensor), (name, (found[name] - tensor).abs().max())
print(sum(parameter.numel() for parameter in model.parameters()))
"""


def planned(model, *overrides):
    channels, side = SIDES.get(model, (3, 64))
    image = {"channels": channels, "height": side, "width": side}
    words = [f"model.params.{word}" for word in SMALL.get(model, [])]
    return plan(compose([f"model={model}", *words, *overrides]), {**FACTS, "image": image})


def run_alone(made, text, folder, title):
    model = made.materialise().eval()
    torch.manual_seed(1)
    inputs = example(made)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.uniform_(-0.1, 0.1)
        found = model(**inputs)
    found = found if isinstance(found, dict) else {"out": found}
    (folder / "emitted.py").write_text(text)
    torch.save({"weights": model.state_dict(), "inputs": inputs, "outputs": found}, folder / "saved.pt")
    (folder / "alone.py").write_text(ALONE)
    done = subprocess.run([sys.executable, "-I", "-W", "error", "alone.py", "emitted.py", "saved.pt", title],
                          cwd=folder, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(parameter.numel() for parameter in model.parameters())


def example(made):
    """Inputs of the shapes that the model was planned with."""
    known = {**FACTS, **made.assembler.facts}
    given = {}
    for name, says in made.config["inputs"].items():
        fact = known.get(says.removeprefix("data.")) if isinstance(says, str) else says
        if not isinstance(fact, dict) or name not in made.model.input_names or "optional" in fact:
            continue
        fact = {key: made.config.get("params", {}).get(value, value) for key, value in fact.items()}
        sizes = [fact[key] for key in ("channels", "height", "width", "tokens", "dim") if key in fact]
        integer = fact.get("dtype") == "int"
        given[name] = torch.randint(0, fact["vocab"], (2, *sizes)) if integer else torch.randn(2, *sizes)
    return given


def class_of(text):
    return [line.split()[1].partition("(")[0] for line in text.splitlines() if line.startswith("class ")][-1]


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.slow] * (name not in OFTEN)) for name in MODELS]
)
def test_an_emitted_model_runs_alone_and_is_equal_to_the_bit(model, tmp_path):
    made = planned(model)
    text = emit(made, model, f"python -m blocks emit model={model}", header(CONF / f"{model}.yaml"))
    run_alone(made, text, tmp_path, class_of(text))


@pytest.mark.parametrize("model", ["gpt", "llama", "lstm_language", "transformer"])
def test_what_decoding_keeps_is_not_written_out(model):
    text = emit(planned(model), model, "emit")
    assert "def forward(" in text
    assert "memory: Memory" not in text
    assert "def step(" not in text


@pytest.mark.parametrize("model", ["vit", "swin", "seq2seq"])
def test_the_file_is_tidy(model, monkeypatch):
    ruff = pytest.importorskip("ruff").find_ruff_bin()
    formatted = emit(planned(model), model, "emit")
    check = [ruff, "check", "--isolated", "--quiet", "--select", "E,F,I", "-"]
    assert subprocess.run(check, input=formatted, text=True, capture_output=True, check=False).stdout == ""
    layout = [ruff, "format", "--isolated", "--check", "-"]
    assert subprocess.run(layout, input=formatted, text=True, capture_output=True, check=False).returncode == 0
    monkeypatch.setattr("blocks.graph.emit.tidy", lambda text: text)
    assert subprocess.run(check, input=emit(planned(model), model, "emit"), text=True, capture_output=True,
                          check=False).stdout == ""  # fmt: skip


def test_the_command_writes_a_file_and_says_which(tmp_path, capsys):
    file = tmp_path / "vit.py"
    assert main(["emit", "model=vit", "-o", str(file)]) == 0
    assert capsys.readouterr().out.strip() == str(file)
    text = file.read_text()
    assert text.startswith('"""A small Vision Transformer for small images')
    assert "self.layers = nn.Sequential(*(Layer() for _ in range(4)))" in text
    assert len(text.splitlines()) < 150


def test_a_pattern_that_plain_torch_cannot_say_is_told_with_its_block(tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "odd.yaml").write_text(
        "inputs: {x: [3, 4]}\ngraph:\n  turn: {block: Rearrange, pattern: b ... -> ... b}\n", encoding="utf-8"
    )
    assert main(["emit", "model=odd", "--config-dir", str(tmp_path)]) == 2
    assert "Rearrange with '...'" in capsys.readouterr().err


def test_tied_parameters_stay_one():
    text = emit(planned("gpt"), "gpt", "emit")
    assert "self.head.weight = self.embedding.weight" in text


LIBRARY = """
import torch
from jaxtyping import Float
from torch import Tensor, nn


def weighed(x, mask=None):
    return scaled(x, mask=default(x, mask=mask))


def default(x, mask=None):
    if x.shape[1] > 3:
        mask = torch.arange(x.shape[1], device=x.device) + 1.0
    return mask


def scaled(x, mask=None):
    if mask is not None:
        x = x * mask[:, None]
    return x.softmax(1), None


class Weigh(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.dim, self.width = dim, dim
        self.project = nn.Linear(self.dim, self.width)

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        x = self.project(x)
        scores, nothing = weighed(x, mask=mask)
        return scores * x if nothing is None else scores
"""


def test_a_name_that_is_set_on_some_paths_only_keeps_its_first_value(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "weigh.py").write_text(LIBRARY)
    body = {"weigh": {"block": "Weigh"}, "again": {"block": "Weigh"}}
    config = {"inputs": {"x": {"tokens": 5, "dim": 7}}, "graph": body}
    made = plan(Composed({"model": config}), {}, library=[str(tmp_path / "library")])
    text = emit(made, "odd", "emit")
    run_alone(made, text, tmp_path, class_of(text))


def test_bodies_that_differ_by_one_child_are_one_class():
    text = emit(planned("resnet50"), "resnet50", "emit")
    assert text.count("class ") == 4
    assert "self.activation = nn.ReLU() if activation else nn.Identity()" in text
    assert "*(Unit(features, 4 * features, 1) for _ in range(depth - 1))," in text


def test_what_only_some_branches_take_is_handed_through():
    text = emit(planned("transformer"), "transformer", "emit")
    assert text.count("(nn.Module):\n    def __init__(self, inner: nn.Module):") == 1
    assert "self.inner(self.norm(x), **inputs)" in text
