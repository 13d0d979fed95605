"""The site of the course: it is built, asks no other host, fits every window, and can be used by
keyboard and screen reader.

Needs the extra `site`; what a browser sees needs playwright and Chromium too, and axe-core: `npm
install axe-core` beside the repository, or AXE=FILE/axe.min.js. SITE=FOLDER takes a site that was
built; SHOTS=FOLDER keeps a picture of each page.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studio.conftest import BROWSER

ROOT = Path(__file__).resolve().parents[1]
AXE = Path(os.environ.get("AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
PAGES = {  # pages of every kind
    "home": "index.html",
    "plan": "docs/course/{plan}.html",
    "attention": "docs/course/{language}/02_attention.html",
    "swin": "docs/course/{language}/05_swin.html",
    "functions": "docs/course/{language}/08_functions.html",
    "positions": "docs/course/{language}/09_positions.html",
    "cat": "docs/course/{language}/11_cat.html",
    "decoders": "docs/course/{language}/12_decoders.html",
    "gallery": "gallery/index.html",
    "model": "docs/models/vit.html",
    "grammar": "docs/grammar.html",
    "catalogue": "docs/catalog.html",
    "results": "docs/results.html",
}
CHECK = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations.flatMap(({id, nodes}) =>
    nodes.map(({target, html}) => `${id}: ${target} ${html.slice(0, 160)}`));
}"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if given := os.environ.get("SITE"):
        return Path(given)
    pytest.importorskip("material", reason="needs the extra `site`")
    folder = tmp_path_factory.mktemp("built") / "site"
    words = [sys.executable, str(ROOT / "docs/course/site/build.py"), "-o", str(folder)]
    subprocess.run(words, check=True, timeout=900)
    return folder


def place(site, page, language):
    plan = "README.zh" if language == "zh" else "index"
    start = site / "zh" if language == "zh" else site
    return start / PAGES[page].format(language=language, plan=plan)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_page_names_another_host(site, language):
    for page in PAGES:
        text = place(site, page, language).read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//[^\"]+", text)
        assert not re.findall(r"<link[^>]+stylesheet[^>]+href=\"(?:https?:)?//[^\"]+", text)


@pytest.fixture(scope="module")
def browser():
    driver = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no browser")
    with driver.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


@pytest.fixture
def open_page(browser, site):
    contexts, problems = [], []

    def open_page(page, language="en", width=1280, theme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
        )
        contexts.append(context)
        opened = context.new_page()
        opened.on("pageerror", lambda error: problems.append(f"{page}: {error}"))
        opened.on("request", lambda request: problems.extend(other_hosts(page, request.url)))
        opened.goto(place(site, page, language).as_uri())
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def other_hosts(page, address):
    if address.startswith(("file:", "data:", "blob:", "about:")):
        return []
    return [f"{page} asks {address}"]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280, 2560])
def test_every_kind_of_page_fits_the_window(open_page, width, theme, language):
    wide = {}
    for name in PAGES:
        page = open_page(name, language, width, theme)
        page.wait_for_timeout(200)
        needed = page.evaluate("document.documentElement.scrollWidth")
        if needed > width:
            wide[name] = needed
        if shots := os.environ.get("SHOTS"):
            page.screenshot(path=f"{shots}/{name}_{language}_{width}_{theme}.png", full_page=True)
    assert wide == {}


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm install axe-core, or AXE=FILE")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_axe_finds_no_violation(open_page, language, theme):
    found = {}
    for name in PAGES:
        page = open_page(name, language, theme=theme)
        page.wait_for_timeout(1000)  # the theme moves its tabs in
        page.evaluate(AXE.read_text(encoding="utf-8"))
        if violations := page.evaluate(CHECK):
            found[name] = sorted(set(violations))
    assert found == {}


def test_the_parts_are_used_by_the_keyboard_and_keep_their_state_in_the_address(open_page):
    page = open_page("functions")
    slider = page.get_by_label("temperature T")
    slider.focus()
    page.keyboard.press("Home")
    told = page.locator(".widget [aria-live]")
    assert told.inner_text().startswith("T = 0.1: the first answer has")
    assert page.url.endswith("#temperature=0")
    page = open_page("positions", "zh")
    page.get_by_label("位置编码的种类").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_label("位置", exact=True).focus()
    page.keyboard.press("End")
    told = page.locator(".widget [aria-live]")
    assert told.inner_text() == "位置 31 与 31：1.00，30：0.97，0：0.58。"
    page = open_page("decoders")
    told = page.locator(".widget [aria-live]")
    assert told.inner_text().startswith("Place 2 of 12 sees 2; 0 % of its weight")
    page.get_by_label("causal mask").focus()
    page.keyboard.press("Space")
    assert told.inner_text().startswith("Place 2 of 12 sees 12; 81 % of its weight")
    page.keyboard.press("Tab")
    assert told.inner_text().startswith("Place 1 of 12 sees 12; 92 % of its weight")
    assert page.url.endswith("#head=0&place=0&hidden=0")
