"""What `python -m bench --only ... --peers ...` measures, and what it says of names that nothing
bears.
"""

import pytest

from bench.choose import choose
from bench.compare.contender import Family


def family(name, *peers):
    return Family(name, "small", dict.fromkeys(["dougong", *peers]))


ALL = (family("vit", "timm", "torchvision"), family("swin", "timm"), family("lstm", "nn.LSTM"))
FOUND = {each.name: each for each in ALL}


def names(*given):
    return [each.name for each in choose(FOUND, *given)]


def test_all_are_measured_where_nothing_is_named():
    assert names(None, None) == ["vit", "swin", "lstm"]
    assert names(["lstm", "vit"], None) == ["vit", "lstm"]


def test_a_family_without_the_named_peers_is_left_out_with_a_line(capsys):
    assert names(None, ["timm"]) == ["vit", "swin"]
    assert capsys.readouterr().out == "lstm is left out: its peers are nn.LSTM\n"
    assert names(["swin"], ["timm", "nn.LSTM"]) == ["swin"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((["swni"], None), "no family swni\n  fits      vit, swin, lstm"),
        ((["lstm"], ["torch.nn.LSTM"]), "no peer torch.nn.LSTM\n  fits      nn.LSTM"),
        ((None, ["tim"]), "no peer tim\n  fits      timm, torchvision, nn.LSTM"),
        (
            (["lstm"], ["timm"]),
            "no peer timm in lstm\n  got       nn.LSTM\n  fits      timm: --only vit swin",
        ),
    ],
)
def test_names_that_do_not_fit_are_told(given, told):
    with pytest.raises(SystemExit) as raised:
        choose(FOUND, *given)
    assert raised.value.code == told
