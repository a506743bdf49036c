"""A tiny checkpoint on disk, a tiny clip, and the command line in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from faircut.cli import main
from faircut.video import Video, write_video

from ..conftest import make_editor

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    make_editor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "jeep.mp4"
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 48), indexing="ij")
    frames = [torch.stack([torch.sin(3 * xx + f), yy, (xx * yy)]) for f in range(3)]
    return write_video(Video.from_frames(torch.stack(frames), 8), path)


class Run(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def report(self):
        return json.loads(self.out)


@pytest.fixture
def cli(tmp_path, monkeypatch, capfd):
    """Run a command in an empty folder with a cache of its own; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRCUT_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))

    def run(*arguments: object) -> Run:
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        code = leaving.value.code
        return Run(int(code) if isinstance(code, int) else (0 if code is None else 1), out, err)

    return run
