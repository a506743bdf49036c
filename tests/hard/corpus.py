"""Hostile and unlucky uses of the command line, as values; `test_corpus` runs every one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["SOURCE", "TARGET", "Case", "World", "edit"]

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"


@dataclass(frozen=True)
class World:
    """What is there before a case runs.

    Attributes:
        folder: the working folder, empty but for ``jeep.mp4`` (3 frames of 48 x 32) and ``frames/`` (3 pictures of it).
        model: a tiny Stable Diffusion folder outside of the working folder, shared by all cases: copy it to change it.
        home: ``$HOME``; empty, outside of the working folder.
        cache: ``$FAIRCUT_CACHE``; missing, outside of the working folder.
        setenv: sets an environment variable for this case; None removes it.
    """

    folder: Path
    model: Path
    home: Path
    cache: Path
    setenv: Callable[[str, str | None], None]

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file in the working folder; its parents are made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


def nothing(world: World) -> None:
    """Make nothing."""


@dataclass(frozen=True)
class Case:
    """One use of the command line, and how it must end.

    Attributes:
        name: unique; says what is done.
        arguments: of ``faircut``; ``{model}``, ``{folder}``, ``{home}`` and ``{cache}`` stand for the world's paths.
        make: prepares the world.
        code: the exit code.
        says: a regular expression found in the one line of stderr that starts with ``faircut:``; None: there is no such
            line, because the run ends well.
        warns: regular expressions, each found in one ``warning:`` line; other warnings are allowed only if ``code`` is
            0.
        new: glob patterns, relative to the working folder, of what may be there afterwards and was not before.
        changed: the same of what was there and may be another.
        check: looks at the world afterwards; raises AssertionError.
        stdin: given to the command.
        before: another command that must succeed first, such as a first run whose result is overwritten; what it leaves
            counts as having been there.
        slow: takes longer than a second or two; run by ``make hard`` alone.
    """

    name: str
    arguments: tuple[Any, ...]
    make: Callable[[World], object] = nothing
    code: int = 2
    says: str | None = ""
    warns: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    check: Callable[[World, str], object] | None = None
    before: tuple[tuple[Any, ...], ...] = ()
    slow: bool = False
    environment: dict[str, str | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def edit(*arguments: Any, clip: Any = "jeep.mp4", source: Any = SOURCE, prompt: Any = TARGET, steps: Any = 2) -> tuple:
    """Arguments of an edit with the tiny model; what is given comes last and so wins."""
    return ("edit", clip, "-s", source, "-p", prompt, "--model", "{model}", "--steps", steps, *arguments)


def snapshot(folder: Path) -> dict[str, bytes | str]:
    """What is in a folder: content of files, targets of links, kinds of everything else, by relative name."""
    found: dict[str, bytes | str] = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            relative = os.path.relpath(path, folder)
            if path.is_symlink():
                found[relative] = f"link to {os.readlink(path)}"
            elif path.is_file():
                try:
                    found[relative] = path.read_bytes()
                except OSError:
                    found[relative] = "unreadable"
            else:
                found[relative] = "folder" if path.is_dir() else "special"
    return found
