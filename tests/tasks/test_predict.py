"""A finished classifier on new input: the same answers as in its test, and bad input told by
name.
"""

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
from PIL import Image
from sklearn.datasets import load_digits

from blocks.graph import compose
from tasks import __main__ as tasks_main
from tasks.run import run_folder, train
from tasks.run.data_facts import read_data

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "trainer.max_epochs=4",
    "data.batch_size=16",
    "optimizer.lr=0.003",
    "callbacks.progress.style=none",
    "model.params.depth=1",
    "model.params.dim=16",
]


def trained(place, *overrides):
    """Train in `place`; the folder and the metrics of the test."""
    composed = compose([*TINY, *overrides])
    record = run_folder.Record(
        place, **run_folder.describe_start(composed.config, list(overrides), place)
    )
    return place, train.train(composed, place, record)


def asked(monkeypatch, capsys, *words, given=""):
    """`python -m tasks predict ...`: exit status, rows, standard error."""
    monkeypatch.setattr(sys, "argv", ["tasks", "predict", *map(str, words)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    capsys.readouterr()
    status = tasks_main.main()
    out, err = capsys.readouterr()
    return status, out, err


def rows(out):
    return list(csv.DictReader(io.StringIO(out)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A run on image files: 8x8 digits as people would save them, 0 to 4."""
    place = tmp_path_factory.mktemp("pictures")
    digits = load_digits(n_class=5)
    for number, (image, label) in enumerate(
        zip(digits.images[:300], digits.target[:300], strict=True)
    ):
        file = place / "digits" / f"class {label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(file)
    options = [
        "data=images",
        f"data.path='{place}/digits'",
        "data.size=8",
        "data.channels=1",
        "data.workers=0",
    ]
    return trained(place / "run", *options, "data.flip=false")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """A run on an .npz file whose floats were brought to [0, 1]."""
    place = tmp_path_factory.mktemp("arrays")
    digits = load_digits(n_class=5)
    parts = {"train": slice(0, 600), "test": slice(600, 900)}
    content = {f"x_{name}": digits.images[part] * 3 - 7 for name, part in parts.items()}
    np.savez(
        place / "d.npz",
        **content,
        **{f"y_{name}": digits.target[part] + 5 for name, part in parts.items()},
    )
    return trained(place / "run", "data=arrays", f"data.path='{place}/d.npz'")


def test_files_of_the_test_get_the_answers_of_the_test(pictures, monkeypatch, capsys):
    place, metrics = pictures
    with (place / "predictions.csv").open(encoding="utf-8") as file:
        told = list(csv.DictReader(file))
    files = [place.parent / "digits" / row["file"] for row in told]
    status, out, err = asked(monkeypatch, capsys, place, "--batch-size", "7", *files)
    assert (status, err) == (0, "")
    found = rows(out)
    assert [row["input"] for row in found] == [str(file) for file in files]
    assert [row["prediction"] for row in found] == [row["prediction"] for row in told]
    assert [float(row["probability"]) for row in found] == pytest.approx(
        [float(row["share"]) for row in told], abs=1e-4
    )
    right = sum(
        row["prediction"] == file.parent.name for row, file in zip(found, files, strict=True)
    )
    assert right / len(files) == pytest.approx(metrics["test/accuracy"], abs=1e-6)
    assert right / len(files) > 0.2


def test_arrays_of_the_test_get_the_accuracy_of_the_test_though_the_data_are_gone(
    arrays, monkeypatch, capsys, tmp_path
):
    place, metrics = arrays
    wanted = np.load(place.parent / "d.npz")["y_test"]
    moved = tmp_path / "moved.npz"
    (place.parent / "d.npz").rename(moved)
    status, out, err = asked(monkeypatch, capsys, place, f"{moved}:x_test", "--top", "3")
    moved.rename(place.parent / "d.npz")
    assert (status, err) == (0, "")
    found = rows(out)
    assert found[12]["input"] == f"{moved}:x_test[12]"
    right = [row["prediction"] == str(label) for row, label in zip(found, wanted, strict=True)]
    assert sum(right) / len(right) == pytest.approx(metrics["test/accuracy"], abs=1e-6)
    assert list(found[0]) == [
        *(
            "input",
            "prediction",
            "probability",
            "prediction_2",
            "probability_2",
            "prediction_3",
            "probability_3",
        ),
        "error",
    ]
    shares = [[float(row[f"probability{end}"]) for end in ("", "_2", "_3")] for row in found]
    assert shares == [sorted(row, reverse=True) for row in shares]


def test_bad_input_is_told_by_name_and_keeps_its_row(pictures, monkeypatch, capsys, tmp_path):
    place, _ = pictures
    Image.new("L", (40, 30), 255).save(tmp_path / "fine.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (tmp_path / "notes.doc").write_text("x", encoding="utf-8")
    np.save(tmp_path / "large.npy", np.zeros((2, 9, 9), dtype=np.uint8))
    np.save(tmp_path / "far.npy", np.full((1, 8, 8), 255.0))
    (tmp_path / "nothing").mkdir()
    given = [
        "",
        "empty.png",
        "broken.jpg",
        "notes.doc",
        "large.npy",
        "far.npy",
        "nothing",
        "gone.png",
        "fine.png",
    ]
    monkeypatch.chdir(tmp_path)
    status, out, err = asked(monkeypatch, capsys, place, *given)
    assert status == 1
    found = rows(out)
    assert [row["input"] for row in found] == [*given[:5], "far.npy[0]", *given[6:]]
    kinds = ".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp .npz .npy, IDX"
    assert [row["error"] for row in found] == [
        "an empty name",
        "an empty file",
        "cannot be read: cannot identify image file broken.jpg",
        f"no kind of image file: .doc; fits: {kinds}",
        "the images are 1x9x9, the network takes 1x8x8",
        "values from 255 to 255; fits: bytes, or numbers from 0 to 1, as in training",
        f"no images in this folder; fits: {kinds}",
        "no such file",
        "",
    ]
    assert [bool(row["prediction"]) for row in found] == [False] * 8 + [True]
    assert err.startswith(
        "'': an empty name\nempty.png: an empty file\nbroken.jpg: cannot be read: "
    )
    assert max(map(len, err.splitlines())) <= 80


@pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="no such file names")
def test_json_lines_from_standard_input_into_a_file(pictures, monkeypatch, capsys, tmp_path):
    place, _ = pictures
    Image.new("RGBA", (8, 8)).save(tmp_path / "图 1.webp")
    given = f"{tmp_path}/图 1.webp\r\n{tmp_path}/gone.png\n"
    output = tmp_path / "out.jsonl"
    status, out, _ = asked(
        monkeypatch, capsys, place, "--json", "--top", "9", "-o", output, "-", given=given
    )
    assert (status, out) == (1, "")
    first, second = map(json.loads, output.read_text(encoding="utf-8").splitlines())
    assert first["input"] == f"{tmp_path}/图 1.webp"
    assert {each["class"] for each in first["predictions"]} == {
        f"class {number}" for number in range(5)
    }
    assert sum(each["probability"] for each in first["predictions"]) == pytest.approx(1, abs=1e-5)
    assert second == {"input": f"{tmp_path}/gone.png", "error": "no such file"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top", "0", "x.png"], "top must be positive\ngot top=0\nfits: 1 or more\n"),
        (
            ["-o", "no/x.csv", "x.png"],
            "no/x.csv cannot be written: No such file or directory\nfix: -o FILE\n",
        ),
    ],
)
def test_mistakes_of_the_command_line(pictures, monkeypatch, capsys, words, message):
    assert asked(monkeypatch, capsys, pictures[0], *words) == (2, "", message)


def test_a_run_without_what_it_should_keep_is_told(arrays, monkeypatch, capsys):
    kept = arrays[0] / "reader.json"
    content = kept.read_text(encoding="utf-8")
    try:
        kept.write_text("{", encoding="utf-8")
        status, _, err = asked(monkeypatch, capsys, arrays[0], "x.npz")
        assert (status, err.splitlines()[0].split(":")[0]) == (2, f"{kept} is damaged")
        kept.unlink()
        status, _, err = asked(monkeypatch, capsys, arrays[0], "x.npz")
        assert (status, "has no reader.json" in err) == (2, True)
    finally:
        kept.write_text(content, encoding="utf-8")


def test_what_is_kept_is_what_was_measured(arrays):
    kept = json.loads((arrays[0] / "reader.json").read_text(encoding="utf-8"))
    assert kept["classes"] == ["5", "6", "7", "8", "9"]
    assert kept["reader"]["scale"] == [-7.0, 41.0]
    data = read_data(compose(["data=arrays", f"data.path='{arrays[0].parent}/d.npz'"]))
    assert torch.tensor(kept["reader"]["mean"])[:, None, None].equal(data.mean)


# Texts --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A run on a table of texts, and the table of its test part as somebody would keep it."""
    place = tmp_path_factory.mktemp("texts")
    words = {"fruit": "apple pear plum", "tool": "saw axe file", "bird": "owl finch, crow"}
    rows = [
        (
            f"{kind.split()[number % 3]} and {kind.split()[number % 2]}{' very' * (number % 7)} "
            f"{number}",
            label,
        )
        for number in range(60)
        for label, kind in words.items()
    ]
    write_table(
        place / "all.csv",
        [("id", "Review", "kind"), *((str(n), *row) for n, row in enumerate(rows))],
    )
    options = ["model=encoder", "data=labelled", f"data.path='{place}/all.csv'", "data.label=kind"]
    trained(place / "run", *options, "data.text=Review", "data.length=9", "data.tokenizer=words")
    with (place / "run" / "predictions.csv").open(encoding="utf-8") as file:
        told = list(csv.DictReader(file))
    write_table(
        place / "test.tsv",
        [("kind", "Review"), *((row["label"], row["text"]) for row in told)],
        "\t",
    )
    (place / "all.csv").unlink()  # the data may be gone
    return place, told


def write_table(path, content, mark=","):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=mark).writerows(content)


def test_a_table_of_the_test_gets_the_answers_of_the_test(texts, monkeypatch, capsys):
    place, told = texts
    metrics = run_folder.read_record(place / "run")["test"]
    status, out, err = asked(
        monkeypatch, capsys, place / "run", place / "test.tsv", "--batch-size", "5", "--top", "2"
    )
    assert (status, err) == (0, "")
    found = rows(out)
    assert [row["input"] for row in found] == [row["text"] for row in told]
    assert [row["prediction"] for row in found] == [row["prediction"] for row in told]
    assert [float(row["probability"]) for row in found] == pytest.approx(
        [float(row["share"]) for row in told], abs=1e-4
    )
    right = sum(
        row["prediction"] == wanted["label"] for row, wanted in zip(found, told, strict=True)
    )
    assert right / len(told) == pytest.approx(metrics["test/accuracy"], abs=1e-6)
    assert right / len(told) > 0.5


def test_the_report_of_texts_shows_texts(texts):
    page = (texts[0] / "run" / "report.html").read_text(encoding="utf-8")
    mistakes = page.split("<h2>Mistakes</h2>")[1].split("</section>")[0]
    assert "<img" not in mistakes
    wrong = [row["text"] for row in texts[1] if row["label"] != row["prediction"]]
    assert all(f'<blockquote dir="auto">{text}</blockquote>' in mistakes for text in wrong[:12])


def test_texts_come_as_arguments_before_and_behind_options(texts, monkeypatch, capsys):
    status, out, err = asked(
        monkeypatch, capsys, texts[0] / "run", "an apple", "--json", "  ", "مرحبا 🙂"
    )
    assert (status, err) == (1, "  : an empty text\n")
    found = [json.loads(line) for line in out.splitlines()]
    assert [each["input"] for each in found] == ["an apple", "  ", "مرحبا 🙂"]
    assert ["error" in each for each in found] == [False, True, False]
    assert len(found[0]["predictions"]) == 1


def test_lines_of_standard_input_are_texts(texts, monkeypatch, capsys):
    status, out, _ = asked(
        monkeypatch, capsys, texts[0] / "run", given="an apple\r\n\ngone.csv\nlast, line"
    )
    assert status == 1
    assert [(row["input"], row["error"]) for row in rows(out)] == [
        ("an apple", ""),
        ("", "an empty text"),
        ("gone.csv", ""),
        ("last, line", ""),
    ]


def test_a_run_of_another_kind_is_told(texts, monkeypatch, capsys):
    run_folder = texts[0] / "run"
    monkeypatch.setattr(sys, "argv", ["tasks", "generate", str(run_folder), "--prompt", "an"])
    capsys.readouterr()
    assert tasks_main.main() == 2
    assert (
        capsys.readouterr().err
        == f"{run_folder} is no language model\nfits: a run of task=language\n"
    )


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(texts):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    words = [sys.executable, "-m", "tasks", "predict", texts[0] / "run", "--batch-size", "1"]
    first = subprocess.Popen(
        words, cwd=ROOT, env=environment, stdin=-1, stdout=-1, stderr=-1, encoding="utf-8"
    )
    first.stdin.write("an apple\n")
    first.stdin.flush()
    assert first.stdout.readline() == "input,prediction,probability,error\n"
    first.stdout.close()
    first.stdin.write("an owl\n" * 9)
    first.stdin.close()
    assert first.wait(120) == 0
    assert first.stderr.read() == ""
    first.stderr.close()
