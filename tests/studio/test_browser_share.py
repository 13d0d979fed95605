"""Journeys: what is taken from the page, and opened again by its address."""

import re
import shutil
import subprocess

import pytest

from tests.studio.conftest import JOURNEY, SECONDS, expect_command, read_editor, type_over

pytest.importorskip("nicegui")
driver = pytest.importorskip("playwright.sync_api")
pytestmark = JOURNEY
PAPER = r"\documentclass{article}\usepackage{tikz}\begin{document}\input{vit.tex}\end{document}"


def take(page, label):
    page.get_by_role("button", name="share", exact=True).click()
    with page.expect_download() as found:
        page.locator(".studio-share").get_by_role("button", name=label, exact=True).click()
    page.locator(".studio-share").get_by_role("button", name="close").click()
    driver.expect(page.locator(".studio-share")).to_have_count(0)
    return found.value


def test_a_figure_of_a_chosen_fold_level_is_compiled_by_latex(page, tmp_path):
    page.get_by_label("levels").click()
    page.locator(".q-menu .q-item", has_text=re.compile("^0$")).click()
    driver.expect(page.locator('[data-node="layers.0.attention"]')).to_have_count(0)
    take(page, "TikZ (LaTeX)").save_as(tmp_path / "vit.tex")
    text = (tmp_path / "vit.tex").read_text(encoding="utf-8")
    assert r"\textbf{layers}" in text
    assert r"\textbf{attention" not in text
    if shutil.which("pdflatex"):
        (tmp_path / "paper.tex").write_text(PAPER, encoding="utf-8")
        command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=SECONDS, capture_output=True)
        assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")


def test_figures_file_and_code_are_those_of_the_text(page, tmp_path):
    type_over(page, "depth: 4", "depth: 3")
    expect_command(page, "dougong train model=vit model.params.depth=3 data=digits")
    for label, begin in (
        ("SVG", b"<svg"),
        ("PNG", b"\x89PNG"),
        ("Mermaid", b"flowchart TB"),
        ("command", b"dougong train model=vit model.params.depth=3 data=digits"),
        ("PyTorch", b'"""'),
    ):
        take(page, label).save_as(tmp_path / label)
        assert (tmp_path / label).read_bytes().startswith(begin), label
    take(page, "YAML").save_as(tmp_path / "vit.yaml")
    assert (tmp_path / "vit.yaml").read_text(encoding="utf-8") == read_editor(page)


def test_a_link_opens_the_text_and_undo_the_own_one(page, address):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    type_over(page, "dim: 64", "dim: 96")
    expect_command(page, "dougong train model=vit model.params.dim=96 data=digits")
    page.get_by_role("button", name="share", exact=True).click()
    page.get_by_role("button", name="copy the link").click()
    page.wait_for_timeout(300)
    link = page.evaluate("navigator.clipboard.readText()")
    assert "token" not in link
    page.keyboard.press("Escape")
    page.get_by_label("undo").click()
    expect_command(page, "dougong train model=vit data=digits")
    page.goto("about:blank")
    page.goto(link)
    expect_command(page, "dougong train model=vit model.params.dim=96 data=digits")
    assert "#" not in page.url
    page.get_by_label("undo").click()
    expect_command(page, "dougong train model=vit data=digits")


def test_the_address_keeps_levels_and_tab(page):
    page.get_by_label("levels").click()
    page.locator(".q-menu .q-item", has_text=re.compile("^1$")).click()
    page.get_by_role("tab", name="difference").click()
    page.wait_for_url(re.compile("tab=difference.*levels=1"))
    page.reload()
    driver.expect(page.get_by_role("tab", name="difference")).to_have_attribute(
        "aria-selected", "true"
    )
    driver.expect(page.locator('[data-node="layers.0.attention"]')).to_have_count(1)
    driver.expect(page.locator('[data-node="layers.0.attention.inner"]')).to_have_count(0)
