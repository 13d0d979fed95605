"""Drawings of every shipped model: nothing is missing, nothing overlaps, every format is well
formed.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from blocks.__main__ import main
from blocks.catalog import own
from blocks.graph import Composed, Graph, compose, plan
from blocks.graph.describe.draw import WRITERS, draw, draw_svg, picture, unfold
from blocks.graph.describe.draw.kinds import kind_of
from blocks.graph.describe.draw.layout import lay_out
from blocks.graph.describe.draw.svg import curve
from tests.graph.families import FAMILIES
from tests.graph.test_figures import check_tikz

MODELS = sorted(
    file.stem for file in (Path(__file__).resolve().parents[2] / "conf" / "model").glob("*.yaml")
)
WORDS = {"tokens": 12, "dtype": "int", "vocab": 53}
FACTS = {
    "image": {"channels": 3, "height": 224, "width": 224},
    "classes": 10,
    "question": WORDS,
    "numbers": {"features": 6},
    "categories": {"columns": 3, "dtype": "int", "vocab": 53},
    "signal": {"tokens": 40, "dim": 1},
    "video": {"channels": 1, "frames": 4, "height": 16, "width": 16},
    "tokens": WORDS,
    "source": WORDS,
    "target": WORDS,
    "text": WORDS,
    "vocab": 53,
}
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@cache
def planned(model, classes=10):
    image = {"channels": 1, "height": 28, "width": 28} if model == "lenet5" else FACTS["image"]
    return plan(compose([f"model={model}"]), {**FACTS, "image": image, "classes": classes})


def small(graph, **sections):
    inputs = {"x": {"shape": [7, 5]}}
    return plan(
        Composed({"model": {"inputs": inputs, "graph": graph, **sections}, "data": {"facts": {}}})
    )


@pytest.mark.parametrize("model", FAMILIES)
def test_every_call_of_the_generated_code_is_drawn(model):
    drawn = {path for node in picture(planned(model)).nodes() for path in node.paths}
    graphs = {
        path: module
        for path, module in planned(model).model.named_modules()
        if isinstance(module, Graph)
    }
    calls = {
        f"{path}.{node.target}".lstrip(".")
        for path, graph in graphs.items()
        for node in graph.graph.nodes
        if node.op == "call_module"
    }
    assert calls - drawn == set()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("depth", [None, 0, 99])
def test_no_line_crosses_a_box_and_no_box_another(model, depth):
    drawn = picture(planned(model))
    check_sheet(lay_out((drawn if depth is None else unfold(drawn, depth)).body))


def check_sheet(sheet):
    boxes = [box for box in sheet.boxes if box.h]
    for a, b in combinations(boxes, 2):
        assert a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y, (
            "two boxes overlap"
        )
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.w <= sheet.w
        assert box.y + box.h <= sheet.h
    for line in sheet.lines:
        for (ax, ay), (bx, by) in pairwise(line.points):
            assert abs(ax - bx) < 0.5 or ay == by, "a line runs askew"
            for box in boxes:
                across = max(ax, bx) > box.x + 0.5 and min(ax, bx) < box.x + box.w - 0.5
                assert not (
                    across and max(ay, by) > box.y + 0.5 and min(ay, by) < box.y + box.h - 0.5
                ), "a line crosses a box"
    check_lines(sheet)
    for box in boxes:
        if box.inside is not None:
            check_sheet(box.inside)


def check_lines(sheet):
    """Lines of different values may cross, and never run over each other."""
    pieces = [(line.net, a, b) for line in sheet.lines for a, b in pairwise(line.points)]
    for (net, a, b), (other, c, d) in combinations(pieces, 2):
        if net != other:
            for one in (0, 1):
                level = max(abs(p[one] - q[one]) for p in (a, b) for q in (c, d)) < 1
                run = min(max(a[1 - one], b[1 - one]), max(c[1 - one], d[1 - one])) - max(
                    min(a[1 - one], b[1 - one]), min(c[1 - one], d[1 - one])
                )
                assert not (level and run > 1), f"two lines run over each other at {a}, {b}"


@pytest.mark.parametrize("model", MODELS)
def test_every_format_is_well_formed_and_the_same_again(model):
    for ending, write in WRITERS.items():
        text = write(picture(planned(model), model))
        assert text == write(picture(planned(model), model))
        assert "http://" not in text.replace("http://www.w3.org/", "")
        assert "https://" not in text
        CHECKERS[ending](text)


def check_svg(text):
    root = ElementTree.fromstring(text)
    words = "".join(root.itertext())
    assert root.get("viewBox")
    assert not root.findall(".//{*}script")
    assert "nan" not in words


def check_html(text):
    nodes = re.search(r'<script type="application/json" id="nodes">(.*?)</script>', text)[1]
    root = ElementTree.fromstring(re.search(r"<main.*</main>", text, re.DOTALL)[0])
    drawn = [node.get("data-id") for node in root.iter() if node.get("data-id")]
    assert sorted(drawn) == sorted(json.loads(nodes))
    ends = {end for edge in root.iter() for end in edge.get("data-ends", "").split("|") if end}
    assert ends <= set(drawn)


TEXT = r'"(?:[^"#\\<]|#\d+;|<br>)+"'
MERMAID = {
    "node": rf"(n\d+)(?:\[{TEXT}\]:::\w+|\(\[{TEXT}\]\))",
    "open": rf"subgraph (n\d+)\[{TEXT}\]",
    "end": r"end",
    "edge": r'(n\d+) (?:-->|-\.->)(?:\|"[\w ×.*]+"\|)? (n\d+)',
    "class": r"class (n\d+) \w+",
    "colour": r"classDef \w+ fill:#\w+,stroke:#\w+(?:,color:#\w+)?",
}
STRING = r'"(?:[^"\\]|\\["\\n])*"'
LIST = rf"\w+=(?:{STRING}|\w+)(?:, \w+=(?:{STRING}|\w+))*"
DOT = {
    "edge": rf"(n\d+) -> (n\d+)(?: \[{LIST}\])?;",
    "node": rf"(n\d+) \[{LIST}\];",
    "open": r"subgraph cluster_(n\d+) \{",
    "end": r"\}",
    "colour": rf"(?:graph|node|edge) \[{LIST}\];|label={STRING}; style=rounded; color={STRING};",
}


def check_text(text, first, patterns):
    head, *lines = text.splitlines()
    assert re.fullmatch(first, head)
    declared, used, depth = [], set(), 0
    for line in lines:
        kind, match = next(
            ((kind, m) for kind, p in patterns.items() if (m := re.fullmatch(p, line.strip()))),
            (None, None),
        )
        assert match, f"not understood: {line}"
        depth += {"open": 1, "end": -1}.get(kind, 0)
        if kind in ("node", "open"):
            declared.append(match[1])
        used |= set(match.groups()) if kind in ("edge", "class") else set()
    assert depth == (0 if "end" not in first and "{" not in first else -1)
    assert len(declared) == len(set(declared))
    assert used <= set(declared)


CHECKERS = {
    ".svg": check_svg,
    ".html": check_html,
    ".mmd": lambda text: check_text(text, "flowchart TB", MERMAID),
    ".dot": lambda text: check_text(text, rf"digraph {STRING} \{{", DOT),
    ".tex": check_tikz,
}


def test_equal_repeats_are_drawn_once_and_a_different_one_beside_them():
    nodes = {node.id: node for node in picture(planned("resnet50")).nodes()}
    assert (nodes["stages.2.units.0"].times, nodes["stages.2.units.1"].times) == (1, 5)
    assert nodes["stages.2.units.1"].name == "units 1–5"
    assert nodes["stages.2.units.1"].display == "stages.2.units.1–5"
    layers = next(node for node in picture(planned("vit_b16")).nodes() if node.id == "layers")
    assert layers.times == 12
    assert [node.name for node in layers.body.nodes] == ["attention", "mlp"]


def test_parameters_of_a_folded_node_are_those_of_all_it_stands_for():
    drawn = picture(planned("swin_t", classes=1000))
    assert drawn.parameters == 28_288_354
    assert sum(node.parameters for node in drawn.body.nodes) == drawn.parameters
    inner = next(node for node in drawn.nodes() if node.id == "stages.2.layers.0.attention.inner")
    assert len([path for path in inner.paths if path.endswith("inner")]) == 6
    assert inner.arguments["shift"] == "0, 3"
    assert inner.arguments["window"] == "7"


def test_a_residual_path_runs_from_the_input_of_the_body_to_the_sum():
    attention = next(
        node for node in picture(planned("vit_b16")).nodes() if node.id == "layers.0.attention"
    )
    add = next(place for place, node in enumerate(attention.body.nodes, 1) if node.name == "add")
    assert (0, add) in {(edge.source, edge.target) for edge in attention.body.edges}
    assert any(line.skip for line in lay_out(attention.body, attention).lines)


def test_memory_crosses_from_the_encoder_to_the_decoder():
    body = picture(planned("transformer_base")).body
    names = [*body.inputs, *(node.name for node in body.nodes), *body.outputs]
    crossing = [
        edge
        for edge in body.edges
        if (names[edge.source], names[edge.target]) == ("encoder", "decoder")
    ]
    assert [(edge.into, edge.shape) for edge in crossing] == [("memory", "256 × 512")]


def test_a_folded_picture_shows_the_top_level_alone():
    drawn = unfold(picture(planned("vit_b16")), 0)
    words = "".join(ElementTree.fromstring(WRITERS[".svg"](drawn)).itertext())
    assert "layers" in words
    assert "SelfAttention" not in words


def test_what_does_nothing_is_listed_and_not_drawn():
    drawn = picture(
        small(
            {
                "a": {
                    "body": {
                        "linear": {"block": "Linear", "features": 3},
                        "drop": {"block": "Dropout", "rate": 0},
                    }
                }
            }
        )
    )
    (node,) = drawn.body.nodes
    assert [child.name for child in node.body.nodes] == ["linear"]
    assert node.body.left_out == ["drop (Dropout)"]


def test_a_shared_module_is_drawn_at_both_places_and_counted_once():
    drawn = picture(small({"a": {"block": "Linear", "features": 5}, "b": {"share": "a"}}))
    assert [(node.name, node.block, node.parameters, node.kind) for node in drawn.body.nodes] == [
        ("a", "Linear", 30, "mlp"),
        ("b", "share: a", 0, "head"),
    ]


def test_a_state_comes_back_to_the_next_step():
    body = {
        "sum": {"block": "Add", "in": ["x", "state"]},
        "next": {"block": "Linear", "features": 5},
    }
    planned_scan = small({"scan": {"scan": {"axis": 1, "state": {"state": 5}}, "body": body}})
    assert "-.->" in WRITERS[".mmd"](picture(planned_scan))
    assert "state ↻" in draw_svg(planned_scan)


def test_words_of_the_user_are_escaped():
    title = "<script>\"'&;#</script>\\"
    for ending, write in WRITERS.items():
        text = write(
            picture(small({"a": {"block": "Rearrange", "pattern": "b t c -> b (t c)"}}), title)
        )
        CHECKERS[ending](text)
        assert "<script>\"'" not in text


def test_a_curve_leaves_out_corners_that_are_none():
    assert curve([(0, 0), (0, 5), (0, 10)]) == "M0.0 0.0L0.0 10.0"
    assert curve([(0, 0), (0, 20), (20, 20), (20, 40)]).count("Q") == 2


def test_the_command_draws_by_the_ending_and_says_where(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "model=mlp"]) == 0
    assert capsys.readouterr().out == "mlp.html\n"
    for ending, check in CHECKERS.items():
        assert main(["draw", "model=mlp", "-o", f"picture{ending}"]) == 0
        check(Path(f"picture{ending}").read_text(encoding="utf-8"))


def test_an_unknown_ending_is_reported_with_those_that_fit(capsys):
    assert main(["draw", "model=mlp", "-o", "picture.jpg"]) == 2
    assert (
        capsys.readouterr().err
        == """the command line
  the ending of the file says what is drawn
  got       -o picture.jpg
  fits      .html, .svg, .mmd, .dot, .tex, .pdf, .png
"""
    )


OFTEN = ("seq2seq", "swin", "transformer")  # the others are opened by make test-all


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, chromium-browser or google-chrome")
@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.slow] * (name not in OFTEN)) for name in MODELS]
)
def test_the_page_works_in_a_browser(model, tmp_path):
    """Unfolded boxes stand where `layout.py` puts them, every node is reached by the arrow keys and
    folds, and every arrow ends at a node.
    """
    page, drawn = tmp_path / "page.html", picture(planned(model), model)
    boxes = dict(placed(drawn.body, lay_out(drawn.body, whole=True)))
    script = (Path(__file__).parent / "page_check.js").read_text(encoding="utf-8")
    script = f"<script>const BOXES = {json.dumps(boxes)};\n{script}</script>"
    page.write_text(
        WRITERS[".html"](drawn).replace("</body>", f"{script}</body>"), encoding="utf-8"
    )
    offline = ["quic", "gpu", "background-networking", "component-update", "sync"]
    options = [
        "--headless",
        "--no-sandbox",
        "--no-first-run",
        *(f"--disable-{what}" for what in offline),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--window-size=1200,1600",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]
    done = subprocess.run(
        [str(CHROMIUM), *options, page.as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    assert re.search(r'data-check="([^"]*)"', done.stdout)[1] == f"ok {len(boxes)}"
    assert "CONSOLE" not in done.stderr


def placed(body, sheet, x=0, y=0):
    """The box of each node of the unfolded drawing, by id."""
    for vertex, box in enumerate(sheet.boxes):
        if (node := body.node(vertex)) is not None:
            yield node.id, [x + box.x, y + box.y, box.w, box.h]
            if node.body is not None:
                yield from placed(node.body, box.inside, x + box.x, y + box.y)


def test_a_node_has_its_formula():
    nodes = {node.id: node for node in picture(planned("vit_b16")).nodes()}
    assert nodes["layers.0.attention.inner"].formula == (
        "softmax(Q Kᵀ / √head_dim + bias) V, then the output projection; Q, K, V = x W"
    )
    assert nodes["head"].formula == "x Wᵀ + b"
    assert '"formula":"x Wᵀ + b"' in draw(planned("vit_b16"), ".html")


def test_every_attention_is_drawn_as_attention():
    attention = {name: kind_of(kind) for name, kind in own().items() if "Attention" in name}
    attention.pop("AttentionPool")
    assert set(attention.values()) == {"attention"}, attention
