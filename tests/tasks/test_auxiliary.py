"""What blocks add to the loss themselves reaches the training loss."""

import torch
from torch import nn
from torch.nn import functional as F

from blocks.graph import build
from tasks.learn.base import auxiliary_loss
from tasks.learn.classify import Classify


class Routed(nn.Module):
    input_names = ("image",)

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.router = nn.Module()
        self.router.auxiliary_loss = torch.tensor(0.25)

    def forward(self, image):
        return self.head(image)


def test_the_loss_of_a_router_is_added_in_training(monkeypatch):
    task = Classify(Routed(), optimizer=torch.optim.SGD, facts={"classes": 2})
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    batch = {"image": torch.randn(5, 3), "label": torch.tensor([0, 1, 1, 0, 1])}
    plain = F.cross_entropy(task(batch), batch["label"])
    torch.testing.assert_close(task.training_step(batch, 0), plain + 0.25)


def test_a_mixture_of_experts_tells_every_router_how_busy_its_experts_are():
    network = build("vit", ["mlp=mixture", "params.depth=2"])
    network(torch.randn(3, 1, 8, 8))
    loss = auxiliary_loss(network)
    loss.backward()
    routers = [
        name
        for name, value in network.named_parameters()
        if "router" in name and value.grad is not None
    ]
    assert loss.item() > 0
    assert len({name.split(".")[1] for name in routers}) == 2
