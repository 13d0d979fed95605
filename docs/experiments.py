"""Run the experiments behind the claims of docs/results.md, record their figures, and write the
page.

python docs/experiments.py                     all experiments; finished runs are not repeated
python docs/experiments.py memory depth        these
python docs/experiments.py --jobs 2            two runs at once, each on one thread
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

from claims import CLAIMS, Claim
from places import describe_places, draw_places, measure_places
from properties import PROPERTIES
from readings import SEEDS, UNDECIDED, Figures

from blocks.graph import compose
from tasks.sweep.intervals import mean_interval
from tasks.sweep.study import TRIED, Study, key_of, read_study

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
FIGURES, PICTURES, PAGE = DOCS / "results", DOCS / "pictures" / "results", DOCS / "results.md"
RUNS = Path("runs") / "experiments"
BEGIN, END = "<!-- written by docs/experiments.py -->", "<!-- written by hand from here -->"
INTERRUPTED = 130


def study_of(name: str) -> Study | None:
    """Return the study of an experiment; None where it is a plain sweep."""
    return read_study(compose([f"experiment={name}"]).config)


def place_of(name: str) -> Path:
    """Return the folder of a sweep, which depends on the runs that its file lists."""
    from blocks.graph.compose.combinations import swept_by_files

    listed = "\n".join([*swept_by_files([f"experiment={name}"]), repr(study_of(name) or "")])
    return RUNS / f"{name}-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"


def arguments(name: str, place: Path, jobs: int = 1) -> list[str]:
    """Return the command line of a sweep, which resumes one that was stopped."""
    from tasks.sweep.plan import PLAN

    again = ["resume=true"] if (place / PLAN).is_file() else []
    return [
        "-m",
        f"experiment={name}",
        *(["hydra/sweeper=study"] if study_of(name) else []),
        f"hydra.launcher.n_jobs={jobs}",
        f"hydra.sweep.dir='{place}'",
        "callbacks.progress.style=none",
        *again,
    ]


def run(name: str, jobs: int) -> int:
    """Run the missing runs of a sweep and return its exit status."""
    place = place_of(name)
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    timed = next(claim.timed for claim in CLAIMS if claim.name == name)
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments(name, place, 1 if timed else jobs)],
        env=environment,
    ).returncode


def record(name: str) -> bool:
    """Write the figures and the picture of a sweep into docs/; return whether it has ended."""
    from tasks.run import run_folder
    from tasks.sweep import figure, plan

    place = place_of(name)
    rows = plan.read_rows(place) if (place / plan.PLAN).is_file() else []
    claim = next(claim for claim in CLAIMS if claim.name == name)
    ended = ("finished", "failed") if claim.may_fail else ("finished",)
    done = [row for row in rows if row["status"] == "finished"]
    if not done or any(row["status"] not in ended for row in rows):
        return False
    study = study_of(name)
    tried = plan.read_rows(place / TRIED) if study else []
    one: dict[str, Any] = run_folder.read_record(place / done[0]["folder"]) or {}
    found = {
        "machine": one.get("machine"),
        "versions": {name: one.get("versions", {}).get(name) for name in ("python", "torch")},
        "day": one.get("ended", "")[:10],
        "rows": recorded(rows, study),
    }
    if claim.places:
        for row, run_row in zip(found["rows"], rows, strict=True):
            measured = measure_places(place / run_row["folder"])
            row["places"] = {way: [*map(rounded, line)] for way, line in measured.items()}
    if study:
        seconds = sum(row.get("cpu seconds", 0) for row in tried)
        found["study"] = {"choose": study.choose, "by": study.by, "seeds": study.seeds}
        found["tried"] = {"runs": len(tried), "cpu seconds": round(seconds)}
    FIGURES.mkdir(exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    drawn = (place / figure.NAME).read_text(encoding="utf-8")
    (PICTURES / f"{name}.svg").write_text(drawn, encoding="utf-8")
    if claim.places:
        lines = draw_places(Figures(found["rows"]))
        (PICTURES / f"{name}_places.svg").write_text(lines, encoding="utf-8")
    if claim.look is not None:
        from tasks.sweep.results import value_of

        chosen = next(
            row
            for row in rows
            if all(value_of(row, key).lower() == v for key, v in claim.look.items())
        )
        report = (place / chosen["folder"] / "report.html").read_text(encoding="utf-8")
        (PICTURES / f"{name}_inside.svg").write_text(first_look(report), encoding="utf-8")
    return True


def recorded(rows: list[dict[str, Any]], study: Study | None) -> list[dict[str, Any]]:
    """Return the settings, the status and the measures of each run.

    What an arm of a study sets is left out: its name says it.
    """
    from tasks.sweep import results

    keys = dict.fromkeys([*results.list_settings(rows), *(study.choose if study else ())])
    if study:
        for overrides in study.arms.values():
            for text in overrides:
                keys.pop(key_of(text), None)
    return [
        {
            "settings": {key: results.value_of(row, key) for key in keys},
            "status": row["status"],
            **{key: rounded(row[key]) for key in row if results.is_measure(key)},
        }
        for row in rows
    ]


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
        "one), resumes where it was stopped, and writes this part of the page. Text and verdict "
        "are computed from the figures. Where a design names rates, that of each row of the table "
        "is the best of them on the validation of other seeds than those of the test. Behind ± "
        "and in brackets are 95 % t-intervals over the seeds; differences are those of pairs "
        f"with equal seeds. A verdict needs {SEEDS} seeds, and an interval without 0: with fewer "
        "a claim is not decided, and where an arm stays at chance it is not judged. The intervals "
        "hold for one comparison each, and are not corrected for their number. Every run has one "
        "CPU thread; times are medians over the steps of a run, and other processes on the "
        "machine lengthen them.",
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
    verdict, reading = claim.read(figures)
    seeds = len(figures.values("seed")) if "seed" in found["rows"][0]["settings"] else 1
    if seeds < SEEDS:
        verdict = f"{UNDECIDED}: {seeds} seed{'s' * (seeds > 1)}, and a verdict needs {SEEDS}"
    alt = f"{claim.title}: {', '.join(claim.measures)}"
    return [
        *head,
        f"**{verdict[0].upper()}{verdict[1:]}.** {reading}",
        "",
        f"![{alt}](pictures/results/{claim.name}.svg)",
        "",
        *inside(claim),
        *placed(claim, figures),
        *tables(claim, found["rows"]),
        *([PROPERTIES[claim.name](), ""] if claim.name in PROPERTIES else []),
        f"Confirmed means: {claim.threshold}. {design(claim, found)}: {provenance(found)}.",
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


def placed(claim: Claim, figures: Figures) -> list[str]:
    """Return the picture and the figures of the loss at each place, where it was measured."""
    if not any("places" in row for row in figures.rows):
        return []
    return [
        f"![loss at each place of the texts](pictures/results/{claim.name}_places.svg)",
        "",
        *describe_places(figures),
        "",
    ]


def edges(found: dict[str, Any]) -> str:
    """Return which rows have the first or last value of a grid, where the best may lie beyond."""
    met = []
    for key, values in found["study"]["choose"].items():
        ends = {str(values[0]), str(values[-1])}
        for row in found["rows"]:
            settings = row["settings"]
            if settings[key] in ends:
                rest = [value for name, value in settings.items() if name not in (key, "seed")]
                met.append(f"{' '.join(rest)} ({settings[key]})")
    if not met:
        return "No row has a value at an edge of its grid"
    return f"At an edge of its grid: {', '.join(dict.fromkeys(met))}"


def design(claim: Claim, found: dict[str, Any]) -> str:
    """Return how the rates were chosen, and the command."""
    command = f"python train.py -m experiment={claim.name}"
    study = found.get("study")
    if study is None:
        return f"`{command}`"
    ways = [
        f"`{key}` of each row is the best of {', '.join(map(str, values))}"
        for key, values in study["choose"].items()
    ]
    seeds = ", ".join(map(str, study["seeds"]))
    return (
        f"{'; '.join(ways)} by `{study['by']}` with seed {seeds} ({found['tried']['runs']} runs, "
        f"{found['tried']['cpu seconds']} s of CPU time). {edges(found)}. "
        f"`{command} hydra/sweeper=study`"
    )


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


def tables(claim: Claim, rows: list[dict[str, Any]]) -> list[str]:
    """Return the tables of a claim, each with an empty line after it."""
    if claim.parts is None:
        return [*table(claim, rows), ""]
    lines = []
    for title, arms in claim.parts.items():
        members = [row for row in rows if row["settings"]["study.arm"] in arms]
        lines += [f"{title}:", "", *table(claim, members), ""]
    return lines


def table(claim: Claim, rows: list[dict[str, Any]]) -> list[str]:
    """Return the figures: a row for each setting, with the mean over its seeds."""
    keys = [key for key in rows[0]["settings"] if key != "seed"]
    measured = [*claim.measures, *(["cpu seconds"] if "cpu seconds" not in claim.measures else [])]
    gathered: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        gathered.setdefault(tuple(row["settings"][key] for key in keys), []).append(row)
    lines = [
        "| "
        + " | ".join(
            [*(f"`{key}`" for key in keys), *(name.replace("/", " ") for name in measured)]
        )
        + " |",
        "|" + "---|" * len(keys) + "---:|" * len(measured),
    ]
    for values, members in gathered.items():
        cells = [cell([row[name] for row in members if name in row], name) for name in measured]
        lines.append("| " + " | ".join([*values, *cells]) + " |")
    return lines


def cell(numbers: list[float], measure: str) -> str:
    """Return the mean over the finished runs, with its interval."""
    if not numbers:
        return "failed"
    mean = statistics.fmean(numbers)
    if measure in ("parameters", "macs", "train/steps"):
        return f"{mean:,.0f}"
    if measure == "cpu seconds":
        return f"{mean:.1f}"
    text = f"{mean:.4f}" if mean < 100 else f"{mean:.4g}"
    if len(numbers) < SEEDS:
        return text
    low, high = mean_interval(numbers)
    return f"{text} ± {(high - low) / 2:.4f}"


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
    parser.add_argument("--jobs", type=int, default=1, help="runs at once; timed ones run alone")
    parser.add_argument("--page", action="store_true", help="write the page only")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in known]
    if unknown:
        parser.error(f"no experiment {', '.join(unknown)}; fits {', '.join(known)}")
    status = 0
    for name in [] if chosen.page else chosen.names or known:
        print(f"\n{name}", flush=True)
        try:
            ended = run(name, chosen.jobs)
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
