"""What is made of the measurements; the measurements themselves need a GPU."""

import pytest

from bench.compare.contender import Family
from bench.gpu.steps import choose_contenders, make_rows, name_attention
from bench.measure import Times

FAMILY = Family(
    "small",
    "two by two",
    dict.fromkeys(("dougong", "timm", "transformers", "vit-pytorch")),
    flops=lambda: 24,
    items=(6, "images"),
    memory=lambda: 14,
)


def test_a_ratio_is_to_the_fastest_peer_of_the_same_kind():
    seconds = {
        "dougong": [2.0, 2.0],
        "slow": [8.0, 8.0],
        "fast": [4.0, 4.0],
        "dougong compiled": [1.0, 1.0],
        "slow compiled": [0.5, 0.5],
    }
    times = Times(clock=seconds, processor={name: [3.0, 7.0] for name in seconds})
    made = make_rows(times, FAMILY, passes=3, limit=16.0, peak=48.0)
    rows = {row["contender"]: row for row in made}
    assert (rows["dougong"]["fastest"], rows["dougong"]["ratio"][0]) == ("fast", 0.5)
    assert rows["dougong compiled"]["fastest"] == "slow compiled"
    assert rows["dougong compiled"]["ratio"][0] == pytest.approx(2.0)
    assert (rows["dougong"]["speed"], rows["dougong"]["items"]) == (3.0, "images")
    assert (rows["dougong"]["share"], rows["dougong"]["mfu"]) == (0.75, 0.25)
    assert (rows["dougong"]["bytes"], rows["dougong"]["estimate"]) == (5.0, 14)


def test_inference_does_a_third_of_the_operations_and_has_no_estimate_of_memory():
    times = Times(clock={"dougong": [1.0]}, processor={"dougong": [1.0]})
    (row,) = make_rows(times, FAMILY, passes=1, limit=16.0, peak=None)
    assert row["share"] == 0.5
    assert not {"mfu", "estimate", "ratio"} & set(row)


def test_slow_peers_are_left_out_unless_they_are_named():
    assert choose_contenders(FAMILY, None) == ["dougong", "timm"]
    assert choose_contenders(FAMILY, ["vit-pytorch"]) == ["dougong", "vit-pytorch"]


def test_kernels_of_attention_are_told_by_their_names():
    kernels = [
        ("void cutlass::gemm<float>", 4, 9.0),
        ("void pytorch_flash::flash_fwd_kernel<Traits, 64>", 12, 3.0),
        ("cudnn_generated_sdpa_bwd", 12, 2.0),
    ]
    assert name_attention(kernels) == "flash_fwd_kernel x12, cudnn_generated_sdpa_bwd x12"
