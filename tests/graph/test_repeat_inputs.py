"""The outputs of all repeats, and of the repeat that a counter chooses."""

import torch

from tests.graph.emitted import check_config
from tests.graph.test_language import D, N, linear, model, tokens

ENCODER = {"repeat": 3, "body": {"a": linear("dim"), "act": {"block": "Tanh"}}}
SKIPS = {
    "encoder": ENCODER,
    "decoder": {
        "repeat": 3,
        "in": {"skip": "encoder[layer.count - 1 - layer.index]"},
        "body": {"b": linear("dim"), "add": {"block": "Add", "in": ["b", "skip"]}},
    },
}
DENSE = {"encoder": ENCODER, "all": {"block": "Concat", "in": ["x", "encoder.*"], "axis": 2}}
LAST = {"encoder": ENCODER, "add": {"block": "Add", "in": ["encoder", "encoder[-2]"]}}


def outputs_of_encoder(net, x):
    found = []
    for layer in net.encoder.children():
        x = layer(x)
        found.append(x)
    return found


def test_a_star_means_the_outputs_of_all_repeats():
    net, x = model(DENSE), tokens()
    torch.testing.assert_close(net(x), torch.cat([x, *outputs_of_encoder(net, x)], 2))


def test_a_number_from_the_end_chooses_a_repeat():
    net, x = model(LAST), tokens()
    _, second, third = outputs_of_encoder(net, x)
    torch.testing.assert_close(net(x), third + second)


def test_the_counter_chooses_what_each_repeat_reads():
    net, x = model(SKIPS), tokens()
    skips = outputs_of_encoder(net, x)
    value = skips[-1]
    for layer, skip in zip(net.decoder.children(), reversed(skips), strict=True):
        value = layer.b(value) + skip
    torch.testing.assert_close(net(x), value)


SCAN = {
    "scan": {"axis": "tokens", "state": {"hidden": D}},
    "body": {
        "mixed": {"block": "Add", "in": ["x", "hidden"]},
        "next": linear("dim"),
    },
    "outputs": {"hidden": "next"},
}


def test_a_scan_is_repeated_shared_and_read_repeat_by_repeat(tmp_path):
    graph = {
        "scans": {"repeat": 2, "share": True, **SCAN},
        "again": {"repeat": 2, "share": "scans.0"},
        "add": {"block": "Add", "in": ["again", "scans.*"]},
    }
    net, x = model(graph), tokens()
    scan = net.get_submodule("scans.0")
    found = [x]
    for _ in range(4):
        found.append(scan(found[-1])[0])
    torch.testing.assert_close(net(x), found[4] + found[1] + found[2])
    assert len(list(net.parameters())) == 2
    check_config({"inputs": {"x": {"tokens": N, "dim": D}}, "graph": graph}, tmp_path)


STEPS = {
    "steps": {
        "repeat": 3,
        "body": {
            "step": {
                "block": "Parameter",
                "in": "x",
                "shape": {"tokens": 1, "dim": D},
                "start": 1.0,
            },
        },
    },
    "layers": {
        "repeat": 3,
        "share": True,
        "in": {"x": "x", "step": "steps[layer.index]"},
        "body": {"add": {"block": "Add", "in": ["x", "step"]}, "wide": linear("dim")},
    },
}


def test_one_module_reads_another_value_at_each_repeat(tmp_path):
    """As the universal Transformer, whose single layer is told how often it ran."""
    net, x = model(STEPS), tokens()
    assert len(list(net.layers.parameters())) == 2
    value, layer = x, net.layers.get_submodule("0")
    with torch.no_grad():
        for index, step in enumerate(net.steps.children()):
            next(step.parameters()).fill_(float(index))
            value = layer(value, step(x))
    torch.testing.assert_close(net(x), value)
    inputs = {"x": {"tokens": N, "dim": D}}
    check_config({"inputs": inputs, "graph": STEPS}, tmp_path)


def test_chosen_repeats_are_emitted(tmp_path):
    inputs = {"x": {"tokens": N, "dim": D}}
    check_config({"inputs": inputs, "graph": SKIPS}, tmp_path)
    check_config({"inputs": inputs, "graph": DENSE}, tmp_path)
