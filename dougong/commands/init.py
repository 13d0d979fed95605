"""Begin a project of your own: a folder with a model, an experiment, and a block with its test."""

import argparse
import contextlib
import io
import json
import shutil
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1] / "template"
SCHEMAS = Path(".vscode") / "schema"
SECTIONS = {"model.json": "conf/model/*.yaml", "option.json": "conf/model/*/*.yaml"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", type=Path, help="the folder to create; `.` for this one")


def run(arguments: argparse.Namespace) -> int:
    """Copy the template, and write the schemas that editors read.

    Raises:
        ConfigError: a file of the template exists already, or cannot be written.
    """
    from blocks.graph import ConfigError, Problem

    folder = arguments.folder
    files = sorted(path for path in TEMPLATE.rglob("*") if is_part(path))
    targets = {file: folder / target_name(file) for file in files}
    existing = [target for target in targets.values() if target.exists()]
    if existing:
        problem = "a project is begun where none of its files exists"
        fix = "another folder"
        raise ConfigError(
            [Problem(problem, str(path), fix=fix, code="bad-command") for path in existing]
        )
    try:
        for file, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        write_schemas(folder)
    except OSError as error:
        problem = "the folder cannot be written"
        raise ConfigError(
            Problem(problem, str(folder), got=error.strerror, code="unwritable-file")
        ) from error
    for target in sorted(targets.values()):
        print(target)
    print(f"\n{folder / 'README.md'} says what to type:")
    if folder != Path():
        print(f"  cd {folder}")
    print("  dougong train experiment=my_experiment")
    return 0


def is_part(path: Path) -> bool:
    """Return whether a path is a file of the template, rather than what Python left beside it."""
    return path.is_file() and "__pycache__" not in path.parts


def target_name(file: Path) -> Path:
    """Return the path of a file in the project; `dot_` stands for a leading dot."""
    parts = file.relative_to(TEMPLATE).parts
    return Path(*(part.replace("dot_", ".", 1) for part in parts))


def write_schemas(folder: Path) -> None:
    """Write the JSON Schema of everything under `conf/`, and the settings that name them."""
    from dougong.main import run_question

    target = folder / SCHEMAS
    target.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        run_question("schema", ["schema", "-o", str(target)])
    patterns = {}
    for file in sorted(target.glob("*.json")):
        if file.stem not in ("train", "hydra"):
            patterns[file.name] = SECTIONS.get(file.name, f"conf/{file.stem}/*.yaml")
    schemas = {f"./{(SCHEMAS / name).as_posix()}": glob for name, glob in patterns.items()}
    settings = json.dumps({"yaml.schemas": schemas}, indent=2)
    (folder / ".vscode" / "settings.json").write_text(settings + "\n", encoding="utf-8")
