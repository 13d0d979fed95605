"""What `check` finds as SARIF 2.1.0, with which pull requests show errors at their lines."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from blocks.graph.codes import CODES
from blocks.graph.describe.sweep_check import Result, group_problems
from blocks.support.answers import problem_entry

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT = "%SRCROOT%"  # the folder of the repository, by the name that code hosts know
LEVELS = {"problems": "error", "idle": "warning"}


def format_sarif(results: Sequence[Result]) -> str:
    """Return the mistakes and warnings of `check` as SARIF, relative to the working directory."""
    found = []
    for attribute, level in LEVELS.items():
        for problem, _ in group_problems(results, attribute):
            found.append(_describe_result(problem_entry(problem), level))
    used = sorted({result["ruleId"] for result in found})
    rules = [{"id": code, "shortDescription": {"text": CODES[code]}} for code in used]
    for result in found:
        result["ruleIndex"] = used.index(result["ruleId"])
    run = {
        "tool": {"driver": {"name": "Dougong", "rules": rules}},
        "originalUriBaseIds": {ROOT: {"uri": f"{Path.cwd().as_uri()}/"}},
        "columnKind": "unicodeCodePoints",
        "results": found,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)


def _describe_result(entry: dict[str, Any], level: str) -> dict[str, Any]:
    lines = [entry["problem"]]
    for part in ("where", "path", "got", "from", "fits", "fix"):
        if entry[part]:
            lines.append(f"{part}: {entry[part]}")
    return {
        "ruleId": entry["code"],
        "level": level,
        "message": {"text": "\n".join(lines)},
        "locations": [{"physicalLocation": _describe_place(entry)}],
    }


def _describe_place(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a place in a file; a problem of the command line has the folder as its place, since
    hosts of code refuse a result without one.
    """
    if entry["file"] is None:
        return {"artifactLocation": {"uri": ".", "uriBaseId": ROOT}}
    file = Path(entry["file"])
    artifact = {"uri": quote(file.as_posix()), "uriBaseId": ROOT}
    if file.is_absolute():
        artifact = {"uri": file.as_uri()}
    region = {"startLine": entry["line"], "startColumn": entry["column"]}
    return {"artifactLocation": artifact, "region": region}
