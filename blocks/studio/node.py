"""What is known of one node: its shapes, what it costs, and its arguments, which can be edited."""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import yaml

from blocks.catalog import Layer, catalog
from blocks.graph import Built
from blocks.graph.describe.cost import Cost
from blocks.graph.describe.draw import picture
from blocks.graph.describe.schema.arguments import show_default, texts_of
from blocks.graph.describe.why import why
from blocks.graph.errors import show
from blocks.graph.language import types
from blocks.graph.language.signature import Signature, signature_of
from blocks.graph.record.record import Argument, Node
from blocks.graph.record.value import Value, show_shape
from blocks.studio.text.arguments import Keys, Site, find_site, has_value, open_site, write_raw
from blocks.studio.text.edits import EditError, read_root
from blocks.support.conf_folders import without_program
from blocks.watch.engine import Explained

Answer = dict[str, Any]
SCALARS = {int, float, str}


def describe_node(shown: Explained, node: Node, text: str) -> Answer:
    """Describe a node: shapes, arguments with their origin, what it costs.

    Args:
        shown: the model that it is in, measured.
        text: of the file, in which an argument may be set.
    """
    cost = shown.costs.get(node.path, Cost())
    model = shown.composed.config["model"]
    site = find_site(model, node.path)
    return {
        "path": node.path,
        "block": node.label,
        "where": without_program(node.origin),
        "inputs": [_describe_input(name, value) for name, value in node.flow.items()],
        "outputs": [f"{name} {show_shape(shape)}" for name, shape in node.shapes.items()],
        "arguments": list(_Arguments(shown, node, site, text).describe().values()),
        "target": "" if site is None else ".".join(site.keys),
        "parameters": node.parameters,
        "macs": cost.macs,
        "memory": cost.memory,
        "field": None if cost.field is None else str(cost.field),
        "why": without_program(why(shown.built, node.path)),
        **_describe_block(shown.built, node.path),
    }


def find_argument(model: Mapping[str, Any], path: str, name: str) -> Keys:
    """Return the keys at which an argument of a node is set in a text; raises EditError."""
    site = find_site(model, path)
    if site is None:
        raise EditError(f"an expression chooses what {path} is: write it in the text")
    return site.argument(name)


class _Arguments:
    """The arguments of a node: those that its block takes, or its template.

    Args:
        shown: the model that it is in.
        node: whose they are.
        site: where the model has it; None where its arguments cannot be set.
        text: of the file.
    """

    def __init__(self, shown: Explained, node: Node, site: Site | None, text: str):
        self.node, self.site = node, site
        self.root: yaml.Node | None = None
        with suppress(EditError):  # a text with a mistake, beside the model before it
            self.root = read_root(text)
        self.model = shown.composed.config["model"]
        self.library = tuple(shown.composed.typed.get("library", []))

    def describe(self) -> dict[str, Answer]:
        """Return the arguments by name, in the order of the block's constructor."""
        found: dict[str, Answer] = {}
        if self.site is not None and isinstance(self.site.raw, Mapping):
            repeat = self.site.raw.get("repeat")
            if self.node.repeat and not isinstance(repeat, Mapping | list):
                value = show(self.node.repeat)
                found["repeat"] = self._entry("repeat", value, kind="a whole number")
                found["repeat"]["written"] = write_raw(repeat)
        signature = _find_signature(self.node, self.library)
        if signature is None:
            found |= self._list_params()
        else:
            found |= self._list_arguments(signature)
        return found

    def _list_arguments(self, signature: Signature) -> dict[str, Answer]:
        is_layer = isinstance(catalog(self.library)[self.node.label], Layer)
        found = {}
        for name, text in texts_of(signature, is_layer).items():
            parameter = signature.parameters[name]
            known = self.node.arguments.get(name)
            if name.startswith("_") and (known is None or known.text is None):
                continue
            entry = self._entry(name, kind=types.describe_type(parameter.annotation))
            entry |= {"text": text, "choices": _list_choices(parameter.annotation)}
            if name in signature.infer:
                entry["default"] = "inferred"
            elif not parameter.required:
                entry["default"] = show_default(parameter.default)
            found[name] = entry
        return found

    def _list_params(self) -> dict[str, Answer]:
        """Return the params of a template, each with what it is when left out."""
        opened = None if self.site is None else open_site(self.model, self.site)
        params: Mapping[str, Any] = {}
        if opened is not None and self.site is not None and not self.site.is_own_body:
            params = opened.raw.get("params") or {}
        found = {}
        for name in self.node.arguments:
            found[name] = self._entry(name)
            if name in params:
                found[name]["default"] = write_raw(params[name])
        return found

    def _entry(self, name: str, value: str = "", kind: str = "") -> Answer:
        """Return what is known of an argument of any kind of node."""
        known = self.node.arguments.get(name, Argument())
        written, origin, is_fixed = "", "", self.site is None
        if name in self.node.values:
            value = show(self.node.values[name])
        if known.text is not None:
            written = write_raw(known.text.raw)
            origin = without_program(known.text.origin)
            is_fixed = is_fixed or known.text.origin.file is None
        elif name in self.node.arguments:
            origin = known.how
        return {
            "name": name,
            "value": value,
            "written": written,
            "origin": origin,
            "kind": kind,
            "text": "",
            "choices": [],
            "default": "",
            "is_here": self.site is not None and has_value(self.root, self.site.argument(name)),
            "is_fixed": is_fixed,
        }


@lru_cache(maxsize=256)
def _read_signature(name: str, library: tuple[str, ...]) -> Signature | None:
    known = catalog(library)
    return signature_of(name, known[name]) if name in known else None


def _find_signature(node: Node, library: tuple[str, ...]) -> Signature | None:
    """Return the signature of the block of a node; None for a body."""
    if node.recipe is None:
        return None
    return _read_signature(node.label, library)


def _list_choices(hint: Any) -> list[str]:
    """Return the values that fit, where they can be listed."""
    kinds = types.list_choices(hint)
    found = types.list_literals(hint)
    if any(types.origin_of(kind) in {*SCALARS, tuple, list, dict} for kind in kinds):
        return []
    if bool in kinds:
        found += ["true", "false"]
    if found and type(None) in kinds:
        found.append("null")
    return found


def _describe_input(name: str, value: Value) -> str:
    """Return an input with its shape, and its name where it has one."""
    shape = show_shape(value.shape)
    return shape if name.isdecimal() else f"{name} {shape}"


def _describe_block(built: Built, path: str) -> dict[str, str]:
    """Return summary, formula and source of the block of a node."""
    for node in picture(built).nodes():
        if path == node.id or path in node.paths:
            return {"summary": node.summary, "formula": node.formula, "source": node.source}
    return {"summary": "", "formula": "", "source": ""}
