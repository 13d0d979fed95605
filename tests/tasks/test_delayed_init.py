import pytest
import torch

from blocks.graph import compose, plan
from tasks.learn.checks.causality import looks_ahead
from tasks.parallel.delayed_init import DelayedInit
from tests.trust.traffic import FACTS, GPT, LLAMA, TOKENS, VOCAB


@pytest.mark.parametrize(
    ("words", "expected"),
    [(GPT, False), (LLAMA, False), (["model=bert", *GPT[1:-1]], True)],
    ids=["gpt2", "llama", "bert"],
)
def test_a_network_on_the_meta_device_is_checked_a_module_at_a_time(words, expected):
    built = plan(compose(words), FACTS)
    network = built.model
    tokens = torch.arange(TOKENS)[None] % VOCAB
    with DelayedInit(built).streamed():
        assert not list(network.parameters())
        found = looks_ahead(
            network, lambda tokens: network(tokens=tokens)["logits"], tokens, TOKENS // 2, VOCAB
        )
    assert found is expected
    assert all(parameter.is_meta for parameter in network.parameters())
    assert list(network.parameters())
