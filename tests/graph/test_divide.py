import copy

import pytest
import torch

from blocks.attention import CrossAttention, SelfAttention
from blocks.graph import Columns, ConfigError, build, plan_tensor_parallel
from blocks.graph.run.tensor_parallel import Rows
from blocks.recurrent import ChannelDecay, GatedNorm, LinearRecurrence
from tests.blocks.recurrences import mamba2

WORDS = {"tokens": {"tokens": 11, "dtype": "int", "vocab": 13}, "vocab": 13}
IMAGE = {"image": [3, 16, 16], "classes": 7}


def sliced(block: torch.nn.Module, device: int, devices: int) -> torch.nn.Module:
    """What one device has of a block, by hand."""
    share, division = copy.deepcopy(block), block.division(devices)
    with torch.no_grad():
        for name, parts in division.columns.items():
            layer, order = (
                share.get_submodule(name),
                Columns(parts).order(devices).chunk(devices)[device],
            )
            for parameter in layer.parameters():
                parameter.data = parameter.data[order]
        for name in division.rows:
            layer = share.get_submodule(name)
            layer.weight.data = layer.weight.data.chunk(devices, dim=1)[device]
            if layer.bias is not None and device:
                layer.bias.zero_()  # the sum has it once
    for name in division.counts:
        setattr(share, name, getattr(share, name) // devices)
    return share


@pytest.mark.parametrize("kv_heads", [2, 6])
@pytest.mark.parametrize("devices", [1, 2])
def test_shares_of_attention_add_up_to_the_whole(kv_heads, devices):
    block = SelfAttention(42, heads=6, kv_heads=kv_heads, causal=True).double()
    x = torch.randn(3, 5, 42, dtype=torch.float64)
    total = sum(sliced(block, device, devices)(x) for device in range(devices))
    torch.testing.assert_close(total, block(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("head_dim", [None, 5])
def test_shares_of_cross_attention_add_up_to_the_whole(head_dim):
    block = CrossAttention(44, 21, heads=4, kv_heads=2, head_dim=head_dim).double()
    x, context = (
        torch.randn(3, 5, 44, dtype=torch.float64),
        torch.randn(3, 7, 21, dtype=torch.float64),
    )
    total = sum(sliced(block, device, 2)(x, context) for device in range(2))
    torch.testing.assert_close(total, block(x, context), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kv_heads", [2, 4])
def test_shares_of_a_recurrence_add_up_to_the_whole(kv_heads):
    block = LinearRecurrence(
        44,
        heads=4,
        kv_heads=kv_heads,
        decay=ChannelDecay(44, 4, 11),
        gate=GatedNorm(44, 4, weight="none"),
    ).double()
    x = torch.randn(3, 5, 44, dtype=torch.float64)
    total = sum(sliced(block, device, 2)(x) for device in range(2))
    torch.testing.assert_close(total, block(x), atol=1e-12, rtol=0)


def test_a_recurrence_whose_heads_share_parameters_stays_whole():
    assert not mamba2(24, 4).division(2).columns
    assert not LinearRecurrence(44, heads=4, gate=GatedNorm(44, 4)).division(2).columns


def test_parts_that_lie_side_by_side_are_divided_each_by_itself():
    assert Columns((4, 2)).order(2).tolist() == [0, 1, 4, 2, 3, 5]


def test_the_graph_tells_which_layers_share_out_what():
    found = plan_tensor_parallel(
        build("llama", ["params.depth=1", "params.hidden=22"], WORDS, device="meta"), 2
    )
    assert found.layers == {
        "layers.0.mlp.inner.gate": Columns((22,)),
        "layers.0.mlp.inner.value": Columns((22,)),
        "layers.0.mlp.inner.project": Rows(),
        "layers.0.attention.inner.qkv": Columns((128, 32, 32)),
        "layers.0.attention.inner.project": Rows(),
    }
    assert found.counts == {"layers.0.attention.inner": ("heads", "kv_heads")}


@pytest.mark.parametrize(
    ("node", "divided"),
    [
        ("{block: GELU, after: expand}", True),
        ("{block: LayerNorm, after: expand}", False),  # needs the whole width
        ("{block: Add, in: [expand, x], after: expand}", False),  # meets what is whole
    ],
)
def test_only_pointwise_blocks_may_lie_between(node, divided):
    overrides = [f"+model.mlp.body.extra={node}", "params.depth=1", "model.mlp.params.hidden=dim"]
    found = plan_tensor_parallel(build("vit", overrides, IMAGE, device="meta"), 2)
    assert ("layers.0.mlp.inner.expand" in found.layers) is divided


def test_a_layer_with_tied_weights_stays_whole():
    tied = "{layers.1.mlp.inner.expand.weight: layers.0.mlp.inner.expand.weight}"
    model = build("vit", ["params.depth=2", f"+model.tie={tied}"], IMAGE, device="meta")
    assert not any("mlp" in path for path in plan_tensor_parallel(model, 2).layers)


def test_what_cannot_be_divided_is_told_with_a_way_out():
    with pytest.raises(ConfigError) as caught:
        plan_tensor_parallel(
            build("vit", ["params.heads=4", "model.mlp.params.hidden=66"], IMAGE, device="meta"), 3
        )
    assert str(caught.value) == (
        "conf/model/residual/prenorm.yaml:6:3  graph.layers.0.attention.inner\n"
        "  this cannot be divided among the devices: devices must divide heads\n"
        "  got       devices=3, heads=4\n"
        "  fits      devices in 1, 2, 4\n"
        "  fix       sizes that trainer.tensor_parallel_size divides; trainer=fsdp cuts every "
        "network into shards"
    )


def test_a_bias_of_positions_wants_all_heads():
    model = build("vit", ["position=alibi"], IMAGE, device="meta")
    with pytest.raises(
        ConfigError, match=r"needs all its heads on one device\n  got       position_bias=ALiBi\n"
    ):
        plan_tensor_parallel(model, 2)


def test_a_network_without_attention_and_mlps_is_told():
    with pytest.raises(ConfigError) as caught:
        plan_tensor_parallel(build("resnet18", [], IMAGE, device="meta"), 2)
    assert str(caught.value) == (
        "model\n"
        "  nothing in this network can be divided\n"
        "  fits      a network with attention or MLPs in its graph\n"
        "  fix       trainer=fsdp cuts every network into shards"
    )
