"""Journeys: two graphs side by side, variants, and the code beside the graph."""

import pytest

from tests.studio.conftest import JOURNEY, expect_command, read_editor, type_over

pytest.importorskip("nicegui")
driver = pytest.importorskip("playwright.sync_api")
pytestmark = JOURNEY


def test_two_models_stand_side_by_side_with_their_difference_lit(page):
    type_over(page, "mlp: gelu", "mlp: swiglu")
    expect_command(page, "dougong train model=vit model/mlp=swiglu data=digits")
    page.get_by_role("tab", name="difference").click()
    page.locator(".q-toggle", has_text="side by side").click()
    here, there = page.locator(".studio-graph"), page.locator(".studio-other")
    driver.expect(here.locator('[data-node="layers.0.mlp.inner.gate"].added')).to_have_count(1)
    driver.expect(there.locator("svg")).to_be_visible()
    driver.expect(there.locator('[data-node="layers.0.mlp.inner.gate"]')).to_have_count(0)
    field = page.get_by_label("compare with")
    field.fill("swin_t")
    options = page.locator(".q-menu").get_by_role("option")  # the editor may offer words, too
    driver.expect(options).not_to_have_count(0)
    field.press("Enter")
    driver.expect(there.locator('[data-node^="stages"]').first).to_be_visible()
    page.get_by_role("tab", name="edit").click()
    driver.expect(there.locator("svg")).to_have_count(0)
    driver.expect(here.locator(".added")).to_have_count(0)


def test_a_variant_is_kept_and_gone_back_to(page):
    page.get_by_label("depth", exact=True).fill("3")
    expect_command(page, "dougong train model=vit model.params.depth=3 data=digits")
    page.get_by_role("tab", name="difference").click()
    now = page.locator(".studio-variants .studio-now")
    driver.expect(now).to_contain_text("model.params.depth=3")
    page.get_by_role("tab", name="edit").click()
    page.get_by_label("depth", exact=True).fill("2")
    page.get_by_role("tab", name="difference").click()
    driver.expect(now).to_contain_text("model.params.depth=2")
    row = page.locator(".studio-variants li", has_text="depth=3").first
    row.get_by_role("button", name="go back").click()
    expect_command(page, "dougong train model=vit model.params.depth=3 data=digits")
    assert "depth: 3" in read_editor(page)


def test_a_line_of_the_code_lights_its_node_and_back(page):
    page.get_by_role("tab", name="PyTorch").click()
    driver.expect(page.locator(".studio-emit .cm-line", has_text="import torch")).to_have_count(2)
    page.locator('.studio-graph [data-node="patch"] > .box').click()
    driver.expect(page.locator(".studio-emit .studio-here").first).to_contain_text("self.patch")
    page.locator(".studio-emit .cm-line", has_text="self.head = nn.Linear").click()
    driver.expect(page.locator('.studio-graph [data-node="head"].chosen')).to_have_count(1)
    driver.expect(page.locator(".studio-emit .studio-here").first).to_contain_text("self.head")
    driver.expect(page.get_by_role("tab", name="PyTorch")).to_have_attribute(
        "aria-selected", "true"
    )


def test_the_code_is_as_dark_as_the_system(page):
    ground = "(name) => getComputedStyle(document.querySelector(name)).backgroundColor"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.reload()
        page.get_by_role("tab", name="PyTorch").click()
        driver.expect(page.locator(".studio-emit .cm-line").first).to_be_visible()
        page.wait_for_timeout(2500)
        text = page.evaluate(ground, ".studio-editor .cm-editor")
        assert page.evaluate(ground, ".studio-emit .cm-editor") == text
        assert (max(map(int, text.strip("rgb()").split(","))) < 60) is (scheme == "dark")


def test_all_tabs_are_seen_and_variants_do_not_squeeze_the_difference(page, project):
    page.set_viewport_size({"width": 1280, "height": 900})
    for depth in (2, 3, 5, 6, 7):
        page.get_by_label("depth", exact=True).fill(str(depth))
        expect_command(page, f"dougong train model=vit model.params.depth={depth} data=digits")
        page.wait_for_timeout(2000)  # a text that stands is a variant
    right = page.locator(".studio-right").bounding_box()
    for tab in page.get_by_role("tab").all():
        box = tab.bounding_box()
        assert box["x"] >= right["x"] - 1
        assert box["x"] + box["width"] <= right["x"] + right["width"] + 1
    page.get_by_role("tab", name="difference").click()
    driver.expect(page.locator(".studio-variants li")).not_to_have_count(0)
    text = page.locator(".studio-difference")
    driver.expect(text).to_contain_text("parameters")
    assert text.bounding_box()["height"] > 60
