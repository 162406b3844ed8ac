"""The house rules: who imports whom, no work at import, no name taken by a stranger."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ["pathways", "models", "jobs", "screen"]
FORBIDDEN = {
    "pathways": {"torch", "ray", "duckdb", "h5py", "sklearn", "typer", "rich"},
    "models": {"ray", "duckdb", "typer", "rich", "pymatgen", "spglib"},
    "jobs": {"duckdb", "typer", "rich", "pymatgen"},
    "screen": set(),
}
MODULES = [path for package in ORDER for path in sorted((ROOT / package).rglob("*.py"))]
MAX_LINES = 400
MAX_FUNCTION_LINES = 60


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth of the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(path: Path) -> Iterator[str]:
    """Modules imported when the file itself is (not inside functions, not for typing only)."""
    nodes: list[ast.stmt] = list(ast.parse(path.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Try):
            nodes += node.body
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            nodes += node.body + node.orelse


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_to_the_left(path: Path) -> None:
    package = name_of(path).split(".")[0]
    roots = {module.split(".")[0] for module in imported(path)}
    to_the_right = set(ORDER[ORDER.index(package) + 1 :])
    assert not roots & to_the_right
    assert not roots & FORBIDDEN[package]


def test_no_import_circles() -> None:
    names = {name_of(path) for path in MODULES}
    graph = {name_of(path): {m for m in at_import(path) if m in names} for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join([*trail, name])}"
        if name in done:
            return
        for other in graph[name] - {name}:
            visit(other, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_work_at_import(path: Path) -> None:
    """No bare call, loop, file or print on module level: only definitions and constants."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Expr):
            # Docstrings, and the registration of a sub-command on an application object.
            call = node.value
            registers = isinstance(call, ast.Call) and ast.unparse(call.func).endswith("add_typer")
            assert isinstance(call, ast.Constant) or registers, ast.unparse(node)
        assert not isinstance(node, (ast.For, ast.While, ast.With, ast.AugAssign, ast.Delete))
        if isinstance(node, ast.If):
            assert "TYPE_CHECKING" in ast.dump(node.test) or "__main__" in ast.dump(node.test)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_reads_in_one_sitting(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= MAX_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("name", ORDER)
def test_name_resolves_inside_the_repository(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


def test_data_types_import_without_the_heavy_libraries() -> None:
    """Bare training nodes have no spglib, pymatgen, vesin, ray or duckdb."""
    code = (
        "import sys\n"
        "for name in ('spglib', 'pymatgen', 'vesin', 'ray', 'duckdb', 'typer', 'rich'):\n"
        "    sys.modules[name] = None\n"
        "import models.ensemble, models.evaluate, models.predict, pathways.types\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, screen.cli\n"
        "heavy = {'torch', 'ray', 'duckdb', 'pymatgen', 'pyarrow', 'pandas', 'scipy'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout.split() == []
