"""Questions about images: digits of the test stay unseen, answers are right, epochs repeat, raw
input is read alike.
"""

import csv
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from tasks.data.readers.question import QuestionReader
from tasks.data.text.phrasings import ANSWERS, KINDS, PLACES, questions
from tasks.data.text.questions import Questions, pools
from tasks.errors import ArgumentError

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SMALL = {"train": 211, "val": 13, "test": 397}


@pytest.fixture(scope="module")
def data():
    made = Questions(**SMALL, shift=0, rotate=0, scale=0)
    made.read()
    return made


def expected(text, grid):
    """The answer by reading the words anew. `grid` is two rows of two digits."""
    places = [
        grid[("top", "bottom").index(a)][("left", "right").index(b)]
        for a, b in re.findall(r"(top|bottom) (left|right)", text)
    ]
    line = re.search(r"(upper|lower|left|right) (row|column)", text)
    pair = (
        line
        and {
            "upper": grid[0],
            "lower": grid[1],
            "left": [row[0] for row in grid],
            "right": [row[1] for row in grid],
        }[line[1]]
    )
    everything = [*grid[0], *grid[1]]
    named = [
        number for number, word in enumerate(NUMBERS) if re.search(rf"\b{word}(s|es)?\b", text)
    ]
    if "largest" in text or "smallest" in text:
        return str(sorted(everything)[-1 if "largest" in text else 0])
    if "larger than" in text:
        return "yes" if places[0] > named[0] else "no"
    if "smaller than" in text:
        return "yes" if named[0] < places[0] else "no"
    if pair:
        apart = "difference" in text or "apart" in text
        return str(max(pair) - min(pair) if apart else sum(pair))
    if "many" in text or "count" in text:
        return str(
            sum(digit == named[0] for digit in everything if digit != named[0] or len(named) == 1)
        )
    if named and text.split()[0] in ("is", "does", "do"):
        return "yes" if named[0] in everything else "no"
    return str(places[0])


def test_every_answer_is_right_by_another_calculation(data):
    part = data.parts["test"]
    for row, number, label in zip(
        part["digits"].tolist(), part["number"], part["label"], strict=True
    ):
        assert ANSWERS[label] == expected(data.questions[number].text, [row[:2], row[2:]])


def test_every_place_shows_the_digit_it_is_said_to_show(data):
    known = {
        tuple(image.flatten().tolist()): int(label)
        for image, label in zip(*pools(0)["test"], strict=True)
    }
    part = data.parts["test"]
    for image, digits in zip(part["image"][:, 0], part["digits"].tolist(), strict=True):
        corners = [image[:8, :8], image[:8, 8:], image[8:, :8], image[8:, 8:]]
        assert [known[tuple(corner.flatten().tolist())] for corner in corners] == digits
    assert PLACES == ("top left", "top right", "bottom left", "bottom right")


def test_no_handwritten_digit_is_in_two_parts():
    drawn = {
        part: {tuple(image.flatten().tolist()) for image in images}
        for part, (images, _) in pools(0).items()
    }
    assert sum(map(len, drawn.values())) == len(
        {tuple(image.flatten()) for image in load_digits().images}
    )
    assert not drawn["train"] & drawn["test"]
    assert not drawn["train"] & drawn["val"]
    assert not drawn["val"] & drawn["test"]


def test_a_text_asks_one_thing_only():
    texts = [question.text for question in questions()]
    assert len(set(texts)) == len(texts) == 198
    asked = [(question.kind, question.about) for question in questions()]
    for pair in set(asked):
        assert asked.count(pair) == 3  # each in several words


def test_kinds_are_equally_frequent_and_an_asked_digit_is_as_often_there_as_not():
    made = Questions(train=1, val=1, test=1)
    made.read()
    part = made.make("val", 16000, 0, 0)
    assert (part["kind"].bincount() - 2000).abs().max() < 200
    counts = part["label"][part["kind"] == KINDS.index("count")].bincount(minlength=5)
    assert (counts / counts.sum() - 0.2).abs().max() < 0.04
    presence = part["label"][part["kind"] == KINDS.index("presence")] == ANSWERS.index("yes")
    assert abs(float(presence.float().mean()) - 0.5) < 0.04


def test_every_epoch_is_new_and_every_seed_repeats(data):
    again, other = (Questions(**SMALL, shift=0, rotate=0, scale=0, seed=seed) for seed in (0, 1))
    for one in (again, other):
        one.read()
    for name in ("image", "question", "label"):
        assert torch.equal(data.fresh(2)[name], again.fresh(2)[name])
        assert not torch.equal(data.fresh(2)[name], data.fresh(1)[name])
        assert not torch.equal(data.fresh(2)[name], other.fresh(2)[name])
        assert torch.equal(data.parts["test"][name], other.parts["test"][name])


def test_padding_is_masked_and_a_batch_is_no_longer_than_its_longest_question(data):
    batch = next(iter(data.test_dataloader()))
    assert set(batch) == {"image", "question", "question_mask", "label", "kind", "index"}
    assert torch.equal(batch["question_mask"], batch["question"] != 0)
    assert batch["question_mask"].any(0).all()
    assert data.tokenizer.decode(batch["question"][0].tolist()) == data.names("test")[0]


@pytest.fixture
def reader(data):
    return QuestionReader(tokenizer=data.tokenizer, **data.reader_arguments())


@pytest.fixture
def picture(data, tmp_path):
    """The first image of the test as people would save it."""
    pixels = (data.parts["test"]["image"][0, 0] * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(tmp_path / "four.png")
    return tmp_path / "four.png"


def test_an_image_file_and_a_question_become_the_batch_of_the_test(data, reader, picture):
    text = data.names("test")[0]
    reader.ask(f"{text.capitalize()}?")
    (item,) = reader.items(str(picture))
    assert item.error is None
    batch, part = reader.batch([item.sample]), data.parts["test"]
    length = int(part["question_mask"][0].sum())
    assert torch.equal(batch["question"][0], part["question"][0, :length])
    torch.testing.assert_close(batch["image"][0], part["image"][0], atol=0.501 / 255, rtol=0)


def test_tables_of_images_and_questions_are_read_line_by_line(reader, picture):
    rows = [
        ("four.png", "how many sevens"),
        ("five.png", "how many sevens"),
        ("four.png", "how many unicorns"),
        ("four.png", ""),
    ]
    with (picture.parent / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "question"), *rows])
    lines = [json.dumps(dict(zip(("image", "question"), row, strict=True))) for row in rows]
    (picture.parent / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for name in ("t.csv", "t.jsonl"):
        first, missing, strange, empty = reader.items(str(picture.parent / name))
        assert first.error is None
        assert missing.error == f"no such file: {picture.parent / 'five.png'}"
        assert strange.error == "training never saw 'unicorns'"
        assert empty.error == "it needs an image and a question; fits: columns of these names"


def test_what_cannot_be_asked_is_told(reader, picture):
    (item,) = reader.items(str(picture))
    assert (
        item.error
        == 'no question: --question "how many sevens", or a table with image and question'
    )
    with pytest.raises(
        ArgumentError,
        match=r"^the question cannot be read: training never saw 'unicorns'; got how m",
    ):
        reader.ask("how many unicorns")
    with pytest.raises(ArgumentError, match=r"11 words, the longest question of training had 10"):
        reader.ask("is the digit at the top left larger than two two")


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_a_part_without_samples_is_told(name):
    with pytest.raises(
        ArgumentError, match=rf"^{name} must be positive; got {name}=0; fits: 1 or more$"
    ):
        Questions(**{name: 0})


def test_a_run_answers_and_says_how_well_for_each_kind(tmp_path, monkeypatch, capsys):
    from blocks.graph import compose
    from tasks import __main__ as tasks_main
    from tasks.run import run_folder, train

    words = [
        "experiment=answer",
        "data.train=128",
        "data.val=16",
        "data.test=64",
        "trainer.max_epochs=1",
        "callbacks.progress.style=none",
        "model.params.depth=1",
        "model.params.dim=16",
    ]
    composed = compose(words)
    record = run_folder.Record(
        tmp_path / "run", **run_folder.describe_start(composed.config, words, tmp_path)
    )
    metrics = train.train(composed, tmp_path / "run", record)
    with (tmp_path / "run" / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 64
    assert metrics["test/accuracy"] == pytest.approx(np.mean([int(row["correct"]) for row in rows]))
    kinds = {question.text: question.kind for question in questions()}
    for kind in KINDS:
        right = [int(row["correct"]) for row in rows if kinds[row["question"]] == kind]
        assert metrics[f"test/accuracy_{kind}"] == pytest.approx(np.mean(right))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Kinds of question" in page
    assert "Attention over images" in page
    assert "The queries: one query." in page  # of the question, and not its words among themselves
    assert "could not be drawn" not in page
    assert (
        f"{rows[0]['question']}? expected {rows[0]['label']}, predicted {rows[0]['prediction']}"
        in page
    )

    Image.fromarray(np.zeros((31, 37), dtype=np.uint8)).save(tmp_path / "dark.png")
    arguments = [tmp_path / "run", tmp_path / "dark.png", "--question", "how many sevens"]
    monkeypatch.setattr("sys.argv", ["tasks", "predict", *map(str, arguments)])
    capsys.readouterr()
    assert tasks_main.main() == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["prediction"] in ANSWERS
