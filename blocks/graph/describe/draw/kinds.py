"""Kinds of blocks, told by the family a block belongs to, and one palette for them.

The accents are those of Okabe and Ito 2008, which every eye tells apart; a darker yellow and greys
beside them.
"""

from collections.abc import Iterable

from blocks.support.palette import THEMES

FAMILIES = {  # the last part of the module that defines a block
    "dot_product": "attention",
    "window": "attention",
    "patch": "attention",
    "linear": "mlp",
    "mixture": "mlp",
    "conv": "conv",
    "norm": "norm",
    "normalization": "norm",
    "batchnorm": "norm",
    "instancenorm": "norm",
    "combine": "add",
    "rearrange": "add",
    "embedding": "embedding",
    "position": "embedding",
    "sparse": "embedding",
    "recurrent": "recurrence",
    "rnn": "recurrence",
}
NAMES = {
    "attention": "attention",
    "mlp": "linear, MLP",
    "conv": "convolution",
    "norm": "norm",
    "add": "add, combine",
    "embedding": "embedding, position",
    "recurrence": "recurrence",
    "head": "head",
    "plain": "other",
    "body": "body",
}
ACCENTS = {
    "attention": "#D55E00",
    "mlp": "#0072B2",
    "conv": "#009E73",
    "norm": "#C9A800",
    "add": "#7A8494",
    "embedding": "#E69F00",
    "recurrence": "#CC79A7",
    "head": "#56B4E9",
    "plain": "#A3ABB8",
    "body": "#A3ABB8",
}
QUIET = ("norm", "add", "plain")  # what stands beside the work of a body, and does not name it


def kind_of(factory: object) -> str:
    """The kind of a block by the module that defines its class: "blocks.attention.window",
    "torch.nn.modules.conv".
    """
    kind = FAMILIES.get(getattr(factory, "__module__", "").rpartition(".")[2], "plain")
    name = getattr(factory, "__name__", "").lower()
    if (
        kind == "attention" and "attention" not in name
    ):  # what stands beside attention in its family: patch merging
        return "embedding" if "patch" in name else "plain"
    return kind


def kind_of_body(kinds: Iterable[str]) -> str:
    """A body does what its only kind of working block does; "body" where there are several."""
    working = {kind for kind in kinds if kind not in QUIET}
    return working.pop() if len(working) == 1 else "body"


def mix(colour: str, ground: str, share: float) -> str:
    """A tint: `share` of one colour over another."""
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02X}" for a, b in pairs)


def rules(theme: str, scope: str) -> str:
    """The colours of one theme as CSS below a selector. Plain values, no variables: some viewers
    of SVG know none.
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
    strength = 0.14 if theme == "light" else 0.22
    for kind, accent in ACCENTS.items():
        fill, shell = (
            mix(accent, t["paper"], strength),
            mix(accent, t["paper"], 0.045 if theme == "light" else 0.07),
        )
        lines += [
            f"{scope} .{kind}>.box{{fill:{fill};stroke:{mix(accent, t['paper'], 0.75)}}}",
            f"{scope} .{kind}>.shell{{fill:{shell};stroke:{mix(accent, t['paper'], 0.6)}}}",
            f"{scope} .{kind}>.accent,{scope} .{kind}>.share{{fill:{accent}}}",
        ]
    return "\n".join(lines)
