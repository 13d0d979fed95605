"""Write what is generated into the lessons, in both languages: tables of figures, exercises, and
the command that opens the model in Studio.

python docs/course/fill.py                          from figures.json and dougong/exercises
python docs/course/fill.py --record 4 SWEEP ...     first record the runs of a lesson's sweep
"""

import argparse
import json
import re
import shlex
import statistics
from pathlib import Path
from typing import Any

from opening import write_studio_command

from dougong.exercises.read import LANGUAGES, Exercise, read_exercises

COURSE = Path(__file__).resolve().parent
FIGURES = COURSE / "figures.json"
SETTINGS = {  # lesson -> what the rows of its table differ in
    "1": ["model", "data.lag"],
    "2": ["model.params.search"],
    "4": ["model.params.patch"],
    "5": ["model/attention"],
    "6": ["model"],
    "7": ["optimizer.lr"],
    "8": ["model/pool", "model/activation"],
    "9": ["data.kind", "model/position"],
    "10": ["model.params.depth", "model/residual"],
    "11": ["model.params.depth"],
    "12": ["model.params.depth"],
    "14": ["trainer.max_epochs"],
    "15": ["model/recurrence"],
}
METRICS = {"14": "test/linear_accuracy"}  # of the others: accuracy
WORDS = {
    "en": {
        "run": "run",
        "seed": "seed",
        "cpu": "CPU time of a run",
        "total": "{measure}. {runs} runs, {seconds:.0f} s of CPU time of one thread in all; "
        "torch {torch}.",
        "test/accuracy": "Test accuracy",
        "test/linear_accuracy": "Test accuracy of a linear classifier on the frozen features",
        "start": " The start is `{start}`.",
        "hint": "Hint",
        "answer": "Answer",
        "studio": "`{command}` opens this model in [Studio](../../studio.md): a line that is "
        "clicked lights its node, and a node its line.",
        "list": "`dougong exercise {lesson}.1` prints a question with its conditions, and with an "
        "answer behind it whether that is right.",
    },
    "zh": {
        "run": "设置",
        "seed": "种子",
        "cpu": "每次运行的 CPU 时间",
        "total": "{measure}。共 {runs} 次运行，单线程 CPU 时间合计 {seconds:.0f} 秒；"
        "torch {torch}。",
        "test/accuracy": "测试准确率",
        "test/linear_accuracy": "在冻结的特征上训练的线性分类器的测试准确率",
        "start": "起点是 `{start}`。",
        "hint": "提示",
        "answer": "答案",
        "studio": "`{command}` 在 [Studio](../../studio.md) 里打开这个模型："
        "点一行，它的节点就亮起来；点一个节点，它的那一行也亮起来。",
        "list": "`dougong exercise {lesson}.1 --language zh` 打印题目和条件；"
        "后面写上你的答案，就会告诉你对不对。",
    },
}


def record(lesson: str, sweeps: list[Path]) -> None:
    """Add the runs of a lesson to figures.json: scores and CPU seconds by setting and seed."""
    rows: dict[str, dict[str, Any]] = {}
    versions = set()
    for folder in sweeps:
        for file in sorted(folder.glob("*/run.json"), key=lambda file: int(file.parent.name)):
            run = json.loads(file.read_text(encoding="utf-8"))
            if run["status"] != "finished":
                continue
            given = dict(word.split("=", 1) for word in run["overrides"])
            label = ", ".join(f"{key}={given[key]}" for key in SETTINGS[lesson])
            row = rows.setdefault(label, {"parameters": run["parameters"], "runs": {}})
            score = run["test"][METRICS.get(lesson, "test/accuracy")]
            row["runs"][given["seed"]] = {"score": score, "cpu": run["cpu seconds"]}
            versions.add(run["versions"]["torch"])
    known = read_figures()
    (torch_version,) = versions
    known[lesson] = {"torch": torch_version, "rows": rows}
    ordered = sorted(known.items(), key=lambda item: int(item[0]))
    text = json.dumps(dict(ordered), indent=1)
    FIGURES.write_text(f"{text}\n", encoding="utf-8")


def read_figures() -> dict[str, Any]:
    """Return the recorded figures by lesson."""
    if not FIGURES.is_file():
        return {}
    return json.loads(FIGURES.read_text(encoding="utf-8"))


def figures_text(lesson: str, language: str) -> str:
    """Return the table of a lesson's figures, or nothing where it has none."""
    found = read_figures().get(lesson)
    if found is None:
        return ""
    words = WORDS[language]
    seeds = sorted(next(iter(found["rows"].values()))["runs"])
    head = [words["run"], *(f"{words['seed']} {seed}" for seed in seeds), words["cpu"]]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(seeds) + 1)}"]
    seconds = []
    for label, row in found["rows"].items():
        spent = [row["runs"][seed]["cpu"] for seed in seeds]
        seconds += spent
        cells = [f"{row['runs'][seed]['score']:.3f}" for seed in seeds]
        cells.append(f"{statistics.median(spent):.0f} s")
        lines.append(f"| `{label}` | {' | '.join(cells)} |")
    total = words["total"].format(
        measure=words[METRICS.get(lesson, "test/accuracy")],
        runs=len(seconds),
        seconds=sum(seconds),
        torch=found["torch"],
    )
    return "\n".join([*lines, "", total])


def exercises_text(lesson: str, language: str) -> str:
    """Return the exercises of a lesson, each with its hint and its answer folded."""
    words = WORDS[language]
    parts = [words["list"].format(lesson=lesson)]
    for exercise in read_exercises().values():
        if exercise.number.startswith(f"{lesson}."):
            parts.append(exercise_text(exercise, language))
    return "\n\n".join(parts)


def exercise_text(exercise: Exercise, language: str) -> str:
    """Return one exercise."""
    words = WORDS[language]
    answer = shlex.join(exercise.answer)
    begin = words["start"].format(start=" ".join(exercise.start))
    command = f"dougong exercise {exercise.number} {answer}"
    if exercise.needs_run:
        start = " ".join(exercise.start)
        command = f"dougong train {start} {answer}\ndougong exercise {exercise.number} RUN"
    return (
        f"**{exercise.number}** {exercise.question[language]}{begin}\n\n"
        f"<details markdown><summary>{words['hint']}</summary>\n\n{exercise.hint[language]}\n\n"
        f"</details>\n<details markdown><summary>{words['answer']}</summary>\n\n"
        f"```bash\n{command}\n```\n\n{exercise.reason[language]}\n\n</details>"
    )


def filled(text: str, language: str, kinds: str = "figures|exercises|studio") -> str:
    """Return a lesson with its generated parts written again, those of some kinds."""

    def replace(found: re.Match[str]) -> str:
        kind, lesson = found["kind"], str(int(found["lesson"]))
        if kind == "studio":
            command = write_studio_command(found["lesson"], text)
            made = WORDS[language]["studio"].format(command=command)
        else:
            made = {"figures": figures_text, "exercises": exercises_text}[kind](lesson, language)
        return f"{found['open']}\n\n{made}\n\n<!-- end -->"

    mark = rf"(?P<open><!-- (?P<kind>{kinds}): (?P<lesson>\d+) -->)"
    return re.sub(rf"{mark}(?:(?:(?!<!-- ).)*<!-- end -->)?", replace, text, flags=re.DOTALL)


def lessons() -> list[tuple[Path, str]]:
    """Return the files of all lessons with their language."""
    found = []
    for language in LANGUAGES:
        found += [(file, language) for file in sorted((COURSE / language).glob("[0-9]*.md"))]
    return found


def main() -> None:
    """Record the named sweeps, then write every lesson again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", nargs="+", metavar=("LESSON", "SWEEP"))
    chosen = parser.parse_args()
    if chosen.record:
        record(chosen.record[0], [Path(folder) for folder in chosen.record[1:]])
    for file, language in lessons():
        text = file.read_text(encoding="utf-8")
        file.write_text(filled(text, language), encoding="utf-8")


if __name__ == "__main__":
    main()
