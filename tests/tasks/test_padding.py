"""Before training, a sequence with padding behind it is answered as it is alone, or the node that
mixes is named.
"""

import re

import pytest
import torch

from blocks.graph import ConfigError, assemble, build, compose
from tasks.data.sampler import generator
from tasks.data.sequences.base import trim_padding
from tasks.learn.checks.padding import find_mixing
from tasks.run.build import make_task
from tasks.run.check_training import check_task
from tasks.run.data_facts import read_data

VOCAB, LENGTH = 101, 13
LENGTHS = (3, 7, 11, LENGTH)


def text(salt):
    """Tokens and their mask."""
    tokens = torch.randint(5, VOCAB, (len(LENGTHS), LENGTH), generator=generator(salt))
    mask = torch.arange(LENGTH) < torch.tensor(LENGTHS)[:, None]
    return tokens * mask, mask


def masked(name, mask):
    tokens = {"tokens": LENGTH, "dtype": "int", "vocab": VOCAB}
    return {name: tokens, mask: {"tokens": LENGTH, "dtype": "bool"}, "vocab": VOCAB}


def batch_of(**names):
    batch = {}
    for salt, (mask, name) in enumerate(names.items()):
        batch[name], batch[mask] = text(salt)
        if name == "target":  # the longest target has the shortest source
            batch[name], batch[mask] = batch[name].flip(0), batch[mask].flip(0)
    return batch, {mask: (name, mask) for mask, name in names.items()}


IMAGE = {"channels": 1, "height": 16, "width": 16}
CLASSES = ({**masked("tokens", "padding_mask"), "classes": 7}, batch_of(padding_mask="tokens"))
PAIRS = (
    {**masked("source", "source_mask"), **masked("target", "target_mask")},
    batch_of(source_mask="source", target_mask="target"),
)
QUESTIONS = (
    {**masked("question", "question_mask"), "image": IMAGE, "classes": 7},
    batch_of(question_mask="question"),
)
QUESTIONS[1][0]["image"] = torch.rand(len(LENGTHS), 1, 16, 16, generator=generator(9))
BOTH = ["graph.decoder.body.attention.inner.causal=false", "~graph.decoder.body.attention.in"]
CASES = [
    ("encoder", CLASSES, [], None),
    ("encoder", CLASSES, ["residual=layerscale", "position=rotary"], None),
    ("encoder", CLASSES, ["~graph.mean.in"], "mean"),
    (
        "encoder",
        CLASSES,
        ["~graph.layers.in", "~graph.layers.body.attention.in"],
        "layers.0.attention.inner",
    ),
    ("rnn", CLASSES, [], None),
    ("lstm", CLASSES, [], None),
    ("gru", CLASSES, ["+graph.recurrence.bidirectional=true"], None),
    ("gru", CLASSES, ["~graph.last.in"], "last"),
    (
        "gru",
        CLASSES,
        ["+graph.recurrence.bidirectional=true", "~graph.recurrence.in"],
        "recurrence",
    ),
    ("gpt", CLASSES, [], None),
    ("bert", CLASSES, [], None),
    (
        "bert",
        CLASSES,
        ["~graph.layers.in", "~graph.layers.body.attention.in", "~inputs.padding_mask"],
        "layers.0",
    ),
    ("transformer", PAIRS, [], None),
    ("seq2seq", PAIRS, [], None),
    (
        "seq2seq",
        PAIRS,
        ["~graph.decoder.body.search.in.padding_mask", "~graph.decoder.in.memory_mask"],
        "decoder",
    ),
    (
        "transformer",
        PAIRS,
        ["~graph.encoder.in", "~graph.encoder.body.attention.in"],
        "encoder.0.attention",
    ),
    (
        "transformer",
        PAIRS,
        [*BOTH, "~graph.decoder.in.padding_mask", "~inputs.target_mask"],
        "decoder.0.attention",
    ),
    ("answer", QUESTIONS, [], None),
    ("answer", QUESTIONS, ["~graph.meaning.in"], "meaning"),
]


@pytest.mark.parametrize(("model", "data", "options", "node"), CASES)
def test_a_network_that_mixes_padding_in_is_found_with_its_node_and_stays_as_it_was(
    model, data, options, node
):
    facts, (batch, groups) = data
    small = ["params.depth=1"] if model in ("encoder", "gpt", "bert", "transformer") else []
    torch.manual_seed(0)
    network = build(model, overrides=[*small, *options], facts=facts).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()

    def said(given):
        return network(**{name: given[name] for name in network.input_names if name in given})[
            "logits"
        ]

    found = find_mixing(network, said, batch, lambda part: trim_padding(part, groups))
    if node is None:
        assert found is None
    else:
        assert found.node.startswith(node)
        assert found.difference > 1e-3
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def checked(*overrides):
    composed = compose([*overrides, "data.batch_size=4"])
    data = read_data(composed)
    torch.manual_seed(0)
    network = assemble(composed, data.facts())
    check_task(composed, make_task(composed, network, data.facts(), {}), data)


def test_a_run_whose_network_mixes_padding_in_is_refused(tmp_path):
    rows = [
        f"{'good' if number % 2 else 'bad'} {'x ' * (number % 9)}{number}\t{number % 2}"
        for number in range(60)
    ]
    (tmp_path / "texts.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
    given = [
        "model=encoder",
        "data=labelled",
        f"data.path={tmp_path / 'texts.tsv'}",
        "data.tokenizer=characters",
    ]
    checked(*given)
    given.append("~model.graph.mean.in")
    with pytest.raises(ConfigError) as error:
        checked(*given)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("task.check_padding")
    assert lines[1] == "  padding changes the logits of a text"
    assert re.fullmatch(
        r"  got       real tokens: tokens 5; the logits alone differ by \d+% of the largest",
        lines[2],
    )
    assert lines[3].startswith("            first at mean  ")
    assert lines[3].endswith("conf/model/encoder.yaml:20:3")
    assert lines[4:] == [
        "  fix       in: {padding_mask: padding_mask} at that node, or a block that takes a mask; "
        "task.check_padding=false trains it all the same"
    ]
    checked(*given, "task.check_padding=false")
    checked(*given, "resume=RUN")  # a run goes on as it began


@pytest.mark.slow
@pytest.mark.parametrize("name", ["answer", "causal", "names", "serial", "translate"])
def test_an_experiment_of_texts_may_be_trained(name):
    checked(f"experiment={name}")
