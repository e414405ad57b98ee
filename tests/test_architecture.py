"""The rooms of the package: who imports whom, as CONTRIBUTING says."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import lexor

ROOT = Path(lexor.__file__).parent
# A room imports only what stands before it.
ROOMS = (
    *("cores", "errors", "geometry", "io", "protocol", "prompting", "models", "inference", "evaluation"),
    *("viewing", "serving", "training", "bench", "cli"),
)


def module_of(path: Path) -> str:
    name = ".".join(("lexor", *path.relative_to(ROOT).with_suffix("").parts))
    return name.removesuffix(".__init__")


FILES = {module_of(path): path for path in ROOT.rglob("*.py")}


def imported(module: str) -> set[str]:
    """The modules of the package that a module imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in FILES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & FILES.keys() - {module}


def test_no_two_files_import_one_another() -> None:
    # Raises CycleError, which names them.
    order = list(TopologicalSorter({module: imported(module) for module in FILES}).static_order())
    assert len(order) == len(FILES) > 100


def test_a_room_imports_only_rooms_before_it() -> None:
    room = {module: module.split(".")[1] for module in FILES if "." in module}
    assert set(room.values()) == set(ROOMS)
    wrong = [
        f"{module} imports {other}"
        for module in room
        for other in imported(module)
        if ROOMS.index(room[module]) < ROOMS.index(room.get(other, ROOMS[0]))
    ]
    assert wrong == []


def test_only_the_commands_import_typer_and_rich() -> None:
    for module, path in FILES.items():
        text = path.read_text("utf-8")
        if not module.startswith("lexor.cli"):
            assert "import typer" not in text, module
            assert "from rich" not in text, module
