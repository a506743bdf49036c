"""Every case of the corpus ends with the exit code and the one line that it states, and nothing that was there is lost."""

from __future__ import annotations

import importlib
import pkgutil
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from PIL import Image

import tests.hard as hard
from faircut.cli import main
from faircut.files import MARK
from faircut.video import Video, write_video
from faircut.video.clip import to_uint8

from ..conftest import make_editor
from .corpus import Case, World, snapshot


def _corpus() -> list[Case]:
    """All cases of the modules ``cases_*`` beside this one."""
    names = sorted(m.name for m in pkgutil.iter_modules(hard.__path__) if m.name.startswith("cases_"))
    cases = [case for name in names for case in importlib.import_module(f"tests.hard.{name}").CASES]
    known = [case.name for case in cases]
    assert len(known) == len(set(known)), f"two cases of one name: {sorted({n for n in known if known.count(n) > 1})}"
    return cases


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


def _filled(argument: object, world: World) -> str:
    text = str(argument)
    for name in ("model", "folder", "home", "cache"):
        text = text.replace(f"{{{name}}}", str(getattr(world, name)))
    return text


def _run(arguments, world: World, capfd) -> tuple[int, str, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main([_filled(argument, world) for argument in arguments])
    out, err = capfd.readouterr()
    code = leaving.value.code
    return (int(code) if isinstance(code, int) else (0 if code is None else 1)), out, err


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] * c.slow, id=c.name) for c in _corpus()])
def test_case(case: Case, world: World, capfd) -> None:
    case.make(world)
    for name, value in case.environment.items():
        world.setenv(name, None if value is None else _filled(value, world))
    for arguments in case.before:
        code, _, err = _run(arguments, world, capfd)
        assert code == 0, err
    before, model = snapshot(world.folder), snapshot(world.model)

    code, out, err = _run(case.arguments, world, capfd)

    assert "Traceback" not in err + out, err + out
    assert code == case.code, f"exit {code}, not {case.code}: {err or out}"
    lines = [line for line in err.splitlines() if line.strip()]
    warned = [line for line in lines if line.startswith("warning: ")]
    said = [line for line in lines if line not in warned]
    if case.says is None:
        assert not said, err
    else:
        assert len(said) == 1, f"one line was to be said: {err!r}"
        assert said[0].startswith("faircut: "), err
        assert re.search(case.says, said[0]), f"{case.says!r} is not in {said[0]!r}"
    for pattern in case.warns:
        assert any(re.search(pattern, line) for line in warned), f"no warning of {pattern!r}: {err!r}"
    assert case.code == 0 or len(warned) == len(case.warns), err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", err + out), f"control characters: {err + out!r}"

    after = snapshot(world.folder)
    gone = sorted(name for name in before if name not in after)
    assert not gone, f"lost: {gone}"
    other = [n for n in before if after[n] != before[n] and not any(fnmatch(n, p) for p in case.changed)]
    assert not other, f"changed: {other}"
    more = [n for n in after if n not in before and not any(fnmatch(n, p) for p in case.new)]
    assert not more, f"left behind: {more}"
    assert snapshot(world.model) == model, "the model was changed"
    temporary = world.folder.parent / "tmp"
    assert not list(temporary.iterdir()), f"left in TMPDIR: {list(temporary.iterdir())}"
    if case.check is not None:
        case.check(world, out)
