"""What the README and the guides say works as written."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from faircut.cli import app

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "findings" / "README.md", ROOT / "CHANGELOG.md"]
TEXT_WIDTH = 120


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def commands(page: Path) -> list[list[str]]:
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    parsed = (shlex.split(line, comments=True) for line in lines)
    return [words for words in parsed if words and words[0].removeprefix(".venv/bin/") == "faircut"]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """The names by which links reach a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


FAIRCUT = [words[1:] for page in PAGES for words in commands(page)]


def test_there_are_commands():
    assert len(FAIRCUT) >= 40


@pytest.mark.parametrize("words", FAIRCUT, ids=lambda words: " ".join(words)[:60])
def test_every_command_parses(words):
    from typer.main import get_command

    command, name, rest = get_command(app), "faircut", list(words)
    # A parse without a call: unknown commands and flags, missing arguments and bad values would raise.
    while True:
        context = command.make_context(name, rest)
        if not hasattr(command, "resolve_command"):
            break
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name_of(page)} links {target}"
        if anchor:
            assert anchor in anchors(linked), f"{name_of(page)} links {target}; there are {sorted(anchors(linked))}"


def test_every_page_and_picture_is_linked():
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page))
    }
    pictures = {path.resolve() for path in (ROOT / "docs" / "pictures").iterdir()}
    pages = {path.resolve() for path in (ROOT / "docs").rglob("*.md")} - {ROOT / "docs" / "README.md"}
    assert not pictures - linked
    assert not pages - linked


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_of_prose_are_short(page):
    for line in prose(page).splitlines():
        # What cannot be broken does not count: rows of tables, headings, and the address of a link.
        shown = re.sub(r"\]\([^)]*\)", "]", line)
        if not line.lstrip().startswith(("|", "#")):
            assert len(shown) <= TEXT_WIDTH, f"{name_of(page)}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_rows_of_tables_are_lines(page):
    for line in prose(page).splitlines():
        # The row under a table's head is a line by itself, also after the page was wrapped.
        assert not re.search(r"\|\s+\|\s*:?---", line), f"{name_of(page)}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_examples_compile(page):
    for code in blocks(page, "python"):
        if not name_of(page).startswith("docs/reference/api/"):
            compile(code, str(page), "exec")


@pytest.fixture
def demo(cli):
    """What `make demo` leaves, made with fewer frames and steps."""
    assert cli("demo", "colour", "profession", "--steps", 1, "--frames", 2).code == 0
    return cli


def test_the_commands_run_as_typed_after_the_demo(demo, tmp_path):
    for words in commands(README):
        if words[1] == "demo":
            continue
        words = ["1" if before == "--steps" else word for before, word in pairwise(words)]
        done = demo(*words)
        assert done.code == 0, (words, done.err)
        written = words[words.index("-o") + 1]
        assert (tmp_path / written).is_file()


def test_the_python_example_runs_after_the_demo(demo, tmp_path):
    (code,) = blocks(README, "python")
    code = code.replace("num_frames=8", "num_frames=2").replace("num_inference_steps=20", "num_inference_steps=1")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "yellow.mp4").is_file()


def test_the_reference_is_what_the_code_says():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "reference" / "make.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("target", "runs"), [("demo", "faircut demo"), ("test", "-m pytest"), ("lint", "ruff check")])
def test_make_targets(target, runs, tmp_path):
    done = subprocess.run(
        ["make", "-n", target, f"VENV={tmp_path / 'venv'}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "pip install -c constraints.txt -e '.[dev]'" in done.stdout
    assert runs in done.stdout


def test_the_readme_says_what_the_makefile_does():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -c constraints.txt -e '.[dev]'" in readme
    for target in ("make demo", "make test"):
        assert target in readme


def test_module_and_script_are_one():
    done = subprocess.run([sys.executable, "-m", "faircut", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("faircut ")
