"""The guide for a new method, followed to the letter in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "add-a-method.md"


@pytest.fixture
def package(tmp_path):
    """A folder with the guide's method and its test, as an installed package that names the method in its metadata."""
    text = GUIDE.read_text(encoding="utf-8")
    code, test = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    (entry,) = re.findall(r'^(source-mix = ".*")$', text, flags=re.M)
    (tmp_path / "source_mix.py").write_text(code)
    (tmp_path / "test_source_mix.py").write_text(test)
    installed = tmp_path / "source_mix-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: source-mix\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(f"[faircut.methods]\n{entry.replace(chr(34), '')}\n")
    return tmp_path


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "FAIRCUT_CACHE": str(package / "cache"), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=package, env=environment, capture_output=True, text=True, check=False
    )


def test_the_method_passes_the_test_of_the_guide(package):
    done = run(package, "pytest", "-q", "-p", "no:cacheprovider", "test_source_mix.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_command_line_knows_the_method(package):
    done = run(package, "faircut", "methods", "source-mix")
    assert done.returncode == 0, done.stderr
    assert "weight" in done.stdout
    assert "1 gives the source back" in " ".join(done.stdout.split())
