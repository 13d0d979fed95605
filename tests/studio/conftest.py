"""The page of studio in a headless browser, for the journeys."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.support.program import DOOR

BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
BROWSER = next((path for path in BROWSERS if os.path.exists(path)), None)
SECONDS = 60
JOURNEY = [  # the marks of a file of journeys
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no browser"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(DOOR), "studio", "model=vit", "data=digits", "--no-browser"],
        cwd=project,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(SECONDS)


@pytest.fixture(scope="module")
def browser():
    driver = pytest.importorskip("playwright.sync_api")
    driver.expect.set_options(timeout=SECONDS * 1000)
    with driver.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


@pytest.fixture
def page(browser, address: str, project: Path):
    for draft in project.glob("studio/model/*.yaml"):
        draft.unlink()
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    page.wait_for_selector(".studio-graph svg")
    while drafts := list(project.glob("studio/model/*.yaml")):  # the page before wrote late
        for draft in drafts:
            draft.unlink(missing_ok=True)
        page.reload()
        page.wait_for_selector(".studio-graph svg")
    yield page
    context.close()
    assert not problems


EDITOR = """
const editor = getElement(Number(document.querySelector(".studio-editor").id.slice(1))).editor;
"""


def type_over(page, old: str, new: str) -> None:
    """Replace a text in the editor by typing."""
    code = """
      const from = editor.state.doc.toString().indexOf(old);
      editor.focus();
      editor.dispatch({selection: {anchor: from, head: from + old.length}});
    """
    page.evaluate(f"(old) => {{ {EDITOR} {code} }}", old)
    page.keyboard.type(new)


def read_editor(page) -> str:
    return page.evaluate(f"() => {{ {EDITOR} return editor.state.doc.toString(); }}")


def write_editor(page, text: str) -> None:
    """Put a text in the place of that in the editor, as pasting does."""
    code = """
      const changes = {from: 0, to: editor.state.doc.length, insert: text};
      editor.dispatch({changes, userEvent: "input.paste"});
    """
    page.evaluate(f"(text) => {{ {EDITOR} {code} }}", text)


def expect_command(page, text: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator(".studio-command code")).to_have_text(text)
