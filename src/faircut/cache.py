"""The folder of inversions that are found again by content, kept under a size."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from faircut.errors import ConfigError
from faircut.files import atomic_path
from faircut.ranges import read_float

__all__ = ["cache_folder", "note_reconstruction", "parse_bytes", "prune"]

_LIMIT = "8GiB"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str) -> int:
    """Read a number of bytes as people write it: ``4GiB``, ``500 MB``, ``1e9``.

    Raises:
        ConfigError: it is none.
    """
    compact = text.strip().lower().replace(" ", "").removesuffix("b")
    number = compact.rstrip("kmgti")
    try:
        size = read_float(number) * _UNITS[compact[len(number) :]]
        if not 0 <= size < 2**63:
            raise ValueError
    except (ValueError, KeyError):
        raise ConfigError(f"{text!r} is no amount of memory; give a number and a unit, such as 4GiB or 500MB") from None
    return int(size)


def cache_folder() -> Path:
    """Return where inversions are kept: ``$FAIRCUT_CACHE``, or ``~/.cache/faircut``, and in it ``inversions``."""
    root = os.environ.get("FAIRCUT_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "faircut").expanduser() / "inversions"


def note_reconstruction(inversion: Path, psnr: float) -> None:
    """Write the measured quality into a kept inversion, so that it need not be measured again.

    Args:
        inversion: its folder; nothing happens if it has gone.
        psnr: in dB.
    """
    facts = inversion / "inversion.json"
    if facts.is_file():
        text = json.dumps(json.loads(facts.read_text()) | {"reconstruction_psnr": psnr}, indent=2)
        with atomic_path(facts) as path:
            path.write_text(text)


def prune(folder: Path, used: Path | None = None, limit: int | None = None) -> None:
    """Remove the inversions that were not used for longest, until the rest fits.

    Args:
        folder: the cache.
        used: the inversion that was used just now.
        limit: bytes; by default ``$FAIRCUT_CACHE_LIMIT``, or 8 GiB.

    Raises:
        ConfigError: ``$FAIRCUT_CACHE_LIMIT`` is no amount of memory.
    """
    limit = parse_bytes(os.environ.get("FAIRCUT_CACHE_LIMIT", _LIMIT)) if limit is None else limit
    if used is not None and used.is_dir():
        os.utime(used)
    if not folder.is_dir():
        return
    kept = sorted((p for p in folder.iterdir() if (p / "inversion.json").is_file()), key=lambda p: -p.stat().st_mtime)
    total = 0
    for path in kept:
        total += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if total > limit:
            shutil.rmtree(path, ignore_errors=True)
