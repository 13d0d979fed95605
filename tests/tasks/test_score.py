"""Decoding with a cache against decoding without: the same logits, the same tokens, for every model
that generates.

The models are found by globbing, the options of their slots too. Float64 leaves rounding no room:
1e-10 of the logits.
"""

import logging
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from blocks.graph import IncrementalModel, build, compose
from tasks.decode import search
from tasks.decode.scorer import NextTokenScorer

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
VOCAB, TOKENS, SOURCE, ROWS, END = 23, 11, 7, 3, 2
WORDS = {"tokens": TOKENS, "dtype": "int", "vocab": VOCAB}
FACTS = {"tokens": WORDS, "target": WORDS, "source": WORDS | {"tokens": SOURCE}, "vocab": VOCAB}
SMALL = {
    "dim": 16,
    "depth": 2,
    "before": 2,
    "looped": 1,
    "ending": 1,
    "heads": 4,
    "kv_heads": 2,
    "hidden": 12,
    "vocab": VOCAB,
    "length": TOKENS,
}


@cache
def composed(model):
    return compose([f"model={model}"]).config["model"]


def named(model, section):
    """The names in a section of a file, or of the one that it starts from."""
    file = yaml.safe_load((CONF / f"{model}.yaml").read_text(encoding="utf-8"))
    return set(file[section]) if section in file else named(file["defaults"][0], section)


def speaks(model):
    """Whether a model takes a text and gives logits that are not those of its class."""
    classes = "data.classes" in (CONF / f"{model}.yaml").read_text(encoding="utf-8")
    return (
        not classes
        and not {"tokens", "target"}.isdisjoint(named(model, "inputs"))
        and "logits" in named(model, "outputs")
    )


SPEAKS = [file.stem for file in sorted(CONF.glob("*.yaml")) if speaks(file.stem)]
SLOW = (
    "gpt2",
    "gru_language",
    "mamba2_130m",
    "mamba_130m",
    "transformer_big",
)  # they differ from others in numbers
BLIND = ("bert",)  # it sees both sides of a token, and names hidden ones
LATENT = ("perceiver_io",)  # each of its latents reads all tokens
GRIDS = ("learned_2d", "rotary_2d", "sinusoidal_2d", "sinusoidal_grid")
CONDITIONED = ("adaln_zero",)
AHEAD = ("expert_choice",)  # its tokens depend on later ones
SLOTS = {
    ("gpt", "attention"): (
        "causal",
        "grouped",
        "linear",
        "multiquery",
        "delta",
        "gla",
        "mamba2",
        "mlstm",
        "retention",
    ),
    ("llama", "attention"): ("differential",),
    ("gpt", "position"): None,
    ("gpt", "residual"): None,
    ("gpt", "mlp"): None,
    ("transformer", "attention"): ("grouped", "linear"),
    ("transformer", "cross_attention"): None,
    ("rnn_language", "recurrence"): None,
}
OPTIONS = [
    (model, f"{slot}={file.stem}")
    for (model, slot), chosen in SLOTS.items()
    for file in sorted((CONF / slot).glob("*.yaml"))
    if file.stem not in (*GRIDS, *CONDITIONED, *AHEAD, "conv")
    and (chosen is None or file.stem in chosen)
]


@cache
def network(model, *overrides, library=()):
    """A small one in float64 whose parameters are all at work: no gate starts at zero."""
    config = composed(model)
    small = [
        f"params.{name}={value}"
        for name, value in SMALL.items()
        if config["params"].get(name) is not None
    ]
    if any(text.endswith("_graph") for text in overrides):
        small = [line for line in small if "depth" not in line]  # written out, there is one layer
    if "length" not in str(config["inputs"]):
        small = [line for line in small if "length" not in line]
    made = build(model, [*small, *overrides], FACTS, library=library).double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return made


def sources():
    """Three of different lengths, padded behind."""
    mask = torch.arange(SOURCE) < torch.tensor([[SOURCE], [3], [5]])
    source = torch.randint(4, VOCAB, (ROWS, SOURCE), generator=torch.Generator().manual_seed(1))
    return {"source": source * mask, "source_mask": mask}


def scorer(made, **options):
    grows = "tokens" if "tokens" in made.input_names else "target"
    window = TOKENS if grows == "tokens" else None
    fixed = {} if grows == "tokens" else sources()
    if "sound" in made.input_names:
        fixed = {
            "sound": torch.randn(ROWS, 80, 20, generator=torch.Generator().manual_seed(1)).double()
        }
    elif grows != "tokens" and "source_mask" not in made.input_names:
        fixed.pop("source_mask")
    return NextTokenScorer(made, FACTS, grows, window=window, **options), fixed


def starts(length, rows=ROWS):
    return torch.randint(4, VOCAB, (rows, length), generator=torch.Generator().manual_seed(2))


def must_be_equal(made):
    """With a cache as without: logits place by place, then greedy, sampled and by beams."""
    (kept, fixed), (whole, _) = scorer(made), scorer(made, cache=False)
    limit = TOKENS + 2 if kept.window else TOKENS  # a language model: beyond its window, too
    scores = kept.score(fixed, limit), whole.score(fixed, limit)
    assert kept.cache, "its cache was not trusted"
    assert scores[0].stepper is not None
    prefix = starts(limit)
    with torch.no_grad():
        for end in (4, *range(5, limit + 1)):  # four at once, then one by one
            cached, plain = (score(prefix[:, :end]) for score in scores)
            assert torch.allclose(
                cached, plain, rtol=0, atol=1e-10 * max(1.0, float(plain.abs().max()))
            )
    start, said = starts(2), []
    for each in (kept, whole):
        options = {"end": END, "limit": limit - 2}
        chance = torch.Generator().manual_seed(3)
        taken = [
            search.greedy_search(each.score(fixed, limit), start, **options),
            search.sample_tokens(
                each.score(fixed, limit),
                start,
                generator=chance,
                temperature=1.5,
                top_k=9,
                **options,
            ),
            *(
                search.beam_search(each.score(fixed, limit), start, beams=beams, **options)[0]
                for beams in (1, 4)
            ),
        ]
        assert taken[0].tolist() == taken[2].tolist()
        said.append([row.tolist() for row in taken])
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=pytest.mark.slow) if model in SLOW else model
        for model in SPEAKS
        if model not in (*BLIND, *LATENT)
    ],
)
def test_every_model_that_generates_says_the_same_with_a_cache(model):
    must_be_equal(network(model))


@pytest.mark.parametrize(("model", "option"), OPTIONS)
def test_every_option_says_the_same_with_a_cache(model, option):
    must_be_equal(network(model, option))


@pytest.mark.parametrize(
    "options", [("attention=linear", "position=rotary"), ("+future=tokens",), ("+values=residual",)]
)
def test_options_together_say_the_same_with_a_cache(options):
    must_be_equal(network("gpt", *options))


def test_one_module_in_all_repeats_has_a_memory_for_each():
    made = network("gpt", "+graph.layers.share=true")
    assert len(list(made.parameters())) < len(list(network("gpt").parameters()))
    must_be_equal(made)


@pytest.mark.parametrize("model", ["transformer", "seq2seq"])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_padded_batch_says_what_each_source_says_alone(model, cached, beams):
    talks, fixed = scorer(network(model), cache=cached)
    start, options = starts(1), {"end": END, "limit": TOKENS - 1, "beams": beams}
    together, worth = search.beam_search(talks.score(fixed, TOKENS), start, **options)
    prefix = starts(5)
    with torch.no_grad():
        logits = talks.score(fixed, TOKENS)(prefix)
    for row, length in enumerate((SOURCE, 3, 5)):
        alone = {name: tensor[row : row + 1, :length] for name, tensor in fixed.items()}
        with torch.no_grad():
            single = talks.score(alone, TOKENS)(prefix[row : row + 1])[0]
        assert torch.allclose(single, logits[row], rtol=0, atol=1e-10 * float(single.abs().max()))
        said, value = search.beam_search(
            talks.score(alone, TOKENS), start[row : row + 1], **options
        )
        assert together[row].tolist() == said[0].tolist() + [0] * (
            together.shape[1] - said.shape[1]
        )
        assert float(worth[row]) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("model", ["gpt", "llama", "lstm_language"])
def test_prompts_of_different_lengths_go_on_as_each_alone(model):
    talks, _ = scorer(network(model))
    prompt, lengths = starts(6), torch.tensor([2, 6, 3])
    options = {"end": END, "limit": 4, "pad": 0}
    together = search.greedy_search(talks.score({}, TOKENS), prompt, lengths=lengths, **options)
    for row, length in enumerate(lengths.tolist()):
        alone = search.greedy_search(
            talks.score({}, TOKENS), prompt[row : row + 1, :length], **options
        )[0].tolist()
        assert together[row].tolist() == alone + [0] * (together.shape[1] - len(alone))


def test_prefixes_that_do_not_go_on_begin_anew():
    (kept, fixed), (whole, _) = (scorer(network("gpt"), cache=cached) for cached in (True, False))
    scores = kept.score(fixed, TOKENS), whole.score(fixed, TOKENS)
    with torch.no_grad():
        for prefix in (starts(4), starts(5).flip(0), starts(3), starts(6, rows=2)):
            cached, plain = (score(prefix) for score in scores)
            assert torch.allclose(cached, plain, rtol=0, atol=1e-10 * float(plain.abs().max()))


def test_mixed_precision_keeps_the_cache(caplog):
    """Rounding in bfloat16 differs from token to token, which is no fault of the cache."""
    sizes = [f"params.{name}" for name in ("dim=64", "hidden=128", "depth=2", "length=32")]
    torch.manual_seed(0)
    made = build("transformer_base", [*sizes, f"params.vocab={VOCAB}"], {}).eval()
    fixed, target = {"source": sources()["source"]}, starts(30)
    kept, whole = (
        NextTokenScorer(made, {"target": {"vocab": VOCAB}}, "target", cache=cached)
        for cached in (True, False)
    )
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = [one.score(fixed, 30) for one in (kept, whole)]
        for length in range(2, 31, 7):
            cached, plain = (score(target[:, :length]).float() for score in scores)
            assert torch.allclose(cached, plain, rtol=0, atol=0.02 * float(plain.abs().max()))
    assert kept.cache
    assert kept.verified == 30
    assert not caplog.text


@pytest.mark.parametrize("several", [1, 2])
def test_rows_go_to_other_sources_with_all_they_know(several):
    made, rows = network("transformer"), torch.tensor([2, 0, 2, 1, 1, 0])[: ROWS * several]
    fixed = {name: tensor.repeat_interleave(several, 0) for name, tensor in sources().items()}
    target = starts(6, ROWS * several)
    steps = IncrementalModel(made, ("target", "target_mask")).start(6, sources(), several)
    steps.step(target=target[:, :4])
    steps.reorder(rows)
    moved = {name: tensor[rows] for name, tensor in fixed.items()}
    grown = torch.cat((target[rows, :4], target[:, 4:]), dim=1)
    with torch.no_grad():
        plain = made(**moved, target=grown)["logits"][:, 4:]
    cached = torch.cat(
        [steps.step(target=target[:, place : place + 1])["logits"] for place in (4, 5)], dim=1
    )
    assert torch.allclose(cached, plain, rtol=0, atol=1e-10 * float(plain.abs().max()))


def test_beams_read_their_source_once_and_move_what_differs():
    """Rows of one source change places; their first tokens are the same."""
    made, several = network("transformer"), 3
    fixed = {name: tensor.repeat_interleave(several, 0) for name, tensor in sources().items()}
    target = starts(6, ROWS * several)
    target[:, :2] = target[:1, :2]
    rows = torch.arange(ROWS * several).view(ROWS, several)[:, [2, 0, 2]].flatten()
    steps = IncrementalModel(made, ("target", "target_mask")).start(6, sources(), several)
    steps.step(target=target[:, :4])
    steps.reorder(rows, 2)
    kept = [cache for cache in steps.caches.caches.values() if "context" in cache.made]
    assert kept
    assert all(len(cache.made["context"][1][0]) == ROWS for cache in kept)
    grown = torch.cat((target[rows, :4], target[:, 4:]), dim=1)
    with torch.no_grad():
        plain = made(**fixed, target=grown)["logits"][:, 4:]
    cached = steps.step(target=target[:, 4:])["logits"]
    assert torch.allclose(cached, plain, rtol=0, atol=1e-10 * float(plain.abs().max()))


# What is not trusted ------------------------------------------------------------------------------

OWN = """
import torch
from jaxtyping import Float
from torch import Tensor, nn


class Mean(nn.Module):
    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return x + x.mean(dim=1, keepdim=True)


class LongAgo(nn.Module):
    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return x + nn.functional.pad(x, (0, 0, 9, 0))[:, : x.shape[1]]


class Sum(nn.Module):
    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return x.cumsum(1)

    def step(self, memory, x):
        before = memory.get("sum", torch.zeros_like(x[:, :1]))
        sums = before + x.cumsum(1)
        memory.keep("sum", sums[:, -1:])
        return sums


class Elsewhere(Sum):  # a state that is not in the memory does not go where its row goes
    def step(self, memory, x):
        if memory.seen == 0:
            self.before = torch.zeros_like(x[:, :1])
        sums = self.before + x.cumsum(1)
        self.before = sums[:, -1:]
        return sums
"""


def told(name, folder):
    """A gpt with a block of one's own behind its layers."""
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    return network("gpt", f"+graph.extra={{block: {name}, after: layers}}", library=(str(folder),))


def must_be_noticed(made, caplog, expected):
    kept, fixed = scorer(made)
    with caplog.at_level(logging.WARNING, logger="tasks.decode.scorer"):
        scores = [kept.score(fixed, TOKENS) for _ in range(2)]
    assert [score.stepper for score in scores] == [None, None]
    note = "note: decoding without a cache, which is slower: "
    assert [line.removeprefix(note) for line in caplog.messages] == [expected]  # said once
    whole, _ = scorer(made, cache=False)
    options = {"end": END, "limit": 5}
    assert torch.equal(
        search.greedy_search(scores[0], starts(2), **options),
        search.greedy_search(whole.score(fixed, TOKENS), starts(2), **options),
    )
    assert not any("forward" in vars(module) for module in made.modules())


def test_a_text_that_outgrows_the_window_is_noticed_once(caplog):
    kept, fixed = scorer(network("gpt"))
    score = kept.score(fixed, TOKENS + 5)
    tokens = torch.randint(VOCAB, (1, TOKENS + 3), generator=torch.Generator().manual_seed(0))
    with caplog.at_level(logging.WARNING, logger="tasks.decode.scorer"):
        for length in range(TOKENS - 1, TOKENS + 4):
            score(tokens[:, :length])
    assert caplog.messages == [
        "note: the text is longer than data.length: from here on each token recomputes the last "
        f"{TOKENS}, without a cache, which is slower"
    ]


@pytest.mark.parametrize("name", ["Mean", "LongAgo", "Elsewhere"])
def test_a_block_of_ones_own_that_mixes_tokens_is_noticed(name, caplog, tmp_path):
    kept, fixed = scorer(told(name, tmp_path))
    with caplog.at_level(logging.WARNING, logger="tasks.decode.scorer"):
        assert kept.score(fixed, TOKENS).stepper is None
    problem = "graph.extra gives other values token by token than for the whole sequence; got a "
    assert problem in caplog.text
    assert not any("forward" in vars(module) for module in kept.network.modules())


def test_one_that_mixes_behind_a_closed_gate_is_noticed(caplog, tmp_path):
    made = told("Mean", tmp_path)
    nn.init.zeros_(made.head.weight)  # nothing of it shows in the logits
    kept, fixed = scorer(made)
    with caplog.at_level(logging.WARNING, logger="tasks.decode.scorer"):
        assert kept.score(fixed, TOKENS).stepper is None
    assert "graph.extra gives other values" in caplog.text


def test_a_block_of_ones_own_with_a_step_is_trusted(tmp_path):
    must_be_equal(told("Sum", tmp_path))


def test_a_decoder_that_looks_ahead_is_noticed(caplog):
    made = network("transformer", "graph.decoder.body.attention.inner.causal=false")
    where = "graph.decoder.0.attention.inner"
    must_be_noticed(
        made,
        caplog,
        f"{where}: a token attends to the tokens after it; got causal=false; fits: causal=true",
    )


def test_a_network_that_reads_backwards_is_noticed(caplog):
    made = network("lstm_language", "+graph.recurrence.bidirectional=true")
    where = "graph.recurrence"
    must_be_noticed(
        made,
        caplog,
        f"{where}: a network that reads backwards starts at the end; got bidirectional=true",
    )


@pytest.mark.parametrize("model", BLIND)
def test_a_model_that_sees_both_sides_is_noticed(model, caplog):
    made = network(model)
    where = "graph.layers.0.attention.inner"
    must_be_noticed(
        made,
        caplog,
        f"{where}: a token attends to the tokens after it; got causal=false; fits: causal=true",
    )


@pytest.mark.parametrize("model", LATENT)
def test_a_model_that_reads_all_tokens_at_once_is_asked_whole(model):
    kept, fixed = scorer(network(model))
    assert kept.score(fixed, TOKENS).stepper is None


def test_a_network_in_training_is_asked_whole():
    kept, fixed = scorer(network("gpt").train())
    assert kept.score(fixed, TOKENS).stepper is None
    kept.network.eval()
    assert kept.score(fixed, TOKENS).stepper is not None
