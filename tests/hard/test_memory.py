"""Thirty edits in one process take no more memory than a few."""

from __future__ import annotations

import gc
from pathlib import Path

import psutil
import pytest

from faircut.cli import main

from .forks import Process
from .test_kill import Place

WARM, EDITS, ALLOWED = 6, 30, 24 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("supplier", ["live", "memory", "disk"])
def test_memory_is_flat_over_thirty_edits(supplier: str, material: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "place", material, "edit")
    place.arguments[place.arguments.index("disk")] = supplier

    def edits() -> int:
        import os
        import tempfile

        os.chdir(place.here)
        os.environ.update(place.environment)
        tempfile.tempdir = None
        sizes = []
        for number in range(WARM + EDITS):
            arguments = [*place.arguments, "-p", "a silver car " + "driving " * (number % 5), "-o", f"{number}.mp4"]
            with pytest.raises(SystemExit, match="0"):
                main(arguments)
            gc.collect()
            sizes.append(psutil.Process().memory_info().rss)
        print(*(size >> 20 for size in sizes))
        # The least of the last against the most of the first, so that one peak decides nothing.
        grown = min(sizes[-5:]) - max(sizes[WARM - 3 : WARM])
        assert grown < ALLOWED, f"{grown >> 20} MiB more after {EDITS} edits"
        assert not list((place.root / "tmp").iterdir())
        return 0

    process = Process(edits, tmp_path / "said.txt")
    assert process.wait() == 0, process.said
    print(process.said.splitlines()[-1])
