"""The parts of the page without a browser: what they ask for when values come and go."""

import asyncio
import time
from typing import Any

import pytest

pytest.importorskip("nicegui")
from nicegui import Client, core, ui

from blocks.graph import ConfigError
from blocks.studio.compare.variants import Variants
from blocks.studio.drafts import Drafts
from blocks.studio.page.history import History
from blocks.studio.page.language.phrases import Phrases
from blocks.studio.page.panels.arguments import Arguments
from blocks.studio.page.panels.edit import Described, EditPanel
from blocks.studio.page.panels.errors import Errors
from blocks.studio.page.run.train import TrainPanel
from blocks.studio.run.runs import START_TIME, Started
from blocks.studio.server import read_begin, write_draft
from blocks.support.answers import error_entry


def form(norm: str, depth: str) -> dict[str, Any]:
    options = {"layernorm": "", "rmsnorm": ""}
    return {
        "slots": [{"name": "norm", "option": norm, "options": options}],
        "params": [
            {"name": "depth", "value": depth, "kind": "number"},
            {"name": "pool", "value": depth, "kind": "text"},
            {"name": "bias", "value": str(depth == "4").lower(), "kind": "switch"},
        ],
    }


class Asked:
    """A page that notes what it is asked for."""

    def __init__(self) -> None:
        self.text = ""
        self.say, self.edits = Phrases("en"), list[tuple[str, ...]]()

    async def edit(self, kind: str, name: str, value: str, node: str = "") -> None:
        self.edits.append((kind, name, value, node) if node else (kind, name, value))


def run(steps: Any) -> None:
    """Run with an event loop that NiceGUI knows."""

    async def main() -> None:
        core.loop = asyncio.get_running_loop()
        with Client(ui.page("/")):
            await steps()

    asyncio.run(main())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_field_that_is_filled_asks_for_no_edit():
    """It would come late, and undo what was chosen meanwhile."""

    async def steps() -> None:
        page = Asked()
        panel = EditPanel(page)
        panel.fill(form("layernorm", "4"))
        panel.fill(form("rmsnorm", "2"))
        await settle()
        assert page.edits == []
        panel.fields["slot", "norm"].value = "layernorm"
        await settle()
        assert page.edits == [("slot", "norm", "layernorm")]

    run(steps)


def describe(heads: str, **more: Any) -> dict[str, Any]:
    """Return what is known of a node with two arguments."""
    beside = {"origin": "", "text": "", "is_here": True, "is_fixed": False, "value": ""}
    number = {"kind": "a whole number", "choices": [], "default": "", **beside}
    switch = {"kind": "true or false", "choices": ["true", "false"], "default": "true", **beside}
    dim = {**number, "name": "dim", "written": "", "default": "inferred", "value": "64"}
    return {
        "path": "attention",
        "block": "SelfAttention",
        "target": "graph.attention",
        "arguments": [
            {**number, "name": "heads", "written": heads, **more},
            {**switch, "name": "bias", "written": ""},
            dim,
        ],
    }


def test_arguments_are_edited_and_their_fields_stay():
    async def steps() -> None:
        page = Asked()
        panel = Arguments(page)
        panel.fill(describe("4", value="4"))
        heads, bias = panel.fields["heads"], panel.fields["bias"]
        assert (heads.value, bias.value, panel.fields["dim"].value) == ("4", None, "64")
        panel.fill(describe("2 * 4", value="8"))
        assert panel.fields["heads"] is heads  # with its focus
        assert panel.notes["heads"].text == "= 8 · a whole number"
        assert panel.notes["bias"].text == "true or false · left out: true"
        await settle()
        assert page.edits == []
        heads.value, bias.value = "8", "false"
        await settle()
        assert page.edits == [
            ("argument", "heads", "8", "attention"),
            ("argument", "bias", "false", "attention"),
        ]
        error = error_entry("heads must divide dim", code="bad-argument")
        panel.blame([error | {"path": "graph.attention", "got": "heads=7, dim=64"}])
        assert panel.mistakes["heads"].text == "heads must divide dim"
        panel.fill(describe("8"))
        assert not panel.mistakes["heads"].visible

    run(steps)


def test_an_undo_that_comes_before_an_edit_has_ended_is_shown():
    async def steps() -> None:
        page, ended = Asked(), asyncio.Event()

        async def edit(*change: str, node: str = "") -> None:
            await ended.wait()

        page.edit = edit
        for is_wrong in (False, True):
            ended.clear()
            panel = Arguments(page)
            panel.fill(describe("4"))
            panel.fields["heads"].value = "8"
            await settle()
            panel.fill(describe("4"))  # undone
            assert panel.fields["heads"].value == "8"
            if is_wrong:  # the text has what was typed, and the arguments are those before it
                panel.blame([error_entry("x", code="bad-argument")])
            ended.set()
            await settle()
            assert panel.fields["heads"].value == ("8" if is_wrong else "4")

    run(steps)


def test_what_another_file_writes_is_not_left_out_here():
    async def steps() -> None:
        page = Asked()
        panel = Arguments(page)
        panel.fill(describe("4", is_here=False))
        panel.fields["heads"].value = ""
        panel._restore("heads")
        await settle()
        assert page.edits == []
        assert panel.fields["heads"].value == "4"

    run(steps)


def test_the_command_line_becomes_the_draft_and_another_draft_a_variant(tmp_path):
    drafts = Drafts(tmp_path)
    _, original = drafts.read("vit")
    words = ["model=vit", "data=digits", "model.params.dim=96", "data.size=16"]
    begin = write_draft(tmp_path, read_begin(words))
    assert (begin.model, begin.data, begin.words) == ("vit", "digits", ("data.size=16",))
    wide = original.replace("dim: 64", "dim: 96")
    assert drafts.read("vit") == (wide, original)
    write_draft(tmp_path, read_begin(["model=vit", "model/norm=rmsnorm"]))
    assert drafts.read("vit")[0] == original.replace("norm: layernorm", "norm: rmsnorm")
    assert [each.text for each in Variants(tmp_path, "vit").all.values()] == [wide]
    write_draft(tmp_path, read_begin(["model=vit", "data=digits"]))  # the draft goes on
    assert "rmsnorm" in drafts.read("vit")[0]


def test_a_command_line_that_no_model_takes_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no model 'vitt'"):
        write_draft(tmp_path, read_begin(["model=vitt"]))


def test_undo_is_offered_where_there_is_something_to_undo():
    history = History("a")
    assert (history.has(-1), history.has(1)) == (False, False)
    history.add("b")
    assert (history.has(-1), history.has(1)) == (True, False)
    assert history.step(-1) == "a"
    assert (history.has(-1), history.has(1)) == (False, True)


def test_each_option_of_a_slot_has_its_line_and_no_line_is_code():
    async def steps() -> None:
        texts = {"full": "all heads\nmore", "{{ 1 + 1 }}": "{{ alert(1) }}"}
        field = Described(texts, value="full")
        assert [(each["label"], each["text"]) for each in field._props["options"]] == [
            ("full", "all heads"), ("{{ 1 + 1 }}", "{{ alert(1) }}")
        ]  # fmt: skip
        assert "alert" not in field.ITEM + str(field.slots["option"].template)

    run(steps)


def test_nothing_is_called_right_while_it_is_checked():
    async def steps() -> None:
        page = Asked()
        errors = Errors(page)
        assert errors.state.text == "✓ no mistakes"
        errors.wait()
        assert errors.state.text == "checking…"
        errors.show([])
        assert errors.state.text == "✓ no mistakes"

    run(steps)


class Training:
    """The runs of a project with one training, whose state is set from outside."""

    def __init__(self) -> None:
        name = time.strftime(START_TIME, time.localtime(time.time() - 60)) + "-0"
        words = ["model=vit", "trainer.max_epochs=3"]
        self.started = Started(name, 1, words)
        self.found: dict[str, Any] = {
            "name": name, "words": words, "status": "running", "run": None,
            "rows": [], "output": "", "test": None,
        }  # fmt: skip

    def list_started(self) -> list[Started]:
        return [self.started]

    def is_running(self, started: Started) -> bool:
        return self.found["status"] == "running"

    def describe(self, started: Started) -> dict[str, Any]:
        return self.found


def test_a_training_shows_how_far_it_is_from_its_first_second():
    async def steps() -> None:
        page = Asked()
        page.runs = Training()
        panel, found = TrainPanel(page), page.runs.found
        panel._look()
        assert panel.progress.text.startswith("starting · 6")  # a minute
        assert (panel.starts.enabled, panel.stops.enabled) == (False, True)
        assert panel.bar.visible
        assert not panel.chart.visible
        found["run"] = "runs/day/time"
        panel._look()
        assert panel.progress.text.startswith("epoch 0 / 3 · ")
        found["rows"] = [{"epoch": 1.0, "train/loss": 2.0}, {"epoch": 2.0, "train/loss": 1.0}]
        panel._look()
        assert panel.progress.text.startswith("epoch 2 / 3 · ")
        assert panel.chart.visible
        assert panel.bar.value == 2 / 3
        found["status"] = "finished"
        panel._look()
        assert (panel.starts.enabled, panel.stops.enabled) == (True, False)
        assert not panel.progress.visible

    run(steps)


def test_a_tab_shows_the_training_of_the_page_before_with_its_whole_curve():
    async def steps() -> None:
        page = Asked()
        page.runs = runs = Training()
        rows = [{"epoch": float(epoch), "train/loss": 1.0 / epoch} for epoch in (1, 2, 3)]
        runs.found |= {"status": "finished", "rows": rows}
        later = Started(time.strftime(START_TIME) + "-1", 2, ["model=cnn"])
        runs.list_started = lambda: [later, runs.started]
        kept: dict[str, Any] = {"training": runs.started.name, "epochs": 7, "more": "seed=3"}
        panel = TrainPanel(page)
        assert panel.started is later
        panel.recall(kept)
        assert panel.started is runs.started
        assert panel.chart.visible
        points = panel.chart.options["series"][0]["data"]
        assert points == [[1.0, 1.0], [2.0, 0.5], [3.0, 1.0 / 3]]
        assert (panel.epochs.value, panel.more.value) == (7, "seed=3")
        panel.epochs.value = 9
        runs.start = lambda words: later
        panel.begin([])
        assert kept == {"training": later.name, "epochs": 9, "more": "seed=3"}

    run(steps)
