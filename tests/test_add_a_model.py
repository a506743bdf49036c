"""The guide for a new model, followed to the letter in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "add-a-model.md"


def test_the_model_passes_the_tests_of_the_guide(tmp_path):
    text = GUIDE.read_text(encoding="utf-8")
    network, adapter, test = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    (tmp_path / "toy_denoiser.py").write_text(f"{network}\n\n{adapter}")
    (tmp_path / "test_toy_denoiser.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_toy_denoiser.py"],
        cwd=tmp_path,
        env={**os.environ, "FAIRCUT_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
