"""Whole journeys: from the first visit to a trained network, to another family, to a sentence."""

import os
import re
import subprocess
import sys
import time

import pytest

from blocks.support.program import DOOR
from tests.studio.conftest import JOURNEY, SECONDS, expect_command, read_editor

pytest.importorskip("nicegui")
driver = pytest.importorskip("playwright.sync_api")
pytestmark = JOURNEY
VISIT = 90.0  # seconds of a first visit, on cores that are idle
TRAINING = [
    "experiment=language",
    "model.params.dim=16",
    "model.params.depth=1",
    "data.vocab=300",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
]


def choose(page, label: str, option: str) -> None:
    """Choose an option of a drop-down by the mouse; a long list is scrolled by its wheel."""
    page.get_by_label(label, exact=True).first.click()
    found = page.get_by_role("option").get_by_text(option, exact=True)
    page.locator(".q-menu").last.hover()
    for _ in range(60):
        if found.count():
            break
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(100)
    found.first.click()


def test_a_first_visit_leads_to_a_changed_and_trained_vit_by_the_mouse_alone(page, address):
    is_idle = os.getloadavg()[0] < 2 * (os.cpu_count() or 1)
    start = time.monotonic()
    page.goto(address)
    page.wait_for_selector(".studio-graph svg")
    choose(page, "norm", "rmsnorm")
    choose(page, "mlp", "swiglu")
    expect_command(page, "dougong train model=vit model/norm=rmsnorm model/mlp=swiglu data=digits")
    page.get_by_role("tab", name="train").click()
    page.get_by_role("button", name="start", exact=True).click()
    status = page.locator(".studio-status").first
    driver.expect(status).to_contain_text("finished", timeout=10 * SECONDS * 1000)
    scores = page.get_by_text(re.compile(r"test: loss \d\.\d{4}\s+accuracy [01]\.\d{4}"))
    driver.expect(scores).to_be_visible()
    assert time.monotonic() - start < VISIT or not is_idle


def test_swin_is_reached_from_vit_by_drop_downs(page):
    choose(page, "model", "swin")
    driver.expect(page.locator('[data-node^="stages"]').first).to_be_visible()
    choose(page, "data", "digits")
    expect_command(page, "dougong train model=swin data=digits")
    choose(page, "attention", "window_cosine")
    expect_command(page, "dougong train model=swin model/attention=window_cosine data=digits")
    assert "attention: window_cosine" in read_editor(page)
    driver.expect(page.locator(".studio-errors")).to_contain_text("no mistakes")


def test_a_sentence_flows_through_a_language_model(page, project):
    command = [sys.executable, str(DOOR), "train", *TRAINING]
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL)
    run = max(project.glob("runs/*/*"), key=lambda folder: folder.stat().st_mtime)
    page.get_by_role("tab", name="look").click()
    page.get_by_label("run", exact=True).click()
    page.locator(".q-menu .q-item", has_text=run.relative_to(project).as_posix()).click()
    field = page.get_by_label("a sentence of your own")
    field.fill("A quick list is sorted")
    field.press("Enter")
    chips = page.locator(".studio-picker .studio-token")
    driver.expect(page.locator(".studio-picker")).to_contain_text("quick")
    captions = page.locator(".studio-head figcaption")
    chips.nth(1).hover()
    before = captions.first.inner_text()
    chips.nth(5).hover()
    driver.expect(captions.first).not_to_have_text(before)
    driver.expect(page.locator(".studio-outputs").last).to_contain_text("layers.0")
