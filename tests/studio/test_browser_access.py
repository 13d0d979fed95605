"""The page by keyboard and screen reader: axe-core finds no violation on the main path.

axe-core is no part of the repository: `npm install axe-core` beside it, or AXE=FILE/axe.min.js.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.studio.conftest import JOURNEY, SECONDS, expect_command, read_editor

pytest.importorskip("nicegui")
driver = pytest.importorskip("playwright.sync_api")
ROOT = Path(__file__).resolve().parents[2]
AXE = Path(os.environ.get("AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
RUN = ROOT / "tests" / "data" / "run_of_0_1_0"
pytestmark = JOURNEY
TABS = ("edit", "node", "difference", "PyTorch", "train", "look", "runs")
CHECK = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations.flatMap(({id, nodes}) =>
    nodes.map(({target, html}) => `${id}: ${target} ${html.slice(0, 160)}`));
}"""


def violations(page):
    page.wait_for_timeout(500)
    unnamed = page.locator(".cm-content:not([aria-label])")
    driver.expect(unnamed).to_have_count(0)  # an editor is named once it is mounted
    return page.evaluate(CHECK)


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm install axe-core, or AXE=FILE")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_on_the_main_path(page, address, project, theme):
    folder = project / "runs" / "2026-01-01" / "00-00-00"
    if not folder.exists():
        shutil.copytree(RUN, folder)
    page.goto(address.partition("?")[0] + f"?model=vit&data=digits&theme={theme}")
    page.wait_for_selector(".studio-graph svg")
    page.locator('[data-node="pool"] > .box').click()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = {}
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        found[tab] = violations(page)
    page.get_by_role("button", name="share", exact=True).click()
    found["share"] = violations(page)
    assert not sorted({each for listed in found.values() for each in listed})


def tab_to(page, wanted, most=60):
    """Press Tab until an element has the focus."""
    for _ in range(most):
        if page.evaluate("document.activeElement.matches('.cm-content')"):
            page.keyboard.press("Escape")  # else Tab indents
        page.keyboard.press("Tab")
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", wanted):
            return
    raise AssertionError(f"no way by the keyboard to {wanted}")


def test_the_main_path_is_walked_by_the_keyboard_alone(page):
    page.evaluate("document.activeElement.blur()")
    tab_to(page, ".studio-graph [data-node=patch]")
    page.keyboard.press("Enter")
    driver.expect(page.locator(".studio-path")).to_have_text("patch")
    tab_to(page, "[role=tab]")
    for _ in range(8):
        if page.evaluate("document.activeElement.innerText").strip() == "edit":
            break
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    driver.expect(page.get_by_label("depth", exact=True)).to_be_visible()
    tab_to(page, "[aria-label=depth]")
    page.keyboard.press("Control+a")
    page.keyboard.type("3")
    expect_command(page, "dougong train model=vit model.params.depth=3 data=digits")
    assert "depth: 3" in read_editor(page)
    tab_to(page, ".cm-content")
    page.keyboard.press("Control+z")
    driver.expect(page.locator(".studio-main")).to_be_visible()


@pytest.mark.parametrize("width", [400, 1280, 2560])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_part_is_wider_than_the_window(page, address, width, theme):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address.partition("?")[0] + f"?model=vit&data=digits&theme={theme}")
    page.wait_for_selector(".studio-graph svg")
    for tab in TABS:
        page.get_by_role("tab", name=re.compile(f"^{tab}$")).click(timeout=SECONDS * 1000)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        if shots := os.environ.get("SHOTS"):
            page.screenshot(path=f"{shots}/{width}_{theme}_{tab}.png", full_page=width == 400)
