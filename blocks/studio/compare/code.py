"""Which lines of the PyTorch that `emit` writes belong to which node."""

import ast
from collections.abc import Container, Iterator

Lines = dict[int, list[str]]  # line of the code -> paths of its nodes
SELF = "self"


def find_lines(code: str, paths: Container[str]) -> Lines:
    """Return the lines of a written model, each with the nodes that it makes or calls.

    Args:
        code: of `emit`; the last class is the model.
        paths: of the nodes that are drawn.
    """
    classes = {node.name: node for node in ast.parse(code).body if isinstance(node, ast.ClassDef)}
    if not classes:
        return {}
    found: Lines = {}
    _Walk(classes, paths, found).visit(list(classes)[-1], "")
    return dict(sorted(found.items()))


class _Walk:
    def __init__(self, classes: dict[str, ast.ClassDef], paths: Container[str], found: Lines):
        self.classes, self.paths, self.found = classes, paths, found

    def visit(self, name: str, prefix: str) -> None:
        """Add the lines of a class that stands at a path."""
        for method in self.classes[name].body:
            if not isinstance(method, ast.FunctionDef):
                continue
            for statement in ast.walk(method):
                if isinstance(statement, ast.Assign) and method.name == "__init__":
                    self._visit_made(statement, prefix)
                elif isinstance(statement, ast.Attribute) and method.name != "__init__":
                    self._add(statement, prefix)

    def _add(self, attribute: ast.AST, prefix: str) -> str:
        """Add a line that names `self.X`; return the path of X."""
        if not (isinstance(attribute, ast.Attribute) and _is_self(attribute.value)):
            return ""
        path = f"{prefix}.{attribute.attr}".lstrip(".")
        self._note(attribute.lineno, path)
        return path

    def _note(self, line: int, path: str) -> None:
        if path in self.paths:
            listed = self.found.setdefault(line, [])
            if path not in listed:
                listed.append(path)

    def _visit_made(self, statement: ast.Assign, prefix: str) -> None:
        for target in statement.targets:
            path = self._add(target, prefix)
            if path:
                self._visit_value(statement.value, path)

    def _visit_value(self, value: ast.AST, path: str) -> None:
        """Visit the classes that are made for a node: directly, as repeats, or as an argument."""
        if not isinstance(value, ast.Call):
            return
        name = getattr(value.func, "id", "")
        if name in self.classes:
            self.visit(name, path)
            for attribute, argument in self._given(name, value):
                self._visit_value(argument, f"{path}.{attribute}")
            return
        for place, repeat in enumerate(_repeats(value)):
            self._note(repeat.lineno, f"{path}.{place}")
            self._visit_value(repeat, f"{path}.{place}")

    def _given(self, name: str, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
        """Yield attributes of a class that an argument becomes."""
        for method in self.classes[name].body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                names = [each.arg for each in method.args.args[1:]]
                given = dict(zip(names, call.args, strict=False))
                given |= {each.arg: each.value for each in call.keywords if each.arg}
                for attribute, argument in given.items():
                    if isinstance(argument, ast.Call):
                        yield attribute, argument


def _repeats(call: ast.Call) -> Iterator[ast.expr]:
    """Yield what a container of modules holds: each of its arguments, or the one of a loop."""
    for argument in call.args:
        inner: ast.expr = argument
        if isinstance(inner, ast.Starred):
            inner = inner.value
        if isinstance(inner, ast.GeneratorExp | ast.ListComp):
            yield inner.elt
        elif isinstance(inner, ast.List | ast.Tuple):
            yield from inner.elts
        elif isinstance(inner, ast.Call):
            yield inner


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == SELF
