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
    """The two models as a whole: a word, old, new, change."""
    rows = [("", old.label, new.label, "")]
    for word, a, b, texts in (
        (
            "parameters",
            old.parameters,
            new.parameters,
            (f"{old.parameters:,}", f"{new.parameters:,}"),
        ),
        ("multiply-adds", old.macs, new.macs, (short(old.macs) or "0", short(new.macs) or "0")),
    ):
        rows.append((word, *texts, f"{b / a - 1:+.1%}" if a and a != b else ""))
    return [*rows, ("outputs", old.outputs, new.outputs, "")]


def text(old: Side, new: Side) -> str:
    """The difference in lines of 80 columns. What only follows from a change above it bears no
    mark.
    """
    rows = heading(old, new)
    lines = align_columns(rows)
    if max(map(len, lines)) > WIDTH:
        lines = [f"old  {old.label}", f"new  {new.label}", "", *align_columns(rows[1:])]
    found = difference(old, new)
    lines += ["", *(each for line in found for each in _wrapped(line))]
    legend = "  ".join(f"{mark} {kind}" for kind, mark in MARKS.items() if mark != " ")
    return "\n".join([*lines, "", legend] if found else [*lines, "the graphs are the same"])


def _wrapped(line: Line) -> list[str]:
    head = f"{MARKS[line.kind]} {'  ' * line.depth}{line.name}  {line.details[0]}"
    rest = "; ".join(line.details[1:])
    if len(head) + len(rest) + 2 <= WIDTH:
        return [f"{head}  {rest}".rstrip()]
    lines, indent = [head], " " * (2 * line.depth + 6)
    for index, detail in enumerate(line.details[1:]):
        piece = detail + ";" * (index + 2 < len(line.details))
        fits = index and len(lines[-1]) + len(piece) + 1 <= WIDTH
        lines[-1:] = [f"{lines[-1]} {piece}"] if fits else [lines[-1], indent + piece]
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
""" + "\n".join(
    f".{kind} .mark, .{kind} .name {{ color: var(--{kind}); }}"
    for kind in MARKS
    if kind != "follows"
)


def page(old: Side, new: Side) -> str:
    """The difference as HTML that needs no other file."""
    title = f"{escape(old.label)} → {escape(new.label)}"
    whole = "".join(_row(row) for row in heading(old, new))
    lines = "".join(_line(line) for line in difference(old, new))
    legend = " &nbsp; ".join(
        f'<span class="{kind}"><span class="mark">{escape(mark)}</span> <span '
        f'class="name">{kind}</span></span>'
        for kind, mark in MARKS.items()
        if mark != " "
    )
    body = (
        f"<table>{lines}</table>\n<p>{legend}</p>" if lines else "<p>The graphs are the same.</p>"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta '
        f'charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}{RULES}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<table>{whole}</table>\n{body}\n</body>\n</html>\n"
    )


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
