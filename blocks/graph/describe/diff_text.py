"""The difference of two models as text of 80 columns, and as a page of its own."""

from collections.abc import Sequence
from html import escape

from blocks.graph.describe.diff import Line, Side, difference
from blocks.graph.describe.table import short
from blocks.support.palette import STYLE
from blocks.support.text_table import align_columns

WIDTH = 80
MARKS = {
    "added": "+",
    "removed": "-",
    "replaced": "!",
    "moved": ">",
    "changed": "~",
    "follows": " ",
}


def heading(old: Side, new: Side) -> list[tuple[str, str, str, str]]:
    """The two models as a whole: a name, old, new, change."""
    parameters = f"{old.parameters:,}", f"{new.parameters:,}"
    macs = short(old.macs) or "0", short(new.macs) or "0"
    return [
        ("", old.label, new.label, ""),
        ("parameters", *parameters, _change(old.parameters, new.parameters)),
        ("multiply-adds", *macs, _change(old.macs, new.macs)),
        ("outputs", old.outputs, new.outputs, ""),
    ]


def _change(old: int, new: int) -> str:
    if not old or old == new:
        return ""
    return f"{new / old - 1:+.1%}"


def text(old: Side, new: Side) -> str:
    """The difference in lines of 80 columns. What only follows from a change above it bears no
    mark.
    """
    rows = heading(old, new)
    lines = align_columns(rows)
    if max(map(len, lines)) > WIDTH:
        lines = [f"old  {old.label}", f"new  {new.label}", "", *align_columns(rows[1:])]
    lines.append("")
    found = difference(old, new)
    if not found:
        return "\n".join([*lines, "the graphs are the same"])
    for line in found:
        lines += _wrap(line)
    legend = [f"{mark} {kind}" for kind, mark in MARKS.items() if mark != " "]
    return "\n".join([*lines, "", "  ".join(legend)])


def _wrap(line: Line) -> list[str]:
    head = f"{MARKS[line.kind]} {'  ' * line.depth}{line.name}  {line.details[0]}"
    rest = "; ".join(line.details[1:])
    if len(head) + len(rest) + 2 <= WIDTH:
        return [f"{head}  {rest}".rstrip()]
    lines, indent = [head], " " * (2 * line.depth + 6)
    details = "; ".join(line.details[1:]).split("; ")
    pieces = [f"{detail};" for detail in details[:-1]] + details[-1:]
    for piece in pieces:
        if lines[-1] is not head and len(lines[-1]) + len(piece) + 1 <= WIDTH:
            lines[-1] += f" {piece}"
        else:
            lines.append(indent + piece)
    return lines


RULES = """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
margin: 2rem auto;
  max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; font-weight: 600; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1rem 0 2rem; }
td, th { padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top;
border-bottom: 1px solid var(--rule); }
td.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.mark { font: 600 1rem/1.5 ui-monospace, monospace; width: 1.5rem; }
.name { font-family: ui-monospace, monospace; white-space: nowrap; }
.details { color: var(--soft); font-variant-numeric: tabular-nums; }
"""
COLOR = ".{kind} .mark, .{kind} .name {{ color: var(--{kind}); }}\n"
LEGEND = '<span class="{0}"><span class="mark">{1}</span> <span class="name">{0}</span></span>'


def page(old: Side, new: Side) -> str:
    """The difference as HTML that needs no other file."""
    title = f"{escape(old.label)} → {escape(new.label)}"
    whole = "".join(map(_row, heading(old, new)))
    lines = "".join(map(_line, difference(old, new)))
    rules, legend = RULES, []
    for kind, mark in MARKS.items():
        if kind != "follows":
            rules += COLOR.format(kind=kind)
            legend.append(LEGEND.format(kind, escape(mark)))
    body = "<p>The graphs are the same.</p>"
    if lines:
        body = f"<table>{lines}</table>\n<p>{' &nbsp; '.join(legend)}</p>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}{rules}</style>
</head>
<body>
<h1>{title}</h1>
<table>{whole}</table>
{body}
</body>
</html>
"""


def _row(cells: Sequence[str]) -> str:
    numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells[1:])
    return f"<tr><th>{escape(cells[0])}</th>{numbers}</tr>\n"


def _line(line: Line) -> str:
    block, *rest = (escape(detail.replace(" -> ", " → ")) for detail in line.details)
    name = (
        f'<td class="name" style="padding-left: {1.5 * line.depth:g}rem">{escape(line.name)}</td>'
    )
    mark = f'<td class="mark" title="{line.kind}">{escape(MARKS[line.kind])}</td>'
    details = f'<td class="details">{"; ".join(rest)}</td>'
    return f'<tr class="{line.kind}">{mark}{name}<td>{block}</td>{details}</tr>\n'
