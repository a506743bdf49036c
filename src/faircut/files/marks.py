"""What tells that faircut made a file, and what may therefore be replaced.

Everything that faircut writes bears a mark: the words `MARK` in JSON, HTML, YAML, Markdown and pictures, the comment of a
video; files that can bear none are listed in a marked JSON file of their folder, under ``files``. What bears no mark
belongs to somebody else and is not replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faircut._version import __version__
from faircut.errors import ConfigError

__all__ = [
    "GENERATOR",
    "MARK",
    "can_be_marked",
    "check_file",
    "check_folder",
    "foreign",
    "is_ours",
    "json_text",
    "list_files",
    "signature",
]

MARK = "made by faircut"
GENERATOR = f"{MARK} {__version__}"
"""What says in a file that faircut made it."""

_CLIPS = frozenset((".gif", ".webp", ".mp4", ".mov", ".webm"))
_FRAME = re.compile(r"\d{5}\.png")  # as `write_video` names the pictures of a folder
# Where the mark of each kind of file is, so that a text that only speaks of faircut is not taken for ours.
_MARKED = {
    ".json": rb'"generator": ?"made by faircut ',
    ".html": rb"<meta name=.generator. content=.made by faircut",
    ".yaml": rb"\A# made by faircut ",
    ".md": rb"\A<!-- made by faircut ",
    ".png": rb"tEXtSoftware\0made by faircut ",
    **dict.fromkeys(_CLIPS, rb"made by faircut [^\[]{1,20}\["),
}
_LITTER = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))  # What file managers leave in every folder they show.
_LOOK = 1 << 20  # Bytes at the beginning and at the end of a file in which its mark is.


def signature(name: str) -> str:
    """Return the mark of a clip, which holds a digest of its name.

    Other programs keep comments when they cut or convert a clip: what they make under another name is not ours.
    """
    return f"{GENERATOR} [{hashlib.blake2b(name.encode(errors='replace'), digest_size=6).hexdigest()}]"


def json_text(data: Mapping[str, Any]) -> str:
    """Return a mapping as JSON with the mark under ``generator``.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps({"generator": GENERATOR, **data}, indent=1, ensure_ascii=False, allow_nan=False)


def list_files(folder: Path) -> list[str]:
    """Return the names of all files in a folder, relative to it, sorted: what a marked JSON file holds as ``files``."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def can_be_marked(path: Path) -> bool:
    """Say whether files of a path's suffix bear the mark; others are listed where they belong."""
    return path.suffix.lower() in _MARKED


def is_ours(path: Path) -> bool:
    """Say whether a file bears faircut's mark; a clip's must be of its name.

    Args:
        path: of a file; links are followed, and a clip may have the mark of either name.
    """
    final = Path(os.path.realpath(path))
    if not can_be_marked(path) or not final.is_file():
        return False
    suffix = path.suffix.lower()
    names = [signature(name).removeprefix(GENERATOR).encode() for name in (path.name, final.name)]
    with open(final, "rb") as file:
        content = file.read(_LOOK)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOOK))
        content += file.read()
    marked = re.search(_MARKED[suffix], content) is not None
    return marked and (suffix not in _CLIPS or any(name in content for name in names))


def foreign(folder: Path) -> list[str]:
    """Return what is in a folder and is not of one result of faircut's: names relative to it, sorted.

    A folder is one result if a marked JSON file in it lists what is there, or if it holds pictures as `write_video` writes
    a clip. Other files of ours in it are results that somebody has collected.
    """
    listed: set[str] = set()
    for path in folder.glob("*.json"):
        if is_ours(path):
            with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
                names = json.loads(path.read_bytes()).get("files", ())
                listed |= {str(name) for name in names} | ({path.name} if names else set())
    found = []
    for root, folders, files in os.walk(folder):
        for name in (*files, *(f for f in folders if Path(root, f).is_symlink() or not any(Path(root, f).iterdir()))):
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            picture = _FRAME.fullmatch(relative) is not None and is_ours(path)
            if relative not in listed and name not in _LITTER and not picture:
                found.append(relative)
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
            f"the folder {folder} holds what faircut did not make as one result ({', '.join(others[:3])}{more}), which "
            "would be lost; choose a new or an empty folder"
        )


def check_file(path: str | os.PathLike[str], flag: str = "") -> None:
    """Check that a file is not there, or is ours.

    Raises:
        ConfigError: it is neither.
    """
    # What a path leads to, and not whether all of its folders are there: "missing/../notes.txt" is notes.txt.
    if os.path.exists(os.path.realpath(path)) and not is_ours(Path(path)):
        raise ConfigError(f"{path} is there and faircut did not make it; choose another name{flag}, or remove it")
