"""The schema for editors: it is current, every shipped YAML fits, and typical mistakes do not."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from blocks.__main__ import main
from blocks.catalog import catalog
from blocks.graph import conf_folder
from blocks.graph.describe.schema import schemas
from blocks.graph.language.words import MODEL_WORDS, WORDS

MODELS = conf_folder() / "model"
COMMITTED = Path(__file__).parents[2] / "docs" / "schema"
SCHEMAS = schemas(catalog(), [MODELS])
DEFINITIONS = SCHEMAS["model.json"]["definitions"]


def validator(name, made=SCHEMAS):
    registry = Registry().with_resources(
        (key, Resource.from_contents(schema)) for key, schema in made.items()
    )
    return Draft7Validator(made[name], registry=registry)


def told(name, text, made=SCHEMAS):
    """Every fault, with what lies behind an `anyOf`."""

    def behind(error):
        return [error.message, *(text for inner in error.context for text in behind(inner))]

    faults = validator(name, made).iter_errors(yaml.safe_load(text))
    return "\n".join(line for fault in faults for line in behind(fault))


def test_the_committed_schema_is_current(tmp_path, capsys):
    assert main(["schema", "-o", str(tmp_path)]) == 0
    written = [str(tmp_path / name) for name in (*SCHEMAS, "answers.json")]
    assert capsys.readouterr().out.split() == written
    for name in SCHEMAS:
        assert (tmp_path / name).read_text("utf-8") == (COMMITTED / name).read_text("utf-8"), (
            "run `make schema`"
        )


@pytest.mark.parametrize("name", SCHEMAS)
def test_it_is_a_schema_and_its_references_lead_somewhere(name):
    Draft7Validator.check_schema(SCHEMAS[name])
    text = json.dumps(SCHEMAS[name])
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert {reference.rpartition("/")[2] for reference in references} <= set(DEFINITIONS)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_model_fits(path):
    assert told("model.json", path.read_text("utf-8")) == ""


def added(definition, instance):
    """A definition, and what its rules add to it that hold for an instance."""
    rules = DEFINITIONS[definition]
    known = {"definitions": DEFINITIONS}
    return [
        rules,
        *(
            rule["then"]
            for rule in rules["allOf"]
            if Draft7Validator(rule["if"] | known).is_valid(instance)
        ),
    ]


def offered(model, *path):
    """The names that an editor offers after `in:` of a new node in the body at this path."""
    *above, last = path
    holder = model
    for key in above:
        holder = holder[key]
    around = added("outer" if last == "graph" else "inner", holder)
    parts = [part.get("properties", {}).get(last, {}) for part in around] + added(
        "siblings", holder[last]
    )
    added_to = [
        part["additionalProperties"]["$ref"] for part in parts if "additionalProperties" in part
    ]
    nodes = [reference.rpartition("from_")[2] for reference in added_to]
    return {name for node in nodes for name in DEFINITIONS[f"to_{node}"]["anyOf"][0]["enum"]}


def bodies(graph, *path):
    """Every body below a graph, as a path."""
    for name, node in graph.items():
        if isinstance(node, dict) and "body" in node:
            yield (*path, name, "body")
            yield from bodies(node["body"], *path, name, "body")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_names_of_a_file_are_offered_each_where_it_can_be_read(path):
    model = yaml.safe_load(path.read_text("utf-8"))
    bases = {name for name in model.get("defaults", ()) if isinstance(name, str)} - {"_self_"}
    graph = model.get("graph") or {}
    own = {*graph, *model.get("inputs", ())}
    if graph:
        undotted = {name for name in offered(model, "graph") if "." not in name}
        assert undotted == own if not bases else undotted >= own
    for place in bodies(graph, "graph"):
        node = body = model
        for key in place:
            node, body = body, body[key]
        flow, state = node.get("in"), node.get("scan", {}).get("state", {})
        ports = {name for name in flow if name.isidentifier()} if isinstance(flow, dict) else set()
        assert {name for name in offered(model, *place) if "." not in name} == {
            "x",
            *body,
            *ports,
            *state,
        }


def test_a_file_that_starts_from_another_is_offered_its_nodes():
    # `mine` is a name that no file has yet: `python -m blocks schema` has to be told of it
    names = offered(
        {"defaults": ["vit_ti16", "_self_"], "graph": {"mine": {"block": "ReLU"}}}, "graph"
    )
    assert names == {"image", "patch", "token", "position", "layers", "norm", "pool", "head"}


@pytest.mark.parametrize(
    "path", sorted(MODELS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_option_fits(path):
    assert told("option.json", path.read_text("utf-8")) == ""


def test_it_knows_every_word_block_and_slot():
    assert set(DEFINITIONS["block"]["enum"]) == set(catalog())
    assert set(MODEL_WORDS) <= set(DEFINITIONS["model"]["properties"])
    kinds = DEFINITIONS["option"]["allOf"]
    assert set(WORDS) <= {"block", "use", "share", *kinds[2]["then"]["properties"]}
    slots = {path.parent.name for path in MODELS.glob("*/*.yaml")}
    assert slots <= set(DEFINITIONS["defaults"]["items"]["anyOf"][1]["properties"])


def test_an_argument_says_what_its_docstring_says():
    arguments = DEFINITIONS["block_SelfAttention"]["properties"]
    assert arguments["causal"]["description"] == (
        "Token i attends to tokens 0..i only. True or false; false when left out."
    )
    assert arguments["dim"]["description"] == (
        "Width of a token; inferred from the input. A whole number."
    )


GRAPH = "inputs: {image: data.image}\ngraph:\n  one: "
MISTAKES = {
    "unknown block": ("{block: Linaer, features: 4}", "'Linaer' is not one of"),
    "unknown argument": ("{block: Linear, features: 4, biass: false}", "'biass' was unexpected"),
    "argument left out": ("{block: Linear}", "'features' is a required property"),
    "list for a number": (
        "{block: SelfAttention, heads: [1, 2]}",
        "[1, 2] is not of type 'integer', 'string'",
    ),
    "fraction for a whole number": (
        "{block: Linear, features: 2.5}",
        "2.5 is not of type 'integer', 'string'",
    ),
    "number for true or false": (
        "{block: Linear, features: 4, bias: 1}",
        "1 is not of type 'boolean', 'string'",
    ),
    "true for a number": ("{block: Dropout, rate: true}", "True is not of type 'number', 'string'"),
    "number for a word": (
        "{block: RNN, hidden: 4, nonlinearity: 3}",
        "3 is not one of ['tanh', 'relu']",
    ),
    "two values for a kernel of three": (
        "{block: Conv3d, features: 4, kernel: [3, 3]}",
        "[3, 3] is too short",
    ),
    "two kinds": ("{block: ReLU, use: norm}", "is valid under each of"),
    "no kind": ("{features: 4}", "is not valid under any of the given schemas"),
    "unknown word beside body": (
        "{body: {a: {block: ReLU}}, repaet: 2}",
        "'repaet' was unexpected",
    ),
    "no option of the slot takes it": ("{use: mlp, hiden: 4}", "'hiden' was unexpected"),
    "mistake inside a hole": (
        "{use: residual, inner: {block: Linear, featurs: 4}}",
        "'featurs' was unexpected",
    ),
    "mistake inside a body": ("{repeat: 2, body: {a: {block: Gelu}}}", "'Gelu' is not one of"),
    "part that is no mapping": (
        "{block: SelfAttention, heads: 2, rotary: true}",
        "True is not of type 'object'",
    ),
    "unknown word of scan": (
        "{scan: {axes: 1, state: {h: 2}}, body: {a: {block: ReLU}}}",
        "'axes' was unexpected",
    ),
    "in is a number": ("{block: ReLU, in: 3}", "3 is not of type 'string'"),
    "name of a node": ("{block: ReLU}\n  a-b: {block: ReLU}", "'a-b' does not match"),
    "unknown section": (
        "{block: ReLU}\ngrahp: {a: {block: ReLU}}",
        "is not valid under any of the given schemas",
    ),
    "unknown distribution": (
        "{block: ReLU}\ninitialise: {Linear.weight: trunc}",
        "'trunc' is not one of",
    ),
    "unknown claim": ("{block: ReLU}\nexpect: {params: 3}", "'params' was unexpected"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_flagged(mistake):
    text, message = MISTAKES[mistake]
    assert message in told("model.json", GRAPH + text)


@pytest.mark.parametrize(
    "text",
    [
        "{block: Linear, features: 2 * dim, bias: layer.index > 0}",
        "{block: Linear, features: '${model.params.dim}'}",
        "{block: Linear, features: '???'}",
        "{block: RNN, hidden: 4, nonlinearity: kind}",
        "{use: my_hole, anything: 3}",
        "{block: SelfAttention, heads: 2, rotary: {in: [q, k], body: {a: {block: ReLU}}}}",
        "{block: Conv2d, features: 4, kernel: [3, 5], stride: 'sizes[0]', padding: same}",
        "{block: ReLU}\n  two: {share: one, in: []}",
        "{block: Add, in: [image, image], when: 'false'}",
        "{block: ReLU}\ngate: {block: Sigmoid}",
        "{repeat: {depth: [2, 2], heads: widths}, share: true, block: ReLU}",
    ],
)
def test_what_the_language_admits_is_not_flagged(text):
    assert told("model.json", GRAPH + text) == ""


def test_a_file_that_starts_from_another_says_only_what_differs():
    text = "graph: {head: {bias: false}, decoder: {in: {memory: norm}}}"
    assert told("model.json", f"defaults: [vit, _self_]\n{text}") == ""
    assert told("model.json", f"defaults: [norm: layernorm, _self_]\n{text}") != ""
    assert "'Linaer' is not one of" in told(
        "model.json", "defaults: [vit]\ngraph: {head: {block: Linaer}}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block: SelfAttention\nhaeds: 4", "'haeds' was unexpected"),
        ("block: Linear\nin: x", "should not be valid"),
        ("holes: [inner]\nbody: {a: {use: inner}}\nparam: {a: 1}", "'param' was unexpected"),
        ("Linear.weight: {normel: 0.02}", "'normel' was unexpected"),
    ],
)
def test_a_mistake_in_an_option_is_flagged(text, message):
    assert message in told("option.json", text)


MINE = '''from torch import nn


class Mine(nn.Module):
    """Mine.

    Args:
        size: how large.
    """

    def __init__(self, size: int) -> None:
        super().__init__()

    def forward(self, x):
        return x
'''


def test_blocks_and_slots_of_ones_own_are_added(tmp_path):
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "model" / "gate").mkdir(parents=True)
    (tmp_path / "model" / "gate" / "soft.yaml").write_text("block: Mine\n", encoding="utf-8")
    made = schemas(catalog([str(tmp_path / "mine.py")]), [MODELS, tmp_path / "model"])
    size = made["model.json"]["definitions"]["block_Mine"]["properties"]["size"]
    assert size["description"] == "How large. A whole number; must be given."
    assert told("model.json", GRAPH + "{use: gate, size: 3}", made) == ""
    assert "'sice' was unexpected" in told("model.json", GRAPH + "{use: gate, sice: 3}", made)
