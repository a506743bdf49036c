"""Several processes that save, find, use and remove entries of one cache at once."""

from __future__ import annotations

import random
import time
import warnings
from pathlib import Path

import pytest
import torch

from faircut.attention.source import MemoryStore
from faircut.config.values import SpatialTemporal
from faircut.edit.inversion import Inversion, find_inversion, keep_inversion
from faircut.files.cache import Cache

from .forks import Process, start_server

PROCESSES, SECONDS, KEYS = 6, 6.0, [f"{number:032x}" for number in range(5)]


def value(number: int) -> Inversion:
    """An inversion that is known by its number."""
    store = MemoryStore()
    for step in range(3):
        for layer in ("a", "b"):
            store.put(step, layer, torch.full((2, 2, 16, 4), float(number)), torch.full((2, 2, 16, 4), float(step)))
    latents = torch.full((4, 2, 4, 8, 8), float(number))
    return Inversion(latents, f"prompt {number}", 3, SpatialTemporal(), (16, 16), "model", attention=store)


def work(folder: Path, seed: int, limit: int, until: float) -> int:
    """Use the cache as edits do, and fail at the first thing that is not as it should be."""
    warnings.simplefilter("error")
    draw, done, hits = random.Random(seed), 0, 0
    while time.monotonic() < until:
        number = draw.randrange(len(KEYS))
        cache = Cache(folder, limit)
        found = find_inversion(cache, KEYS[number])
        if found is None:
            found = value(number)
        else:
            hits += 1
            time.sleep(draw.random() * 0.02)  # Others remove the entry meanwhile.
        assert found.source_prompt == f"prompt {number}"
        assert found.latents.eq(number).all()
        for step, layers in found.attention.entries().items():
            assert sorted(layers) == ["a", "b"]
            query, key = found.attention.get(step, draw.choice(layers))
            assert query.eq(number).all()
            assert key.eq(step).all()
        keep_inversion(cache, KEYS[number], found.with_reconstruction(30.0) if draw.random() < 0.3 else found)
        if draw.random() < 0.1:
            Cache(folder, draw.choice((0, limit))).prune()
        done += 1
    print(done, hits)
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 1.5, 3.5, 100], ids=lambda room: f"room for {room}")
@pytest.mark.parametrize("seed", range(3))
def test_storm(room: float, seed: int, tmp_path: Path) -> None:
    size = sum(p.stat().st_size for p in value(0).save(tmp_path / "one").rglob("*") if p.is_file())
    folder = tmp_path / "cache"
    start_server()
    until = time.monotonic() + SECONDS
    running = [
        Process(tmp_path / f"said-{n}.txt", work, folder, 100 * seed + n, int(room * size), until)
        for n in range(PROCESSES)
    ]
    codes = [process.wait() for process in running]
    said = [process.said for process in running]
    assert codes == [0] * PROCESSES, "\n".join(said)
    done, hits = (sum(int(text.split()[column]) for text in said) for column in (0, 1))
    assert done > 10 * PROCESSES
    assert hits or room < 1
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert not left, left
    for entry in (path for path in folder.iterdir() if path.is_dir()):
        assert Inversion.load(entry, key=entry.name).latents.eq(KEYS.index(entry.name)).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_storm_with_kills(seed: int, tmp_path: Path) -> None:
    """Processes that die at any moment leave nothing that the others trip over, and the next one clears it."""
    folder, draw = tmp_path / "cache", random.Random(seed)
    start_server()
    end = time.monotonic() + SECONDS
    running: list[Process] = []
    number = 0
    while time.monotonic() < end:
        while len(running) < PROCESSES:
            number += 1
            start = 1000 * seed + number
            until = end if number <= 2 else end + 60  # Two go on to the end, the others are killed.
            running.append(Process(tmp_path / f"said-{number}.txt", work, folder, start, 20_000, until))
        time.sleep(draw.random() * 0.3)
        victim = running.pop(draw.randrange(2, len(running)))
        victim.kill()
        assert victim.wait() == -9, victim.said
    for process in running[2:]:
        process.kill()
        process.wait()
    assert [process.wait() for process in running[:2]] == [0, 0], "\n".join(p.said for p in running[:2])
    last = Process(tmp_path / "last.txt", work, folder, seed, 10**9, time.monotonic() + 0.5)
    assert last.wait() == 0, last.said
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
