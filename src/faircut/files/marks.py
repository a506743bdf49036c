"""What tells that faircut made a file, and what may therefore be replaced.

Everything that faircut writes bears a mark: the words `MARK` in JSON, HTML, YAML, Markdown and pictures, the comment of a
video; files that can bear none are listed in a marked JSON file of their folder, under ``files``. What bears no mark
belongs to somebody else and is not replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faircut._version import __version__
from faircut.errors import ConfigError

__all__ = ["GENERATOR", "MARK", "check_file", "check_folder", "foreign", "is_ours", "json_text", "list_files"]

MARK = "made by faircut"
GENERATOR = f"{MARK} {__version__}"
"""What says in a file that faircut made it."""

_MARKED = frozenset((".json", ".html", ".yaml", ".md", ".png", ".gif", ".webp", ".mp4", ".mov", ".webm"))
_LITTER = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))  # What file managers leave in every folder they show.
_LOOK = 1 << 20  # Bytes at the beginning and at the end of a file in which its mark is.


def json_text(data: Mapping[str, Any]) -> str:
    """Return a mapping as JSON with the mark under ``generator``.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps({"generator": GENERATOR, **data}, indent=1, ensure_ascii=False, allow_nan=False)


def list_files(folder: Path) -> list[str]:
    """Return the names of all files in a folder, relative to it, sorted: what a marked JSON file holds as ``files``."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def is_ours(path: Path) -> bool:
    """Say whether a file bears faircut's mark.

    Args:
        path: of a file; links are followed.
    """
    if path.suffix.lower() not in _MARKED or not path.is_file():
        return False
    with open(path, "rb") as file:
        if MARK.encode() in file.read(_LOOK):
            return True
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOOK))
        return MARK.encode() in file.read()


def foreign(folder: Path) -> list[str]:
    """Return what is in a folder and was not made by faircut: names relative to it, sorted."""
    listed: set[str] = set()
    for path in folder.glob("*.json"):
        if is_ours(path):
            with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
                listed |= {str(name) for name in json.loads(path.read_bytes()).get("files", ())}
    found = []
    for root, folders, files in os.walk(folder):
        for name in (*files, *(f for f in folders if Path(root, f).is_symlink() or not any(Path(root, f).iterdir()))):
            path = Path(root, name)
            if path.relative_to(folder).as_posix() not in listed and name not in _LITTER and not is_ours(path):
                found.append(path.relative_to(folder).as_posix())
    return sorted(found)


def check_folder(folder: Path) -> None:
    """Check that all in a folder is ours.

    Raises:
        ConfigError: it is not.
    """
    others = foreign(folder)
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise ConfigError(
            f"the folder {folder} holds what faircut did not make ({', '.join(others[:3])}{more}), which would be lost; "
            "choose a new or an empty folder"
        )


def check_file(path: str | os.PathLike[str], flag: str = "") -> None:
    """Check that a file is not there, or is ours.

    Raises:
        ConfigError: it is neither.
    """
    if os.path.exists(path) and not is_ours(Path(path)):
        raise ConfigError(f"{path} is there and faircut did not make it; choose another name{flag}, or remove it")
