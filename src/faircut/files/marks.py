"""The mark by which faircut recognises its own files, which it may replace.

Every file that faircut writes contains `MARK`: JSON, HTML, YAML, Markdown and pictures as text, videos as a comment.
Files that cannot hold a mark are listed under ``files`` in a marked JSON file of their folder. Files without a mark
were made by somebody else, and faircut does not replace them.
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
    "foreign_files",
    "json_text",
    "list_files",
    "made_by_faircut",
    "signature",
]

MARK = "made by faircut"
GENERATOR = f"{MARK} {__version__}"
"""Mark with the version of faircut, as it is written into files."""

_CLIPS = frozenset((".gif", ".webp", ".mp4", ".mov", ".webm"))
_FRAME = re.compile(r"\d{5}\.png")  # Names that `write_video` gives to the pictures of a folder.
# The position of the mark is checked too, so that a text that merely mentions faircut does not count as marked.
_MARKED = {
    ".json": rb'"generator": ?"made by faircut ',
    ".html": rb"<meta name=.generator. content=.made by faircut",
    ".yaml": rb"\A# made by faircut ",
    ".md": rb"\A<!-- made by faircut ",
    ".png": rb"tEXtSoftware\0made by faircut ",
    **dict.fromkeys(_CLIPS, rb"made by faircut [^\[]{1,20}\["),
}
_LITTER = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))  # Files that file managers create in every folder.
_SCANNED_BYTES = 1 << 20  # The mark is within this many bytes from the beginning or the end of a file.


def signature(name: str) -> str:
    """Return the mark of a clip, with a digest of its file name.

    Other programs copy the comment when they cut or convert a clip. The digest tells their files from those of faircut.
    """
    return f"{GENERATOR} [{hashlib.blake2b(name.encode(errors='replace'), digest_size=6).hexdigest()}]"


def json_text(data: Mapping[str, Any]) -> str:
    """Return a mapping as JSON text with the mark under ``generator``.

    Raises:
        ValueError: If a number is not finite.
    """
    return json.dumps({"generator": GENERATOR, **data}, indent=1, ensure_ascii=False, allow_nan=False)


def list_files(folder: Path) -> list[str]:
    """Return the sorted relative paths of all files in a folder, as a marked JSON file lists them under ``files``."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def can_be_marked(path: Path) -> bool:
    """Return whether files with a path's suffix hold the mark themselves. Others are listed in a JSON file."""
    return path.suffix.lower() in _MARKED


def made_by_faircut(path: Path) -> bool:
    """Return whether a file has the mark. The mark of a clip must fit its file name.

    Args:
        path: Path of a file. Links are followed; a linked clip may have the mark for either name.
    """
    final = Path(os.path.realpath(path))
    if not can_be_marked(path) or not final.is_file():
        return False
    suffix = path.suffix.lower()
    names = [signature(name).removeprefix(GENERATOR).encode() for name in (path.name, final.name)]
    with open(final, "rb") as file:
        content = file.read(_SCANNED_BYTES)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _SCANNED_BYTES))
        content += file.read()
    marked = re.search(_MARKED[suffix], content) is not None
    return marked and (suffix not in _CLIPS or any(name in content for name in names))


def foreign_files(folder: Path) -> list[str]:
    """Return the sorted relative paths of everything in a folder that does not belong to one result of faircut.

    A folder is one result if a marked JSON file in it lists its files, or if it contains the pictures of a clip as
    `write_video` writes them. Other marked files in it are results that somebody has collected there.
    """
    listed: set[str] = set()
    for path in folder.glob("*.json"):
        if made_by_faircut(path):
            with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
                names = json.loads(path.read_bytes()).get("files", ())
                listed |= {str(name) for name in names} | ({path.name} if names else set())
    foreign = []
    for root, folders, files in os.walk(folder):
        for name in (*files, *(f for f in folders if Path(root, f).is_symlink() or not any(Path(root, f).iterdir()))):
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            is_frame = _FRAME.fullmatch(relative) is not None and made_by_faircut(path)
            if relative not in listed and name not in _LITTER and not is_frame:
                foreign.append(relative)
    return sorted(foreign)


def check_folder(folder: Path) -> None:
    """Check that everything in a folder was made by faircut as one result.

    Raises:
        ConfigError: If the folder contains anything else.
    """
    foreign = foreign_files(folder)
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ConfigError(
            f"the folder {folder} contains files that were not made by faircut as one result ({', '.join(foreign[:3])}"
            f"{more}), and they would be lost; choose a new or an empty folder"
        )


def check_file(path: str | os.PathLike[str], flag: str = "") -> None:
    """Check that a file does not exist or was made by faircut.

    Raises:
        ConfigError: If the file exists and was not made by faircut.
    """
    # The path is resolved first because its folders need not exist: "missing/../notes.txt" is notes.txt.
    if os.path.exists(os.path.realpath(path)) and not made_by_faircut(Path(path)):
        raise ConfigError(f"{path} already exists and was not made by faircut; choose another name{flag}, or remove it")
