"""The generated module is an ordinary one: compile, export, copy, pickle, save, and find a failure
in the YAML.
"""

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from torch import fx, nn

from blocks.graph import Graph, build, compose, locate, plan

FACTS = {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
B = 3


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return build("vit", ["params.depth=2", "params.dim=32", "params.heads=2"], facts=FACTS).eval()


@pytest.fixture
def images():
    return torch.randn(B, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def same(a, b, images):
    return torch.equal(a(images)["logits"], b(images)["logits"])


def test_the_code_reads_like_a_program(vit):
    assert vit.code.strip().splitlines() == [
        "def forward(self, image):",
        "    patch = self.patch(image);  image = None",
        "    token = self.token(patch);  patch = None",
        "    position = self.position(token);  token = None",
        "    layers = self.layers(position);  position = None",
        "    norm = self.norm(layers);  layers = None",
        "    pool = self.pool(norm);  norm = None",
        "    head = self.head(pool);  pool = None",
        "    return {'logits': head}",
    ]
    assert "add = self.add(x, inner)" in vit.get_submodule("layers.0.mlp").code


def test_it_costs_the_same_calls_as_by_hand(vit, images):
    """The generated code calls each node once, in order, and nothing else."""
    x = images
    for name in ("patch", "token", "position", "layers", "norm", "pool", "head"):
        x = vit.get_submodule(name)(x)
    assert torch.equal(x, vit(images)["logits"])


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.filterwarnings("ignore")
def test_it_compiles_as_one_graph(vit, images, backend):
    torch._dynamo.reset()
    compiled = torch.compile(vit, backend=backend, fullgraph=True)
    assert torch.allclose(compiled(images)["logits"], vit(images)["logits"], atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_it_compiles_in_training_with_gradients(images):
    torch._dynamo.reset()
    net = build("vit", ["params.depth=1", "params.dim=16", "params.heads=2"], facts=FACTS)
    net(images)["logits"].sum().backward()
    expected = {name: parameter.grad.clone() for name, parameter in net.named_parameters()}
    net.zero_grad()
    torch.compile(net, backend="aot_eager", fullgraph=True)(images)["logits"].sum().backward()
    for name, parameter in net.named_parameters():
        assert torch.allclose(parameter.grad, expected[name], atol=1e-5), name


@pytest.mark.filterwarnings("ignore")
def test_it_exports_and_the_program_takes_other_batch_sizes(vit, images):
    program = torch.export.export(vit, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    loaded = torch.export.load(buffer).module()
    for batch in (images, torch.randn(5, 1, 8, 8)):
        assert torch.allclose(loaded(batch)["logits"], vit(batch)["logits"], atol=1e-6)


def by_torch(net):
    buffer = io.BytesIO()
    torch.save(net, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "torch.save": by_torch,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_the_same_model_and_stands_alone(vit, images, way):
    other = COPIES[way](vit)
    assert same(vit, other, images)
    assert type(other) is not None
    assert isinstance(other, Graph)
    assert other.code == vit.code
    assert other.meta == vit.meta
    assert (other.input_names, other.output_names, other.training) == (
        ("image",),
        ("logits",),
        False,
    )
    inner, mine = other.get_submodule("layers.1.mlp"), vit.get_submodule("layers.1.mlp")
    assert isinstance(inner, Graph)
    assert inner.meta == mine.meta
    with torch.no_grad():
        other.head.weight.add_(1)
    assert not same(vit, other, images)


def test_each_call_carries_its_node_of_the_record():
    record = plan(compose(["model=vit", "model.params.depth=2"]), FACTS)
    nodes = {node.path: node for node in record.walk()}
    for path, graph in record.model.named_modules():
        for call in getattr(graph, "graph", fx.Graph()).nodes:
            if call.op == "call_module":
                assert call.meta["node"] is nodes[f"{path}.{call.target}".lstrip(".")]
    assert nodes["dropout"].module is None
    assert nodes["dropout"].recipe.factory is torch.nn.Dropout


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_does_not_keep_the_model_it_was_made_of(way):
    model = build("vit", ["params.depth=1", "params.dim=16", "params.heads=2"], facts=FACTS)
    weight = weakref.ref(model.head.weight)
    other = COPIES[way](model)
    assert weight() is not None
    del model
    gc.collect()
    assert weight() is None
    assert other.head.weight.shape == (10, 16)


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_still_finds_its_failures(vit, way):
    with pytest.raises(RuntimeError) as caught:
        COPIES[way](vit)(torch.randn(B, 2, 8, 8))
    assert locate(caught.value).startswith("graph.patch")


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_keeps_shared_and_tied_parameters_one(way):
    graph = {
        "embed": {"block": "Embedding", "vocab": 11, "dim": 6},
        "left": {"body": {"deep": {"block": "Linear", "features": 6}}},
        "right": {"body": {"deep": {"share": "left.deep"}}},
        "head": {"block": "Linear", "features": 11, "bias": False},
    }
    net = build(
        {
            "inputs": {"x": {"shape": [7], "dtype": "int"}},
            "graph": graph,
            "tie": {"head.weight": "embed.weight"},
        }
    )
    other = COPIES[way](net)
    assert other.left.deep is other.right.deep
    assert other.head.weight is other.embed.weight
    assert len(list(other.parameters())) == len(list(net.parameters()))


def test_a_state_dict_round_trip_needs_no_code(vit, images):
    buffer = io.BytesIO()
    torch.save(vit.state_dict(), buffer)
    buffer.seek(0)
    fresh = build("vit", ["params.depth=2", "params.dim=32", "params.heads=2"], facts=FACTS).eval()
    assert not same(vit, fresh, images)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert same(vit, fresh, images)


def test_modes_and_moves_reach_every_node(vit):
    net = copy.deepcopy(vit).train()
    assert all(module.training for module in net.modules())
    net = net.double().requires_grad_(False)
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float64}
    assert net(torch.randn(B, 1, 8, 8, dtype=torch.double))["logits"].dtype == torch.float64


def test_hooks_run_at_every_depth(vit, images):
    seen = []
    net = copy.deepcopy(vit)
    for name, module in net.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: seen.append(name))
    net(images)
    assert {"", "layers", "layers.0", "layers.0.attention.inner", "head"} <= set(seen)


# ---------------------------------------------------------------- a failure while the model runs

OWN = """\
from torch import fx, nn


class Fragile(nn.Module):
    def forward(self, x):
        if not x.is_meta:
            raise RuntimeError("broken glass")
        return x
"""
MODEL = """\
inputs: {x: {tokens: 7, dim: 6}}
graph:
  stem: {block: Linear, features: 6}
  layers:
    repeat: 2
    body:
      norm: {block: LayerNorm}
      glass: {use: residual, inner: {block: Fragile}, when: layer.index == 1}
residual:
  holes: [inner]
  body:
    inner: {use: inner}
    add: {block: Add, in: [x, inner]}
"""


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "glass.yaml").write_text(MODEL, encoding="utf-8")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "fragile.py").write_text(OWN, encoding="utf-8")
    return plan(compose(["model=glass", "library=[own]"], config_dir=str(tmp_path))).materialise()


def test_a_failure_names_the_node_and_its_line(fragile):
    with pytest.raises(RuntimeError, match="broken glass") as caught:
        fragile(torch.randn(B, 7, 6))
    assert locate(caught.value) == "graph.layers.1.glass.inner  model/glass.yaml:12:5"


def test_a_wrong_input_names_the_node_that_met_it(fragile):
    with pytest.raises(RuntimeError) as caught:
        fragile(torch.randn(B, 7, 5))
    assert locate(caught.value) == "graph.stem  model/glass.yaml:3:3"


def test_a_failure_below_a_module_around_the_graph_is_found(vit):
    around = nn.Sequential(vit, nn.Identity())
    with pytest.raises(RuntimeError) as caught:
        around(torch.randn(B, 2, 8, 8))
    assert locate(caught.value).startswith("graph.patch  ")


def test_a_failure_elsewhere_is_not_blamed_on_the_graph():
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert locate(caught.value) is None
