"""The pictures of the inside of a network: what is painted where, what is escaped, and that a
failure stays small.
"""

import base64
import io
import re
import sys
import types
from pathlib import Path
from xml.dom.minidom import parseString

import numpy as np
import pytest
import torch
from PIL import Image

from blocks.graph import build, compose, plan
from tasks.learn import classify
from tasks.report import images, inspection, matrices, overlays, report
from tasks.report.over_training import gradients
from tasks.report.samples import Sample, pick_evenly, shorten_paths
from tasks.run import run_folder

FACTS = {
    "source": {"tokens": 7, "dtype": "int", "vocab": 23},
    "target": {"tokens": 5, "dtype": "int", "vocab": 23},
    "source_mask": {"tokens": 7, "dtype": "bool"},
    "target_mask": {"tokens": 5, "dtype": "bool"},
    "vocab": 23,
}
NASTY = '<script>alert("1")</script> & more'


def pictures(page: str) -> list[np.ndarray]:
    """All PNG pictures on a page, as arrays."""
    found = re.findall(r"data:image/png;base64,\s*([A-Za-z0-9+/=]+)", page)
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))
        for content in found
    ]


def digit(network: str, seed: int = 0) -> tuple[torch.nn.Module, Sample]:
    torch.manual_seed(seed)
    image = torch.rand(1, 8, 8)
    return build(network, facts={"image": [1, 8, 8], "classes": 10}), Sample(
        NASTY, {"image": image[None]}, image=image
    )


def titles(found: list[tuple[str, str]]) -> list[str]:
    return [title for title, _ in found]


# Pictures -----------------------------------------------------------------------------------------


def test_a_shade_is_the_weight():
    weights = np.array([[0.5, 0.25, 0.0], [0.125, 0.125, 0.0]])
    picture = matrices.draw_attention(weights, ["<a>", "b&c"], [" ", "日", "\n"], NASTY)
    shade = pictures(picture)[0][..., 3]
    np.testing.assert_array_equal(shade, (255 * weights / 0.5).round())
    words = [node.firstChild.data for node in parseString(picture).getElementsByTagName("text")]
    assert words == ["␣", "日", "⏎", "<a>", "b&c", "0", "0.5", NASTY]


def test_the_first_tokens_of_a_text_do_not_set_the_scale():
    weights = np.tril(np.ones((21, 21)))
    weights /= weights.sum(1, keepdims=True)
    picture = matrices.draw_attention(weights, None, None, "causal")
    assert ">0.33 and more</text>" in picture
    assert pictures(picture)[0][:3, 0, 3].tolist() == [255, 255, 255]
    assert pictures(picture)[0][20, 20, 3] == round(255 * 3 / 21)


def test_columns_too_many_to_name_are_counted():
    picture = matrices.draw_attention(np.eye(61), None, list("x" * 61), "layer 0")
    words = [node.firstChild for node in parseString(picture).getElementsByTagName("text")]
    assert [word.data for word in words if word] == ["0", "20", "40", "60", "0", "1", "layer 0"]


def test_the_most_looked_at_place_is_the_most_orange_one():
    weights = np.zeros((2, 4), dtype=np.float32)
    weights[1, 2] = 1.0
    (picture,) = pictures(overlays.overlay(torch.zeros(1, 6, 12), weights))
    orange = picture[..., 0].astype(int) - picture[..., 2]
    assert picture.shape[:2] == (56, 112)
    assert (orange[28:, 56:84] == orange.max()).all()
    orange[28:, 56:84] = 0
    assert not orange.any()


def test_an_even_look_is_fainter_than_a_sharp_one():
    even, sharp = np.full((4, 4), 1 / 16, dtype=np.float32), np.eye(4, dtype=np.float32) / 4
    strength = [
        int(pictures(overlays.overlay(torch.zeros(1, 8, 8), w))[0][..., 0].max())
        for w in (even, sharp)
    ]
    assert strength == [pytest.approx(255 * 0.7 / 3, abs=1), pytest.approx(255 * 0.7, abs=1)]


def test_feature_maps_stand_beside_their_image():
    maps = np.zeros((2, 3, 2, 2), dtype=np.float32)
    maps[1, 2, 0, 1] = 5.0
    (sheet,) = pictures(overlays.tiles([torch.ones(1, 8, 8), torch.zeros(3, 8, 8)], maps))
    side, step = overlays.TILE, overlays.TILE + 3
    assert sheet.shape == (2 * step - 3, 4 * step - 3, 4)
    assert sheet[:side, :side, :3].min() > 250
    assert sheet[step:, :side, :3].max() < 5
    bright = sheet[step : step + side // 2, 3 * step + side // 2 :, :3]
    assert np.abs(bright.astype(int) - matrices.viridis(1.0)[:3]).max() <= 4
    assert not sheet[:, side : side + 3, 3].any()


def test_the_training_of_nodes_has_a_logarithmic_scale_and_leaves_gaps():
    values = np.array([[1e-4, 1e-2, 1.0], [np.nan, 1e-4, 0.0]])
    picture = matrices.draw_over_training(
        ["a<b", "head"], [1, 50, 99], values, "update", "words & more"
    )
    parseString(picture)
    colours = pictures(picture)[0]
    assert colours[..., 3].tolist() == [[255, 255, 255], [0, 255, 255]]
    np.testing.assert_array_equal(colours[0, :, :3], matrices.viridis(np.array([0, 0.5, 1]))[:, :3])
    np.testing.assert_array_equal(colours[1, 1, :3], matrices.viridis(0.0)[:3])
    assert "a&lt;b" in picture
    assert re.findall(r">([\d.e-]+)</text>", picture)[-5:] == [
        "0.0001",
        "0.001",
        "0.01",
        "0.1",
        "1",
    ]


# What is shown ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (17, (8, 8), (4, 4)),
        (16, (8, 8), (4, 4)),
        (197, (224, 224), (14, 14)),
        (8, (8, 16), (2, 4)),
        (12, (8, 8), None),
    ],
)
def test_tokens_are_patches_of_the_image_where_they_can_be(tokens, size, grid):
    assert images.patch_grid(tokens, size) == grid


def test_the_class_token_is_who_looks_in_a_vit():
    network, sample = digit("vit")
    found = images.record_attention(network, sample.batch)["layers.0.attention.inner"]
    who, heads = images.spread(found, (8, 8))
    assert who == "the class token"
    torch.testing.assert_close(heads, found.weights[0, :, 0, 1:].unflatten(-1, (4, 4)))


SHOWN = {
    "vit": ["Attention over images"],
    "swin": ["Attention over images", "Feature maps"],
    "cat": ["Attention over images", "Feature maps"],
    "cnn": ["Feature maps"],
    "mlp": [],
}


@pytest.mark.parametrize("model", SHOWN)
def test_a_network_shows_what_it_has(model):
    network, sample = digit(model)
    planned = plan(compose([f"model={model}"]), {"image": [1, 8, 8], "classes": 10})
    found = inspection.sections(network, [sample, sample], report.name_axes(planned))
    assert titles(found) == SHOWN[model]
    page = "".join(content for _, content in found)
    assert "<script>" not in page
    assert len(page) < 400_000
    if model == "cat":
        assert "stages.0.units.0.cross, 1." in page.replace(
            "\u200b", ""
        )  # patches that look at each other
    if model == "cnn":
        assert re.findall(r"<figcaption>([^<]*): [^<]* of (\d+), ([^<]*)</figcaption>", page) == [
            ("stages.0.units.0", "32", "8 × 8"),
            ("stages.1.units.0", "64", "4 × 4"),
            ("stages.2.units.0", "128", "2 × 2"),
        ]


@pytest.mark.parametrize("model", ["transformer", "seq2seq"])
def test_a_translation_shows_its_alignment(model):
    network = build(model, facts=FACTS).eval()
    batch = {"source": torch.tensor([[5, 6, 7, 8]]), "target": torch.tensor([[1, 9, 10]])}
    batch |= {"source_mask": batch["source"] > 0, "target_mask": batch["target"] > 0}
    names = {
        "tokens": ["<start>", "九", "月"],
        "source": list("Sep<"),
        "predicted": ["九", "月", "<end>"],
    }
    found = dict(inspection.sections(network, [Sample(NASTY, batch, **names)], {}))
    assert list(found) == (["Alignment", "Attention"] if model == "transformer" else ["Alignment"])
    assert "<script>" not in found["Alignment"]
    first = parseString(re.search(r"<svg.*?</svg>", found["Alignment"], re.DOTALL)[0])
    words = [node.firstChild.data for node in first.getElementsByTagName("text")]
    assert words[:7] == [*"Sep<", "九", "月", "<end>"]
    weights = (
        [a for a in images.record_attention(network, batch).values() if a.cross][-1]
        .weights[0]
        .mean(0)
    )
    shade = pictures(found["Alignment"])[0][..., 3]
    if model == "seq2seq":
        np.testing.assert_allclose(shade, (255 * weights / weights.max()).round(), atol=1)


def test_the_answers_of_a_question_are_its_rows():
    network = build(
        "gpt", facts={"tokens": {"tokens": 9, "dtype": "int", "vocab": 11}, "vocab": 11}
    ).eval()
    sample = Sample(
        "q",
        {"tokens": torch.arange(9)[None]},
        tokens=list("abcdefghi"),
        predicted=list("ABCDEFGHI"),
        rows=[6, 8],
    )
    ((_, content),) = inspection.sections(network, [sample], {})
    shade = pictures(content)[0][..., 3]
    assert shade.shape == (2, 9)
    assert not shade[0, 7:].any()
    assert shade[1].all()
    words = re.findall(
        r"<text[^>]*>(.*?)</text>", re.search(r"<svg.*?</svg>", content, re.DOTALL)[0]
    )
    assert words[:11] == [*"abcdefghi", "G", "I"]


def test_the_padding_of_a_text_is_not_shown():
    data = types.SimpleNamespace(token_names=lambda ids: [str(token) for token in ids])
    tokens = torch.tensor([[7, 8, 9, 0, 0]])
    sample = classify.text_sample({"tokens": tokens, "padding_mask": tokens > 0}, data, "title")
    assert (sample.batch["tokens"].tolist(), sample.batch["padding_mask"].tolist()) == (
        [[7, 8, 9]],
        [[True] * 3],
    )
    assert (sample.tokens, list(sample.rows), list(sample.columns)) == (
        ["7", "8", "9"],
        [0, 1, 2],
        [0, 1, 2],
    )


def test_of_many_layers_the_first_the_last_and_some_between_are_shown():
    assert pick_evenly(range(24), 6) == [0, 5, 9, 14, 18, 23]
    assert pick_evenly(range(3), 6) == [0, 1, 2]
    paths = ["layers.0.attention.inner", "layers.1.attention.inner"]
    assert shorten_paths(paths) == {paths[0]: "layers.0", paths[1]: "layers.1"}
    assert shorten_paths(["only.one"]) == {"only.one": "only.one"}


# When it fails ------------------------------------------------------------------------------------


def test_what_cannot_be_drawn_is_told_and_the_rest_is_drawn(tmp_path, capsys):
    def broken(data):
        raise RuntimeError(NASTY)

    task = types.SimpleNamespace(
        network=None, samples=broken, trainer=types.SimpleNamespace(strategy=None)
    )
    (tmp_path / "nodes.csv").write_text(
        "step,epoch,node,gradient,update\n1,1,head,0.5,0.001\n2,1,head,,0.002\n", encoding="utf-8"
    )
    found = report.inspect_network(tmp_path, task, None, types.SimpleNamespace(rows=[]))
    assert titles(found) == ["Inside the network", "Gradients and updates"]
    assert "This could not be drawn: RuntimeError: &lt;script&gt;" in found[0][1]
    assert "note: Inside the network: This could not be drawn" in capsys.readouterr().out
    for name in ("gradients.svg", "updates.svg"):
        parseString((tmp_path / name).read_text(encoding="utf-8"))


def test_a_run_without_nodes_has_no_such_section(tmp_path):
    assert gradients.sections(tmp_path) == []


@pytest.mark.parametrize("status", ["running", "finished"])
def test_a_finished_run_stays_finished_when_its_report_fails(tmp_path, monkeypatch, capsys, status):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    from tasks.session import failures

    record = run_folder.Record(tmp_path)
    record.add(status=status)
    assert failures.record_failure(RuntimeError("no room left"), record) == failures.CRASH
    kept = run_folder.read_record(tmp_path)
    assert kept["status"] == ("finished" if status == "finished" else "failed")
    assert "no room left" in (kept["report"]["error"] if status == "finished" else kept["error"])
    assert "no room left" in capsys.readouterr().err
    sys.modules.pop("train", None)
