"""Counts the corpus: ``make hard`` ends with "N of N"."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from faircut.files import MARK
from faircut.video import Video, write_video
from faircut.video.clip import to_uint8

from ..conftest import make_editor
from .corpus import World


def pytest_terminal_summary(terminalreporter, exitstatus, config) -> None:
    ran = [report for kind in ("passed", "failed", "error") for report in terminalreporter.getreports(kind)]
    names = {report.nodeid for report in ran if "tests/hard/" in report.nodeid}
    bad = {r.nodeid for kind in ("failed", "error") for r in terminalreporter.getreports(kind)}
    if names:
        terminalreporter.write_line(f"{len(names - bad)} of {len(names)}")


@pytest.fixture(autouse=True)
def _signals():
    """The command line takes SIGTERM; put back what pytest had."""
    import signal

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """No case may ask the hub for a name that it made up."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """The tiny model, a clip and its pictures, made once."""
    folder = tmp_path_factory.mktemp("material")
    make_editor().save_pretrained(folder / "model")
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 48), indexing="ij")
    frames = torch.stack([torch.stack([torch.sin(3 * xx + f), yy, xx * yy]) for f in range(3)])
    write_video(Video.from_frames(frames, 8), folder / "jeep.mp4")
    # A clip of the user's does not say that faircut made it.
    clip = (folder / "jeep.mp4").read_bytes()
    (folder / "jeep.mp4").write_bytes(clip.replace(MARK.encode(), b"made by a phone"))
    (folder / "frames").mkdir()
    for index, picture in enumerate(to_uint8(frames)):
        Image.fromarray(picture).save(folder / "frames" / f"{index:05d}.png")
    return folder


@pytest.fixture
def world(material, tmp_path, monkeypatch) -> World:
    folder, home, cache = (tmp_path / name for name in ("here", "home", "cache"))
    (folder / "frames").mkdir(parents=True)
    home.mkdir()
    (tmp_path / "tmp").mkdir()
    for source in (material / "jeep.mp4", *(material / "frames").iterdir()):
        (folder / source.relative_to(material)).write_bytes(source.read_bytes())
    monkeypatch.chdir(folder)

    def setenv(name: str, value: str | None) -> None:
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)

    for name, value in (("HOME", home), ("FAIRCUT_CACHE", cache), ("TMPDIR", tmp_path / "tmp")):
        setenv(name, str(value))
    monkeypatch.setattr("tempfile.tempdir", None)
    return World(folder, material / "model", home, cache, setenv)
