"""What every block of the catalogue keeps, whatever it computes: right gradients, shapes on meta,
any batch.
"""

import pytest
import torch
from torch import Tensor, nn

from blocks.catalog import own

B, N, D, H, W = 2, 3, 4, 6, 4  # small, for gradcheck; every block's own tests use primes


def tokens(*shape: int) -> Tensor:
    return torch.randn(*(shape or (B, N, D)), dtype=torch.float64, requires_grad=True)


def ids() -> Tensor:
    return torch.tensor([[0, 4, 2], [1, 1, 3]])


GRID, IMAGE = (B, H, W, D), (B, D, H, W)


def classes() -> Tensor:
    return torch.tensor([0, 3])


LOSSES = {  # each gives one number for the batch
    "AbsoluteError": ({}, lambda: (tokens(), tokens())),
    "BinaryCrossEntropy": ({}, lambda: (tokens(), tokens().detach().sigmoid())),
    "CosineDistance": ({}, lambda: (tokens(), tokens())),
    "CrossEntropy": ({"label_smoothing": 0.1}, lambda: (tokens(B, D), classes())),
    "DiceLoss": ({}, lambda: (tokens(B, D), classes())),
    "DistillationLoss": ({}, lambda: (tokens(B, D), tokens(B, D))),
    "FocalLoss": ({}, lambda: (tokens(B, D), classes())),
    "GaussianKL": ({}, lambda: (tokens(), tokens())),
    "HuberLoss": ({}, lambda: (tokens(), tokens())),
    "Mean": ({}, lambda: (tokens(),)),
    "QuantileLoss": ({"quantile": 0.3}, lambda: (tokens(), tokens())),
    "SquaredError": ({}, lambda: (tokens(), tokens())),
}
MASK = torch.tensor([[False, False, False, True, True], [True, False, False, True, False]])
PLACES = torch.tensor([[2, 0], [1, 1]])
NO_GRADIENT = {  # what they give are whole numbers, true or false, or numbers that are given
    "Arange": ({}, lambda: (tokens(),)),
    "ArgMax": ({}, lambda: (tokens(),)),
    "Compare": ({"relation": "less"}, lambda: (tokens(), tokens())),
    "Constant": ({"shape": [3], "value": 0.5}, lambda: (tokens(),)),
    "Random": ({"shape": [3], "seed": 0}, lambda: (tokens(),)),
    "StopGradient": ({}, lambda: (tokens(),)),
}
EXAMPLES = {  # name -> constructor arguments, inputs
    **LOSSES,
    **NO_GRADIENT,
    "Abs": ({}, lambda: (tokens(),)),
    "Add": ({}, lambda: (tokens(), tokens())),
    "AdditiveAttention": (
        {"dim": D, "context_dim": 5, "hidden": 3},
        lambda: (tokens(), tokens(B, 2, 5)),
    ),
    "Attend": (
        {"heads": 2, "causal": True, "sinks": True, "scale": 0.3},
        lambda: (tokens(B, 2, N, D), tokens(B, 1, N, D), tokens(B, 1, N, 5)),
    ),
    "AttentionPool": ({"dim": D, "heads": 2}, lambda: (tokens(),)),
    "CausalConv1d": ({"dim": D, "features": 3, "kernel": 2}, lambda: (tokens(),)),
    "ChannelGate": ({}, lambda: (tokens(), tokens(B, D))),
    "ChannelNorm": ({"channels": D}, lambda: (tokens(*IMAGE),)),
    "ChannelScale": ({"channels": D}, lambda: (tokens(*IMAGE),)),
    "ClassToken": ({"dim": D}, lambda: (tokens(),)),
    "Concat": ({}, lambda: (tokens(), tokens(B, N, 5))),
    "FeatureModulation": ({}, lambda: (tokens(), tokens(B, D), tokens(B, D))),
    "FourierFeatures": ({"dim": D, "features": 6}, lambda: (tokens(),)),
    "SinusoidalFeatures": ({"dim": 6}, lambda: (tokens(B, N),)),
    "FeatureTokens": ({"features": D, "dim": 3}, lambda: (tokens(B, D),)),
    "Cos": ({}, lambda: (tokens(),)),
    "CrossAttention": (
        {"dim": D, "context_dim": 5, "heads": 2},
        lambda: (tokens(), tokens(B, 2, 5)),
    ),
    "CrossPatchAttention": ({"height": H, "width": W, "patch": 2}, lambda: (tokens(*GRID),)),
    "DifferentialAttention": ({"dim": D, "heads": 2, "causal": True}, lambda: (tokens(),)),
    "Divide": ({}, lambda: (tokens(), tokens().exp())),
    "DropPath": ({"rate": 0.0}, lambda: (tokens(),)),
    "Exp": ({}, lambda: (tokens(),)),
    "FFT": ({"axes": [1, 2]}, lambda: (tokens(),)),
    "FutureTokens": (
        {"dim": D, "vocab": 5, "heads": 2, "count": 1},
        lambda: (tokens(), ids()),
    ),
    "Gain": ({"factor": 1.5}, lambda: (tokens(),)),
    "Gather": ({}, lambda: (tokens(), PLACES)),
    "GaussianSample": ({}, lambda: (tokens(), tokens())),
    "FrozenBatchNorm2d": ({"channels": D}, lambda: (tokens(*IMAGE),)),
    "GRU": ({"dim": D, "hidden": 3}, lambda: (tokens(),)),
    "GlobalAverage": ({}, lambda: (tokens(*IMAGE),)),
    "InnerPatchAttention": (
        {"dim": D, "height": H, "width": W, "heads": 2, "patch": 2},
        lambda: (tokens(*GRID),),
    ),
    "InverseFFT": ({"half": True}, lambda: (tokens(), tokens())),
    "LSTM": ({"dim": D, "hidden": 3}, lambda: (tokens(),)),
    "LastToken": ({}, lambda: (tokens(),)),
    "LayerScale": ({"dim": D}, lambda: (tokens(),)),
    "LearnedPosition": ({"tokens": N, "dim": D}, lambda: (tokens(),)),
    "LearnedPosition2d": ({"height": H, "width": W, "dim": D}, lambda: (tokens(*GRID),)),
    "LearnedTokens": ({"tokens": 2, "dim": D}, lambda: (tokens(),)),
    "LatentAttention": ({"dim": D, "heads": 2, "kv_rank": 3}, lambda: (tokens(),)),
    "LinearRecurrence": ({"dim": D, "heads": 2}, lambda: (tokens(),)),
    "LinearAttention": ({"dim": D, "heads": 2}, lambda: (tokens(),)),
    "Log": ({}, lambda: (tokens().exp(),)),
    "MaxTokens": ({}, lambda: (tokens(),)),
    "MeanTokens": ({}, lambda: (tokens(),)),
    "MixtureOfExperts": ({"dim": D, "experts": 2, "top": 2, "hidden": 3}, lambda: (tokens(),)),
    "Maximum": ({}, lambda: (tokens(), tokens())),
    "Minimum": ({}, lambda: (tokens(), tokens())),
    "FirstValues": ({"dim": D, "features": 3}, lambda: (tokens(),)),
    "Flip": ({}, lambda: (tokens(),)),
    "MatMul": ({"transpose": True}, lambda: (tokens(), tokens(B, 2, D))),
    "Slice": ({"start": 1}, lambda: (tokens(),)),
    "Subtract": ({}, lambda: (tokens(), tokens())),
    "LogitScale": ({"initial": 3.0, "most": 5.0}, lambda: (tokens(),)),
    "UnitNorm": ({}, lambda: (tokens(),)),
    "MatrixLSTM": ({"dim": D, "heads": 2}, lambda: (tokens(),)),
    "MinGRU": ({"dim": D, "hidden": 3}, lambda: (tokens(),)),
    "MinLSTM": ({"dim": D, "hidden": 3}, lambda: (tokens(),)),
    "ScalarLSTM": ({"dim": D, "hidden": 4, "heads": 2}, lambda: (tokens(),)),
    "Multiply": ({}, lambda: (tokens(), tokens())),
    "Parameter": ({"shape": [3]}, lambda: (tokens(),)),
    "Part": ({"index": 1, "of": 2}, lambda: (tokens(),)),
    "PatchEmbedding": ({"channels": D, "dim": 3, "size": 2}, lambda: (tokens(*IMAGE),)),
    "PatchMerging": ({"dim": D}, lambda: (tokens(*GRID),)),
    "Power": ({"exponent": 3}, lambda: (tokens(),)),
    "RMSNorm": ({"dim": D}, lambda: (tokens(),)),
    "RNN": ({"dim": D, "hidden": 3}, lambda: (tokens(),)),
    "ReadStreams": ({"streams": N, "dim": D, "start": 1}, lambda: (tokens(B, 2, N, D),)),
    "RandomMask": ({"ratio": 0.5}, lambda: (tokens(),)),
    "RestoreTokens": (
        {"dim": D},
        lambda: (tokens(), torch.tensor([[0, 1, 2], [1, 2, 4]]), MASK),
    ),
    "ReZero": ({"initial": 0.5}, lambda: (tokens(),)),
    "Rearrange": ({"pattern": "b t d -> b d t"}, lambda: (tokens(),)),
    "Reduce": ({"pattern": "b t d -> b d", "operation": "prod"}, lambda: (tokens(),)),
    "Repeat": ({"pattern": "b t d -> b (t 2) d"}, lambda: (tokens(),)),
    "ResponseNorm": ({"dim": D}, lambda: (tokens(*GRID),)),
    "ResizeLike": ({}, lambda: (tokens(*IMAGE), tokens(B, 3, 7, 2))),
    "SelectToken": ({}, lambda: (tokens(),)),
    "SelectiveStateSpace": (
        {"dim": D, "hidden": 3, "state": 2, "chunk": 2},
        lambda: (tokens(),),
    ),
    "SelfAttention": ({"dim": D, "heads": 2}, lambda: (tokens(),)),
    "Sin": ({}, lambda: (tokens(),)),
    "SinusoidalPosition": ({"dim": D}, lambda: (tokens(),)),
    "SinusoidalPosition2d": ({"dim": D}, lambda: (tokens(B, 4, D),)),
    "SqueezeExcite": ({"channels": D, "reduction": 2}, lambda: (tokens(*IMAGE),)),
    "TokenEmbedding": ({"vocab": 5, "dim": D}, lambda: (ids(),)),
    "TopK": ({"count": 2}, lambda: (tokens(),)),
    "Where": ({}, lambda: (tokens().detach() > 0, tokens(), tokens())),
    "WeightNormConv2d": (
        {"channels": D, "features": 3, "kernel": 3, "stride": 2},
        lambda: (tokens(*IMAGE),),
    ),
    "WeightNormLinear": ({"dim": D, "features": 3}, lambda: (tokens(),)),
    "WriteStreams": ({}, lambda: (tokens(B, 2, D), tokens(B, 2, N, D), tokens(B, 2, N))),
    "WindowAttention": (
        {"dim": D, "height": H, "width": W, "heads": 2, "window": 2, "shift": 1},
        lambda: (tokens(*GRID),),
    ),
}
PARTS = {
    "ChannelDecay": {"dim": 4, "heads": 2, "head_dim": 2},
    "ConstantDecay": {"heads": 2},
    "GatedNorm": {"dim": 4, "heads": 2},
    "QKCosine": {"heads": 2},
    "QKUnitNorm": {},
    "StepDecay": {"dim": 4, "heads": 2},
    "QKNorm": {"head_dim": 4},
    "Rotary": {"head_dim": 4},
    "ALiBi": {"heads": 2},
    "LogSpacedBias": {"heads": 2},
    "RelativeBias": {"heads": 2},
    "Rotary2d": {"head_dim": 4},
    "LlamaScaling": {"factor": 4.0, "trained": 64},
    "NTKScaling": {"factor": 4.0},
    "PositionInterpolation": {"factor": 4.0},
    "YaRN": {"factor": 4.0, "trained": 64},
}  # parts of an attention: see its tests


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return own()[name](**EXAMPLES[name][0])


def first(result: object) -> Tensor:
    return result[0] if isinstance(result, tuple) else result


def test_every_block_has_an_example():
    assert sorted([*EXAMPLES, *PARTS]) == sorted(own())


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in NO_GRADIENT])
def test_gradients_are_right_in_double_precision(name):
    module = make(name).double().eval()
    inputs = EXAMPLES[name][1]()
    parameters = dict(module.named_parameters())

    def run(*values: Tensor) -> Tensor:
        given, weights = (
            values[: len(inputs)],
            dict(zip(parameters, values[len(inputs) :], strict=True)),
        )
        return first(torch.func.functional_call(module, weights, given))

    weights = [parameter.detach().clone().requires_grad_() for parameter in parameters.values()]
    differentiable = [value for value in (*inputs, *weights) if value.requires_grad]
    assert differentiable, "nothing to differentiate"
    assert torch.autograd.gradcheck(run, (*inputs, *weights), fast_mode=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_meta_device_gives_the_shapes_of_the_real_one(name):
    inputs = [
        value.detach().float() if value.is_floating_point() else value
        for value in EXAMPLES[name][1]()
    ]
    real = first(make(name)(*inputs))
    with torch.device("meta"):
        module = own()[name](**EXAMPLES[name][0])
    unreal = first(module(*(value.to("meta") for value in inputs)))
    assert (unreal.shape, unreal.dtype) == (real.shape, real.dtype)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in LOSSES])
def test_an_example_of_a_batch_does_not_depend_on_the_others(name):
    module = make(name).eval()
    inputs = [
        value.detach().float() if value.is_floating_point() else value
        for value in EXAMPLES[name][1]()
    ]
    whole, alone = first(module(*inputs)), first(module(*(value[:1] for value in inputs)))
    torch.testing.assert_close(whole[:1], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", own())
def test_the_docstring_says_arguments_shape_and_source(name):
    text = own()[name].__doc__ or ""
    wanted = ["Shape:", "Source:"] + ["Args:"] * bool(_own_arguments(name))
    assert [word for word in wanted if word not in text] == []


def _own_arguments(name: str) -> list[str]:
    code = own()[name].__init__.__code__
    return [
        each
        for each in code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        if "__init__" in vars(own()[name])
    ]
