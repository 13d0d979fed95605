"""Journeys: what a trained network sees, by pointing, drawing and on the nodes of the graph."""

import shutil
from pathlib import Path

import pytest

from tests.studio.conftest import JOURNEY

pytest.importorskip("nicegui")
driver = pytest.importorskip("playwright.sync_api")
pytestmark = JOURNEY
RUN = Path(__file__).resolve().parents[1] / "data" / "run_of_0_1_0"


@pytest.fixture
def looking(page, project):
    folder = project / "runs" / "2026-01-01" / "00-00-00"
    if not folder.exists():
        shutil.copytree(RUN, folder)
    page.get_by_role("tab", name="look").click()
    page.wait_for_selector(".studio-heads canvas")
    return page


def test_pointing_at_a_place_shows_where_each_head_looks(looking):
    page = looking
    captions = page.locator(".studio-head figcaption")
    driver.expect(page.locator(".studio-prediction li")).to_have_count(5)
    before = captions.all_inner_texts()
    page.locator(".studio-picker canvas").hover(position={"x": 100, "y": 100})
    driver.expect(captions.first).not_to_have_text(before[0])
    picker = page.get_by_role("slider", name="the token that looks")
    place = int(picker.get_attribute("aria-valuenow"))
    picker.press("ArrowRight")
    driver.expect(picker).to_have_attribute("aria-valuenow", str(place + 1))
    driver.expect(page.locator(".studio-outputs")).to_contain_text("layers.1")


def test_a_click_on_a_node_of_attention_chooses_its_layer(looking):
    page = looking
    driver.expect(page.get_by_label("layer of attention")).to_have_value("layers.1.attention.inner")
    page.locator('[data-node="layers.0.attention.inner"] > .box').click()
    driver.expect(page.get_by_label("layer of attention")).to_have_value("layers.0.attention.inner")
    driver.expect(page.get_by_role("tab", name="look")).to_have_attribute("aria-selected", "true")
    page.locator('[data-node="patch"] > .box').click()
    driver.expect(page.locator(".studio-path")).to_have_text("patch")


def test_a_digit_that_is_drawn_is_judged(looking):
    page = looking
    before = page.locator(".studio-prediction").inner_text()
    box = page.locator(".studio-draw").bounding_box()
    page.mouse.move(box["x"] + 56, box["y"] + 15)
    page.mouse.down()
    page.mouse.move(box["x"] + 56, box["y"] + 95, steps=5)
    page.mouse.up()
    driver.expect(page.locator(".studio-prediction")).not_to_have_text(before)
    assert page.evaluate("document.querySelector('.studio-picker img').naturalWidth") == 8
    driver.expect(page.get_by_label("test sample")).to_have_value("")  # it is none


def test_gradients_stand_on_the_nodes(looking):
    page = looking
    page.get_by_label("on the nodes").click()
    page.locator(".q-menu .q-item", has_text="gradients").click()
    driver.expect(page.locator('[data-node="patch"] > text.studio-heat')).to_have_count(1)
    page.get_by_role("tab", name="edit").click()
    page.get_by_label("depth", exact=True).fill("2")
    driver.expect(page.locator('[data-node="head"] > rect.studio-heat')).to_have_count(1)
