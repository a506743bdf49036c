"""``kill -9`` at any moment of a long command: nothing is lost, the next run succeeds, and nothing half-written
stays."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import psutil
import pytest

from .corpus import edit, snapshot
from .forks import command, start_server

POINTS = 30
COMMANDS = {
    "edit": edit("-o", "out.mp4", "--supplier", "disk", "--save-masks", "--blend", "jeep:car", steps=4),
    "invert": ("invert", "jeep.mp4", "-s", "a silver jeep", "--model", "{model}", "--steps", 4, "--supplier", "disk",
               "-o", "inverted"),
    "tune": ("tune", "jeep.mp4", "-p", "a silver jeep", "--model", "{model}", "-o", "tuned", "--steps", 6),
    "bench": ("bench", "run", "--limit", 1, "--methods", "ddim,sdedit", "--steps", 1, "-o", "bench"),
    "audit": ("audit", "--n", 1, "--methods", "fatezero", "--policies", "preserve", "--steps", 1, "-o", "audit"),
}  # fmt: skip


class Place:
    """A folder with a clip and a note of the user, a home, a cache and a folder of temporary files."""

    def __init__(self, root: Path, material: Path, name: str) -> None:
        self.here = root / "here"
        self.here.mkdir(parents=True)
        for folder in ("home", "tmp"):
            (root / folder).mkdir()
        shutil.copy(material / "jeep.mp4", self.here)
        (self.here / "notes.txt").write_text("mine")
        self.root = root
        self.arguments = [str(a).replace("{model}", str(material / "model")) for a in COMMANDS[name]]
        self.environment = {
            "HOME": str(root / "home"), "FAIRCUT_CACHE": str(root / "cache"), "TMPDIR": str(root / "tmp"),
        }  # fmt: skip

    def start(self):
        """Run the command."""
        return command(self.arguments, self.here, self.environment)

    def users(self) -> dict[str, bytes]:
        """What is the user's own."""
        return {name: (self.here / name).read_bytes() for name in ("jeep.mp4", "notes.txt")}

    def half_written(self) -> list[str]:
        """Temporary names that are there, in all the folders."""
        names = [str(path.relative_to(self.root)) for path in self.root.rglob("*")]
        return [n for n in names if ".partial" in n or ".old" in n or n.startswith("tmp/") or "/.tmp" in n]


@pytest.fixture(scope="module")
def whole(material: Path, tmp_path_factory):
    """Each command run to its end, once: the seconds that it takes, and what it leaves."""
    known = {}

    def run(name: str) -> tuple[float, Place]:
        if name not in known:
            place = Place(tmp_path_factory.mktemp(name) / "place", material, name)
            started = time.monotonic()
            process = place.start()
            assert process.wait() == 0, process.said
            known[name] = time.monotonic() - started, place
            assert not place.half_written()
        return known[name]

    return run


@pytest.mark.slow
def test_commands_are_forked_from_a_process_with_one_thread(material: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "place", material, "edit")
    assert place.start().wait() == 0
    server = psutil.Process(start_server())
    assert server.num_threads() == 1
    assert server.memory_info().rss > 2**27, "it has imported what commands need"


@pytest.mark.slow
@pytest.mark.parametrize("point", range(POINTS))
@pytest.mark.parametrize("name", COMMANDS)
def test_kill(name: str, point: int, whole, material: Path, tmp_path: Path) -> None:
    draw = random.Random(f"{name} {point}")
    seconds, done = whole(name)
    place = Place(tmp_path / "place", material, name)
    results = sorted(
        {path.relative_to(done.here) for path in done.here.iterdir()} - {Path("jeep.mp4"), Path("notes.txt")}
    )
    if over := point % 2:  # Every other one runs over its own earlier result.
        for result in results:
            copy = shutil.copytree if (done.here / result).is_dir() else shutil.copy
            copy(done.here / result, place.here / result)
    users, earlier = place.users(), snapshot(place.here)

    process = place.start()
    time.sleep(draw.random() * 1.1 * seconds)
    process.kill()
    assert process.wait() in (-9, 0), process.said

    assert place.users() == users
    if over and name == "edit":
        for path, content in snapshot(place.here).items():
            assert content or path not in earlier, f"{path} is empty"
    again = place.start()
    assert again.wait() == 0, again.said
    assert place.users() == users
    assert not place.half_written(), place.half_written()
    there = {str(path.relative_to(place.here)) for path in place.here.rglob("*")}
    wanted = {str(path.relative_to(done.here)) for path in done.here.rglob("*")}
    assert there == wanted
