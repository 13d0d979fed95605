"""Print a table in Markdown of how model files differ between two checkouts.

python .github/compare_models.py BASE FILE ...

BASE is a checkout of the same repository before the change, FILE a model file of the working
directory. Nothing is printed where no model differs.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Print the table."""
    base, *files = map(Path, sys.argv[1:])
    rows = []
    for file in files:
        old, new = explain(base, file), explain(Path.cwd(), file)
        if old != new:
            cells = [f"`{file}`"]
            for key in ("parameters", "macs"):
                cells.append(show_change(old.get(key), new.get(key)))
            rows.append(f"| {' | '.join(cells)} |")
    if rows:
        head = ["| model | parameters | multiply-adds |", "|---|---|---|"]
        print("\n".join([*head, *rows]))


def explain(checkout: Path, file: Path) -> dict[str, Any]:
    """Return what `explain --json` says of a model; empty where there is none, or a wrong one."""
    path = checkout / file
    if not path.is_file():
        return {}
    words = ["explain", f"model={path.stem}", f"--config-dir={path.parent.parent}", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "dougong", *words],
        cwd=checkout,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        return {"errors": done.returncode}
    return drop_lines(json.loads(done.stdout))


def drop_lines(answer: Any) -> Any:
    """Return an answer without the lines of the file, which change when a comment does."""
    if isinstance(answer, list):
        return [drop_lines(each) for each in answer]
    if isinstance(answer, dict):
        return {key: drop_lines(value) for key, value in answer.items() if key != "where"}
    return answer


def show_change(old: int | None, new: int | None) -> str:
    """Return a cell: "1,000 → 1,100 (+10.0%)"."""
    if old is None and new is None:
        return "wrong"
    if old is None or new is None:
        return f"{show(old)} → {show(new)}"
    if old == new:
        return f"{new:,}"
    change = f"{new / old - 1:+.1%}" if old else "new"
    return f"{old:,} → {new:,} ({change})"


def show(count: int | None) -> str:
    """Return a count, or "-" where the model does not exist or is wrong."""
    if count is None:
        return "-"
    return f"{count:,}"


if __name__ == "__main__":
    main()
