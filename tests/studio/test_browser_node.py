"""Journeys in a browser: the arguments of a node are edited, and another language is chosen."""

import re

import pytest

from tests.studio.conftest import EDITOR, JOURNEY, expect_command, read_editor, type_over

pytest.importorskip("nicegui")
driver = pytest.importorskip("playwright.sync_api")
pytestmark = JOURNEY
SEEN = (
    f"() => {{ {EDITOR} return [editor.state.selection.main.head, "
    "document.querySelector('.studio-graph').scrollTop, "
    "document.querySelector('.studio-panels .q-panel').scrollTop, "
    "document.querySelector('.studio-graph svg').getAttribute('width')]; }"
)


def attention_of(page) -> str:
    return next(
        line for line in read_editor(page).splitlines() if line.startswith("      attention")
    )


def choose(page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).first.click()
    page.get_by_role("option").get_by_text(option, exact=True).click()


def test_an_argument_is_typed_refused_chosen_left_out_and_undone(page):
    before = read_editor(page)
    page.locator('[data-node="layers.0.attention.inner"] > .box').click()
    heads = page.get_by_label("heads", exact=True)
    driver.expect(heads).to_have_value("default(params.heads, max(1, dim // 64))")
    driver.expect(page.locator(".studio-argument", has=heads)).to_contain_text("= 4")
    heads.fill("8")
    expect_draft = page.locator(".studio-command code", has_text="vit_draft")
    driver.expect(expect_draft).to_be_visible()
    assert "inner: {use: attention, heads: 8}" in attention_of(page)
    heads.fill("7")
    mistake = page.locator(".studio-argument .studio-problem", has_text="must divide")
    driver.expect(mistake).to_be_visible()
    driver.expect(heads).to_be_focused()
    heads.fill("")
    expect_command(page, "dougong train model=vit data=digits")
    assert read_editor(page) == before
    driver.expect(page.locator('[data-node="layers.0.attention.inner"].chosen')).to_have_count(1)
    choose(page, "causal", "true")
    driver.expect(expect_draft).to_be_visible()
    assert "inner: {use: attention, causal: true}" in attention_of(page)
    page.get_by_label("undo").click()
    expect_command(page, "dougong train model=vit data=digits")
    driver.expect(page.get_by_label("causal", exact=True).first).to_have_value("")


def test_another_language_shows_the_same_text_node_levels_and_place(page):
    page.set_viewport_size({"width": 1400, "height": 600})
    type_over(page, "depth: 4", "depth: 3")
    expect_command(page, "dougong train model=vit model.params.depth=3 data=digits")
    choose(page, "levels", "3")
    page.get_by_label("zoom in").click()
    page.locator('[data-node="head"] > .box').click()
    driver.expect(page.locator(".studio-path")).to_have_text("head")
    page.locator(".studio-graph").hover()
    page.mouse.wheel(0, 200)
    page.locator(".studio-panels").hover()
    page.mouse.wheel(0, 120)
    page.wait_for_timeout(1000)
    seen = page.evaluate(SEEN)
    assert all(map(float, seen))
    choose(page, "language", "中文")
    driver.expect(page.locator(".studio-errors")).to_contain_text("没有错误")
    driver.expect(page.locator(".studio-path")).to_have_text("head")
    driver.expect(page.locator('[data-node="head"].chosen')).to_have_count(1)
    driver.expect(page.get_by_role("tab", selected=True)).to_have_text(re.compile("节点"))
    page.wait_for_timeout(3500)
    assert page.evaluate(SEEN) == seen
    driver.expect(page.get_by_label("展开层数", exact=True).first).to_have_value("3")
    assert "depth: 3" in read_editor(page)
    page.get_by_label("撤销").click()
    expect_command(page, "dougong train model=vit data=digits")


@pytest.mark.parametrize(("width", "motion"), [(1280, "reduce"), (400, "no-preference")])
def test_where_each_value_comes_from_comes_into_view(page, width, motion):
    page.set_viewport_size({"width": width, "height": 600})
    page.emulate_media(reduced_motion=motion)
    page.locator('[data-node="layers.0.attention.inner"] > .box').click()
    driver.expect(page.locator(".studio-path")).to_have_text("layers.0.attention.inner")
    head = page.get_by_role("button", name="where each value comes from")
    text = page.get_by_role("group", name="where each value comes from")
    head.scroll_into_view_if_needed()
    for unfold in (head.click, lambda: head.press("Enter")):
        unfold()
        driver.expect(text).to_be_focused()
        driver.expect(text).to_be_in_viewport(ratio=0.9)
        driver.expect(head).to_be_in_viewport()
        head.click()
        driver.expect(text).to_be_hidden()
