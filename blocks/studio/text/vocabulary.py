"""What may stand at a place of a model file, read from the JSON Schema that editors use."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
PREFIX = "#/definitions/"
NAMES = ("siblings", "inner", "outer")  # rules about names that other models use
KINDS = {"object": dict, "array": list, "string": str, "integer": str, "number": str}


def shorten(schema: Schema) -> dict[str, Any]:
    """Leave out the rules about names: the text at hand has the names."""
    definitions = {}
    for name, definition in schema["definitions"].items():
        if name not in NAMES and not name.startswith(("to_", "from_")):
            definitions[name] = definition
    return {**schema, "definitions": definitions}


class Vocabulary:
    """The schema of model files, asked by place.

    Args:
        schema: `model.json`.
    """

    def __init__(self, schema: Schema):
        self.schema, self.definitions = schema, schema["definitions"]
        self.kinds = self.keys([self.definitions["part"]])  # of a node

    def blocks(self) -> dict[str, str]:
        """Return the blocks, each with its summary."""
        return values_of([self.definitions["block"]])

    def needed(self, block: str) -> list[str]:
        """Return the arguments that a block must be given."""
        found = []
        for rule in self.definitions["complete"]["allOf"]:
            if self._matches(rule["if"], {"block": block}):
                found += rule["then"]["required"]
        return found

    def at(self, root: Any, path: Sequence[str | int]) -> list[Schema]:
        """Return the schemas that hold for the value at a path."""
        found, value = list(self._expand(self.schema, root)), root
        for key in path:
            inner = _child(value, key)
            stepped = [each for schema in found for each in _step(schema, key)]
            found = [each for schema in stepped for each in self._expand(schema, inner)]
            value = inner
        return found

    def keys(self, schemas: Sequence[Schema]) -> dict[str, str]:
        """Return the keys that may stand in a mapping, each with its description."""
        found: dict[str, str] = {}
        for schema in schemas:
            for key, inner in schema.get("properties", {}).items():
                if not found.get(key):
                    found[key] = description_of(self._expand(inner, None))
        return found

    def _expand(self, schema: Schema, value: Any, depth: int = 0) -> Iterator[Schema]:
        """Yield a schema and those that it leads to, as far as its conditions hold."""
        if depth > 40:
            return
        yield schema
        follow: list[Schema] = []
        if "$ref" in schema:
            follow.append(self._definition(schema["$ref"]))
        for key in ("allOf", "anyOf", "oneOf"):
            follow += schema.get(key, ())
        if "if" in schema:
            branch = "then" if self._matches(schema["if"], value) else "else"
            follow.append(schema.get(branch, {}))
        for each in follow:
            yield from self._expand(each, value, depth + 1)

    def _definition(self, reference: str) -> Schema:
        found: Schema = self.definitions.get(reference.removeprefix(PREFIX), {})
        return found

    def _matches(self, schema: Schema, value: Any) -> bool:
        """Return whether a value meets a condition; of a condition, only the keys below occur."""
        if "$ref" in schema:
            return self._matches(self._definition(schema["$ref"]), value)
        if not _is_kind(schema.get("type"), value) or not _is_listed(schema, value):
            return False
        if "not" in schema and self._matches(schema["not"], value):
            return False
        if not all(self._matches(each, value) for each in schema.get("allOf", ())):
            return False
        if "anyOf" in schema and not any(self._matches(each, value) for each in schema["anyOf"]):
            return False
        if isinstance(value, Mapping):
            return self._matches_inside(schema, value)
        if isinstance(value, list) and "contains" in schema:
            return any(self._matches(schema["contains"], item) for item in value)
        return True

    def _matches_inside(self, schema: Schema, value: Mapping[str, Any]) -> bool:
        if any(key not in value for key in schema.get("required", ())):
            return False
        known = schema.get("properties", {})
        return all(self._matches(known[key], value[key]) for key in known.keys() & value.keys())


def _is_listed(schema: Schema, value: Any) -> bool:
    """Return whether a value is the one, or one of those, that a schema names."""
    if "const" in schema and value != schema["const"]:
        return False
    return "enum" not in schema or value in schema["enum"]


def _is_kind(kind: str | Sequence[str] | None, value: Any) -> bool:
    if kind is None:
        return True
    kinds = [kind] if isinstance(kind, str) else kind
    return any(isinstance(value, KINDS[each]) for each in kinds if each in KINDS)


def _child(value: Any, key: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    return None


def _step(schema: Schema, key: str | int) -> Iterator[Schema]:
    """Yield the schemas of a value below a key."""
    if isinstance(key, int):
        if isinstance(schema.get("items"), Mapping):
            yield schema["items"]
    elif key in schema.get("properties", {}):
        yield schema["properties"][key]
    elif isinstance(schema.get("additionalProperties"), Mapping):
        yield schema["additionalProperties"]


def values_of(schemas: Sequence[Schema]) -> dict[str, str]:
    """Return the values that are named for a place, each with its description."""
    found: dict[str, str] = {}
    for schema in schemas:
        texts = schema.get("enumDescriptions", ())
        for index, value in enumerate(schema.get("enum", ())):
            text = texts[index] if index < len(texts) else ""
            if isinstance(value, str) and not found.get(value):
                found[value] = text
        kinds = schema.get("type", ())
        if "boolean" in kinds and "array" not in kinds:
            found |= {"true": "", "false": ""}
        if "null" in kinds:
            found["null"] = ""
    return found


def description_of(schemas: Iterable[Schema]) -> str:
    """Return the first description of a place."""
    texts = (schema.get("description", "") for schema in schemas)
    return next(filter(None, texts), "")
