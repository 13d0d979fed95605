import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from blocks.__main__ import main
from blocks.graph import ConfigError, compose, plan, use_activation_checkpointing
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.describe.memory_budget import Setting, budget, take_share, total

BIG = ["model=llama_7b", "data=text", "data.batch_size=1"]
WORDS = {"tokens": {"tokens": 64, "dtype": "int", "vocab": 101}, "vocab": 101}


def printed(capsys, *words) -> str:
    assert main(["explain", *words, "--memory"]) == 0
    return capsys.readouterr().out.rstrip()


def test_seven_billion_parameters_on_eight_devices(capsys):
    assert printed(
        capsys, *BIG, "trainer=fsdp", "trainer.devices=8", "trainer.checkpoint_activations=true"
    ) == (
        "weights      3.37 GB  6,738,415,616 parameters in float32, cut among 8\n"
        "gradients    3.37 GB  as large as the weights\n"
        "optimizer    6.74 GB  2 numbers for each weight\n"
        "gathered     1.74 GB  the rest and up to three repeats, whole, in bfloat16\n"
        "activations  1.07 GB  of a batch of 1 in bfloat16, each repeat recomputed\n"
        "outputs       786 MB  of that batch and of the loss, in float32\n"
        "--------------------------------------------------------------------------\n"
        "total        17.1 GB  at most, of each device\n"
        "trainer.checkpoint_activations=false: 30.5 GB"
    )


def test_the_budget_is_what_a_training_takes_at_most_and_not_much_more(peak):
    """8 layers: 27.9 MB for a peak of 23.7 MB, and 10.1 MB for one of 8.8 MB, without the
    weights.
    """
    composed = compose(["model=llama", "model.params.depth=8", "data=text", "data.batch_size=4"])
    found = budget(plan(composed, WORDS), Setting.of(composed.config))
    for recomputes in (False, True):
        model = plan(composed, WORDS).materialise()
        if recomputes:
            use_activation_checkpointing(model)
        with peak(*model.parameters(), *model.buffers()) as measured:
            logits = model(torch.zeros(4, 64, dtype=torch.long))["logits"]
            F.cross_entropy(logits.flatten(0, 1), torch.zeros(256, dtype=torch.long)).backward()
        estimated = total(found, recomputes) - found["weights"] - found["optimizer"]
        assert measured.most <= estimated <= 1.25 * measured.most, (
            recomputes,
            measured.most,
            estimated,
        )


def test_a_device_that_divides_layers_has_a_share_of_each(capsys):
    words = [*BIG, "model.params.depth=2", "trainer=tensor_parallel", "trainer.devices=8", "--json"]
    found = json.loads(printed(capsys, *words))
    divided = 2 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    whole = 2 * 32000 * 4096 + 5 * 4096
    assert found["weights"] == 4 * (whole + divided // 8)


def test_shares_of_one_device_still_fit_together():
    planned = plan(compose(["model=llama", "data=text", "model.params.hidden=344"]), WORDS)
    whole = multiply_adds(planned)
    take_share(planned.model, 2)
    alone = 64 * 128 * 101  # the head
    assert multiply_adds(planned, {}) - alone == (whole - alone) // 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trainer=cpu", "optimizer=sgd"], {"states": 1, "shards": 1, "computes": torch.float32}),
        (["trainer=cpu", "optimizer=sgd", "optimizer.momentum=0"], {"states": 0}),
        (
            ["trainer=ddp", "trainer.devices=4"],
            {"shards": 1, "divided": 1, "computes": torch.bfloat16},
        ),
        (
            ["trainer=fsdp", "trainer.devices=4", "trainer.num_nodes=3"],
            {"shards": 12, "keeps": torch.float32},
        ),
        (
            ["trainer=fsdp", "trainer.devices=4", "trainer.tensor_parallel_size=2"],
            {"shards": 2, "divided": 2},
        ),
        (
            ["trainer=tensor_parallel", "trainer.devices=4", "trainer.num_nodes=3"],
            {"shards": 3, "divided": 4},
        ),
        (["trainer=cpu", "trainer.precision=bf16-true"], {"keeps": torch.bfloat16}),
    ],
)
def test_what_the_sections_say(words, expected):
    found = Setting.of(compose(words).config)
    assert replace(found, **expected) == found


def test_an_unknown_number_of_devices_is_told():
    with pytest.raises(ConfigError) as caught:
        Setting.of(compose(["trainer=fsdp"]).config)
    assert str(caught.value) == (
        "trainer.devices\n"
        "  the number of devices is known only on the machine itself\n"
        "  got       devices=-1\n"
        "  fix       state it: trainer.devices=8"
    )
