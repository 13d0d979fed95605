"""Journeys through the page in a real browser: what is typed and clicked, and what is then seen."""

import re
import time

import pytest

from tests.studio.conftest import JOURNEY, SECONDS, expect_command, read_editor, type_over

pytest.importorskip("nicegui")
driver = pytest.importorskip("playwright.sync_api")
pytestmark = JOURNEY


def test_what_is_typed_is_drawn_counted_and_said_as_a_command(page):
    type_over(page, "dim: 64", "dim: 96")
    expect_command(page, "dougong train model=vit model.params.dim=96 data=digits")
    driver.expect(page.locator(".studio-graph svg title").first).to_contain_text("450,730")
    driver.expect(page.locator(".studio-value").first).to_contain_text("+122.9 %")


def test_a_mistake_keeps_the_graph_and_is_mended_by_a_click(page):
    type_over(page, "block: SelectToken", "block: SelectTokn")
    problem = page.locator(".studio-problem")
    driver.expect(problem).to_contain_text("SelectTokn")
    driver.expect(page.locator(".studio-stale svg")).to_be_visible()
    driver.expect(page.locator(".cm-line.studio-wrong")).to_contain_text("SelectTokn")
    driver.expect(page.locator('[data-node="pool"].wrong')).to_have_count(1)
    driver.expect(page.locator("[data-node].behind")).to_have_count(1)
    page.locator(".studio-fix").click()
    driver.expect(page.locator(".studio-errors")).to_contain_text("no mistakes")
    assert "block: SelectToken," in read_editor(page)
    driver.expect(page.locator(".studio-stale")).to_have_count(0)


def test_heads_that_do_not_divide_the_width_are_mended_in_chinese(page, address):
    page.goto(address.partition("?")[0] + "?model=vit&data=digits&lang=zh")
    page.wait_for_selector(".studio-graph svg")
    type_over(page, "heads: 4", "heads: 7")
    driver.expect(page.locator(".studio-problem").first).to_have_text(
        "SelfAttention：heads 必须整除 dim"
    )
    driver.expect(page.locator(".studio-underlined")).to_have_text("heads: 7")
    driver.expect(page.get_by_label("heads", exact=True)).to_have_value("7")
    fixes = page.locator(".studio-fix")
    driver.expect(fixes).to_have_count(2)
    driver.expect(fixes.first).to_contain_text("一键修正: heads: 8")
    fixes.last.click()
    driver.expect(page.locator(".studio-errors")).to_contain_text("没有错误")
    expect_command(page, "dougong train model=vit data=digits")
    page.get_by_label("撤销").click()
    driver.expect(fixes).to_have_count(2)


def test_a_block_is_completed_and_explained_while_it_is_typed(page):
    type_over(page, "SelectToken", "MeanTo")
    options = page.locator(".cm-tooltip-autocomplete li")
    driver.expect(options.first).to_contain_text("MeanTokens")
    driver.expect(page.locator(".cm-completionInfo")).to_contain_text("mean")
    time.sleep(0.2)  # an Enter that comes at once is a new line
    page.keyboard.press("Enter")
    assert "{block: MeanTokens, index: 0}" in read_editor(page)
    mark = page.locator(".studio-underlined")
    driver.expect(mark).to_have_text("index")
    mark.hover()
    driver.expect(page.locator(".cm-tooltip-hover")).to_contain_text("MeanTokens has no argument")
    page.locator(".studio-fix").click()
    driver.expect(page.locator(".studio-errors")).to_contain_text("no mistakes")
    page.locator(".cm-line", has_text="ClassToken").get_by_text("ClassToken").last.hover()
    driver.expect(page.locator(".cm-tooltip-hover")).to_contain_text("learned tokens")


def test_a_node_and_its_line_light_each_other(page):
    page.locator('[data-node="pool"] > .box').click()
    driver.expect(page.locator(".studio-path")).to_have_text("pool")
    driver.expect(page.locator(".cm-activeLine")).to_contain_text("pool:")
    driver.expect(page.locator(".studio-argument").first).to_contain_text("index")
    page.locator(".cm-line", has_text="head:").click()
    driver.expect(page.locator(".studio-path")).to_have_text("head")
    before = read_editor(page)
    page.keyboard.type(" typed")
    assert read_editor(page).replace(" typed", "") == before
    driver.expect(page.locator('[data-node="head"].chosen')).to_have_count(1)


def test_a_click_into_the_text_does_not_move_a_narrow_page(page):
    page.set_viewport_size({"width": 400, "height": 900})
    line = page.locator(".cm-line", has_text="head:")
    line.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    line.click()
    driver.expect(page.locator('[data-node="head"].chosen')).to_have_count(1)
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") == before
    here = page.locator(".studio-graph").bounding_box()
    node = page.locator('[data-node="head"] > .box').bounding_box()
    assert here["y"] <= node["y"] <= here["y"] + here["height"]


def test_a_slot_is_chosen_and_undone_without_the_keyboard(page):
    driver.expect(page.get_by_label("undo")).to_be_disabled()
    page.get_by_label("norm", exact=True).click()
    option = page.get_by_role("option").filter(has_text="rmsnorm")
    driver.expect(option).to_contain_text("Zhang and Sennrich")  # says what it is
    page.get_by_role("option").get_by_text("rmsnorm", exact=True).click()
    expect_command(page, "dougong train model=vit model/norm=rmsnorm data=digits")
    assert "norm: rmsnorm" in read_editor(page)
    page.get_by_label("undo").click()
    expect_command(page, "dougong train model=vit data=digits")
    page.get_by_label("redo").click()
    expect_command(page, "dougong train model=vit model/norm=rmsnorm data=digits")


def click_tool(page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def expect_line(page, text: str) -> None:
    driver.expect(page.locator(".cm-content")).to_contain_text(text)


def test_the_graph_is_edited_without_the_keyboard(page):
    before = read_editor(page)
    edge = page.locator('path[data-edge="position layers"]').bounding_box()
    page.mouse.click(edge["x"] + 2, edge["y"] + edge["height"] / 2)
    driver.expect(page.locator(".studio-tools")).to_contain_text("position → layers")
    click_tool(page, "insert a node behind")
    page.locator(".studio-option", has_text=re.compile("^Abs(?!olute)")).click()
    expect_line(page, "abs:     {block: Abs}")
    chosen = page.locator(".studio-node .studio-path")  # not the palette, which fades
    driver.expect(chosen).to_have_text("abs")
    page.locator('[data-node="abs"] > .box').click()
    click_tool(page, "duplicate the node")
    expect_line(page, "abs_2:   {block: Abs}")
    page.locator('[data-node="abs_2"] > .box').click()
    click_tool(page, "delete the node")
    driver.expect(page.locator('[data-node="abs_2"]')).to_have_count(0)
    page.get_by_text("choose several").click()
    for name in ("patch", "layers.0.mlp"):
        page.locator(f'[data-node="{name}"] > :is(.box, .shell)').click(position={"x": 9, "y": 9})
    click_tool(page, "draw a skip connection")
    page.get_by_role("button", name="apply").click()
    driver.expect(page.locator(".q-notification")).to_contain_text("different graphs")
    page.locator('[data-node="layers.0.mlp"] > .shell').click(position={"x": 9, "y": 9})
    page.locator('[data-node="abs"] > .box').click()
    page.locator('[data-node="patch"] > .box').click()
    page.locator('[data-node="position"] > .box').click()
    click_tool(page, "fold into a template")
    page.get_by_role("button", name="apply").click()
    expect_line(page, "part: {use: part}")
    driver.expect(page.locator('[data-node="part.abs"]')).to_have_count(1)
    driver.expect(page.locator(".studio-errors")).to_contain_text("no mistakes")
    for _ in range(4):
        page.get_by_label("undo").click()
    driver.expect(page.locator('[data-node="part"], [data-node="abs"]')).to_have_count(0)
    expect_command(page, "dougong train model=vit data=digits")
    assert read_editor(page) == before


def test_a_skip_connection_is_drawn_and_the_text_formatted(page):
    page.get_by_text("choose several").click()
    for name in ("position", "norm"):
        page.locator(f'[data-node="{name}"] > .box').click()
    click_tool(page, "draw a skip connection")
    page.get_by_role("button", name="apply").click()
    expect_line(page, "add:      {block: Add, in: [layers, position]}")
    driver.expect(page.locator('path[data-edge="position add"]')).to_have_count(1)
    type_over(page, "norm:     ", "norm: ")
    click_tool(page, "format the text")
    expect_line(page, "norm:     {use: norm}")


def test_a_param_is_set_in_its_field_and_the_draft_survives_the_page(page):
    page.get_by_label("depth", exact=True).fill("2")
    expect_command(page, "dougong train model=vit model.params.depth=2 data=digits")
    page.reload()
    expect_command(page, "dougong train model=vit model.params.depth=2 data=digits")
    assert "depth: 2" in read_editor(page)


def test_a_param_is_solved_for_the_budget_of_the_slider(page):
    page.get_by_role("slider").click(position={"x": 200, "y": 18})
    command = re.compile(r"model\.params\.dim=\d+ data=digits")
    driver.expect(page.locator(".studio-command code")).to_have_text(command)
    driver.expect(page.locator(".studio-numbers")).to_contain_text("least time a step")
    driver.expect(page.locator(".studio-value").nth(3)).to_contain_text("ms")


def test_the_difference_and_the_code_follow_the_text(page):
    type_over(page, "depth: 4", "depth: 3")
    page.get_by_role("tab", name="difference").click()
    driver.expect(page.locator(".studio-code").first).to_contain_text("multiply-adds")
    page.get_by_role("tab", name="PyTorch").click()
    driver.expect(page.locator(".studio-emit")).to_contain_text("class PatchEmbedding(nn.Module)")


def test_a_model_is_trained_and_its_report_opened(page, project):
    page.get_by_role("tab", name="train").click()
    page.get_by_label("epochs").fill("1")
    page.get_by_role("button", name="start").click()
    status = page.locator(".studio-status")
    driver.expect(status).to_contain_text("finished", timeout=5 * SECONDS * 1000)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="report").first.click()
    driver.expect(opened.value.locator("body")).to_contain_text("vit")
    page.get_by_role("tab", name="runs").click()
    driver.expect(page.locator(".studio-run").first).to_contain_text("finished")


def test_a_draft_with_a_mistake_is_opened_beside_the_graph_of_its_file(page):
    type_over(page, "block: SelectToken", "block: SelectTokn")
    driver.expect(page.locator(".studio-fix")).to_be_visible()
    page.reload()
    driver.expect(page.locator(".studio-stale svg")).to_be_visible()
    driver.expect(page.locator(".studio-problem")).to_contain_text("SelectTokn")


def test_a_script_in_a_name_is_text(page):
    type_over(page, "head:     {", '"<img src=x onerror=boom()>": {')
    driver.expect(page.locator(".studio-problem").first).to_be_visible()
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("width", [400, 1280, 2560])
def test_nothing_is_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    time.sleep(0.5)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_speaks_chinese(page, address):
    page.goto(address.partition("?")[0] + "?model=vit&lang=zh&theme=dark")
    driver.expect(page.locator(".studio-errors")).to_contain_text("没有错误")
    driver.expect(page.locator("body")).to_have_class(re.compile("body--dark"))
