"""Blocks that are copies of equal ones: the model is as if each had been made by itself."""

import pytest
import torch

from blocks.graph import Built, compose, conf_folder, plan
from blocks.graph.compose.facts import example_of
from blocks.graph.record import kept, module
from blocks.graph.record.kept import Kept, draw

MODELS = sorted(file.stem for file in (conf_folder() / "model").glob("*.yaml"))


class NothingKept(Kept):
    """Makes every block by its constructor."""

    def copy(self, key: object) -> None:
        return None


def describe(built: Built) -> list[object]:
    """All of a model and its record that does not depend on where it lies in memory."""
    found: list[object] = []
    for path, each in built.model.named_modules(remove_duplicate=False):
        plain = {name: value for name, value in vars(each).items() if name == "training"}
        found.append((path, type(each).__name__, getattr(each, "code", ""), repr(each), plain))
    for path, each in built.model.state_dict(keep_vars=True).items():
        found.append((path, each.shape, each.stride(), each.dtype, each.requires_grad))
    for node in built.walk():
        found.append((node.path, node.label, node.origin, node.input_shapes, node.shapes))
        found += [(value.names, value.made_by, value.grid) for value in node.flow.values()]
        found += [(name, repr(each.value)) for name, each in node.arguments.items()]
        found.append(repr(node.recipe))
    found += [repr(start) for start in built.starts]
    return found


def slow(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


QUICK = ("cat", "gpt", "lstm_language", "resnet18", "seq2seq", "swin", "transformer", "unet", "vit")


@pytest.mark.parametrize(
    "model",
    [*QUICK, *slow(*(name for name in MODELS if name not in QUICK))],
)
def test_a_model_of_copies_is_the_model_made_one_by_one(model):
    composed = compose([f"model={model}"])
    facts = example_of(composed)
    token = kept.KEPT.set(Kept())
    try:
        first, again = plan(composed, facts), plan(composed, facts)
    finally:
        kept.KEPT.reset(token)
    module.GENERATED.clear()
    token = kept.KEPT.set(NothingKept())
    try:
        one_by_one = plan(composed, facts)
    finally:
        kept.KEPT.reset(token)
    assert describe(first) == describe(one_by_one)
    assert describe(again) == describe(one_by_one)
    ids = [id(each) for each in again.model.parameters()]
    assert not set(ids) & {id(each) for each in first.model.parameters()}
    assert len(ids) == len({id(each) for each in one_by_one.model.parameters()})


@pytest.mark.parametrize("model", ["vit", "lstm_language", *slow("swin_t", "cat_b")])
def test_real_parameters_are_those_of_a_model_made_one_by_one(model):
    composed = compose([f"model={model}"])
    facts = example_of(composed)
    states = []
    for results in (Kept(), NothingKept()):
        token = kept.KEPT.set(results)
        try:
            built = plan(composed, facts)
        finally:
            kept.KEPT.reset(token)
        torch.manual_seed(0)
        states.append(built.materialise().state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_what_a_copy_could_miss_is_made_by_its_constructor():
    with torch.device("meta"):
        tied = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(3, 5))
        tied[1].weight = tied[0].weight
        hooked = torch.nn.Linear(3, 5)
        hooked.register_forward_hook(lambda *_: None)
        plain = torch.nn.Linear(3, 5)
    assert draw(tied) is None
    assert draw(hooked) is None
    assert draw(torch.nn.Linear(3, 5)) is None  # its numbers are drawn by the constructor
    drawn = draw(plain)
    assert drawn is not None
    made = drawn.make()
    assert repr(made) == repr(plain)
    assert made.weight.is_meta
    assert made.weight is not plain.weight
    assert made._forward_hooks is not plain._forward_hooks


def test_the_oldest_results_are_forgotten_where_they_are_too_many(monkeypatch):
    monkeypatch.setattr(kept, "MOST", 5)
    results = Kept(ran={number: number for number in range(7)}, operations={1: 1})
    results.trim()
    assert (list(results.ran), results.operations) == ([2, 3, 4, 5, 6], {1: 1})
