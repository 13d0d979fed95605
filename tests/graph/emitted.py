"""Emitted files in tests: run without the project, formatted as ruff has it."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

from blocks.graph import Composed, plan
from blocks.graph.describe.emit import emit

ALONE = """
import pathlib, sys, types

class Alone:
    def find_spec(self, name, path=None, target=None):
        ours = ("blocks", "tasks", "einops", "jaxtyping", "hydra", "omegaconf")
        if name.partition(".")[0] in ours:
            raise ImportError(name + " must not be needed")

sys.meta_path.insert(0, Alone())
import torch

torch.set_num_threads(1)
saved = torch.load(sys.argv[2])
space = types.ModuleType("emitted")
exec(compile(pathlib.Path(sys.argv[1]).read_bytes(), sys.argv[1], "exec"), space.__dict__)
torch.manual_seed(0)
model = getattr(space, sys.argv[3])().eval()
differing = set(model.state_dict()) ^ set(saved["weights"])
assert list(model.state_dict()) == list(saved["weights"]), differing
model.load_state_dict(saved["weights"], strict=True)
buffers = dict(model.named_buffers())
assert list(buffers) == list(saved["buffers"])
for name, tensor in saved["buffers"].items():
    assert torch.equal(buffers[name], tensor), name
with torch.no_grad():
    found = model(**saved["inputs"])
found = found if isinstance(found, dict) else {"out": found}
assert list(found) == list(saved["outputs"])
for name, tensor in saved["outputs"].items():
    assert torch.equal(found[name], tensor), (name, (found[name] - tensor).abs().max())
print(sum(parameter.numel() for parameter in model.parameters()))
"""


@contextmanager
def one_thread():
    """The number of threads changes the last bit; the emitted file runs with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_alone(made, text, folder, inputs):
    """Run an emitted file in a process that has torch alone, and compare with the model."""
    model = made.materialise().eval()
    with torch.no_grad(), one_thread():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.uniform_(-0.1, 0.1)
        found = model(**inputs)
    found = found if isinstance(found, dict) else {"out": found}
    (folder / "emitted.py").write_text(text, encoding="utf-8")
    saved = {
        "weights": model.state_dict(),
        "buffers": dict(model.named_buffers()),
        "inputs": inputs,
        "outputs": found,
    }
    torch.save(saved, folder / "saved.pt")
    (folder / "alone.py").write_text(ALONE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "alone.py", "emitted.py", "saved.pt", class_of(text)],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(parameter.numel() for parameter in model.parameters())


def class_of(text):
    return [
        line.split()[1].partition("(")[0] for line in text.splitlines() if line.startswith("class ")
    ][-1]


RUFF = [sys.executable, "-m", "ruff"]


def must_be_tidy(text):
    pytest.importorskip("ruff")
    for words in (["check"], ["check", "--select", "E4,E7,E9,F,I"], ["format", "--check"]):
        done = subprocess.run(
            [*RUFF, *words, "--isolated", "-"],
            input=text,
            encoding="utf-8",
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def check_config(config, tmp_path, library=()):
    made = plan(Composed({"model": config}), {}, library=library)
    text = emit(made, "odd", "emit")
    must_be_tidy(text)
    inputs = {name: torch.randn(2, *fact.values()) for name, fact in config["inputs"].items()}
    run_alone(made, text, tmp_path, inputs)
    return text


def must_be_written_as_it_computes(inputs, graph, monkeypatch):
    """In evaluation and, with the same random numbers, in training."""
    monkeypatch.setattr("blocks.graph.describe.emit.file.tidy", lambda text: text)
    made = plan(Composed({"model": {"inputs": inputs, "graph": graph}}), {})
    space = {}
    exec(compile(emit(made, "odd", "emit"), "odd", "exec"), space)
    model, written = made.materialise(), space["Odd"]()
    assert list(written.state_dict()) == list(model.state_dict())
    written.load_state_dict(model.state_dict())
    for key, buffer in model.named_buffers():
        assert torch.equal(written.get_buffer(key), buffer), key
    given = {key: torch.randn(2, *fact.values()) for key, fact in inputs.items()}
    for training in (False, True):
        results = []
        for each in (model, written):
            torch.manual_seed(0)
            results.append(each.train(training)(**given))
        torch.testing.assert_close(*results, rtol=0, atol=0)
