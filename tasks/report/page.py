"""The HTML of the report: one file that contains its pictures, light or dark as the reader's
screen.
"""

from collections.abc import Sequence
from html import escape

from blocks.support.palette import STYLE

RULES = """
body {
  margin: 0 auto; max-width: 1080px; padding: 32px 20px 80px; background: var(--paper);
  color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif;
}
h1 { font-size: 26px; margin: 0; }
h2 { font-size: 18px; margin: 40px 0 12px; border-top: 1px solid var(--rule); padding-top: 20px; }
p { margin: 0 0 12px; }
header { display: flex; flex-wrap: wrap; gap: 12px 40px; align-items: end;
justify-content: space-between; }
.score {
  font-size: 44px; line-height: 1; font-weight: 650; color: var(--focus);
  font-variant-numeric: tabular-nums;
}
.soft, dt, th { color: var(--soft); font-weight: 400; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 32px; margin: 20px 0 0; }
.facts div { display: flex; flex-direction: column; }
dl.pairs { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 16px 0 0; }
dd { margin: 0; overflow-wrap: anywhere; }
.wide, .fit { overflow-x: auto; }
.wide svg { display: block; max-width: none; }
.fit svg { display: block; max-width: max(100%, 900px); height: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 24px 4px 0; border-bottom: 1px solid var(--rule);
white-space: nowrap; }
td.number, th.number { text-align: right; }
td:first-child, pre { font-family: ui-monospace, "SF Mono", Consolas, monospace; font-size: 13px; }
pre { background: var(--shade); border-radius: 8px; padding: 14px 16px; white-space: pre-wrap;
margin: 0; }
.note { background: var(--note); border-radius: 8px; padding: 10px 14px; margin-top: 20px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(130px, 1fr));
gap: 16px; }
figure { margin: 0; }
figure img {
  width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated;
  background: var(--shade);
  border-radius: 6px;
}
.triples { display: grid; grid-template-columns: repeat(3, minmax(80px, 200px)); gap: 16px; }
.legend span { margin-right: 14px; white-space: nowrap; }
.chip { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 5px; border-radius: 3px;
border: 1px solid var(--soft); }
.text { grid-column: 1 / -1; }
.text blockquote { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
figcaption { font-size: 13px; color: var(--soft); }
figcaption, h3 { overflow-wrap: anywhere; }
h3 { font-size: 14px; font-weight: 600; margin: 18px 0 8px; }
.beside { display: flex; flex-wrap: wrap; gap: 16px 32px; align-items: start; margin-bottom: 12px; }
.beside > div { min-width: 0; max-width: 100%; overflow-x: auto; }
.beside svg { display: block; max-width: max(100%, 560px); height: auto; }
figure.sheet { margin-bottom: 20px; max-width: 520px; }
figure.sheet img { aspect-ratio: auto; background: none; border-radius: 0; height: auto; }
summary { cursor: pointer; margin: 12px 0 10px; }
"""


def html(title: str, head: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return the whole page, without empty sections."""
    body = ""
    for name, content in sections:
        if not content:
            continue
        body += f"<section><h2>{escape(name)}</h2>{content}</section>\n"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{RULES}</style></head>\n"
        f"<body>{head}\n{body}</body></html>\n"
    )


def headline(title: str, score: tuple[str, str] | None, facts: Sequence[tuple[str, str]]) -> str:
    """Return the title, the main number with its name, and a line of facts."""
    number = listed = ""
    if score:
        value, name = map(escape, score)
        number = f'<div><div class="score">{value}</div><div class="soft">{name}</div></div>'
    for name, value in facts:
        listed += f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
    return f'<header><h1>{escape(title)}</h1>{number}</header><dl class="facts">{listed}</dl>'


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], indents: Sequence[int] | None = None
) -> str:
    """Return a table; columns of numbers are aligned to the right.

    Args:
        indents: of the first cell of each row.
    """
    kinds = []
    for column in range(len(head)):
        right = bool(rows) and all(is_number(row[column]) for row in rows)
        kinds.append(' class="number"' * right)
    lines = []
    for place, row in enumerate(rows):
        cells = _cells("td", row, kinds)
        if indents:
            cells[0] = f'<td style="padding-left: {1.2 * indents[place]:g}em">{escape(row[0])}</td>'
        lines.append(f"<tr>{''.join(cells)}</tr>")
    top, body = "".join(_cells("th", head, kinds)), "".join(lines)
    return wide(f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>")


def _cells(tag: str, texts: Sequence[str], kinds: Sequence[str]) -> list[str]:
    pairs = zip(texts, kinds, strict=True)
    return [f"<{tag}{kind}>{escape(text)}</{tag}>" for text, kind in pairs]


def is_number(cell: str) -> bool:
    """Return whether a cell is a number or empty."""
    return not cell.strip("0123456789.,%-+± e")


def pairs(entries: Sequence[tuple[str, str]]) -> str:
    """Return names and values below each other."""
    body = ""
    for name, value in entries:
        body += f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    return f'<dl class="pairs">{body}</dl>'


def code(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def fit(content: str) -> str:
    """Return a drawing that is at most as wide as the page."""
    return f'<div class="fit">{content}</div>'


def wide(content: str) -> str:
    return f'<div class="wide">{content}</div>'


def folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def figure(source: str, words: str) -> str:
    return (
        f'<figure><img src="{source}" '
        f'alt="{escape(words, True)}"><figcaption>{escape(words)}</figcaption></figure>'
    )


def quotation(text: str, words: str, most: int = 600) -> str:
    """Return a text across the page in its own direction, cut after `most` characters."""
    shown = text if len(text) <= most else f"{text[:most]} …"
    return (
        f'<figure class="text"><blockquote dir="auto">{escape(shown)}</blockquote>'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def pictures(figures: Sequence[str]) -> str:
    """Return small figures in rows, as many as fit."""
    return f'<div class="pictures">{"".join(figures)}</div>'


def beside(contents: Sequence[str]) -> str:
    """Return drawings side by side, as many as fit."""
    return f'<div class="beside">{"".join(map("<div>{}</div>".format, contents))}</div>'


def sheet(source: str, words: str) -> str:
    """Return one wide figure with its caption."""
    text = escape(words, True)
    return (
        f'<figure class="sheet"><img src="{source}" '
        f'alt="{text}"><figcaption>{text}</figcaption></figure>'
    )
