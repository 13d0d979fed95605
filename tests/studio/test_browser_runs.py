"""Journeys: mistakes mended by a click, the skip connection of a U-Net, two runs compared."""

import json
import re
import shutil
from pathlib import Path

import pytest

from blocks.support.conf_folders import conf_folder
from tests.studio.conftest import JOURNEY, read_editor, write_editor
from tests.studio.test_engine import MENDED

pytest.importorskip("nicegui")
driver = pytest.importorskip("playwright.sync_api")
pytestmark = JOURNEY
RUN = Path(__file__).resolve().parents[1] / "data" / "run_of_0_1_0"
CURVES = """() => {
  const chart = document.querySelector(".studio-chart");
  const series = getElement(Number(chart.id.slice(1))).chart.getOption().series;
  return series.map((each) => each.data.length);
}"""  # points of each curve
VIT = (conf_folder() / "model" / "vit.yaml").read_text(encoding="utf-8")
UNET = """inputs: {image: data.image}
graph:
  down:   {block: Conv2d, features: 8, kernel: 3, padding: 1}
  pool:   {block: MaxPool2d, kernel: 2}
  inner:  {block: Conv2d, features: 16, kernel: 3, padding: 1}
  up:     {block: ConvTranspose2d, features: 8, kernel: 2, stride: 2}
  second: {block: Conv2d, features: 8, kernel: 3, padding: 1}
  head:   {block: Conv2d, features: data.classes, kernel: 1}
outputs: {logits: head}
"""


def test_each_kind_of_mistake_is_seen_and_mended_by_a_click(page):
    errors = page.locator(".studio-errors")
    for right, (wrong, better) in MENDED.items():
        write_editor(page, VIT.replace(right, wrong, 1))
        driver.expect(page.locator(".studio-problem").first).to_be_visible()
        driver.expect(page.locator(".cm-line.studio-wrong").first).to_be_visible()
        page.locator(".studio-fix").first.click()
        driver.expect(errors).to_contain_text("no mistakes")
        assert better in read_editor(page), right


def test_the_skip_connection_of_a_unet_is_drawn(page):
    write_editor(page, UNET)
    page.locator('[data-node="up"]').wait_for()
    page.get_by_text("choose several").click()
    for name in ("down", "second"):
        page.locator(f'[data-node="{name}"] > .box').click()
    page.get_by_role("button", name="draw a skip connection").click()
    page.get_by_label("joined by").click()
    page.locator(".q-menu .q-item", has_text="channels").click()
    page.get_by_role("button", name="apply").click()
    joined = "concat: {block: Concat, axis: 1, in: [up, down]}"
    driver.expect(page.locator(".cm-content")).to_contain_text(joined)
    driver.expect(page.locator('path[data-edge="down concat"]')).to_have_count(1)
    driver.expect(page.locator(".studio-errors")).to_contain_text("no mistakes")
    page.locator('[data-node="concat"] > .box').click()
    driver.expect(page.locator(".studio-node")).to_contain_text("16, 8, 8")
    page.locator('[data-node="inner"] > .box').click()
    field = page.locator(".studio-number", has_text="receptive field · inner")
    driver.expect(field).to_contain_text("8")  # 3, twice as many by the pool, and 3 of these


def test_two_runs_stand_in_one_chart_with_what_differs(page, project):
    for second in ("01", "02"):
        folder = project / "runs" / "2026-01-01" / f"00-00-{second}"
        shutil.copytree(RUN, folder)
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        record["overrides"] = ["model=vit", f"seed={second}"]
        (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    page.get_by_role("tab", name="runs").click()
    for second in ("01", "02"):
        page.get_by_text(re.compile(f"00-00-{second} ")).click()
    table = page.locator(".studio-compared table")
    driver.expect(table).to_contain_text("seed=01")
    driver.expect(table).to_contain_text("seed=02")
    driver.expect(table).not_to_contain_text("model=vit")
    driver.expect(page.locator(".studio-compared canvas")).to_be_visible()
    page.get_by_label("measure").click()
    page.get_by_role("option").get_by_text("train/loss", exact=True).click()
    page.get_by_label("language", exact=True).first.click()
    page.get_by_role("option").get_by_text("中文", exact=True).click()
    driver.expect(page.locator(".studio-errors")).to_contain_text("没有错误")
    driver.expect(table).to_contain_text("seed=02")
    driver.expect(page.locator(".studio-compared canvas")).to_be_visible()
    driver.expect(page.get_by_label("指标")).to_have_value("train/loss")


def test_another_language_shows_the_same_training_with_its_curve(page, project):
    run = "runs/2026-01-02/00-00-03"
    shutil.copytree(RUN, project / run)
    folder = project / "studio" / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("2026-01-02_00-00-03-0", "2026-01-02_00-00-04-1"):  # the later one printed nothing
        words = ["model=vit", "trainer.max_epochs=2", f"seed={name[-1]}"]
        content = {"name": name, "process": 2**30, "words": words}
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        (folder / f"{name}.log").write_text("", encoding="utf-8")
    page.reload()
    page.get_by_role("tab", name="train").click()
    status = page.locator(".studio-status")
    driver.expect(status).to_contain_text("seed=1")
    driver.expect(page.locator(".studio-chart")).to_be_hidden()
    (folder / "2026-01-02_00-00-04-1.log").write_text(f"run folder {run}\n", encoding="utf-8")
    driver.expect(page.locator(".studio-chart canvas")).to_be_visible()
    page.get_by_label("epochs").fill("8")
    page.get_by_label("more overrides").fill("seed=5")
    (folder / "2026-01-02_00-00-05-2.json").write_text(  # of another page, later
        json.dumps({"name": "2026-01-02_00-00-05-2", "process": 2**30, "words": ["seed=2"]}),
        encoding="utf-8",
    )
    drawn = page.evaluate(CURVES)
    assert drawn[0] > 0
    page.get_by_label("language", exact=True).first.click()
    page.get_by_role("option").get_by_text("中文", exact=True).click()
    driver.expect(page.locator(".studio-errors")).to_contain_text("没有错误")
    driver.expect(page.locator(".studio-chart canvas")).to_be_visible()
    driver.expect(status).to_contain_text("seed=1")
    assert page.evaluate(CURVES) == drawn
    driver.expect(page.get_by_label("轮数")).to_have_value("8")
    driver.expect(page.get_by_label("其他命令行选项")).to_have_value("seed=5")


def test_a_draft_is_named_and_a_node_that_is_gone_is_not_described(page):
    note = page.locator(".studio-command .studio-soft")
    driver.expect(note).to_be_hidden()
    write_editor(
        page, VIT.replace("  norm:", "  extra:    {block: Dropout, rate: 0.1}\n  norm:", 1)
    )
    driver.expect(note).to_contain_text("studio/model/vit_draft.yaml")
    page.locator('[data-node="extra"] > .box').click()
    driver.expect(page.locator(".studio-path")).to_have_text("extra")
    page.get_by_label("undo").click()
    driver.expect(page.locator(".studio-node")).to_have_text("choose a node, or a line of the file")
    driver.expect(note).to_be_hidden()
