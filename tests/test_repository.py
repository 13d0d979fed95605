"""Files that a hosting service, an editor or a packager reads agree with the project."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = ["bug_report.yml", "feature_request.yml"]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs/models/README.md",
]

OWN_PATH = r"(?:blocks|dougong|tasks|conf|tests|docs|bench|hydra_plugins)/[\w./*]*"


def read_text(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


PYPROJECT = tomllib.loads(read_text("pyproject.toml"))
PROJECT = PYPROJECT["project"]
MAKEFILE = read_text("Makefile")


def recipe_of(target: str) -> list[str]:
    """The commands of a Makefile target."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found is not None, target
    return [line.strip() for line in found[1].splitlines()]


# Workflows ----------------------------------------------------------------------------------------


def steps_of(workflow: Path) -> list[dict]:
    return [
        step
        for job in yaml.safe_load(read_text(workflow))["jobs"].values()
        for step in job["steps"]
    ]


def commands_of(workflow: Path) -> list[str]:
    return [step["run"] for step in steps_of(workflow) if "run" in step]


def test_workflows_call_make_as_the_readme_does():
    called = {
        workflow.stem: [c for c in commands_of(workflow) if c.startswith("make")]
        for workflow in WORKFLOWS
    }
    assert called == {"test": ["make test"], "nightly": ["make test-all"]}
    for (command,) in called.values():
        assert command in read_text("README.md")
        assert recipe_of(command.removeprefix("make "))


def test_workflows_take_the_oldest_and_the_newest_python():
    minors = [
        minor for minor in range(30) if f"3.{minor}" in SpecifierSet(PROJECT["requires-python"])
    ]
    ends = [f"3.{minors[0]}", f"3.{minors[-1]}"]
    for workflow in WORKFLOWS:
        for job in yaml.safe_load(read_text(workflow))["jobs"].values():
            assert job["strategy"]["matrix"]["python"] == ends


def test_workflows_install_exact_versions_without_cuda():
    for workflow in WORKFLOWS:
        for command in commands_of(workflow):
            if "pip install" in command:
                assert "-c constraints.txt" in command
                assert "--extra-index-url https://download.pytorch.org/whl/cpu" in command


def test_the_wheel_is_tried_outside_the_source_tree():
    steps = steps_of(ROOT / ".github/workflows/test.yml")
    outside = [step["run"] for step in steps if "runner.temp" in step.get("working-directory", "")]
    assert [command.split()[0] for command in outside] == ["empty/bin/python"] * 2
    assert outside[-1] == "empty/bin/python -m blocks explain model=vit"
    inside = [step.get("run", "").split('"')[-1].strip() for step in steps]
    assert inside.index("-m pip check") < inside.index("-m pytest -m slow tests/test_install.py")


def test_a_workflow_can_only_read_the_repository():
    for workflow in WORKFLOWS:
        assert yaml.safe_load(read_text(workflow))["permissions"] == {"contents": "read"}


# Hooks, forms, editors ----------------------------------------------------------------------------


def test_hooks_check_what_lint_checks_with_the_versions_of_the_environment():
    (repository,) = yaml.safe_load(read_text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in hooks]
    assert entries == [
        line.removeprefix("$(BIN)/").removesuffix(" .") for line in recipe_of("lint")
    ]
    for entry in entries:
        assert re.search(rf"^{entry.split()[0]}==", read_text("constraints.txt"), re.MULTILINE)


@pytest.mark.parametrize("form", FORMS)
def test_an_issue_form_is_well_formed(form):
    found = yaml.safe_load(read_text(f".github/ISSUE_TEMPLATE/{form}"))
    assert {"name", "description", "body"} <= set(found)
    asked = [part for part in found["body"] if part["type"] != "markdown"]
    assert {part["type"] for part in asked} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert len({part["id"] for part in asked}) == len(asked)
    assert all(part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


def test_there_are_no_other_issue_forms():
    names = {path.name for path in (ROOT / ".github/ISSUE_TEMPLATE").iterdir()}
    assert names == {*FORMS, "config.yml"}
    assert yaml.safe_load(read_text(".github/ISSUE_TEMPLATE/config.yml")) == {
        "blank_issues_enabled": True
    }


def test_editors_wrap_python_where_ruff_does():
    (section,) = re.findall(r"^\[\*\.py\]\n((?:\w.*\n)+)", read_text(".editorconfig"), re.MULTILINE)
    assert f"max_line_length = {PYPROJECT['tool']['ruff']['line-length']}\n" in section


# Packages -----------------------------------------------------------------------------------------


def test_types_are_shipped():
    assert "Typing :: Typed" in PROJECT["classifiers"]
    for package in ("blocks", "tasks"):
        assert package in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        assert read_text(f"{package}/py.typed") == ""


def test_the_citation_says_what_the_project_says():
    citation = yaml.safe_load(read_text("CITATION.cff"))
    (released,) = re.findall(
        rf"^## \[{re.escape(PROJECT['version'])}\] - (\S+)$",
        read_text("CHANGELOG.md"),
        re.MULTILINE,
    )
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"]
    assert str(citation["date-released"]) == released
    assert citation["abstract"] == PROJECT["description"]
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["authors"] == PROJECT["authors"]


# Documents ----------------------------------------------------------------------------------------


def links_of(page: Path) -> list[str]:
    prose = re.sub(
        r"^```.*?^```$|`[^`\n]*`",
        "",
        page.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    return re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose)


def test_the_index_names_every_document():
    index = ROOT / "docs/README.md"
    named = {(index.parent / link).resolve() for link in links_of(index)}
    assert set(DOCUMENTS) - named == {index}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_document_leads_somewhere(page):
    missing = [link for link in links_of(page) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_that_a_document_names_exists(page):
    spans = re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
    paths = [span for span in spans if re.fullmatch(OWN_PATH, span)]
    assert not [path for path in paths if not any(ROOT.glob(path.rstrip("/")))]
