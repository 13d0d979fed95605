"""What `explain` shows: the table, the same as data, and why a value is what it is."""

import contextlib
import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.__main__ import main
from blocks.graph import ConfigError, compose, plan
from blocks.graph.describe.table import short
from blocks.graph.describe.why import why
from tests.graph.families import FAMILIES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
COMMANDS = re.findall(
    r"^```sh\n([^\n]*)\n```\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
IMAGE = {"channels": 3, "height": 224, "width": 224}
TEXT = {"tokens": 12, "dtype": "int", "vocab": 101}
FACTS = {
    "image": IMAGE,
    "classes": 5,
    "tokens": TEXT,
    "source": TEXT,
    "target": TEXT,
    "text": TEXT,
    "vocab": 101,
    "question": TEXT,
    "numbers": {"features": 6},
    "categories": {"columns": 3, "dtype": "int", "vocab": 53},
    "signal": {"tokens": 40, "dim": 1},
    "video": {"channels": 1, "frames": 4, "height": 16, "width": 16},
}


def run(*words: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["explain", *words]) == 0
    return out.getvalue()


def without_lines(text: str) -> str:
    """Without line and column, which move with every edit of a YAML file."""
    return re.sub(r"\.yaml:\d+:\d+", ".yaml", text)


@pytest.mark.parametrize(
    ("command", "printed"), [pytest.param(*pair, id=pair[0][17:]) for pair in COMMANDS]
)
def test_the_page_shows_what_is_printed(command, printed):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(shlex.split(command)[3:])
    assert without_lines(out.getvalue()) == without_lines(printed)


def nodes(described: list[dict]) -> list[dict]:
    return [each for node in described for each in (node, *nodes(node["children"]))]


@pytest.mark.parametrize("model", FAMILIES)
def test_what_stands_inside_adds_up(model):
    from blocks.graph.describe.cost import measure
    from blocks.graph.describe.table import describe

    planned = plan(compose([f"model={model}"]), facts=FACTS)
    described = describe(planned, measure(planned))
    assert described["macs"] == sum(node["macs"] for node in described["nodes"])
    assert described["memory"] == sum(node["memory"] for node in described["nodes"])
    assert described["macs"] > 0
    for node in nodes(described["nodes"]):
        if node["children"] and not node["block"].startswith("scan"):
            assert node["macs"] >= max(child["macs"] for child in node["children"])


def test_json_and_csv_say_the_same():
    described = json.loads(run("model=swin", "--json"))
    assert {"parameters", "outputs", "nodes", "macs", "memory"} <= described.keys()
    rows = list(csv.DictReader(io.StringIO(run("model=swin", "--csv"))))
    pairs = [
        (row["path"], int(row["parameters"]), int(row["macs"]), int(row["memory"])) for row in rows
    ]
    found = nodes(described["nodes"])
    assert pairs == [
        (node["path"], node["parameters"], node["macs"], node["memory"]) for node in found
    ]


def test_every_column_is_there_when_asked_for():
    table = run("model=cnn", "--depth", "1", "--all").splitlines()
    assert table[0].split() == [
        "node",
        "block",
        "output",
        "parameters",
        "MACs",
        "share",
        "memory",
        "field",
        "input",
        "where",
    ]
    stem = re.split(r" {2,}", table[2])
    assert stem == [
        "stem",
        "conv: batchnorm",
        "(batch, 32, 8, 8)",
        "352",
        "18.4 k",
        "0.1%",
        "16.9 kB",
        "3",
        "(batch, 1, 8, 8)",
        stem[-1],
    ]
    assert without_lines(stem[-1]) == "conf/model/cnn.yaml"


def test_tied_parameters_are_named_and_counted_once():
    lines = run("model=gpt2", "model.params.depth=2").splitlines()
    assert [line.split("  (")[0] for line in lines if "tied" in line] == [
        "head                Linear (weight tied)"
    ]
    found = json.loads(run("model=t5_small", "model.params.depth=2", "--json"))
    nodes = {node["name"]: node for node in found["nodes"]}
    assert nodes["head"]["tied"] == {"weight": "embedding.weight"}
    first, second = (layer["children"][0]["children"][1] for layer in nodes["encoder"]["children"])
    table = "encoder.0.attention.inner.position_bias.table"
    assert "tied" not in first
    assert second["tied"] == {"position_bias.table": table}
    rows = run("model=t5_small", "model.params.depth=2", "--depth", "2").splitlines()
    sums = [line.split(")")[1].split()[0] for line in rows if re.match(r"encoder |  0-1", line)]
    assert sums[0] == sums[1]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, ""),
        (7, "7"),
        (999, "999"),
        (1000, "1.00 k"),
        (9_994, "9.99 k"),
        (9_996, "10.0 k"),
        (99_960, "100 k"),
        (999_400, "999 k"),
        (999_600, "1.00 M"),
        (4_490_566_656, "4.49 G"),
        (14_630_806_093_824, "14.6 T"),
    ],
)
def test_a_large_number_in_three_digits(number, text):
    assert short(number) == text


# Why ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swin():
    return plan(compose(["model=swin_t", "data=imagenet", "model.params.drop_path=0.3"]))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "stages.1.merge.dim",
            """\
stages.1.merge.dim = 96  (PatchMerging)
  inferred  from stages.0 (batch, 56, 56, 96)
  chain     dim=96: patch 96
  set at    patch.dim: dim  conf/model/swin_t.yaml
  with      dim=96  conf/model/swin_t.yaml""",
        ),
        (
            "model.graph.head.features",
            """\
head.features = 1000  (Linear)
  written   conf/model/swin_t.yaml
            features: data.classes
  with      data.classes=1000""",
        ),
        (
            "stages.1.layers.0.attention.inner.heads",
            """\
stages.1.layers.0.attention.inner.heads = 6  (WindowAttention)
  written   conf/model/swin_t.yaml
            heads: heads
  with      heads=6  a list of `repeat`""",
        ),
        (
            "patch.bias",
            """\
patch.bias = true  (PatchEmbedding)
  default   of PatchEmbedding""",
        ),
        (
            "model.params.drop_path",
            """\
params.drop_path = 0.3
  written   the command line: model.params.drop_path=0.3
            drop_path: 0.3
  read by   stages.*.layers.*.attention.drop_path, stages.*.layers.*.attention.drop.rate, \
stages.*.layers.*.mlp.drop_path, stages.*.layers.*.mlp.drop.rate""",
        ),
    ],
)
def test_why(swin, path, told):
    assert without_lines(why(swin, path)) == told


def test_the_chain_names_every_change():
    planned = plan(compose(["model=vit", "model/mlp=swiglu"]))
    told = why(planned, "layers.2.mlp.inner.project.dim")
    assert "  chain     dim=170: patch 64, 170 by layers.2.mlp.inner.gate\n" in told


def test_an_axis_that_was_not_read_explains_nothing():
    told = why(plan(compose(["model=vit"])), "layers.0.attention.inner.heads")
    assert "params.heads" in told
    assert "chain" not in told  # `dim` stands in the argument that `default` did not need


@pytest.mark.parametrize(
    "path", ["layers.0.attenton.inner.heads", "layers.0.attention.inner.haeds", "params.dmi", "no"]
)
def test_a_path_that_leads_nowhere_is_told(path):
    with pytest.raises(ConfigError) as raised:
        why(plan(compose(["model=vit"])), path)
    lines = str(raised.value).splitlines()
    assert lines[1] == f"  nothing in the model is called {path!r}"
    assert lines[2].startswith("  fits      ")


def test_overrides_may_stand_behind_options(capsys):
    assert main(["explain", "--why", "params.dim", "model=vit", "model.params.dim=96"]) == 0
    assert capsys.readouterr().out.startswith(
        "params.dim = 96\n  written   the command line: model.params.dim=96\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--depth", "-1"], "argument --depth: -1 is no number of levels; 0, 1, 2, ..."),
        (["--csv", "--csv=1"], "argument --csv: ignored explicit argument '1'"),
    ],
)
def test_a_word_that_explain_does_not_know_is_told(words, told, capsys):
    with pytest.raises(SystemExit) as left:
        main(["explain", "model=vit", *words])
    assert left.value.code == 2
    assert told in capsys.readouterr().err


# Size ---------------------------------------------------------------------------------------------

SCRIPT = """
import resource, sys, time
import torch, torch._dynamo  # which the first operation on the meta device would import
from blocks.__main__ import main
start = time.perf_counter()
assert main(sys.argv[1:]) == 0
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(time.perf_counter() - start, memory, file=sys.stderr)
"""


@pytest.mark.slow
def test_seven_billion_parameters_are_explained_in_two_seconds_and_one_gigabyte():
    tokens = "+data.facts.tokens={tokens: 2048, dtype: int, vocab: 32000}"
    size = {"dim": 4096, "depth": 32, "heads": 32, "kv_heads": 32, "hidden": 11008}
    words = [
        "model=llama",
        tokens,
        "+data.facts.vocab=32000",
        *(f"model.params.{k}={v}" for k, v in size.items()),
    ]
    command = [sys.executable, "-c", SCRIPT, "explain", *words, "--depth", "1"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT, check=True)
    assert re.search(r"logits \(batch, 2048, 32000\) +6,738,415,616 +14.6 T", done.stdout)
    seconds, gigabytes = map(float, done.stderr.split())
    assert seconds < 2
    assert gigabytes < 1
