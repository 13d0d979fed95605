"""A run for other programs: what is written gives what the run gives, or is not left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
import yaml

from blocks.graph import build, compose
from tasks.errors import ArgumentError
from tasks.export import (
    FORMATS,
    Format,
    check_packages,
    export_run,
    make_inputs,
    read_inputs,
)
from tasks.export.formats import write_hub, write_safetensors
from tasks.run.load_run import Finished, open_run

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "model.params.depth=1",
    "model.params.dim=16",
    "model.params.heads=2",
    "trainer.max_epochs=1",
]
B = 7


def trained(folder, *arguments, start=TINY):
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *start,
        *arguments,
        f"hydra.run.dir={folder}/run",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=folder, env=environment, encoding="utf-8", capture_output=True, timeout=180
    )
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("classify"), "trainer.limit_train_batches=4")


@pytest.fixture(scope="module")
def run(place):
    return open_run(place)


@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors", "hub"])
def test_what_is_written_gives_what_the_run_gives_on_real_samples(run, kind, tmp_path):
    name = FORMATS[kind].name
    parity = export_run(run, kind, tmp_path / name, read_inputs(run, B), "test samples")
    assert parity.batches == (B, 1)
    assert parity.difference <= (0 if kind != "onnx" else 1e-5)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["pt2", "safetensors"])
@pytest.mark.parametrize("name", ["net", "net.v2"])
def test_a_name_needs_no_suffix(run, kind, name, tmp_path):
    assert (
        export_run(run, kind, tmp_path / name, read_inputs(run, B), "test samples").difference == 0
    )


def test_an_onnx_file_has_the_names_of_the_yaml_takes_any_batch_and_says_what_it_is(run, tmp_path):
    export_run(run, "onnx", tmp_path / "model.onnx", read_inputs(run, B), "test samples")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, found.name) == ("image", ["batch", 1, 8, 8], "logits")
    images = torch.randn(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = run.network(images)["logits"]
    torch.testing.assert_close(
        torch.from_numpy(session.run(None, {"image": images.numpy()})[0]), wanted
    )
    told = json.loads(session.get_modelmeta().custom_metadata_map["dougong"])
    assert told["facts"] == {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}


def test_a_folder_for_the_hub_explains_itself_and_runs_without_this_project(run, tmp_path):
    export_run(run, "hub", tmp_path / "hub", read_inputs(run, B), "test samples")
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == [
        "README.md",
        "config.json",
        "model.py",
        "model.safetensors",
        "model.yaml",
        "modeling_dougong.py",
        "reader.json",
    ]
    card = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    assert card.startswith(
        "---\nlibrary_name: dougong\ntags:\n- pytorch\n- vit\n---\n\n# vit on digits\n"
    )
    code = card.split("```python\n")[1].split("```")[0]
    alone = (
        f"import sys\nsys.modules['blocks'] = None\n{code}\nprint(sum(p.numel() for p in "
        "network.parameters()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", alone], cwd=tmp_path / "hub", encoding="utf-8", capture_output=True
    )
    assert result.stdout.strip() == str(sum(p.numel() for p in run.network.parameters())), (
        result.stderr
    )


def test_a_folder_for_the_hub_is_opened_as_a_model_with_equal_bits(run, tmp_path, monkeypatch):
    batch = read_inputs(run, B)
    export_run(run, "hub", tmp_path / "hub", batch, "test samples")
    monkeypatch.chdir(tmp_path)
    network = build("./hub").eval()
    with torch.no_grad():
        assert torch.equal(network(**batch)["logits"], run.network(**batch)["logits"])
    composed = compose(["model=./hub", "data=digits"])
    assert composed.config["model"] == run.config["model"] | {"example": run.facts}
    assert composed.config["weights"]["load"] == str(tmp_path / "hub" / "model.safetensors")


@pytest.mark.slow
def test_a_shared_model_is_trained_further(run, tmp_path):
    export_run(run, "hub", tmp_path / "hub", read_inputs(run, B), "test samples")
    words = (
        "model=./hub",
        "trainer.limit_train_batches=1",
        "trainer.max_epochs=1",
        "optimizer.lr=1e-30",
    )
    further = open_run(trained(tmp_path, *words, start=()))
    batch = read_inputs(run, B)
    with torch.no_grad():
        found, expected = further.network(**batch)["logits"], run.network(**batch)["logits"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


OPEN = """
import sys
import torch
from transformers import AutoModel
batch, expected = torch.load(sys.argv[2], weights_only=True)
network = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
with torch.no_grad():
    print(torch.equal(network(**batch)["logits"], expected))
network.save_pretrained(sys.argv[3])
again = AutoModel.from_pretrained(sys.argv[3], trust_remote_code=True).eval()
with torch.no_grad():
    print(torch.equal(again(**batch)["logits"], expected))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "overrides", "facts"),
    [
        ("vit", [], {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 5}),
        ("swin", [], {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 5}),
        ("gpt", [], {"tokens": {"tokens": 11, "dtype": "int", "vocab": 31}, "vocab": 31}),
    ],
)
def test_transformers_opens_the_folder_with_equal_bits(model, overrides, facts, tmp_path):
    """Learned tables, tables that are computed (swin) and tied parameters (gpt)."""
    pytest.importorskip("transformers")
    config = compose([f"model={model}"]).config
    network = build(model, overrides, facts).eval()
    run = Finished(tmp_path, config, facts, network, ())
    batch = make_inputs(run, 3)
    write_hub(run, tmp_path / "hub", batch)
    with torch.no_grad():
        torch.save((batch, network(**batch)["logits"]), tmp_path / "expected.pt")
    words = [tmp_path / "hub", tmp_path / "expected.pt", tmp_path / "again"]
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *map(str, words)],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        encoding="utf-8",
        capture_output=True,
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_what_differs_is_told_and_not_left_behind(run, tmp_path, monkeypatch):
    def wrong(finished, path, batch):
        network = write_safetensors(finished, path, batch)
        return lambda part: {name: tensor + 0.01 for name, tensor in network(part).items()}

    monkeypatch.setitem(FORMATS, "pt2", Format("model.safetensors", (), wrong))
    with pytest.raises(
        ArgumentError,
        match="what was written differs from the run; got test samples, batches of 7 and 1",
    ):
        export_run(run, "pt2", tmp_path / "model.safetensors", read_inputs(run, B), "test samples")
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ArgumentError) as caught:
        check_packages("onnx")
    assert str(caught.value) == (
        "--to onnx needs onnx and onnxscript and onnxruntime, which are not installed; "
        'fix: pip install -c constraints.txt -e ".[onnx]"'
    )


def test_a_file_that_is_there_is_not_overwritten(run, tmp_path):
    (tmp_path / "model.pt2").write_text("mine", encoding="utf-8")
    with pytest.raises(ArgumentError, match="exists already"):
        export_run(run, "pt2", tmp_path / "model.pt2", read_inputs(run, B), "test samples")
    assert (tmp_path / "model.pt2").read_text(encoding="utf-8") == "mine"


def test_random_inputs_have_the_shapes_of_the_real_ones(run):
    real, random = read_inputs(run, B), make_inputs(run, B)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in random.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in real.items()
    }


def test_without_the_data_random_inputs_are_compared_and_that_is_reported(
    place, tmp_path, capsys, monkeypatch
):
    from tasks.__main__ import main

    kept = torch.load(place / "checkpoints" / "best.ckpt", weights_only=True)
    gone = {"_target_": "tasks.data.images.arrays.Arrays", "path": str(tmp_path / "gone.npz")}
    kept["hyper_parameters"]["config"]["data"] = gone
    moved = tmp_path / "run"
    (moved / "checkpoints").mkdir(parents=True)
    torch.save(kept, moved / "checkpoints" / "best.ckpt")
    (moved / "config.yaml").write_text(
        yaml.safe_dump(kept["hyper_parameters"]["config"]), encoding="utf-8"
    )
    monkeypatch.setattr(sys, "argv", ["tasks", "export", str(moved), "--to", "safetensors"])
    assert main() == 0
    out, err = capsys.readouterr()
    assert "random inputs, batches of 8 and 1: largest difference 0.0e+00" in out
    assert err.startswith(
        "the data of the run cannot be read; random inputs are compared instead\n"
    )
    assert "gone.npz does not exist" in err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors", "hub"])
def test_masks_and_tied_parameters_come_along(kind, tmp_path):
    small = ("data.train=256", "data.val=20", "data.test=20")
    run = open_run(trained(tmp_path, "experiment=translate", *small))
    parity = export_run(
        run, kind, tmp_path / FORMATS[kind].name, read_inputs(run, B), "test samples"
    )
    assert parity.difference <= 1e-5 * parity.scale
