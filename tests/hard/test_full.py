"""A disk that is full: one line that names the file, what was made is kept, and a full cache ends nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .corpus import edit
from .test_kill import Place

NO_SPACE = "No space left on device"


@pytest.fixture
def small(tmp_path: Path):
    """A file system of 12 MB, where this process may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("a small file system can only be mounted by root")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path, free: int) -> None:
    """Leave so many bytes of a small file system."""
    room = os.statvfs(folder)
    size = room.f_bavail * room.f_bsize - free
    (folder / "filler").write_bytes(bytes(max(0, size)))


FREE = (0, 4096, 16384, 65536)
RUN = edit("-o", "out.mp4", "--supplier", "memory", "--no-reconstruction")


def _end(place: Place, process) -> tuple[int, list[str], list[str]]:
    code = process.wait()
    lines = [line for line in process.said.splitlines() if line.strip()]
    assert "Traceback" not in process.said, process.said
    return code, [x for x in lines if x.startswith("faircut: ")], [x for x in lines if x.startswith("warning: ")]


@pytest.mark.slow
@pytest.mark.parametrize("free", FREE)
def test_a_full_cache_is_a_warning(free: int, small: Path, material: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "place", material, "edit")
    place.arguments = [str(a).replace("{model}", str(material / "model")) for a in RUN]
    place.environment["FAIRCUT_CACHE"] = str(small / "cache")
    fill(small, free)
    code, said, warned = _end(place, place.start())
    assert (code, said) == (0, []), said
    assert any("cache" in line and NO_SPACE in line for line in warned), warned
    assert (place.here / "out.mp4").is_file()
    assert not [path for path in small.rglob("*") if ".partial" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("free", FREE)
def test_full_temporary_files(free: int, small: Path, material: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "place", material, "edit")
    place.environment["TMPDIR"] = str(small)
    fill(small, free)
    code, said, _ = _end(place, place.start())
    if code == 0:  # There is another place for temporary files.
        assert free == 0
        return
    assert code == 2
    assert len(said) == 1
    assert NO_SPACE in said[0] or "temporary directory" in said[0], said
    assert sorted(path.name for path in place.here.iterdir()) == ["jeep.mp4", "notes.txt"]
    assert [path.name for path in small.iterdir()] == ["filler"]


@pytest.mark.slow
@pytest.mark.parametrize("free", FREE)
@pytest.mark.parametrize("name", ["edit", "invert", "tune", "bench"])
def test_a_full_place_for_the_output(name: str, free: int, small: Path, material: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "place", material, name)
    at = place.arguments.index("-o") + 1
    place.arguments[at] = str(small / place.arguments[at])
    fill(small, free)
    users = place.users()
    code, said, _ = _end(place, place.start())
    if code == 0:  # What is written fits.
        return
    assert code == 2, said
    assert len(said) == 1, said
    assert NO_SPACE in said[0], said
    assert str(small) in said[0], said
    assert place.users() == users
    assert not [path for path in small.rglob("*") if ".partial" in path.name or "/.tmp" in str(path)]
    os.remove(small / "filler")
    code, said, _ = _end(place, place.start())
    assert code == 0, said
