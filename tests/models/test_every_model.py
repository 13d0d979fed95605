"""Every file of `conf/model/`, found by globbing: a new file is tested as soon as it is there.

A file is built as published on the meta device. What trains it needs it small: `SMALL` shrinks
those that are not.
"""

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from blocks.errors import BlockError
from blocks.graph import Composed, ConfigError, Graph, compose, locate, plan
from blocks.recurrent import GRU, LSTM, RNN
from tests.models.small_models import SIDE, SMALL, TOKENS, VOCAB, Small

FILES = sorted((Path(__file__).resolve().parents[2] / "conf" / "model").glob("*.yaml"))
MODELS = [file.stem for file in FILES]
BATCH = 4
MOST = 300_000  # parameters of a model that is trained here


def image(side, channels=3):
    return {"channels": channels, "height": side, "width": side}


def words(tokens):
    whole = {"tokens": tokens, "dtype": "int", "vocab": VOCAB}
    names = ("tokens", "source", "target", "question", "text")
    return {**dict.fromkeys(names, whole), "vocab": VOCAB}


def signal(tokens):
    return {"tokens": tokens, "dim": 1}


ROW = {"numbers": {"features": 6}, "categories": {"columns": 3, "dtype": "int", "vocab": VOCAB}}
IMAGENET = {"image": image(224), "classes": 1000, "signal": signal(40), **words(128), **ROW}
VIDEO = {"video": {"channels": 1, "frames": 4, "height": SIDE, "width": SIDE}}
MNIST1D = {"signal": signal(40), "classes": 10}
SIGNALS = ["signal_cnn", "signal_gru", "signal_logistic", "signal_mlp"]
# the others: ImageNet, and words
PUBLISHED = {
    "lenet5": {"image": image(28, channels=1), "classes": 10},
    "detr_r50": {"image": image(800), "classes": 91},
    "segformer_b0": {"image": image(512), "classes": 150},
    **dict.fromkeys(SIGNALS, MNIST1D),
    "vivit": {**VIDEO, "classes": 10},
}


# A larger image or a longer text than the model was built for. Who is not here runs on both.
LINEAR = (RuntimeError, "mat1 and mat2 shapes cannot be multiplied")
TABLE = (BlockError, "more tokens than learned positions")
CELLS = (BlockError, "learned positions know one grid only")
VITS = ["mae", "vit", "vit_b16", "vit_l16", "vit_s16", "vit_ti16", "vivit"]
TEXTS = [
    "albert_base",
    "answer",
    "bert",
    "bert_base",
    "clip_b32",
    "clip_small",
    "encoder",
    "gpt",
    "gpt2",
    "perceiver_io",
    "whisper_tiny",
]
NOT_LARGER = {
    **dict.fromkeys(["mlp", "mixer_b16", "vae", *SIGNALS], LINEAR),
    **dict.fromkeys([*TEXTS, *VITS], TABLE),
    **dict.fromkeys(["cat", "cat_b", "cat_s", "cat_t"], CELLS),
}
NOT_SMALLER = {name: error for name, error in NOT_LARGER.items() if error is not TABLE}
NOT_SMALLER["alexnet"] = (RuntimeError, "Output size is too small")
ROUTED = ["deepseek_v3", "gpt_oss_20b", "mixtral_8x7b"]  # rounding may choose another expert
# the first layer of DETR's decoder mixes objects that are still zero
UNREACHED = {"detr_r50": ["decoder.0.attention.inner.v_wide.weight"]}
GIVEN = ("target", "mask")  # outputs that no parameter changes
MASKED = [
    "albert_base",
    "answer",
    "bert",
    "bert_base",
    "clip_small",
    "encoder",
    "gpt",
    "gpt2",
    "gru",
    "lstm",
    "mamba2_130m",
    "mamba_130m",
    "perceiver_io",
    "rnn",
    "seq2seq",
    "t5_small",
    "transformer",
    "transformer_base",
    "transformer_deepnorm",
]


@cache
def composed(name, *overrides):
    return compose([f"model={name}", *(f"model.{override}" for override in overrides)])


@pytest.fixture(autouse=True)
def _one_thread():
    """Models this small only wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def facts_of(name, tokens=TOKENS, **more):
    return {
        **words(tokens),
        **ROW,
        **VIDEO,
        "signal": signal(tokens),
        "image": image(SMALL.get(name, Small()).side),
        "classes": 4,
        **more,
    }


def build(name, seed=0, **facts):
    torch.manual_seed(seed)
    return plan(
        composed(name, *SMALL.get(name, Small()).overrides), facts_of(name, **facts)
    ).materialise()


@cache
def ready(name):
    """A model that no test changes."""
    return build(name).eval()


def draw(name, batch=BATCH, side=1.0, tokens=None, seed=0):
    """Inputs of a model by name, as its file describes them; the token ids of a batch are all
    different.
    """
    generator = torch.Generator().manual_seed(seed)
    config = composed(name, *SMALL.get(name, Small()).overrides).config["model"]
    given = {}
    for key, spec in config["inputs"].items():
        if isinstance(spec, str):
            spec = facts_of(name)[spec.removeprefix("data.")]
        if key == "noise":  # a number for each patch, so that some are hidden
            cells = int(facts_of(name)["image"]["height"] * side) // config["params"].get(
                "patch", 16
            )
            given[key] = torch.rand(batch, cells**2, generator=generator)
            continue
        if "shape" in spec:
            continue  # a mask, optional
        sizes = {
            axis: config["params"].get(size, size) if isinstance(size, str) else size
            for axis, size in spec.items()
        }
        kind, vocab = sizes.pop("dtype", "float"), sizes.pop("vocab", None)
        shape = [
            tokens
            if tokens and axis == "tokens"
            else int(size * side)
            if axis in ("height", "width")
            else size
            for axis, size in sizes.items()
        ]
        if kind == "int" and batch * shape[0] <= vocab:
            given[key] = torch.randperm(vocab, generator=generator)[: batch * shape[0]].reshape(
                batch, shape[0]
            )
        elif kind == "int":
            given[key] = torch.randint(vocab, (batch, *shape), generator=generator)
        else:
            given[key] = torch.randn(batch, *shape, generator=generator)
    return given


def run(model: Graph, inputs):
    """The outputs of a model by name."""
    out = model(**inputs)
    return out if isinstance(out, dict) else {"out": out}


def settled(model: nn.Module) -> nn.Module:
    """Training without chance: what drops rests, what counts a batch counts."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return model


def loss_of(out, inputs):
    """Classes that were drawn (of a picture: its strongest channel); numbers that were drawn for
    what is no logit.
    """
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(())
    if "text_projection" in out:  # unit vectors: image i belongs to text i
        cosines = out["image_projection"] @ out["text_projection"].T
        total = F.cross_entropy(cosines, torch.arange(len(cosines)))
    for key, value in out.items():
        if key in GIVEN or key.endswith("_projection"):
            continue
        if key == "boxes":  # shares of an image
            total = total + F.mse_loss(value, torch.rand(value.shape, generator=generator))
        elif key != "logits":
            total = total + F.mse_loss(
                value, 0.5 * torch.tanh(torch.randn(value.shape, generator=generator))
            )
        elif value.dim() == 4:
            total = total + F.cross_entropy(value, inputs["image"].argmax(1))
        else:
            target = torch.randint(value.shape[-1], value.shape[:-1], generator=generator)
            total = total + F.cross_entropy(value.flatten(0, -2), target.flatten())
    return total


def equal(a, b, tolerance=1e-5):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=tolerance, atol=tolerance)


def every(names=MODELS):
    def marks(name):
        return [pytest.mark.slow] if SMALL.get(name, Small()).slow else []

    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=marks(name)) for name in names]
    )


# As published -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_file_builds_for_the_data_it_is_about_and_keeps_its_claim(name):
    facts, config = PUBLISHED.get(name, IMAGENET), composed(name).config["model"]
    claim = config.get("expect") or {}
    if claim.get("parameters") is None or claim.get("when") is False:
        assert all(
            parameter.is_meta for parameter in plan(composed(name), facts).model.parameters()
        )
        return
    wrong = {
        **config,
        "expect": {**claim, "parameters": claim["parameters"] + 1},
    }  # so that a claim never read is found
    with pytest.raises(ConfigError, match="the model has not the parameters it claims") as error:
        plan(Composed({"model": wrong}), facts)
    assert [problem.got for problem in error.value.problems] == [f"{claim['parameters']:,}"]


def test_the_tables_above_name_files_that_are_there():
    assert set(MODELS) >= {*SMALL, *PUBLISHED, *NOT_LARGER, *MASKED}


# Small --------------------------------------------------------------------------------------------


@every()
def test_one_batch_is_learned_and_every_parameter_takes_part(name):
    model = settled(build(name))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count <= MOST, f"{count:,} parameters: shrink {name} by a line in SMALL"
    before = {key: value.clone() for key, value in model.named_parameters()}
    inputs = draw(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    for _ in range(300):
        loss = loss_of(run(model, inputs), inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    assert loss < 0.05
    still = [key for key, value in model.named_parameters() if torch.equal(value, before[key])]
    assert still == UNREACHED.get(name, []), "parameters that no gradient reaches"


def real(shape):
    """A shape of the meta device, in which a prime stands for the batch, for a batch of BATCH."""
    return tuple(size // 7919 * BATCH if size and size % 7919 == 0 else size for size in shape)


@every()
def test_explain_and_a_run_agree(name):
    """Names and shapes of all outputs, and the shapes that each node of the table gives."""
    planned = plan(composed(name, *SMALL.get(name, Small()).overrides), facts_of(name))
    model, seen = planned.materialise().eval(), {}
    modules = dict(model.named_modules())
    rows = [row for row in planned.walk() if row.path in modules]
    for path in {row.path for row in rows}:

        def keep(module, arguments, out, path=path):
            results = out if isinstance(out, tuple) else (out,)
            seen.setdefault(path, []).append([tuple(result.shape) for result in results])

        modules[path].register_forward_hook(keep)
    out = run(model, draw(name))
    assert {key: tuple(value.shape) for key, value in out.items()} == {
        key: real(wire.shape) for key, wire in planned.outputs.items()
    }
    assert seen.keys() == {row.path for row in rows} != set()
    for row in rows:
        assert list(map(real, row.shapes.values())) in seen[row.path], row.path


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings(
    "ignore:Attempting to run cuBLAS"
)  # torch, where the first product is a backward one
@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_computes_what_the_processor_computes(name, monkeypatch):
    """Outputs and gradients in float32, each as a share of its norm."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model, inputs, found = settled(build(name)), draw(name), []
    for module in model.modules():
        if isinstance(module, (RNN, LSTM, GRU)):
            module.train()  # cuDNN has no backward pass otherwise
            module.dropout = 0.0
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        out = run(model, {key: value.to(device) for key, value in inputs.items()})
        loss_of({key: value.cpu() for key, value in out.items()}, inputs).backward()
        gradients = torch.cat([parameter.grad.flatten().cpu() for parameter in model.parameters()])
        found.append(
            {**{key: value.detach().cpu() for key, value in out.items()}, "gradients": gradients}
        )
    on_cpu, on_gpu = found
    for key, tolerance in {**dict.fromkeys(on_cpu, 1e-5), "gradients": 1e-4}.items():
        assert (on_gpu[key] - on_cpu[key]).norm() <= tolerance * on_cpu[key].norm(), key


@every()
def test_half_precision_says_nearly_the_same(name):
    model, inputs = ready(name), draw(name)
    whole = run(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        half = run(model, inputs)
    for key, value in whole.items():
        assert torch.isfinite(half[key]).all()
        value = value.float()
        apart = (half[key].float() - value).abs() / value.abs().max().clamp(min=0.1)
        if name in ROUTED:
            assert (apart.amax(-1) < 0.1).float().mean() > 0.9
        else:
            assert apart.max() < 0.1


@every()
def test_the_model_is_exported(name):
    model, inputs = ready(name), draw(name)
    exported = torch.export.export(model, (), inputs).module()
    equal(run(exported, inputs), run(model, inputs))


@every()
def test_an_example_does_not_depend_on_its_batch(name):
    model, inputs = ready(name), draw(name)
    whole = run(model, inputs)
    for rows in (slice(0, 1), slice(1, 4)):
        part = run(model, {key: value[rows] for key, value in inputs.items()})
        equal(part, {key: value[rows] for key, value in whole.items()}, tolerance=1e-4)


@every()
@pytest.mark.parametrize(
    ("side", "tokens", "no"), [(2.0, TOKENS + 8, NOT_LARGER), (0.5, TOKENS - 5, NOT_SMALLER)]
)
def test_another_size_runs_or_is_told(name, side, tokens, no):
    model, inputs = ready(name), draw(name, side=side, tokens=tokens)
    if name in no:
        kind, message = no[name]
        with pytest.raises(kind, match=message) as error:
            run(model, inputs)
        assert locate(error.value).startswith("graph.")
    else:
        for value in run(model, inputs).values():
            assert torch.isfinite(value).all()


@every()
def test_weights_go_out_and_come_in(name):
    model, other, inputs = ready(name), build(name, seed=1).eval(), draw(name)
    missing, unexpected = other.load_state_dict(model.state_dict(), strict=True)
    assert not missing
    assert not unexpected
    equal(run(other, inputs), run(model, inputs), tolerance=0.0)


# Padding ------------------------------------------------------------------------------------------


def test_the_files_with_a_mask_are_those_of_the_table():
    masked = [
        name
        for name in MODELS
        if any(str(key).endswith("mask") for key in composed(name).config["model"]["inputs"])
    ]
    assert set(masked) - {"transformer_big"} == set(MASKED)


@every(MASKED)
def test_padding_changes_nothing(name):
    mask = {"tokens": TOKENS, "dtype": "bool"}
    model = build(
        name,
        padding_mask=mask,
        source_mask=mask,
        target_mask=mask,
        question_mask=mask,
        text_mask=mask,
    ).eval()
    real = TOKENS - 4
    inputs, others = draw(name), draw(name, seed=1)
    for key in others:
        others[key][:, :real] = inputs[key][:, :real]
    masks = {
        key: torch.arange(TOKENS).expand(BATCH, -1) < real
        for key in model.input_names
        if key.endswith("mask")
    }
    a, b = run(model, {**inputs, **masks}), run(model, {**others, **masks})
    for key in a:
        one, two = (out[:, :real] if out.dim() == 3 else out for out in (a[key], b[key]))
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
