"""What the README and the guides say works as written."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faircut.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTED = [ROOT / "README.md", *(ROOT / "docs" / f"{page}.md" for page in ("cli", "tuning"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def commands(page: Path) -> list[list[str]]:
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    parsed = (shlex.split(line, comments=True) for line in lines)
    return [words for words in parsed if words and words[0].removeprefix(".venv/bin/") == "faircut"]


FAIRCUT = [words[1:] for page in DOCUMENTED if page.exists() for words in commands(page)]


def test_there_are_commands():
    assert len(FAIRCUT) >= 6


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_compile(page):
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")


def test_the_python_example_runs(tiny_folder, clip, tmp_path, monkeypatch):
    (code,) = blocks(ROOT / "README.md", "python")
    shutil.copy(clip, tmp_path / "jeep.mp4")
    monkeypatch.chdir(tmp_path)
    code = code.replace('"pocket"', repr(str(tiny_folder))).replace("num_frames=8", "num_frames=3")
    exec(compile(code.replace("num_inference_steps=50", "num_inference_steps=2"), "README.md", "exec"), {})
    assert (tmp_path / "red.mp4").is_file()


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
