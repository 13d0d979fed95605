"""Run the experiments behind the claims of docs/results.md, record their figures, and write the
page.

python docs/experiments.py                     all experiments; finished runs are not repeated
python docs/experiments.py memory depth        these
python docs/experiments.py --page              no runs: the page from the figures in docs/results/
"""

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from claims import CLAIMS, Claim, Figures

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
FIGURES, PICTURES, PAGE = DOCS / "results", DOCS / "pictures" / "results", DOCS / "results.md"
RUNS = Path("runs") / "experiments"
BEGIN, END = "<!-- written by docs/experiments.py -->", "<!-- written by hand from here -->"
INTERRUPTED = 130


def place_of(name: str) -> Path:
    """Return the folder of a sweep, which depends on the runs that its file lists."""
    from blocks.graph.compose.combinations import swept_by_files

    digest = hashlib.sha256("\n".join(swept_by_files([f"experiment={name}"])).encode()).hexdigest()[
        :8
    ]
    return RUNS / f"{name}-{digest}"


def arguments(name: str, place: Path) -> list[str]:
    """Return the command line of a sweep, which resumes one that was stopped."""
    from tasks.sweep.plan import PLAN

    again = ["resume=true"] if (place / PLAN).is_file() else []
    return [
        "-m",
        f"experiment={name}",
        f"hydra.sweep.dir='{place}'",
        "callbacks.progress.style=none",
        *again,
    ]


def run(name: str) -> int:
    """Run the missing runs of a sweep and return its exit status."""
    place = place_of(name)
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments(name, place)], env=environment
    ).returncode


def record(name: str) -> bool:
    """Write the figures and the picture of a sweep into docs/; return whether it has ended."""
    from tasks.run import run_folder
    from tasks.sweep import figure, plan, results

    place = place_of(name)
    rows = plan.read_rows(place) if (place / plan.PLAN).is_file() else []
    may_fail = next(claim.may_fail for claim in CLAIMS if claim.name == name)
    ended = ("finished", "failed") if may_fail else ("finished",)
    if not any(row["status"] == "finished" for row in rows) or any(
        row["status"] not in ended for row in rows
    ):
        return False
    keys = results.list_settings(rows)
    recorded = [
        {
            "settings": {key: results.value_of(row, key) for key in keys},
            "status": row["status"],
            **{key: rounded(row[key]) for key in row if results.is_measure(key)},
        }
        for row in rows
    ]
    one: dict[str, Any] = next(
        filter(
            None,
            (
                run_folder.read_record(place / row["folder"])
                for row in rows
                if row["status"] == "finished"
            ),
        ),
        {},
    )
    versions = {name: one.get("versions", {}).get(name) for name in ("python", "torch")}
    found = {
        "machine": one.get("machine"),
        "versions": versions,
        "day": one.get("ended", "")[:10],
        "rows": recorded,
    }
    FIGURES.mkdir(exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    drawn = (place / figure.NAME).read_text(encoding="utf-8")
    (PICTURES / f"{name}.svg").write_text(drawn, encoding="utf-8")
    claim = next(claim for claim in CLAIMS if claim.name == name)
    if claim.look is not None:
        chosen = next(
            row
            for row in rows
            if all(results.value_of(row, key).lower() == v for key, v in claim.look.items())
        )
        report = (place / chosen["folder"] / "report.html").read_text(encoding="utf-8")
        (PICTURES / f"{name}_inside.svg").write_text(first_look(report), encoding="utf-8")
    return True


def first_look(report: str) -> str:
    """Return the first drawing of attention in the report of a run."""
    found = re.search(
        r'<svg class="run"[^>]*aria-label="the beginning of sample 0".*?</svg>\n?',
        report,
        re.DOTALL,
    )
    assert found is not None, "the report has no picture of attention"
    return found[0]


def rounded(number: float) -> float:
    """Return a number with five digits; a count stays whole."""
    return number if isinstance(number, int) else float(f"{number:.5g}")


# --------------------------------------------------------------------------------------------------
# page


def page() -> str:
    """Return the generated part of docs/results.md."""
    parts = [
        BEGIN,
        "# Claims and figures",
        "",
        "Each claim is an experiment: a file of `conf/experiment/` that lists its runs and "
        "describes its chart. `make experiments` runs all of them (`make experiments ONLY=memory` "
        "one), resumes where it was stopped, and writes this part of the page. The text and the "
        "verdict are computed from the figures. A point is the mean over the seeds, and a whisker "
        "reaches from the lowest to the highest run. Every run has one CPU thread; times are "
        "medians over the steps of a run, and other processes on the machine lengthen them.",
        "",
    ]
    for number, claim in enumerate(CLAIMS, 1):
        parts += section(number, claim)
    return "\n".join([*parts, END])


def section(number: int, claim: Claim) -> list[str]:
    """Return the section of a claim: verdict, chart, text, figures and command."""
    head = [f"## {number}. {claim.title}", ""]
    command = f"`python train.py -m experiment={claim.name}`"
    file = FIGURES / f"{claim.name}.json"
    if not file.is_file():
        return [*head, f"Not measured yet: {command}.", ""]
    found = json.loads(file.read_text(encoding="utf-8"))
    figures = Figures(found["rows"])
    holds, reading = claim.read(figures)
    verdict = "**The figures confirm it.**" if holds else "**The figures do not confirm it.**"
    alt = f"{claim.title}: {', '.join(claim.measures)}"
    return [
        *head,
        f"{verdict} {reading}",
        "",
        f"![{alt}](pictures/results/{claim.name}.svg)",
        "",
        *inside(claim),
        *table(claim, found["rows"]),
        "",
        *(fields() if claim.name == "sharing" else []),
        f"Confirmed means: {claim.threshold}. {command}: {provenance(found)}.",
        "",
    ]


def inside(claim: Claim) -> list[str]:
    """Return the drawing of the attention of one run."""
    if claim.look is None:
        return []
    run = ", ".join(f"`{key}={value}`" for key, value in claim.look.items())
    return [
        f"Attention of the run with {run} at each word of its output, for a test sample:",
        "",
        f"![attention of a run](pictures/results/{claim.name}_inside.svg)",
        "",
    ]


def provenance(found: dict[str, Any]) -> str:
    """Return the number of runs, their seeds, time, machine and versions."""
    rows = found["rows"]
    seeds = {row["settings"].get("seed", "0") for row in rows}
    spent = sum(row.get("cpu seconds", 0) for row in rows)
    machine = found["machine"] or {}
    return (
        f"{len(rows)} runs, seed{'s' * (len(seeds) > 1)} {', '.join(sorted(seeds))}, "
        f"{spent:.0f} s of CPU time, "
        f"{machine.get('threads')} thread{'s' * (machine.get('threads') != 1)} of "
        f"{machine.get('cores')} cores, "
        f"Python {found['versions']['python']}, torch {found['versions']['torch']}, {found['day']}"
    )


def table(claim: Claim, rows: list[dict[str, Any]]) -> list[str]:
    """Return the figures: a row for each setting, with the mean over its seeds."""
    keys = [key for key in rows[0]["settings"] if key != "seed"]
    gathered: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        gathered.setdefault(tuple(row["settings"][key] for key in keys), []).append(row)
    lines = [
        "| "
        + " | ".join(
            [*(f"`{key}`" for key in keys), *(name.replace("/", " ") for name in claim.measures)]
        )
        + " |",
        "|" + "---|" * len(keys) + "---:|" * len(claim.measures),
    ]
    for values, members in gathered.items():
        cells = [
            cell([row[name] for row in members if name in row], name) for name in claim.measures
        ]
        lines.append("| " + " | ".join([*values, *cells]) + " |")
    return lines


def cell(numbers: list[float], measure: str) -> str:
    """Return the mean over the finished runs."""
    if not numbers:
        return "failed"
    mean = statistics.fmean(numbers)
    return (
        f"{mean:,.0f}"
        if measure in ("parameters", "macs")
        else f"{mean:.4f}"
        if mean < 100
        else f"{mean:.4g}"
    )


def fields() -> list[str]:
    """Return the receptive field of each part of the CNN, as printed by
    `python -m blocks explain --all`.
    """
    from blocks.graph import compose, plan
    from blocks.graph.describe.cost import measure

    planned = plan(compose(["model=cnn", "experiment=sharing"]))
    costs = measure(planned)
    fields = [
        (path, cost.field.size[0])
        for path, cost in costs.items()
        if path.count(".") in (0, 3) and cost.field
    ]
    wide = [f"`{path}` {size:g}" for path, size in fields if size > 1]
    return [
        "The receptive field of each convolution, in pixels of a side (`python -m blocks explain "
        f"model=cnn --all`): {', '.join(wide)}.",
        "",
    ]


def written(old: str) -> str:
    """Return the page with its generated part replaced; the part written by hand stays."""
    hand = old.partition(END)[2] if END in old else f"\n\n{old}"
    return page() + hand


def main() -> int:
    """Return 0 on success, 1 if a sweep failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [claim.name for claim in CLAIMS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--page", action="store_true", help="write the page only")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in known]
    if unknown:
        parser.error(f"no experiment {', '.join(unknown)}; fits {', '.join(known)}")
    status = 0
    for name in [] if chosen.page else chosen.names or known:
        print(f"\n{name}", flush=True)
        try:
            ended = run(name)
        except KeyboardInterrupt:
            ended = INTERRUPTED
        if ended == INTERRUPTED:
            status = INTERRUPTED
            break
        if not record(name):
            print(f"{name} has not ended: run the same command again", file=sys.stderr)
            status = 1
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"page {PAGE.relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
