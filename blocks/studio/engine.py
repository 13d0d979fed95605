"""Answers about the model on the page: its graph, its numbers, its mistakes and their fixes.

A question is a dictionary with `ask`, the name of a method of `Studio`, and its arguments; the
answer is one that JSON can hold. Nothing here knows the page.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from blocks.catalog import catalog
from blocks.commands import Planner
from blocks.graph import ConfigError, Problem
from blocks.graph.compose.combinations import combinations
from blocks.graph.describe.diff import difference, side
from blocks.graph.describe.diff_text import heading
from blocks.graph.describe.diff_text import text as difference_text
from blocks.graph.describe.draw import Picture, picture, unfold, write_part
from blocks.graph.describe.emit import CannotEmit, emit
from blocks.graph.describe.fit import fit
from blocks.graph.describe.schema import schemas
from blocks.graph.read.loader import CachedLoader
from blocks.graph.record.record import Node, count_parameters
from blocks.studio.compare.beside import light
from blocks.studio.compare.code import find_lines
from blocks.studio.drafts import DRAFT, FOLDER, DraftError, Drafts
from blocks.studio.form import describe_form, list_names, read_options
from blocks.studio.mend import Mender
from blocks.studio.mistaken import place_mistakes
from blocks.studio.node import describe_node, find_argument
from blocks.studio.run.sweeps import MOST_JOBS
from blocks.studio.share.figure import draw_figure
from blocks.studio.text.arguments import remove_value, set_value
from blocks.studio.text.edits import EditError, read_changes, read_params, set_param, set_slot
from blocks.studio.text.fixes import move_here
from blocks.studio.text.vocabulary import shorten
from blocks.studio.totals import sum_up
from blocks.support.answers import error_entries, error_entry
from blocks.support.conf_folders import conf_folders
from blocks.support.files import read_file
from blocks.watch.engine import Engine, Explained

Answer = dict[str, Any]
CLAIMS_NOTHING = "++model.expect=null"  # a changed model is not the one whose parameters are known
KEPT = 8  # models that others are compared with


class Studio:
    """Answers for one project.

    Args:
        project: its folder.
        engine: which the pages of a project share.
    """

    def __init__(self, project: Path, engine: Engine):
        self.drafts, self.engine = Drafts(project), engine
        self.model, self.text, self.words = "", "", list[str]()
        self.last: Explained | None = None  # the last model without a mistake
        self.drawn: Picture | None = None  # its graph
        self.nodes: dict[str, Node] = {}
        self.bases: dict[tuple[str, ...], Explained] = {}

    def answer(self, question: Mapping[str, Any]) -> Answer:
        """Answer a question; a mistake of the user's is an answer with `errors`."""
        ask = getattr(self, f"ask_{question['ask']}")
        arguments = {name: value for name, value in question.items() if name != "ask"}
        try:
            found: Answer = ask(**arguments)
        except ConfigError as error:
            return {"errors": error_entries(error)}
        except (DraftError, EditError) as error:
            return {"errors": [error_entry(str(error), code="bad-value", where="the page")]}
        return {"errors": [], **found}

    # The model ------------------------------------------------------------------------------------

    def ask_graph(
        self, model: str, text: str, words: Sequence[str], depth: int | None = None
    ) -> Answer:
        """Build a model and draw it.

        Args:
            text: of its file.
            words: further overrides.
            depth: levels to unfold; each structure once when left out.
        """
        self.model, self.text, self.words = model, text, list(words)
        found: Answer = {"command": self._command()}
        try:
            planned = self._plan(model, text, words)
        except ConfigError as error:
            found["errors"] = error_entries(error)
            base = self._base(model, words)
            if self.drawn is not None:
                found |= place_mistakes(self.drawn, found["errors"])
            if self.last is not None or base is None:
                return found | self._read_form(text)
            planned = base  # a draft with a mistake was opened: there is no other graph to show
        self.last = planned
        self.nodes = {node.path: node for node in planned.built.walk()}
        drawn = self.drawn = picture(planned.built, model)
        if depth is not None:
            unfold(drawn, depth)
        form = describe_form(planned.composed)
        names = list_names(planned, form)
        if "errors" in found:
            found |= place_mistakes(drawn, found["errors"])
            form = self._read_form(text).get("form", form)
        return {
            **found,
            "svg": write_part(drawn),
            "lines": self._lines(drawn),
            "form": form,
            "names": names,
            "notes": list(planned.notes),
            "parameters": count_parameters(planned.built.model),
        }

    def _read_form(self, text: str) -> Answer:
        """Return the fields for a text with a mistake: the slots of the last model without one,
        the params as they are written.
        """
        base = self._base(self.model, self.words)
        try:
            own = read_params(text)
        except EditError:
            return {}
        if self.last is None or base is None:
            return {}
        params = {**(base.composed.config["model"].get("params") or {}), **own}
        return {"form": describe_form(self.last.composed, params)}

    def ask_vocabulary(self) -> Answer:
        """Return the schema of model files, which completion reads."""
        folders = [folder / "model" for folder in conf_folders()]
        return {"schema": shorten(schemas(catalog([]), folders)["model.json"])}

    def _plan(self, model: str, text: str, words: Sequence[str]) -> Explained:
        """Build a model from the text of its file; the draft is kept."""
        if not self.drafts.write(model, text):
            try:
                return self.engine.plan([f"model={model}", *words])
            finally:
                # only now: what vanishes while a model is built makes the engine read all again
                self.drafts.remove(model)
        own = [f"model={model}{DRAFT}", *words, *self._without_claims(model, words)]
        return self.engine.plan(own, FOLDER)

    def _without_claims(self, model: str, words: Sequence[str]) -> list[str]:
        """Return the override by which a changed model need not have its published parameters."""
        base = self._base(model, words)
        if base is None or not base.composed.config["model"].get("expect"):
            return []
        return [CLAIMS_NOTHING]

    def _base(self, model: str, words: Sequence[str]) -> Explained | None:
        """Return the model as its file stands, built once; None where it is wrong."""
        key = (model, *words)
        if key not in self.bases:
            try:
                found = self.engine.plan([f"model={model}", *words])
            except ConfigError:
                return None
            if len(self.bases) >= KEPT:
                self.bases.clear()
            self.bases[key] = found
        return self.bases[key]

    def _measured_base(self) -> Explained | None:
        base = self._base(self.model, self.words)
        if base is not None and not base.costs:
            base = replace(base, costs=self.engine.measure(base.built))
            self.bases[(self.model, *self.words)] = base
        return base

    def _command(self) -> list[str]:
        """Return the words that name this model on a command line."""
        before = read_file(self.drafts.original(self.model)).decode()
        base = self._base(self.model, self.words)
        known = {} if base is None else base.composed.config["model"].get("params") or {}
        changes = read_changes(before, self.text, known)
        if changes is None:
            draft = ["--config-dir", FOLDER, f"model={self.model}{DRAFT}", *self.words]
            return [*draft, *self._without_claims(self.model, self.words)]
        return [f"model={self.model}", *changes, *self.words]

    def _lines(self, drawn: Picture) -> list[tuple[int, list[str]]]:
        """Return lines of the text, each with the nodes that are written there."""
        own = self._own_files()
        lines: dict[int, list[str]] = {}
        for node in drawn.nodes():
            line = _line_in(own, node.where)
            if line is not None:
                lines.setdefault(line, []).append(node.id)
        return sorted(lines.items())

    def _own_files(self) -> tuple[str, str]:
        """Return the files whose text is on the page, as places name them."""
        drafts = self.drafts
        return _shorten(drafts.path(self.model)), _shorten(drafts.original(self.model))

    # Numbers --------------------------------------------------------------------------------------

    def ask_numbers(self, node: str = "") -> Answer:
        """Return what the last model costs, and what the model of the file does.

        Args:
            node: whose receptive field is given; "" for that of the model.
        """
        if self.last is None:
            return {}
        if not self.last.costs:
            self.last = replace(self.last, costs=self.engine.measure(self.last.built))
        base = self._measured_base()
        claim = None
        if base is not None:
            claim = (base.composed.config["model"].get("expect") or {}).get("parameters")
            if claim != count_parameters(base.built.model):  # it is about other data
                claim = None
        return {
            "now": sum_up(self.last, node),
            "base": None if base is None else sum_up(base, node),
            "claim": claim,
        }

    def ask_node(self, path: str) -> Answer:
        """Describe a node: shapes, arguments with their origin, what it costs."""
        node = self.nodes.get(path)
        if node is None or self.last is None:
            return {}
        if not self.last.costs:
            self.last = replace(self.last, costs=self.engine.measure(self.last.built))
        return describe_node(self.last, node, self.text)

    def ask_fit(self, param: str, budget: float, measure: str = "parameters") -> Answer:
        """Find the value of a param for a budget.

        Args:
            measure: what the budget counts, "parameters" or "macs".
        """
        folder, words = _split_folder(self._command())
        build = Planner(say=lambda note: None)
        found = fit(words, f"model.params.{param}", budget, measure, folder, CachedLoader(), build)
        return {"value": found.value, "count": found.parameters, "macs": found.macs}

    def ask_sweep(self, words: Sequence[str]) -> Answer:
        """Build every training of a sweep of the last model.

        Args:
            words: the command line behind `train -m`.

        Returns:
            jobs, overrides of each; draft, the name and text of a model that no overrides name.
        """
        folder, overrides = _split_folder(words)
        count = len(combinations(overrides, folder))
        if count > MOST_JOBS:
            got, fits = f"{count:,} trainings", f"{MOST_JOBS} at most"
            raise ConfigError(
                Problem("the sweep is too large", "the page", got=got, fits=fits, code="too-large")
            )
        results = self.engine.check(overrides, folder)
        wrong = [problem for result in results for problem in result.problems]
        if wrong:
            raise ConfigError(wrong)
        draft = None if folder is None else (self.model, self.text)
        return {"jobs": [list(result.overrides) for result in results], "draft": draft}

    # Comparing ------------------------------------------------------------------------------------

    def ask_diff(
        self, other: str = "", text: str | None = None, depth: int | None = None
    ) -> Answer:
        """Compare the last model with another one.

        Args:
            other: its name; the model of the file when left out.
            text: of its file, for a variant.
            depth: levels to unfold in its drawing.

        Returns:
            text, the same in rows, the drawing of the other, and the kind of difference by node in
            both.
        """
        name = other or self.model
        base = self._other(name, text)
        if base is None or self.last is None:
            return {"text": "", "heading": [], "lines": [], "old": {}, "new": {}}
        old, new = side(name, base.built), side(" ".join(self._command()), self.last.built)
        drawn = picture(base.built, name)
        if depth is not None:
            unfold(drawn, depth)
        here = {node.id for node in picture(self.last.built).nodes()}
        lit = light(old, new, {node.id for node in drawn.nodes()}, here)
        return {
            "text": difference_text(old, new),
            "heading": heading(old, new),
            "lines": [asdict(line) for line in difference(old, new)],
            "svg": write_part(drawn),
            "old": lit.old,
            "new": lit.new,
        }

    def _other(self, name: str, text: str | None) -> Explained | None:
        """Build the model to compare with; None for the model of the file where that is wrong."""
        if text is not None:
            with self.drafts.trying(name, text) as tried:
                claims = self._without_claims(name, self.words)
                return self.engine.plan([f"model={tried}", *self.words, *claims], FOLDER)
        if name == self.model:
            return self._base(name, self.words)
        self.drafts.original(name)
        try:
            return self.engine.plan([f"model={name}", *self.words])
        except ConfigError:  # it does not fit these data: its own example
            return self.engine.plan([f"model={name}"])

    def ask_emit(self) -> Answer:
        """Write the last model as plain PyTorch."""
        if self.last is None:
            return {"text": ""}
        command = " ".join(["emit", *self._command()])
        try:
            text = emit(self.last.built, self.model, command)
        except CannotEmit as error:
            return {"errors": [error_entry(str(error), code="unsupported", where="emit")]}
        paths = {node.id for node in picture(self.last.built).nodes()}
        return {"text": text, "lines": list(find_lines(text, paths).items())}

    def ask_figure(self, ending: str, depth: int | None = None) -> Answer:
        """Draw the last model as a file."""
        if self.last is None:
            return {"content": ""}
        return draw_figure(self.last.built, self.model, ending, depth)

    # Edits ----------------------------------------------------------------------------------------

    def ask_edit(self, text: str, kind: str, name: str, value: str, node: str = "") -> Answer:
        """Edit the text of a model.

        Args:
            kind: "slot", "param" or "argument".
            value: "" leaves an argument out.
            node: whose argument it is.
        """
        if kind != "argument":
            edit = {"slot": set_slot, "param": set_param}[kind]
            return {"text": edit(text, name, value)}
        model = {} if self.last is None else self.last.composed.config["model"]
        keys = find_argument(model, node, name)
        if value:
            return {"text": set_value(text, keys, value)}
        return {"text": remove_value(text, keys)}

    def ask_fixes(self, model: str, text: str, words: Sequence[str]) -> Answer:
        """Find texts without one of the mistakes.

        Returns:
            fixes: each with the index of its mistake, a label, and the text.
        """
        errors = self._errors_of(model, text, words)
        fixes, own = [], self._own_files()
        mender = Mender(
            text=text,
            check=lambda after: self._errors_of(model, after, words),
            model={} if self.last is None else self.last.composed.config["model"],
            slots={} if self.last is None else read_options(self.last.composed),
            nodes=self.nodes,
        )
        for index, entry in enumerate(errors):
            here = move_here(entry, own.__contains__)
            if here is None:  # a number of the text may still lead to it
                here = {**entry, "file": None, "line": None}
            for label, after in mender.mend(errors, here):
                fixes.append({"error": index, "label": label, "text": after})
        return {"fixes": fixes}

    def _errors_of(self, model: str, text: str, words: Sequence[str]) -> list[Answer]:
        """Return the mistakes in a text; the draft stays as it is."""
        claims = self._without_claims(model, words)
        with self.drafts.trying(model, text) as name:
            try:
                self.engine.plan([f"model={name}", *words, *claims], FOLDER)
            except ConfigError as error:
                entries = error_entries(error)
                draft = _shorten(self.drafts.path(model))
                for entry in entries:
                    for part in ("file", "where", "from"):
                        entry[part] = _rename(entry[part], name, draft)
                return entries
        return []

    def ask_save(self, name: str, text: str) -> Answer:
        """Write the text as a new model of the project."""
        return {"file": _shorten(self.drafts.save(name, text))}


def _split_folder(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the folder of drafts, where a command line has one, and its overrides."""
    if words[:1] == ["--config-dir"]:
        return words[1], list(words[2:])
    return None, list(words)


def _line_in(files: Container[str], where: str) -> int | None:
    """Return the line of a place in one of these files; None for another file."""
    file, _, rest = where.partition(":")
    if file not in files:
        return None
    return int(rest.partition(":")[0])


def _rename(place: str | None, name: str, draft: str) -> str | None:
    """Write the file of the draft for that in which a text was tried."""
    if place is None:
        return None
    return place.replace(f"{FOLDER}/model/{name}.yaml", draft)


def _shorten(file: Path) -> str:
    """Return a file as messages name it: relative, where it is inside the working directory."""
    here = Path.cwd()
    if file.is_relative_to(here):
        return file.relative_to(here).as_posix()
    return str(file)
