import torch
from torch import nn

from tasks.parallel.optimizer_state import to_named, to_single_device


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    decayed, others = [model[0].weight, model[1].weight], [model[0].bias, model[1].bias]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others}], foreach=None
    )
    model(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def test_the_state_of_one_device_and_the_state_by_name_are_each_the_other_with_rows_in_order():
    model, optimizer = trained()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    order = torch.tensor([2, 0, 3, 1])
    optimizer.param_groups[0]["foreach"] = False  # as where parameters are cut in different ways
    whole = optimizer.state_dict()
    cut = to_named(whole, optimizer, names, {"0.weight": order})
    assert [group["params"] for group in cut["param_groups"]] == [
        ["0.weight", "1.weight"],
        ["0.bias", "1.bias"],
    ]
    assert torch.equal(cut["state"]["0.weight"]["exp_avg"], whole["state"][0]["exp_avg"][order])
    assert torch.equal(cut["state"]["1.bias"]["exp_avg"], whole["state"][3]["exp_avg"])
    assert cut["param_groups"][0]["foreach"] is False
    back = to_single_device(cut, optimizer, names, {"0.weight": order.argsort()})
    assert [group["params"] for group in back["param_groups"]] == [[0, 1], [2, 3]]
    assert back["param_groups"][0]["foreach"] is None
    for number, values in whole["state"].items():
        assert all(torch.equal(values[name], back["state"][number][name]) for name in values)
