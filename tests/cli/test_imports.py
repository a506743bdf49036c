"""Imports run one way, as docs/architecture.md says; no room reaches into another; nothing heavy is imported for
help."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import faircut

ROOT = Path(faircut.__file__).parent
PAGE = ROOT.parents[1] / "docs" / "architecture.md"
MOST_ROOMS, MOST_FLOORS = 26, 11

# No rooms: the version is a value of the package, and __main__ is the command line under another name.
OUTSIDE = {"_version", "__main__"}
# Private by their names, public by their documentation, or the only way to ask.
ALLOWED_PRIVATE = {
    "_replace": "a named tuple's own method",
    "_asdict": "a named tuple's own method",
    "_cdata": "torch tells storages apart by it",
}
# Rooms that choose methods by name; the others take any `Method`.
CHOOSE_METHODS = {"methods", "pocket", "tune", "benchmark", "cli"}


def floors() -> list[list[str]]:
    """Rooms of each floor, the ground first, as the table of docs/architecture.md has them."""
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1)), "floors are numbered from 1"
    return [re.findall(r"`(\w+)`", rooms) for _, rooms in rows]


FLOOR = {room: number for number, rooms in enumerate(floors(), 1) for room in rooms}


# What the sources say ------------------------------------------------------------------------------------------------


def name_of(path: Path) -> str:
    """A module's dotted name without the package's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


SOURCES = {name_of(path): path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"}
ROOMS = sorted({name.split(".")[0] for name in SOURCES} - OUTSIDE)


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text(encoding="utf-8"))


@cache
def public_names(package: str) -> dict[str, str]:
    """Which module each name of a package comes from, where its ``__init__`` passes it on."""
    if package == "faircut":
        source = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
        (homes,) = (node.value for node in source.body if isinstance(node, ast.Assign) and "_HOMES" in ast.dump(node))
        return ast.literal_eval(homes)
    if package not in SOURCES or SOURCES[package].name != "__init__.py":
        return {}
    return {
        alias.name: name.removeprefix("faircut.")
        for node in tree(package).body
        if isinstance(node, ast.ImportFrom)
        for name in [absolute(package, node)]
        for alias in node.names
        if name.startswith("faircut.")
    }


def absolute(name: str, node: ast.ImportFrom) -> str:
    """The module of a ``from`` import, dots resolved."""
    package = SOURCES[name].relative_to(ROOT).parts[:-1]
    if not node.level:
        return node.module or ""
    return ".".join(["faircut", *package[: len(package) - node.level + 1], *filter(None, [node.module])])


def runs(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree but those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield child
            yield from runs(child)


def imports(name: str) -> Iterator[tuple[str, str]]:
    """(module, name) of everything of faircut that a module imports, at its top or inside of its functions."""
    for node in runs(tree(name)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.split(".")[0] != "faircut", f"{name}: write `from faircut... import ...`"
        if isinstance(node, ast.ImportFrom):
            module = absolute(name, node)
            if module != "faircut" and not module.startswith("faircut."):
                continue
            inside = module.removeprefix("faircut").removeprefix(".")
            for alias in node.names:
                dotted = f"{inside}.{alias.name}".removeprefix(".")
                if dotted in SOURCES:
                    yield dotted, alias.name
                elif module == "faircut":
                    yield public_names("faircut").get(alias.name, "_version"), alias.name
                else:
                    yield inside, alias.name


def room(name: str) -> str:
    return name.split(".")[0]


def circle(edges: dict[str, set[str]]) -> list[str] | None:
    """A circle in a graph, if there is one."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return None


# Rooms and floors -----------------------------------------------------------------------------------------------------


def test_the_page_names_every_room_once():
    listed = [name for rooms in floors() for name in rooms]
    assert sorted(listed) == ROOMS
    assert len(ROOMS) <= MOST_ROOMS
    assert len(floors()) <= MOST_FLOORS


@pytest.mark.parametrize("name", SOURCES)
def test_imports_run_one_way(name):
    if room(name) in OUTSIDE:
        return
    for module, _ in imports(name):
        if room(module) not in {*OUTSIDE, room(name)}:
            below = FLOOR[room(module)] < FLOOR[room(name)]
            assert below, f"{name} imports {module}, which docs/architecture.md does not put below it"


def test_rooms_import_in_no_circle():
    edges: dict[str, set[str]] = {name: set() for name in ROOMS}
    for name in SOURCES:
        if room(name) not in OUTSIDE:
            edges[room(name)] |= {room(module) for module, _ in imports(name)} - {room(name)} - OUTSIDE
    assert circle(edges) is None


@pytest.mark.parametrize("name", ROOMS)
def test_modules_of_a_room_import_in_no_circle(name):
    inside = {module for module in SOURCES if room(module) == name}
    edges = {module: {other for other, _ in imports(module)} & inside for module in inside}
    assert circle(edges) is None


def test_metrics_import_nothing_of_ours():
    for name in SOURCES:
        if room(name) == "metrics":
            assert {room(module) for module, _ in imports(name)} <= {"metrics"}


def test_methods_are_known_by_name_only_where_they_are_chosen():
    homes = public_names("methods")
    particular = {name for name in SOURCES if name.startswith("methods.")} - {"methods.base", "methods.regions"}
    for name in SOURCES:
        if room(name) not in CHOOSE_METHODS:
            for module, asked in imports(name):
                assert (homes.get(asked, module) if module == "methods" else module) not in particular, name


def test_only_training_and_its_command_import_the_training():
    for name in SOURCES:
        if not name.startswith("pocket.train") and name != "cli.pocket":
            assert not [module for module, _ in imports(name) if module.startswith("pocket.train")], name


# What is private stays private ---------------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_names(names: Iterable[str]) -> set[str]:
    """Private names that some modules define, assign or inherit."""
    defined: set[str] = set()
    for name in names:
        for node in ast.walk(tree(name)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
            elif isinstance(node, ast.Attribute) and (
                isinstance(node.ctx, ast.Store) or ast.unparse(node.value) in ("self", "cls")
            ):
                defined.add(node.attr)
    return {name for name in defined if is_private(name)}


@pytest.mark.parametrize("name", ROOMS)
def test_nothing_private_of_another_room_is_used(name):
    inside = [module for module in SOURCES if room(module) == name]
    allowed = private_names(inside) | set(ALLOWED_PRIVATE)
    for module in inside:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                used = f"{module}, line {node.lineno}: {ast.unparse(node)}"
                assert node.attr in allowed, f"{used} is private: give it a public name where it is defined"
        for source, asked in imports(module):
            if room(source) not in {name, *OUTSIDE}:
                assert not any(is_private(part) for part in f"{source}.{asked}".split(".")), f"{module}: {asked}"


# The time that help takes --------------------------------------------------------------------------------------------


HEAVY = {"torch", "numpy", "diffusers", "transformers", "av", "PIL"}


def test_importing_faircut_imports_nothing_heavy():
    code = f"import sys, faircut; print({HEAVY | {'rich', 'typer'}!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def help_of(*command: str) -> tuple[str, float]:
    """What a command's help prints, heavy modules in its last line, and the seconds of CPU time that it took."""
    code = (
        "import sys\nfrom faircut.cli import main\n"
        f"try: main({[*command, '--help']!r})\n"
        f"finally: print(sorted({HEAVY | {'rich', 'pydantic'}!r} & set(sys.modules)))"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, used


@pytest.mark.parametrize(
    "command",
    [
        *([], ["edit"], ["plan"], ["audit"], ["evaluate"], ["sweep"], ["tune", "clip"]),
        *(["study", "make"], ["bench", "run"], ["atlas", "fit"], ["pocket", "train"]),
    ],
    ids=" ".join,
)
def test_help_is_quick_and_imports_nothing_heavy(command):
    text, used = help_of(*command)
    assert "Usage: faircut" in text
    assert text.splitlines()[-1] == "[]"
    assert used < 1.5


def test_the_list_of_commands_takes_less_than_three_tenths_of_a_second():
    assert min(help_of()[1] for _ in range(5)) < 0.3


def test_summaries_are_the_first_sentences_of_the_commands_help():
    from typer.main import get_command

    from faircut.cli import app

    group = get_command(app)
    for name, summary in group.summaries.items():
        assert group.commands[name].help.splitlines()[0].rstrip(".") + "." == summary


@pytest.mark.parametrize("command", ["", "pocket", "bench"])
def test_a_group_without_a_command_shows_its_help(command):
    done = subprocess.run(
        [sys.executable, "-m", "faircut", *command.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout.startswith("Usage: faircut")
    assert done.stderr == ""
