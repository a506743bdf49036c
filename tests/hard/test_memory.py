"""Thirty edits in one process take no more memory than a few."""

from __future__ import annotations

import gc
from pathlib import Path

import psutil
import pytest

from faircut.cli import main

from .forks import Process, enter
from .test_kill import Place

WARM, EDITS, ALLOWED = 6, 30, 24 * 2**20


def edits(arguments: list[str], here: Path, root: Path, environment: dict[str, str]) -> int:
    """Edit again and again in one process, and fail if it grows."""
    enter(here, environment)
    sizes = []
    for number in range(WARM + EDITS):
        more = ["-p", "a silver car " + "driving " * (number % 5), "-o", f"{number}.mp4"]
        with pytest.raises(SystemExit, match="0"):
            main([*arguments, *more])
        gc.collect()
        sizes.append(psutil.Process().memory_info().rss)
    print(*(size >> 20 for size in sizes))
    # The least of the last against the most of the first, so that one peak decides nothing.
    grown = min(sizes[-5:]) - max(sizes[WARM - 3 : WARM])
    assert grown < ALLOWED, f"{grown >> 20} MiB more after {EDITS} edits"
    assert not list((root / "tmp").iterdir())
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("supplier", ["live", "memory", "disk"])
def test_memory_is_flat_over_thirty_edits(supplier: str, material: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "place", material, "edit")
    place.arguments[place.arguments.index("disk")] = supplier
    process = Process(tmp_path / "said.txt", edits, place.arguments, place.here, place.root, place.environment)
    assert process.wait() == 0, process.said
    print(process.said.splitlines()[-1])
