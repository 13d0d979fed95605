"""Pictures of lessons 9, 12 and 15: positions, a decoder that writes, recurrences in parallel."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from drawing.canvas import COLOURS, open_network, rounded, save
from drawing.seeing import measure_gradient
from torch import Tensor, nn

# Positions ----------------------------------------------------------------------------------------


def draw_positions(folder: str) -> None:
    """How alike two positions are: of sines, of a trained table, and for what acts on scores."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
    axes[0].imshow(compare_sines(), cmap="RdBu", vmin=-1, vmax=1)
    axes[0].set(title="cosine of two sinusoidal positions", xlabel="position", ylabel="position")
    draw_table(axes[1], open_network(folder))
    describe = describe_positions()
    for place, name in enumerate(("rotary", "alibi")):
        axes[2].plot(describe[name][0], label=name, color=COLOURS[place])
    axes[2].set(title="part of a score that distance alone decides", xlabel="distance")
    axes[2].legend()
    axes[2].grid(alpha=0.3)
    save(figure, "positions")


def print_order() -> None:
    """Print the distances of `measure_order`."""
    for name, distance in measure_order().items():
        print(f"positions: {name}: largest difference of f(Px) and P f(x) {distance:.1e}")


def draw_table(axis: Any, network: nn.Module) -> None:
    """The cosines of a learned table, that of the source."""
    tables = [weight for name, weight in network.named_parameters() if name.endswith(".table")]
    rows = F.normalize(tables[0].detach(), dim=-1)
    image = axis.imshow(rows @ rows.T, cmap="RdBu", vmin=-1, vmax=1)
    axis.set(title="of two learned ones, after training", xlabel="position", ylabel="position")
    axis.figure.colorbar(image, ax=axis)


def compare_sines() -> Tensor:
    """Return the cosine of any two of 32 sinusoidal positions."""
    from blocks.position.tokens import SinusoidalPosition

    rows = F.normalize(SinusoidalPosition(64)(torch.zeros(1, 32, 64))[0], dim=-1)
    return rows @ rows.T


def describe_positions() -> dict[str, Any]:
    """Return what two of 32 places have in common, (places, places) for each kind of position.

    Sines: their cosine. Rotary: the product of equal queries and keys. ALiBi: what it adds to a
    score of the third head.
    """
    from blocks.position.bias import ALiBi
    from blocks.position.rotary import Rotary

    places, width = 32, 64
    ones = torch.ones(1, 1, places, width) / width**0.5
    q, k = Rotary(width)(ones, ones)
    return {
        "sinusoidal": rounded(compare_sines(), 3),
        "rotary": rounded((q @ k.transpose(-1, -2))[0, 0], 3),
        "alibi": rounded(ALiBi(4)(places, places)[2], 3),
    }


def measure_order() -> dict[str, float]:
    """Return max |f(Px) - P f(x)| for attention f with each kind of position, and a reversal P."""
    from blocks.attention.dot_product import SelfAttention
    from blocks.position.bias import ALiBi, RelativeBias
    from blocks.position.rotary import Rotary
    from blocks.position.tokens import LearnedPosition, SinusoidalPosition

    places, width, heads = 12, 64, 4
    tables: dict[str, Callable[[], nn.Module]] = {
        "none": nn.Identity,
        "sinusoidal": lambda: SinusoidalPosition(width),
        "learned": lambda: LearnedPosition(places, width),
    }
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "relative": lambda: {"position_bias": RelativeBias(heads)},
        "rotary": lambda: {"rotary": Rotary(width // heads)},
        "alibi": lambda: {"position_bias": ALiBi(heads)},
    }
    found = {}
    x = torch.randn(3, places, width, generator=torch.Generator().manual_seed(0)).double()
    order = torch.randperm(places, generator=torch.Generator().manual_seed(1))
    for kinds, turned in (({**tables, **parts}, order), ({"alibi": 0, "relative": 0}, None)):
        for name in kinds:
            torch.manual_seed(0)
            table = tables.get(name, nn.Identity)().double()
            attention = SelfAttention(width, heads=heads, **parts.get(name, dict)()).double()
            moved = order if turned is not None else torch.arange(places).flip(0)
            with torch.no_grad():
                before = attention(table(x))[:, moved]
                after = attention(table(x[:, moved]))
            label = name if turned is not None else f"{name}, reversed"
            found[label] = float((after - before).abs().max())
    return found


# A decoder ----------------------------------------------------------------------------------------


def read_lines(folder: str, count: int) -> Tensor:
    """Return the first lines of the test of a run: (count, places)."""
    from tasks.data.sequences.recall import Recall
    from tasks.run.load_run import open_run

    named = open_run(Path(folder)).config["data"].items()
    data = Recall(**{name: value for name, value in named if name not in ("_target_", "facts")})
    data.setup("test")
    return next(iter(data.test_dataloader()))["tokens"][:count]


def draw_decoder(folder: str) -> None:
    """Where a GPT that reverses looks while it writes, and how sure it is of each next token."""
    from blocks.graph.run.inspect import record_attention

    network, tokens = open_network(folder), read_lines(folder, 64)
    found = list(record_attention(network, {"tokens": tokens}).values())
    with torch.no_grad():
        shares = network(tokens=tokens)["logits"][:, :-1].softmax(-1)
    sure = shares.gather(-1, tokens[:, 1:, None])[..., 0].mean(0)
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.9), layout="constrained")
    names = [str(token) for token in tokens[0].tolist()]
    for axis, number in zip(axes, (0, 1), strict=False):
        axis.imshow(found[-1].weights[0, number], cmap="Blues", vmin=0, vmax=1)
        axis.set_title(f"the only layer, head {number + 1}")
        axis.set_xticks(range(len(names)), names, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set(xlabel="looked at", ylabel="place that looks")
    axes[2].bar(range(1, len(sure) + 1), sure, color=COLOURS[0])
    axes[2].set(title="share that the right next token has", xlabel="place", ylim=(0, 1.02))
    save(figure, "decoder")
    print("decoder: shares of the right token", [round(share, 3) for share in sure.tolist()])
    later = max(float(each.weights.triu(1).max()) for each in found)
    print(f"decoder: largest weight on a later token {later}")


# Recurrences --------------------------------------------------------------------------------------


def draw_recurrences(runs: dict[str, str]) -> None:
    """Gradients through time once more, what heads of retention keep, and the time of each form."""
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), layout="constrained")
    for (label, folder), colour in zip(runs.items(), COLOURS, strict=False):
        size = measure_gradient(open_network(folder))
        steps = torch.arange(len(size)) - (len(size) - 1)
        axes[0].semilogy(steps, size.clamp_min(1e-16), marker="o", ms=3, label=label, color=colour)
        print(f"recurrences: {label}: at the symbol {size[0]:.2e}, at the end {size[-1]:.2e}")
    axes[0].set(xlabel="steps before the answer", title="gradient norm of the answer")
    axes[0].legend()
    draw_decays(axes[1])
    draw_forms(axes[2])
    for axis in axes:
        axis.grid(alpha=0.3)
    save(figure, "recurrences")


def draw_decays(axis: Any) -> None:
    """The share of a token that each head of retention still has after some steps."""
    from blocks.recurrent.decay import ConstantDecay

    decay = ConstantDecay(heads=4)
    logarithm, _ = decay(torch.zeros(1, 64, 64))
    kept = logarithm.expand(1, 4, 64, 1)[0, :, :, 0].cumsum(-1).exp()
    for head in range(4):
        axis.plot(range(1, 65), kept[head], color=COLOURS[head], label=f"head {head + 1}")
        print(f"recurrences: head {head + 1} keeps {kept[head, 19]:.3f} after 20 steps")
    axis.set(xlabel="steps later", title="what retention keeps of a token", ylim=(0, 1))
    axis.legend()


def draw_forms(axis: Any) -> None:
    """Time of retention's three forms by length, and how far their numbers are apart."""
    lengths = [64, 256, 1024]
    for form, colour in zip(("steps", "parallel", "chunked"), COLOURS, strict=False):
        seconds = [time_form(form, length) for length in lengths]
        axis.loglog(
            lengths, [1000 * each for each in seconds], marker="o", label=form, color=colour
        )
        shown = ", ".join(
            f"{length}: {1000 * each:.1f} ms" for length, each in zip(lengths, seconds, strict=True)
        )
        print(f"recurrences: {form}: {shown}")
    axis.minorticks_off()
    axis.set_xticks(lengths, [str(length) for length in lengths])
    axis.set(xlabel="tokens", title="CPU time of one layer, ms")
    axis.legend()
    print(f"recurrences: forms differ by at most {compare_forms():.1e}")


def make_retention(form: str) -> nn.Module:
    """Return a layer of `model/attention=retention` at width 64, without its turn of queries."""
    from blocks.recurrent.decay import ConstantDecay
    from blocks.recurrent.gated_norm import GatedNorm
    from blocks.recurrent.linear_recurrence import LinearRecurrence

    torch.manual_seed(0)
    return LinearRecurrence(
        64,
        heads=4,
        value_dim=32,
        decay=ConstantDecay(heads=4),
        gate=GatedNorm(64, heads=4, value_dim=32, weight="none"),
        form=form,  # type: ignore[arg-type]
    )


def time_form(form: str, length: int) -> float:
    """Return the shortest CPU time of thirty forward passes with 8 sequences, on one thread."""
    layer, x = make_retention(form), torch.randn(8, length, 64)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spent = []
    with torch.no_grad():
        for _ in range(30):
            start = time.process_time()
            layer(x)
            spent.append(time.process_time() - start)
    torch.set_num_threads(threads)
    return min(spent)


def compare_forms() -> float:
    """Return the largest difference between the forms, and decoding token by token, in float64."""
    from blocks.support.decode_cache import DecodeCache

    x = torch.randn(2, 100, 64, generator=torch.Generator().manual_seed(0)).double()
    layer = make_retention("steps").double()
    with torch.no_grad():
        right = layer(x)
        furthest = [
            (make_retention(form).double()(x) - right).abs().max()
            for form in ("parallel", "chunked")
        ]
        cache, written = DecodeCache(100), []
        for place in range(100):
            written.append(layer.step(cache, x[:, place : place + 1]))  # type: ignore[operator]
            cache.seen += 1
        furthest.append((torch.cat(written, dim=1) - right).abs().max())
    return float(torch.stack(furthest).max())
