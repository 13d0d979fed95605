"""A training on a GPU: its precision, its compilation, its continuation, its decoding."""

import pytest
import torch

from blocks.graph import build, compile_network, compose
from tasks.decode import search
from tasks.decode.scorer import NextTokenScorer
from tasks.learn.losses.chunked_loss import VocabularyLoss
from tasks.resume import adopt, checkpoint
from tasks.run import run_folder, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # of the compiler
    # the compiler makes an object of what looks up in a tied table
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),  # the compiler imports what calls it
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS"),
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),
]

VOCAB, TOKENS, STEPS = 61, 32, 30
FACTS = {"image": {"channels": 1, "height": 16, "width": 16}, "classes": 10}
GPT = [f"params.vocab={VOCAB}", f"params.length={TOKENS}", "params.dim=64", "params.depth=3"]
GPT += ["params.heads=4", "params.dropout=0.0"]
VIT = ["params.patch=4", "params.dim=64", "params.depth=3", "params.heads=4", "params.dropout=0.0"]


@pytest.fixture(autouse=True)
def exact():
    torch._dynamo.reset()
    torch.manual_seed(0)
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


def make_loss(name):
    """A network on the GPU, and its loss of the batch of a step."""
    torch.manual_seed(0)
    if name == "gpt2":
        network = build("gpt2", GPT).cuda()
        loss = VocabularyLoss(network)
        tokens = torch.randint(VOCAB, (STEPS, 8, TOKENS), device="cuda")
        label = torch.roll(tokens, 1, 2)  # to be read from the token before
        return network, lambda step: loss({"tokens": tokens[step]}, label[step]).loss
    network = build("vit", VIT, FACTS).cuda()
    images = torch.randn(STEPS, 8, 1, 16, 16, device="cuda")
    label = images.mean((2, 3, 4)).gt(0).long()
    cross = torch.nn.functional.cross_entropy
    return network, lambda step: cross(network(images[step])["logits"], label[step])


def draw_curve(name, compiled=None, dtype=None):
    """The losses of a training, each before its step."""
    network, loss_of = make_loss(name)
    if compiled:
        compile_network(network, whole=compiled == "whole")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype, enabled=dtype is not None):
            loss = loss_of(step)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).double().cpu()


@pytest.mark.parametrize("name", ["gpt2", "vit"])
def test_the_curve_in_bfloat16_is_that_of_float32(name):
    wanted, found = draw_curve(name), draw_curve(name, dtype=torch.bfloat16)
    assert (wanted[:3].mean() - wanted[-3:].mean()) > 0.02  # it learns
    assert (found - wanted).abs().max() <= 0.02 * wanted[0]


@pytest.mark.parametrize("compiled", ["regions", "whole"])
@pytest.mark.parametrize("name", ["gpt2", "vit"])
def test_a_compiled_network_has_the_same_curve(name, compiled):
    wanted, found = draw_curve(name), draw_curve(name, compiled)
    assert (found - wanted).abs().max() <= 1e-4 * wanted[0]


@pytest.mark.parametrize("beams", [1, 3])
def test_cached_decoding_gives_the_tokens_of_decoding_anew(beams):
    network = build("gpt2", GPT).cuda().eval()
    prompt, found = torch.randint(VOCAB, (5, 4), device="cuda"), []
    for cache in (True, False):
        scorer = NextTokenScorer(network, {"tokens": {"vocab": VOCAB}}, "tokens", cache=cache)
        score = scorer.score({}, TOKENS - 1)
        options = {"end": -1, "limit": TOKENS - 4, "pad": 0}
        with torch.inference_mode():
            if beams == 1:
                found.append(search.greedy_search(score, prompt, **options))
            else:
                found.append(search.beam_search(score, prompt, beams=beams, **options)[0])
    assert torch.equal(*found)


WORDS = [
    "trainer=gpu",
    "trainer.deterministic=true",
    "trainer.max_epochs=3",
    "callbacks.checkpoint.every_steps=7",
    "model.params.depth=2",
    "callbacks.progress.style=none",
]


def learn(place, *words):
    """A run in a folder; returns what it has learned."""
    words = [*WORDS, *words]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    resumed = (place / run_folder.RECORD).is_file()
    train.train(composed, place, run_folder.Record(place, resumed=resumed, **known))
    found = torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)
    states = found["optimizer_states"][0]["state"]
    moments = {f"{n}.{key}": value for n, all in states.items() for key, value in all.items()}
    return found["state_dict"] | moments


def test_a_continued_training_is_equal_to_the_bit(tmp_path, monkeypatch):
    whole, save, saves = learn(tmp_path / "whole"), checkpoint.Checkpoint._save, []

    def die(self, *arguments, **options):
        save(self, *arguments, **options)
        saves.append(arguments)
        if len(saves) == 4:  # within the second epoch
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    with pytest.raises(ZeroDivisionError):
        learn(tmp_path / "parts")
    monkeypatch.undo()
    parts = learn(tmp_path / "parts", f"resume='{tmp_path / 'parts'}'")
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
