import copy

import torch
from torch import nn

from blocks.graph import build as built
from blocks.graph.run.inplace import ReLU, use_inplace

IMAGE = {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 5}


def build(*what):
    model = built(*what)
    use_inplace(model)
    return model


def test_a_relu_overwrites_what_a_layer_gives_it_and_gradients_stay():
    torch.manual_seed(0)
    plain = built("resnet18", [], IMAGE)
    model = copy.deepcopy(plain)
    use_inplace(model)
    assert {type(module) for module in model.modules() if isinstance(module, nn.ReLU)} == {ReLU}
    image, found = torch.randn(3, 3, 32, 32), []
    for each in (model, plain):
        each.train()(image)["logits"].square().sum().backward()
        found.append([parameter.grad.clone() for parameter in each.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_what_others_read_or_need_is_left_alone():
    graph = {
        "first": {"block": "Linear", "features": 5},
        "shown": {"block": "ReLU", "in": "first"},
        "sum": {"block": "Add", "in": ["first", "shown"]},
        "tanh": {"block": "Tanh"},
        "kept": {"block": "ReLU"},
        "second": {"block": "Linear", "features": 7},
        "alone": {"block": "ReLU"},
    }
    model = build({"inputs": {"x": {"dim": 5}}, "graph": graph})
    kinds = {name: type(getattr(model, name)) for name in ("shown", "kept", "alone")}
    assert kinds == {"shown": nn.ReLU, "kept": nn.ReLU, "alone": ReLU}


def test_an_input_is_never_overwritten():
    graph = {"relu": {"block": "ReLU"}, "head": {"block": "Linear", "features": 3}}
    model = build({"inputs": {"x": {"dim": 5}}, "graph": graph}).train()
    x = torch.randn(2, 5)
    before = x.clone()
    model(x)
    assert torch.equal(x, before)


def test_outside_training_nothing_is_overwritten():
    graph = {"first": {"block": "Linear", "features": 5}, "relu": {"block": "ReLU"}}
    model = build({"inputs": {"x": {"dim": 3}}, "graph": graph}).eval()
    seen = []
    model.first.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.randn(2, 3)
    model(x)
    assert torch.equal(seen[0], model.first(x))
    assert (seen[0] < 0).any()


def test_a_relu_that_stands_at_two_places_is_only_changed_if_both_allow_it():
    graph = {
        "first": {"block": "Linear", "features": 5},
        "relu": {"block": "ReLU"},
        "tanh": {"block": "Tanh"},
        "again": {"share": "relu"},
    }
    assert type(build({"inputs": {"x": {"dim": 3}}, "graph": graph}).relu) is nn.ReLU
