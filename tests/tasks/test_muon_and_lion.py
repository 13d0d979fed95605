"""Muon and Lion: parity with their formulas, groups, state, resumed runs."""

from functools import partial

import pytest
import torch
from torch import nn

from blocks.graph import ConfigError, assemble, compose, find_ends
from tasks.errors import ArgumentError
from tasks.optimize.groups import Matrices, build_optimizer, named_parameters
from tasks.optimize.lion import Lion
from tasks.optimize.muon import Muon
from tasks.resume import adopt, checkpoint
from tasks.run import run_folder, train

SIZES = [(5, 7), (7, 5), (11, 3)]


def weights_of(sizes, seed=0):
    """Return parameters, and a gradient for each of four steps."""
    torch.manual_seed(seed)
    weights = [torch.randn(size).requires_grad_() for size in sizes]
    return weights, [[torch.randn(size) for size in sizes] for _ in range(4)]


def run(optimizer, weights, gradients):
    for step in gradients:
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
    return [weight.detach().clone() for weight in weights]


def orthogonalise(matrix, steps):
    """Newton-Schulz as Jordan et al. 2024 write it, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / x.norm()
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def reference(weight, gradients, *, lr, decay, momentum, nesterov, scale, steps=5):
    """Liu et al. 2025, equations 1 to 4, with the momentum as a mean, as Jordan's code has it."""
    value, buffer = weight.double(), torch.zeros_like(weight, dtype=torch.float64)
    for gradient in gradients:
        buffer = momentum * buffer + (1 - momentum) * gradient.double()
        update = buffer
        if nesterov:
            update = momentum * buffer + (1 - momentum) * gradient.double()
        factor = max(1, weight.shape[0] / weight.shape[1]) ** 0.5
        if scale == "match_adamw":
            factor = 0.2 * max(weight.shape) ** 0.5
        value = value - lr * (factor * orthogonalise(update, steps) + decay * value)
    return value.float()


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("scale", ["match_adamw", "original"])
def test_muon_follows_its_formula(scale, nesterov):
    weights, gradients = weights_of(SIZES)
    options = {"lr": 0.02, "momentum": 0.9, "nesterov": nesterov, "scale": scale}
    expected = []
    for number, weight in enumerate(weights):
        own = [step[number] for step in gradients]
        expected.append(reference(weight.detach(), own, decay=0.3, **options))
    made = Muon([{"params": weights, "form": "matrix"}], weight_decay=0.3, **options)
    for found, wanted in zip(run(made, weights, gradients), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_muon_is_that_of_torch_up_to_its_bfloat16():
    weights, gradients = weights_of(SIZES)
    theirs = torch.optim.Muon(weights, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    expected = run(theirs, weights, gradients)
    weights, gradients = weights_of(SIZES)
    made = Muon([{"params": weights, "form": "matrix"}], lr=0.02, dtype="bfloat16")
    for found, wanted in zip(run(made, weights, gradients), expected, strict=True):
        # four steps, each up to 0.02 * 0.2 * sqrt(11) * 2 ** -8 * (a few roundings)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)


def test_an_orthogonalised_matrix_has_singular_values_near_one():
    weights, _ = weights_of([(13, 29)])
    before = weights[0].detach().clone()
    weights[0].grad = torch.randn(13, 29)
    Muon([{"params": weights, "form": "matrix"}], lr=1.0, weight_decay=0.0, scale="original").step()
    values = torch.linalg.svdvals(before - weights[0].detach())
    assert 0.6 < values.min() < values.max() < 1.3


def test_matrices_in_one_parameter_are_orthogonalised_each_by_itself():
    weights, gradients = weights_of([(6, 5)])
    made = Muon([{"params": weights, "form": "matrix", "rows": [2, 3, 1]}], lr=0.1)
    whole = run(made, weights, gradients)[0]
    weights, gradients = weights_of([(6, 5)])
    parts = [part.detach().clone().requires_grad_() for part in weights[0].split([2, 3, 1])]
    split = [step[0].split([2, 3, 1]) for step in gradients]
    made = Muon([{"params": parts, "form": "matrix"}], lr=0.1)
    torch.testing.assert_close(whole, torch.cat(run(made, parts, split)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_is_a_matrix_of_its_outputs(order):
    weights, gradients = weights_of([(5, 2, 3, 3)])
    flat = weights[0].detach().flatten(1).clone().requires_grad_()
    flattened = [[step[0].flatten(1)] for step in gradients]
    expected = run(Muon([{"params": [flat], "form": "matrix"}], lr=0.1), [flat], flattened)[0]
    weight = weights[0].detach().to(memory_format=order).requires_grad_()
    arranged = [[step[0].to(memory_format=order)] for step in gradients]
    found = run(Muon([{"params": [weight], "form": "kernel"}], lr=0.1), [weight], arranged)[0]
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-6)


def test_experts_are_orthogonalised_each_by_itself_as_maps_from_in_to_out():
    weights, gradients = weights_of([(3, 5, 7)])
    turned = [expert.T.clone().detach().requires_grad_() for expert in weights[0]]
    apart = [[part.T for part in step[0]] for step in gradients]
    options = {"lr": 0.1, "scale": "original"}
    expected = run(Muon([{"params": turned, "form": "matrix"}], **options), turned, apart)
    found = run(Muon([{"params": weights, "form": "stack"}], **options), weights, gradients)[0]
    torch.testing.assert_close(found.mT, torch.stack(expected), rtol=0, atol=1e-6)


def test_the_rest_is_trained_as_adamw_trains_it():
    weights, gradients = weights_of([(5, 7), (5,)])
    options = {"betas": (0.8, 0.9), "weight_decay": 0.1, "fused": True}
    expected = run(torch.optim.AdamW(weights, lr=0.05, **options), weights, gradients)
    weights, gradients = weights_of([(5, 7), (5,)])
    made = Muon([{"params": weights}], lr=0.02, adamw_lr=0.05, **options)
    for found, wanted in zip(run(made, weights, gradients), expected, strict=True):
        assert found.equal(wanted)


def test_lion_follows_its_formula():
    """Chen et al. 2023, algorithm 2."""
    weights, gradients = weights_of([(5, 7), (3,)])
    expected = []
    for number, weight in enumerate(weights):
        value, momentum = weight.detach().double(), 0.0
        for step in gradients:
            gradient = step[number].double()
            update = (0.8 * momentum + 0.2 * gradient).sign()
            value = value - 0.03 * (update + 0.5 * value)
            momentum = 0.95 * momentum + 0.05 * gradient
        expected.append(value.float())
    made = Lion(weights, lr=0.03, betas=(0.8, 0.95), weight_decay=0.5)
    for found, wanted in zip(run(made, weights, gradients), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def make_mixed(weights):
    groups = [{"params": weights[:1], "form": "matrix"}, {"params": weights[1:], "lr": 0.01}]
    return Muon(groups, lr=0.02)


def make_lion(weights):
    return Lion(weights, lr=0.02)


@pytest.mark.parametrize("make", [make_mixed, make_lion])
def test_a_state_that_is_loaded_continues_to_the_bit(make):
    weights, gradients = weights_of([(5, 7), (5,)])
    whole = run(make(weights), weights, gradients)
    weights, gradients = weights_of([(5, 7), (5,)])
    first = make(weights)
    run(first, weights, gradients[:2])
    again = make(weights)
    again.load_state_dict(first.state_dict())
    for found, wanted in zip(run(again, weights, gradients[2:]), whole, strict=True):
        assert found.equal(wanted)


# Groups -------------------------------------------------------------------------------------------


def test_muon_trains_the_matrices_inside_a_network():
    network = assemble(compose(["model=vit", "data=digits", "model.params.depth=2"]))
    made = build_optimizer(network, partial(Muon, lr=0.01), {"layers.0.mlp.inner.expand.weight": 2})
    name_of = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {}
    for group in made.param_groups:
        for parameter in group["params"]:
            found[name_of[id(parameter)]] = (group["form"], group["rows"], group["lr"])
    assert found["layers.0.attention.inner.qkv.weight"] == ("matrix", [64, 64, 64], 0.01)
    assert found["layers.0.mlp.inner.expand.weight"] == ("matrix", [], 0.02)
    rest = {name for name, (form, _, _) in found.items() if not form}
    matrices = {name for name in rest if network.get_parameter(name).ndim > 1}
    assert matrices == {"patch.project.weight", "head.weight", "token.token", "position.table"}
    assert all(group["fused"] for group in made.rest.param_groups)


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (["model=resnet18", "data=imagenet"], {"stem.conv", "head"}),
        (
            ["model=encoder", "data=names", "data.facts.tokens.vocab=41", "+data.facts.classes=5"],
            {"embedding", "head"},
        ),
        (["model=mlp", "data=digits"], {"layers.0.linear", "head"}),
    ],
)
def test_the_layers_at_the_ends_of_a_network_are_found(words, ends):
    assert find_ends(assemble(compose(words))) == ends


def test_experts_are_stacks():
    network = assemble(compose(["model=vit", "data=digits", "model/mlp=mixture"]))
    matrices = Matrices(network)
    forms = set()
    for name, parameter, module in named_parameters(network):
        if name.endswith((".up_weight", ".down_weight")):
            forms.add(matrices.find_form(name, parameter, module))
    assert forms == {"stack"}


def test_a_network_without_a_graph_has_embeddings_and_matrices():
    network = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 7), nn.Conv1d(3, 2, 5))
    made = build_optimizer(network, partial(Muon, lr=0.01))
    forms = {id(p): group["form"] for group in made.param_groups for p in group["params"]}
    assert [forms[id(module.weight)] for module in network] == ["", "matrix", "kernel"]


# Runs ---------------------------------------------------------------------------------------------

SMALL = [
    "model.params.depth=1",
    "model.params.dim=16",
    "callbacks.progress.style=none",
    "callbacks.nodes=null",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=6",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "callbacks.checkpoint.every_steps=1",
]


def learn(place, *words):
    words = [*SMALL, *words]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    resumed = (place / run_folder.RECORD).is_file()
    train.train(composed, place, run_folder.Record(place, resumed=resumed, **known))


def weights_after(place):
    return torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("name", ["muon", "lion"])
def test_a_run_that_was_stopped_goes_on_to_the_bit(name, tmp_path, monkeypatch):
    words = [f"optimizer={name}", "schedule=one_cycle"]
    learn(tmp_path / "whole", *words)
    save = checkpoint.Checkpoint._save

    def die(self, trainer, module, point, **options):
        save(self, trainer, module, point, **options)
        if trainer.global_step == 3:
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    with pytest.raises(ZeroDivisionError):
        learn(tmp_path / "cut", *words)
    monkeypatch.undo()
    learn(tmp_path / "cut", *words, f"resume='{tmp_path / 'cut'}'")
    whole, cut = weights_after(tmp_path / "whole"), weights_after(tmp_path / "cut")
    assert whole["global_step"] == cut["global_step"] == 6
    for key, value in whole["state_dict"].items():
        assert value.equal(cut["state_dict"][key]), key
    states = [each["optimizer_states"][0]["state"] for each in (whole, cut)]
    for number, entries in states[0].items():
        for key, value in entries.items():
            assert value.equal(states[1][number][key]), (number, key)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["optimizer=muon", "optimizer.momentum=1.0"],
            "optimizer.momentum\n  momentum must be in [0, 1)\n  got       momentum=1.0\n",
        ),
        (
            ["optimizer=muon", "optimizer.scale=moonlight"],
            "  scale must be one of match_adamw, original\n  got       scale='moonlight'",
        ),
        (["optimizer=lion", "optimizer.lr=0"], "  lr must be positive\n  got       lr=0\n"),
        (["optimizer=lion", "optimizer.betas=[0.9, 1.5]"], "betas must lie in [0, 1)"),
        (
            ["optimizer=muon", "trainer=fsdp", "trainer.accelerator=cpu", "trainer.devices=1"],
            "optimizer\n"
            "  Muon needs whole matrices, and this strategy cuts them among devices\n"
            "  got       trainer.strategy=fsdp\n"
            "  from      the command line: optimizer=muon\n"
            "  fix       optimizer=adamw, or trainer=ddp",
        ),
    ],
)
def test_a_wrong_optimizer_is_told(tmp_path, words, text):
    with pytest.raises((ConfigError, ArgumentError)) as error:
        learn(tmp_path, *words)
    assert text in str(error.value)
