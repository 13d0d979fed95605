"""How a model is compared with that of another library, with weights copied by a map."""

import torch
from torch import nn

from blocks.graph.weights import load_weights

CLASSES = 5


def image_facts(size, classes=CLASSES):
    return {"image": {"channels": 3, "height": size, "width": size}, "classes": classes}


def shake(peer):
    """Give every tensor a value of its own: at their start, biases are zero and norms do
    nothing.
    """
    for name, value in peer.named_parameters():
        nn.init.normal_(
            value,
            std=0.3 if value.dim() < 2 else 0.1 if value.dim() < 4 else value[0].numel() ** -0.5,
        )
        if value.dim() == 1 and name.endswith("weight"):
            value.data += 1
    for name, value in peer.named_buffers():
        if name.endswith("running_var"):
            nn.init.uniform_(value, 0.5, 1.5)
        elif name.endswith("running_mean"):
            nn.init.normal_(value, std=0.2)
    return peer.eval()


def assert_equal(ours, peer, source_map, run_ours, run_peer, *, extra=None, gradients=True):
    """Equal logits and, brought through the same map, equal gradients."""
    state = {**peer.state_dict(), **(extra.state_dict() if extra is not None else {})}
    report = load_weights(ours.eval(), state, source_map)
    assert not report.missing
    assert not report.left_over
    a, b = run_ours(ours), run_peer(peer)
    assert a.shape == b.shape
    scale = max(1.0, b.abs().max().item())
    assert (a - b).abs().max() < 1e-5 * scale
    if not gradients:
        return
    direction = torch.randn_like(a)
    for result in (a, b):
        (result * direction).sum().backward()
    theirs = {
        name: torch.zeros_like(value) if value.grad is None else value.grad
        for module in (peer, extra)
        if module is not None
        for name, value in module.named_parameters(remove_duplicate=False)
    }
    got = {name: value.grad.clone() for name, value in ours.named_parameters()}
    load_weights(
        ours,
        {**{name: value for name, value in state.items() if name not in theirs}, **theirs},
        source_map,
    )
    for name, value in ours.named_parameters():
        scale = max(1.0, value.abs().max().item())
        assert (got[name] - value).abs().max() < 1e-5 * scale, name
