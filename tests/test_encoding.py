"""Texts and file names outside ASCII, whatever the locale says and the terminal can show."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from blocks.support.program import spare_streams
from tasks.commands.predict_items import csv_writer, json_writer, open_output
from tasks.data.base import read_reader_file
from tasks.data.images.image_folder import Images
from tasks.data.readers.base import Item
from tasks.report import page
from tasks.report.classes import write_predictions
from tasks.resume.state import data_fingerprint
from tasks.run import run_folder

ROOT = Path(__file__).resolve().parents[1]
TELLS_NOTHING = {"LC_ALL": "C", "PYTHONUTF8": "0"}
STRANGE = os.fsdecode(b"caf\xe9")  # as it is in Latin-1


def run(*words, **environment):
    known = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG", "PYTHON"))
    }
    command = [sys.executable, *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, env={**known, **environment}, capture_output=True, timeout=600
    )


@pytest.fixture
def images(tmp_path):
    if sys.getfilesystemencoding() != "utf-8":
        pytest.skip("the locale has no such file names")
    for name in (STRANGE, "花"):
        place = tmp_path / "data" / name
        place.mkdir(parents=True)
        for number in range(6):
            grey = np.full((8, 8), 20 * number + 100 * (name == "花"), np.uint8)
            Image.fromarray(grey).save(place / f"{name}{number}.png")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("cp1252", b"caf\xe9 \\u82b1 \\udce9"),
        ("ascii", b"caf\\xe9 \\u82b1 \\udce9"),
        ("utf-8", "café 花 \\udce9".encode()),
    ],
)
def test_a_stream_shows_what_it_can_and_escapes_the_rest(monkeypatch, encoding, printed):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO("花\n".encode() + b"\xe9\n"), encoding=encoding)
    )
    spare_streams()
    for stream in streams:
        print("café 花 \udce9", end="", file=stream, flush=True)
        assert stream.buffer.getvalue() == printed
    if encoding != "cp1252":  # there both lines are text
        assert sys.stdin.read() == "花\n\udce9\n"


def test_a_name_that_is_not_utf8_is_escaped_in_every_file(images, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "describe_git", lambda place: None)
    data = Images(str(images), size=8, channels=1)
    data.read()
    assert data.classes == ["caf\\xe9", "花"]
    assert sorted(data.names("test")) == sorted(
        f"{name}/{path.name.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')}"
        for path, name in data.parts["test"]
    )
    data.save(tmp_path)
    assert read_reader_file(tmp_path)["classes"] == data.classes
    assert data_fingerprint(data) == data_fingerprint(data)  # a checkpoint has it

    share = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    write_predictions(tmp_path / "predictions.csv", torch.arange(2), torch.arange(2), share, data)
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert {row["prediction"] for row in csv.DictReader(file)} == set(data.classes)

    place = tmp_path / STRANGE
    record = run_folder.Record(place, command=f"python train.py data.path={images / STRANGE}")
    record.save()
    (found,) = place.glob("*.json")
    assert json.loads(found.read_bytes().decode("utf-8"))["command"].endswith(STRANGE)
    assert run_folder.read_record(place)["command"].endswith(STRANGE)
    kept = yaml.safe_dump({"path": str(images / STRANGE)}, allow_unicode=True)
    assert yaml.safe_load(kept.encode("utf-8"))["path"].endswith(STRANGE)
    assert "&#x27;" in page.code(f"'{STRANGE}'")


def test_predictions_of_a_file_that_is_not_utf8_keep_their_row(tmp_path):
    items = [Item(f"{STRANGE}.png"), Item("花.png", error="no such file")]
    for kind, name in ((lambda file: csv_writer(file, 1), "a.csv"), (json_writer, "a.json")):
        with open_output(tmp_path / name) as file:
            write = kind(file)
            write(items[0], [("caf\\xe9", 0.75)])
            write(items[1], [])
    assert (tmp_path / "a.csv").read_bytes().decode("utf-8").splitlines()[1:] == [
        "caf\\xe9.png,caf\\xe9,0.750000,",
        "花.png,,,no such file",
    ]
    told = [
        json.loads(line) for line in (tmp_path / "a.json").read_bytes().decode("utf-8").splitlines()
    ]
    assert told[0] == {
        "input": "caf\\xe9.png",
        "predictions": [{"class": "caf\\xe9", "probability": 0.75}],
    }
    assert told[1] == {"input": "花.png", "error": "no such file"}


def test_a_terminal_of_windows_shows_a_model_with_other_letters(tmp_path):
    model = "inputs: {image: data.image}\ngraph:\n  花: {block: Flatten}\noutputs: {logits: 花}\n"
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "flower.yaml").write_text(model, encoding="utf-8")
    words = ("-m", "blocks", "explain", "--config-dir", tmp_path, "model=flower")
    done = run(*words, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u82b1" in done.stdout


@pytest.mark.slow
def test_a_run_and_its_predictions_in_a_locale_that_knows_ascii_alone(images, tmp_path):
    place = tmp_path / "花"
    words = (
        "data=images",
        f"data.path={images}",
        "data.size=8",
        "data.workers=0",
        "trainer=debug",
        f"hydra.run.dir={place}",
    )
    done = run("train.py", *words, **TELLS_NOTHING)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    written = {
        path.name: path.read_bytes().decode("utf-8")
        for path in place.iterdir()
        if path.suffix != ""
    }
    assert "花" in written["predictions.csv"]
    assert "花" in written["report.html"]
    assert "花" in json.loads(written["reader.json"])["classes"]
    done = run("-m", "tasks", "predict", place, *images.rglob("*0.png"), **TELLS_NOTHING)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert done.stdout.count(b"\\u82b1") >= 2
