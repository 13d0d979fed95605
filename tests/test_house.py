"""The house rules of CONTRIBUTING.md, held by reading the files: nothing here imports a block or
trains.
"""

import ast
import re
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
LINES = 500  # a longer file holds more than one thing
STARTS = ("run", "Popen", "check_output")  # of a process


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def tree(path: Path) -> ast.Module:
    return ast.parse(text(path), str(path))


def imports(node: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere below a node, in functions too: "torch.nn",
    "blocks.errors.BlockError".
    """
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.level == 0, f"relative import in line {found.lineno}"
            yield from (f"{found.module}.{alias.name}" for alias in found.names)


# Blocks -------------------------------------------------------------------------------------------

NOT_FAMILIES = ("__init__", "__main__", "catalog", "errors")
FAMILIES = [
    path for path in sorted((ROOT / "blocks").glob("*.py")) if path.stem not in NOT_FAMILIES
]
for folder in ("attention", "combine", "losses"):
    FAMILIES += [path for path in python_files(f"blocks/{folder}") if path.stem != "__init__"]


def test_the_front_doors_import_late_so_that_help_is_quick():
    for door, allowed in (
        ("train.py", ["tasks"]),
        ("tasks/session/session.py", ["blocks", "hydra", "tasks"]),
        ("dougong/main.py", ["dougong"]),
        ("blocks/__main__.py", []),
        ("blocks/__init__.py", []),
    ):
        top = [
            node
            for node in tree(ROOT / door).body
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        late = [
            module
            for node in top
            for module in imports(node)
            if module.partition(".")[0] not in (*sys.stdlib_module_names, *allowed)
        ]
        assert not late, f"{door} imports {late} before it knows what is asked"


def public_blocks() -> list[tuple[Path, ast.ClassDef]]:
    return [
        (path, node)
        for path in FAMILIES
        for node in tree(path).body
        if isinstance(node, ast.ClassDef)
        and node.name[0] != "_"
        and any(isinstance(item, ast.FunctionDef) and item.name == "forward" for item in node.body)
    ]


def test_the_assembler_knows_no_block_by_name():
    blocks = {node.name for _, node in public_blocks()}
    for path in python_files("blocks/graph"):
        for node in ast.walk(tree(path)):
            word = (
                node.id
                if isinstance(node, ast.Name)
                else node.value
                if isinstance(node, ast.Constant)
                else None
            )
            assert word not in blocks, (
                f"{name(path)}:{getattr(node, 'lineno', 0)} names the block {word}"
            )


# Files --------------------------------------------------------------------------------------------


def test_every_file_is_short_enough_to_be_read_at_once():
    files = [
        *python_files("blocks", "dougong", "tasks", "tests", "hydra_plugins", "bench"),
        ROOT / "train.py",
    ]
    long = {name(path): count for path in files if (count := len(text(path).splitlines())) > LINES}
    assert not long, f"over {LINES} lines: {long}"


@pytest.mark.parametrize(
    ("path", "block"), [pytest.param(*pair, id=pair[1].name) for pair in public_blocks()]
)
def test_a_block_tells_its_shape_and_its_source(path, block):
    words = ast.get_docstring(block) or ""
    missing = [part for part in ("Shape:", "Source:") if part not in words]
    assert not missing, f"{name(path)}:{block.lineno} {block.name} lacks {missing} in its docstring"


def test_every_configuration_file_begins_with_what_it_is():
    bare = []
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        lines = text(path).splitlines()
        header = [
            line
            for line in lines[:2]
            if line.startswith("# ") and not line.startswith("# @package")
        ]
        if not header or not lines[0].startswith("#"):
            bare.append(name(path))
    assert not bare, f"a first line that says what it is, and its paper, is missing in {bare}"


def test_blocks_do_not_print_in_passing():
    """Only the doors print; a block that prints does it once a step."""
    for path in python_files("blocks"):
        calls = [
            node
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        printing = [node.lineno for node in calls if node.func.id == "print"]
        door = path.name == "__main__.py" or path.parent.name == "commands"
        assert door or not printing, f"{name(path)} prints in line {printing}"


def test_every_text_is_read_and_written_with_its_encoding():
    """What ruff (PLW1514) does not see: methods of paths, and the output of processes."""
    wrong = []
    for path in python_files(
        "blocks", "dougong", "tasks", "hydra_plugins", "bench", "docs", "tests"
    ):
        for call in ast.walk(tree(path)):
            if not isinstance(call, ast.Call):
                continue
            given = {keyword.arg for keyword in call.keywords}
            called = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            opens = (called, len(call.args)) in (("read_text", 0), ("write_text", 1))
            if (opens or ("text" in given and called in STARTS)) and "encoding" not in given:
                wrong.append(f"{name(path)}:{call.lineno}")
    assert not wrong


def test_no_file_names_a_folder_of_somebodys_machine():
    suffixes = {".py", ".yaml", ".yml", ".toml", ".md", ".txt", ".cfg", ""}
    rooms = (
        "blocks",
        "dougong",
        "tasks",
        "conf",
        "tests",
        "docs",
        "bench",
        "hydra_plugins",
        ".ci",
        ".github",
    )
    files = [path for room in rooms for path in (ROOT / room).rglob("*")]
    files += [path for path in ROOT.glob("*") if path.name != ".git"]  # a file in a second worktree
    private = re.compile(r"(?<![\w.~-])/(?:home|root|Users|tmp|work|mnt)/|\b[A-Z]:\\Users")
    for path in files:
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts:
            for number, line in enumerate(
                path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
            ):
                assert not private.search(line), f"{name(path)}:{number} {line.strip()}"


# Versions -----------------------------------------------------------------------------------------

PROJECT = tomllib.loads(text("pyproject.toml"))["project"]


def pins(python: str) -> dict[str, str]:
    """package -> exact version, as constraints.txt has it for one Python."""
    found: dict[str, str] = {}
    for line in text("constraints.txt").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate({"python_version": python}):
                (exact,) = pin.specifier
                assert exact.operator == "==", line
                assert plain(pin.name) not in found, (
                    f"{pin.name} is pinned twice for Python {python}"
                )
                found[plain(pin.name)] = exact.version
    return found


def plain(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_constraints_pin_every_dependency_inside_its_range(python):
    exact = pins(python)
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *extras["dev"], *extras["tensorboard"]]:
        wanted = Requirement(line)
        assert plain(wanted.name) in exact, (
            f"{wanted.name} is missing in constraints.txt for Python {python}"
        )
        version = exact[plain(wanted.name)]
        assert version in wanted.specifier, (
            f"constraints.txt has {wanted.name} {version}, pyproject.toml asks for {line}"
        )


def test_the_changelog_begins_with_what_is_unreleased_and_then_with_this_version():
    headings = re.findall(r"^## (.*)$", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    releases = [
        re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", line) for line in headings[1:]
    ]
    assert None not in releases, headings
    versions = [Version(found[1]) for found in releases if found]
    dates = [date.fromisoformat(found[2]) for found in releases if found]
    assert str(versions[0]) == PROJECT["version"]
    assert versions == sorted(set(versions), reverse=True)
    assert dates == sorted(dates, reverse=True)


# Readme -------------------------------------------------------------------------------------------


def code_blocks(markdown: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w*)\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)


def headings(markdown: str) -> list[int]:
    prose = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]


def test_both_readmes_have_the_same_sections_and_the_same_commands():
    english, chinese = text("README.md"), text("README.zh-CN.md")
    assert headings(chinese) == headings(english)
    assert code_blocks(chinese) == code_blocks(english)


def test_the_readme_shows_the_model_as_it_is():
    kind, shown = code_blocks(text("README.md"))[0]
    assert (kind, shown) == ("yaml", text("conf/model/vit.yaml"))


# Contributing -------------------------------------------------------------------------------------

CONTRIBUTING = text("CONTRIBUTING.md")


def folders_of_the_tree() -> dict[str, str]:
    """folder -> its purpose, as the tree in CONTRIBUTING.md has them."""
    (shown,) = [code for kind, code in code_blocks(CONTRIBUTING) if kind == "text"]
    found: dict[str, str] = {}
    above: list[str] = []
    for line in shown.splitlines():
        indent, entry, purpose = re.fullmatch(r"( *)(\S+) +(\S.*)", line).groups()
        del above[len(indent) // 2 :]
        above.append(entry.rstrip("/"))
        if entry.endswith("/"):
            found["/".join(above)] = purpose
    return found


def folders_of_source() -> set[str]:
    found = {"conf/" + path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    for root in ("blocks", "dougong", "tasks", "hydra_plugins", "bench", "tests"):
        found |= {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / root).rglob("*.py")}
    return found


def test_the_tree_of_contributing_has_every_folder_of_source():
    shown = folders_of_the_tree()
    assert folders_of_source() - set(shown) == set()
    assert [folder for folder in shown if not (ROOT / folder).is_dir()] == []


def test_the_optional_members_of_a_block_are_those_that_blocks_have():
    section = CONTRIBUTING[CONTRIBUTING.index("## A block") : CONTRIBUTING.index("## A model")]
    members = re.findall(r"^\| `(\w+)[^`]*` \|", section, re.MULTILINE)
    defined = set()
    for path in FAMILIES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                defined.add(node.name)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                defined.add(node.id if isinstance(node, ast.Name) else node.attr)
    assert len(members) > 10
    assert [member for member in members if member not in defined] == []
