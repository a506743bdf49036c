"""Every case of the corpus ends with the exit code and the one line that it states, and nothing that was there is
lost."""

from __future__ import annotations

import importlib
import pkgutil
import re
from fnmatch import fnmatch

import pytest

import tests.hard as hard
from faircut.cli import main

from .corpus import Case, World, snapshot


def _corpus() -> list[Case]:
    """All cases of the modules ``cases_*`` beside this one."""
    names = sorted(m.name for m in pkgutil.iter_modules(hard.__path__) if m.name.startswith("cases_"))
    cases = [case for name in names for case in importlib.import_module(f"tests.hard.{name}").CASES]
    known = [case.name for case in cases]
    assert len(known) == len(set(known)), f"two cases of one name: {sorted({n for n in known if known.count(n) > 1})}"
    return cases


def _parameters() -> list:
    """The cases; an ordinary run takes every fifth, which still meets every family, and ``make hard`` takes all."""
    slow = [pytest.mark.slow]
    return [pytest.param(c, marks=slow if c.slow or n % 5 else [], id=c.name) for n, c in enumerate(_corpus())]


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


@pytest.mark.parametrize("case", _parameters())
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
