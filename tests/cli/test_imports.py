"""Imports run one way, and nothing heavy is imported for help."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import faircut

ROOT = Path(faircut.__file__).parent

# Every room may import from the rooms of lower floors and from its own.
FLOORS = [
    {"_version", "errors", "interrupts", "metrics"},
    {"config", "files"},
    {"prompts", "video"},
    {"attention"},
    {"model", "controllers"},
    {"fairness"},
    {"methods"},
    {"report", "pocket"},
    {"edit", "study"},
    {"atlas", "evaluate", "tune"},
    {"benchmark"},
    {"cli", "web"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Methods are known by name only where they are chosen.
PARTICULAR = {
    f"methods.{path.stem}" for path in (ROOT / "methods").glob("*.py") if path.stem not in ("__init__", "base")
}


def imports(path: Path) -> set[str]:
    """Modules of faircut that a file imports, as dotted names without the package's; type checking left out."""
    package = path.relative_to(ROOT).parts[:-1]
    found: set[str] = set()

    class Reader(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:
            if "TYPE_CHECKING" not in ast.dump(node.test):
                self.generic_visit(node)

        def visit_Import(self, node: ast.Import) -> None:
            found.update(alias.name for alias in node.names if alias.name.split(".")[0] == "faircut")

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            module = node.module or ""
            if node.level:
                module = ".".join(["faircut", *package[: len(package) - node.level + 1], *filter(None, [module])])
            if module == "faircut":
                found.update(f"faircut.{alias.name}" for alias in node.names)
            elif module.startswith("faircut."):
                found.add(module)

    Reader().visit(ast.parse(path.read_text(encoding="utf-8")))
    return {name.removeprefix("faircut.") for name in found}


MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert room in FLOOR, f"{room} has no floor yet: give it one in this test"
    for name in imports(path):
        other = name.split(".")[0]
        if other not in FLOOR:
            # A public name of the package: an object, not a module.
            continue
        assert other == room or FLOOR[other] < FLOOR[room], f"{room} imports {name}, which is not below it"
        if room != "methods" and FLOOR[room] <= FLOOR["methods"]:
            assert name not in PARTICULAR, f"{room} knows {name}"


def test_every_floor_is_inhabited_or_planned():
    rooms = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in MODULES}
    assert rooms <= set(FLOOR)


def test_metrics_import_nothing_of_ours():
    for path in (ROOT / "metrics").rglob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= {"metrics"}


def test_importing_faircut_imports_nothing_heavy():
    code = "import sys, faircut; print({'torch', 'diffusers', 'transformers', 'av', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "command",
    [
        *([], ["edit"], ["plan"], ["audit"], ["evaluate"], ["sweep"], ["tune"]),
        *(["study", "make"], ["bench", "run"], ["atlas", "fit"]),
    ],
)
def test_help_is_quick_and_imports_nothing_heavy(command):
    code = (
        "import sys\nfrom faircut.cli import main\n"
        f"try: main({[*command, '--help']!r})\n"
        "finally: print([m for m in ('torch', 'diffusers', 'transformers', 'av', 'numpy') if m in sys.modules])"
    )
    started = time.process_time()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Usage: faircut" in done.stdout
    assert time.process_time() - started < 1
