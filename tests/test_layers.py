"""Who may import whom: the table of layers, held by reading the files.

Late imports and those below `TYPE_CHECKING` count as imports.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST = 12  # files in a folder
PLAIN = {*sys.stdlib_module_names, "torch"}
LEARNING = {
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "optuna",
    "PIL",
    "pyarrow",
    "pytorch_lightning",
    "rich",
    "safetensors",
    "scipy",
    "sklearn",
    "torchmetrics",
    "yaml",
}

# package -> what it may import besides itself: other packages, and libraries
PACKAGES = {
    "blocks.support": {*PLAIN, "blocks.errors", "huggingface_hub", "hydra", "omegaconf", "yaml"},
    "blocks.attention": {
        *PLAIN,
        "blocks.errors",
        "blocks.norm",
        "blocks.support",
        "einops",
        "jaxtyping",
    },
    "blocks.combine": {*PLAIN, "blocks.errors", "blocks.support", "einops", "jaxtyping"},
    "blocks.losses": {*PLAIN, "blocks.errors", "jaxtyping"},
    "blocks.position": {*PLAIN, "blocks.errors", "blocks.support", "jaxtyping"},
    "blocks": {
        *PLAIN,
        "blocks.errors",
        "blocks.support",
        "blocks.attention",
        "blocks.position",
        "einops",
        "jaxtyping",
    },
    "blocks.graph": {
        *PLAIN,
        "blocks.catalog",
        "blocks.errors",
        "blocks.support",
        "hydra",
        "jaxtyping",
        "omegaconf",
        "safetensors",
        "yaml",
    },
    "blocks.commands": {
        *PLAIN,
        "blocks.catalog",
        "blocks.errors",
        "blocks.graph",
        "blocks.studio",
        "blocks.support",
        "blocks.watch",
        "blocks.__main__",
        "tasks.run",
    },
    "blocks.watch": {*PLAIN, "blocks.commands", "blocks.graph", "blocks.support"},
    "blocks.studio": {
        *PLAIN,
        "blocks.catalog",
        "blocks.commands",
        "blocks.graph",
        "blocks.support",
        "blocks.watch",
        "fastapi",
        "nicegui",
        "tasks.look",
        "tasks.run",
        "tasks.sweep",
        "uvicorn",
        "yaml",
    },
    "tasks": {*PLAIN, *LEARNING, "blocks.graph", "blocks.support"},
    "tasks.data": {
        *PLAIN,
        *LEARNING,
        "babel",
        "blocks.support",
        "datasets",
        "huggingface_hub",
        "mnist1d",
        "tasks.errors",
        "tasks.process",
        "tokenizers",
    },
    "tasks.session": {
        *PLAIN,
        "blocks.graph",
        "blocks.support",
        "hydra",
        "hydra_plugins.dougong",
        "omegaconf",
        "tasks",
    },
    "dougong": {*PLAIN, "argcomplete", "blocks", "tasks", "yaml"},
    "dougong.agents": {
        *PLAIN,
        "anyio",
        "blocks",
        "dougong.main",
        "mcp",
        "mcp_types",
        "pydantic",
        "tasks.process",
    },
    "hydra_plugins": {
        *PLAIN,
        "blocks.graph",
        "blocks.support",
        "hydra",
        "omegaconf",
        "ray",
        "submitit",
        "tasks",
    },
}
FAMILIES = ("blocks", "blocks.attention", "blocks.combine", "blocks.losses", "blocks.position")
HYDRA = {"blocks.graph.compose", "blocks.graph.read"}  # the only parts of the graph that import it

# stage of blocks/graph -> the stages that it may import
GRAPH = {
    "codes": set(),
    "steps": set(),
    "errors": {"steps"},
    "read": {"errors"},
    "compose": {"errors", "read"},
    "language": {"errors", "steps"},
    "record": {"errors", "language"},
    "assemble": {"errors", "language", "record"},
    "weights": {"assemble", "compose", "errors", "language", "read", "record", "steps"},
    "run": {"errors", "record"},
    "build": {"assemble", "compose", "errors", "language", "record", "steps", "weights"},
    "describe": {
        "build",
        "codes",
        "compose",
        "errors",
        "language",
        "read",
        "record",
        "run",
        "weights",
    },
}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_of(path): path
    for folder in ("blocks", "dougong", "tasks", "hydra_plugins")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "template" not in path.parts
}


def imports_of(path: Path) -> Iterator[str]:
    """Every module imported anywhere in a file: the module itself, not the names in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}:{node.lineno}"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else str(node.module)


@cache
def imports() -> dict[str, set[str]]:
    return {module: set(imports_of(path)) for module, path in FILES.items()}


def is_below(module: str, root: str) -> bool:
    return module == root or module.startswith(f"{root}.")


def package_of(module: str) -> str:
    if module == "blocks" or (module.count(".") == 1 and module.startswith("blocks.")):
        if module in PACKAGES or module == "blocks.__main__":
            return module
        return "blocks"
    return max((name for name in PACKAGES if is_below(module, name)), key=len)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_its_row_names(package):
    found = []
    for module, imported in imports().items():
        if package_of(module) != package:
            continue
        for name in imported:
            own = (
                is_below(name, package)
                if package != "blocks"
                else package_of_name(name) == "blocks"
            )
            if not own and not any(is_below(name, root) for root in PACKAGES[package]):
                found.append(f"{module} imports {name}")
    assert not found


def package_of_name(name: str) -> str:
    return package_of(name) if name in FILES else ""


def test_only_two_stages_of_the_graph_know_hydra():
    for module, imported in imports().items():
        if is_below(module, "blocks.graph") and module.rpartition(".")[0] not in HYDRA:
            assert not [
                name for name in imported if name.partition(".")[0] in ("hydra", "omegaconf")
            ]


def test_the_graph_imports_no_block():
    families = {module for module in FILES if package_of(module) in FAMILIES}
    families -= {"blocks", "blocks.catalog", "blocks.errors"}
    for module, imported in imports().items():
        if is_below(module, "blocks.graph"):
            assert not imported & families, module


def stage_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[:2] == ["blocks", "graph"] and len(parts) > 2 else None


@pytest.mark.parametrize("stage", GRAPH)
def test_a_stage_of_the_graph_imports_only_stages_before_it(stage):
    found = []
    for module, imported in imports().items():
        if stage_of(module) != stage:
            continue
        for name in imported:
            other = stage_of(name)
            if name == "blocks.graph" or (other not in (None, stage) and other not in GRAPH[stage]):
                found.append(f"{module} imports {name}")
    assert not found


def test_the_table_names_every_stage():
    stages = {stage_of(module) for module in FILES} - {None}
    assert stages == set(GRAPH)


@pytest.mark.parametrize("package", ["blocks", "dougong", "tasks"])
def test_no_file_imports_in_a_circle(package):
    """A package's `__init__` re-exports only, so that it is no station of its own."""
    edges = {}
    for module, imported in imports().items():
        if is_below(module, package) and FILES[module].name != "__init__.py":
            edges[module] = {name for name in imported if name in FILES and name != module}
    list(TopologicalSorter(edges).static_order())  # raises CycleError


def test_an_init_file_defines_nothing():
    for path in FILES.values():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            defined = [node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
            assert not defined, path


def test_no_folder_holds_more_files_than_one_sees_at_once():
    counts: dict[Path, int] = {}
    for path in FILES.values():
        if path.name != "__init__.py":
            counts[path.parent] = counts.get(path.parent, 0) + 1
    crowded = {str(folder): count for folder, count in counts.items() if count > MOST}
    assert not crowded
