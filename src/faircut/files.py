"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_path"]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary sibling of ``path`` to write to, and rename it to ``path`` when all went well.

    The body may make a file or a folder of the name that it is given. A reader of ``path`` sees what was there before or
    the finished work, never a half of it. After any exception, a keyboard interrupt included, the temporary is removed and
    what was there before is untouched. Parent folders are made where they are missing.

    Args:
        path: the final name of a file or of a folder.

    Yields:
        A name in the same folder, with the same suffix (writers look at it), at which nothing exists yet.

    Raises:
        FileNotFoundError: the body ended without making anything at the name it was given.
        IsADirectoryError: a file was made, and ``path`` is a folder.
        NotADirectoryError: a folder was made, and ``path`` is a file.
        OSError: whatever the file system says, such as no space or no permission.
    """
    final = Path(os.path.abspath(path))
    final.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    temporary = final.with_name(f".{final.stem[:80]}.{token}.partial{final.suffix}")
    try:
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"nothing was written for {final}")
        if temporary.is_dir() and final.is_dir():
            _replace_folder(temporary, final, final.with_name(f".{final.name[:80]}.{token}.old"))
        elif temporary.is_dir() and final.exists():
            raise NotADirectoryError(
                f"{final} is a file; a folder cannot take its place: remove it or choose another name"
            )
        elif final.is_dir():
            raise IsADirectoryError(f"{final} is a folder; a file cannot take its place: choose another name")
        else:
            temporary.replace(final)
    finally:
        _remove(temporary)


def _replace_folder(new: Path, final: Path, old: Path) -> None:
    # A folder cannot be renamed over a full one, so the old one steps aside first and comes back if the step fails.
    final.rename(old)
    try:
        new.rename(final)
    except BaseException:
        old.rename(final)
        raise
    _remove(old)
