"""Kinds of blocks, by the family that a block belongs to, and their palette.

The accents are those of Okabe and Ito 2008, which also the colour-blind can distinguish, with a
darker yellow and greys added.
"""

from collections.abc import Iterable

from blocks.support.palette import THEMES

FAMILIES = {  # the last part of the module that defines a block
    "additive": "attention",
    "core": "attention",
    "cross": "attention",
    "differential": "attention",
    "dot_product": "attention",
    "latent": "attention",
    "linear_attention": "attention",
    "window": "attention",
    "patch": "attention",
    "first_values": "mlp",
    "linear": "mlp",
    "mixture": "mlp",
    "conv": "conv",
    "norm": "norm",
    "normalization": "norm",
    "batchnorm": "norm",
    "instancenorm": "norm",
    "arithmetic": "add",
    "elementwise": "add",
    "select": "add",
    "values": "embedding",
    "parts": "add",
    "residual_streams": "add",
    "scale": "add",
    "spectrum": "add",
    "stochastic": "add",
    "rearrange": "add",
    "embedding": "embedding",
    "position": "embedding",
    "sparse": "embedding",
    "fused": "recurrence",
    "future_tokens": "head",
    "linear_recurrence": "recurrence",
    "minimal": "recurrence",
    "selective_state_space": "recurrence",
    "xlstm": "recurrence",
    "rnn": "recurrence",
}
KINDS = {  # name in the legend, colour
    "attention": ("attention", "#D55E00"),
    "mlp": ("linear, MLP", "#0072B2"),
    "conv": ("convolution", "#009E73"),
    "norm": ("norm", "#C9A800"),
    "add": ("add, combine", "#7A8494"),
    "embedding": ("embedding, position", "#E69F00"),
    "recurrence": ("recurrence", "#CC79A7"),
    "head": ("head", "#56B4E9"),
    "plain": ("other", "#A3ABB8"),
    "body": ("", "#A3ABB8"),
}
TINTS = {"light": (0.14, 0.045), "dark": (0.22, 0.07)}  # of folded and unfolded nodes
QUIET = ("norm", "add", "plain")  # kinds that do not decide the kind of a body


def kind_of(factory: object) -> str:
    """The kind of a block, by the module that defines its class.

    E.g. "blocks.attention.window" or "torch.nn.modules.conv".
    """
    kind = FAMILIES.get(getattr(factory, "__module__", "").rpartition(".")[2], "plain")
    name = getattr(factory, "__name__", "").lower()
    if kind != "attention" or "atten" in name:
        return kind
    # its family holds other blocks, too: patch merging
    return "embedding" if "patch" in name else "plain"


def kind_of_body(kinds: Iterable[str]) -> str:
    """The only kind of block that works in a body; "body" where there are several."""
    working = set(kinds).difference(QUIET)
    return working.pop() if len(working) == 1 else "body"


def mix(colour: str, ground: str, share: float) -> str:
    """A tint: `share` of one colour over another."""
    mixed = "#"
    for i in (1, 3, 5):
        over, under = int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)
        mixed += f"{round(over * share + under * (1 - share)):02X}"
    return mixed


def rules(theme: str, scope: str) -> str:
    """The colours of one theme as CSS below a selector.

    Plain values, no variables: some viewers of SVG do not know them.
    """
    t = THEMES[theme]
    lines = [
        f"{scope} .paper{{fill:{t['paper']}}}",
        f"{scope} text{{fill:{t['ink']}}}{scope} .soft{{fill:{t['soft']}}}",
        f"{scope} .edge{{stroke:{t['line']}}}{scope} .edge.skip{{stroke:{t['skip']}}}",
        f"{scope} .tip{{fill:{t['line']}}}{scope} .tip.skip{{fill:{t['skip']}}}",
        f"{scope} .chip,{scope} .pill{{fill:{t['chip']}}}{scope} .pill{{stroke:{t['line']}}}",
        f"{scope} .track{{fill:{mix(t['line'], t['paper'], 0.3)}}}",
    ]
    box, shell = TINTS[theme]
    for kind, (_, accent) in KINDS.items():
        tints = {share: mix(accent, t["paper"], share) for share in (box, shell, 0.75, 0.6)}
        lines += [
            f"{scope} .{kind}>.box{{fill:{tints[box]};stroke:{tints[0.75]}}}",
            f"{scope} .{kind}>.shell{{fill:{tints[shell]};stroke:{tints[0.6]}}}",
            f"{scope} .{kind}>.accent,{scope} .{kind}>.share{{fill:{accent}}}",
        ]
    return "\n".join(lines)
