"""Which setting the differences come from."""

import statistics
from collections.abc import Mapping

from tasks import chart, sweep
from tasks.draw import svg, text
from tasks.sweep_page.view import View

LEFT, INNER, STEP = 200, 360, 26  # pixels


def explained(view: View) -> dict[str, float]:
    """The share of the variance of the main figure that lies between the values of one setting (eta squared).

    That is the main effect of an analysis of variance (Fisher, 1925), the first term of functional ANOVA. What is left
    comes from settings together and, where the seed is no setting, from chance.
    """
    rows = view.ranked
    values = [row[view.main] for row in rows]
    whole = statistics.pvariance(values) if len(values) > 1 else 0.0
    if not whole:
        return {}
    centre, found = statistics.fmean(values), {}
    for key in view.settings:
        groups: dict[str, list[float]] = {}
        for row in rows:
            groups.setdefault(sweep.value_of(row, key), []).append(row[view.main])
        if 1 < len(groups) < len(rows):  # where every run has a value of its own, all would be explained
            between = sum(len(group) * (statistics.fmean(group) - centre) ** 2 for group in groups.values())
            found[key] = between / len(rows) / whole
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def draw(shares: Mapping[str, float]) -> str:
    """A bar for each setting; empty where nothing can be told."""
    if not shares:
        return ""
    out = []
    for number, (name, share) in enumerate(shares.items()):
        middle = 16 + number * STEP
        out.append(text(LEFT - 10, middle + 4, name if len(name) < 30 else f"…{name[-28:]}", "end"))
        out.append(f'<rect class="share" x="{LEFT}" y="{middle - 8}" width="{max(share * INNER, 1):.1f}" height="16"/>')
        out.append(text(LEFT + max(share, 0) * INNER + 8, middle + 4, f"{share:.0%}", "soft"))
    wide = LEFT + INNER + 60 + chart.LETTER
    return svg(wide, 16 + STEP * len(shares), out, "what the differences come from")
