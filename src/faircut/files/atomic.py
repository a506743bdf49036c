"""Write files and folders completely or not at all, and clean up what a killed process has left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from faircut.errors import ConfigError
from faircut.files.marks import GENERATOR, can_be_marked, check_file, check_folder, json_text

__all__ = [
    "HeldFolder",
    "all_or_nothing",
    "atomic_path",
    "clear_partials",
    "name_in_errors",
    "remove",
    "replace_all",
    "save_picture",
    "temporary_name",
    "workspace",
    "write_json",
    "write_text",
]

_PARTIAL = re.compile(
    r".*[.-](?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{8}\.(?P<kind>partial|old)(\..*)?"
)
_cleared: set[str] = set()


# Temporary names ----------------------------------------------------------------------------------------------------


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _owner() -> str:
    """Return a text that identifies this process for other processes: computer, process id and start time."""
    import psutil

    return f"{_host()}-{os.getpid()}-{int(psutil.Process().create_time())}"


def temporary_name(final: Path, kind: Literal["partial", "old"] = "partial") -> Path:
    """Return an unused name beside a file or folder that tells which process owns it.

    Args:
        final: Final path. The temporary name has the same suffix, because writers choose the format by it.
        kind: ``"partial"`` for something that is being written, ``"old"`` for something moved out of the way.
    """
    stem = final.stem.encode()[:60].decode(errors="ignore")
    suffix = final.suffix if len(final.suffix) <= 16 else ""
    return final.with_name(f".{stem}.{_owner()}-{secrets.token_hex(4)}.{kind}{suffix}")


def clear_partials(folder: Path) -> None:
    """Remove what dead processes have left in a folder, and put back what they had moved out of the way.

    Each process does this once per folder. Files of running processes, other computers and other users are left alone.

    Args:
        folder: Folder to clean. Does nothing if it does not exist.
    """
    real_path = os.path.realpath(folder)
    if real_path in _cleared:
        return
    _cleared.add(real_path)
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(real_path)):
            owner = _PARTIAL.fullmatch(entry.name)
            if owner is None or owner["host"] != _host() or _is_running(int(owner["pid"]), int(owner["start"])):
                continue
            if hasattr(os, "getuid") and entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            path = Path(entry.path)
            if owner["kind"] == "old" and path.is_dir():
                for moved in list(path.iterdir()):
                    if not os.path.lexists(path.parent / moved.name):
                        moved.rename(path.parent / moved.name)
            remove(path)


def _is_running(pid: int, start: int) -> bool:
    import psutil

    try:
        return abs(psutil.Process(pid).create_time() - start) < 2
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def remove(path: Path) -> None:
    """Remove a file or folder as far as the file system permits. Of a link, only the link is removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


# Writing ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, and rename it to ``path`` if the body succeeds.

    The body may create a file or a folder at the temporary path. Readers of ``path`` see the old content or the
    complete new content. After any exception, including a keyboard interrupt, the temporary path is removed and the old
    content is unchanged. Missing parent folders are created, and a link is followed.

    Args:
        path: Final path of the file or folder.

    Yields:
        Unused path in the same folder with the same suffix, because writers choose the format by it.

    Raises:
        FileNotFoundError: If the body creates nothing at the temporary path.
        IsADirectoryError: If a file would replace a folder.
        NotADirectoryError: If a folder would replace a file.
        ConfigError: If a folder would replace one with files that faircut did not make.
        OSError: If the file system refuses, for example because the disk is full.
    """
    final = Path(os.path.realpath(path))
    final.parent.mkdir(parents=True, exist_ok=True)
    clear_partials(final.parent)
    temporary = temporary_name(final)
    try:
        with name_in_errors(final, temporary):
            yield temporary
            if not temporary.exists():
                raise FileNotFoundError(f"nothing was written for {final}")
            replace_all([(temporary, final)])
    finally:
        remove(temporary)


@contextlib.contextmanager
def name_in_errors(final: Path, temporary: Path | None = None, place: Path | None = None) -> Iterator[None]:
    """Put the final path into file system errors. Those of a full disk name no file, and temporary names mean nothing.

    Args:
        final: Path of the file or folder that is being written.
        temporary: Its temporary path, or the temporary folder that contains it.
        place: Path that replaces ``temporary`` in the error, if not ``final``.
    """
    try:
        yield
    except OSError as error:
        name = str(final if error.filename is None else error.filename)
        if temporary is not None and (name == str(temporary) or name.startswith(f"{temporary}{os.sep}")):
            name = f"{place or final}{name[len(str(temporary)) :]}"
        # An error without a number already has a message of faircut. FFmpeg's errors are read-only.
        if error.errno is not None:
            with contextlib.suppress(AttributeError):
                error.filename = name
        raise


def replace_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move several files and folders to their final paths: all of them or none.

    Args:
        moves: Pairs of current path and final path, on one file system. Existing files at the final paths are replaced.

    Raises:
        IsADirectoryError: If a file would replace a folder.
        NotADirectoryError: If a folder would replace a file.
        ConfigError: If a folder with files that faircut did not make would be replaced.
        OSError: If the file system refuses. Everything is then as it was before.
    """
    for new, final in moves:
        if final.is_dir() and not new.is_dir():
            raise IsADirectoryError(
                errno.EISDIR, f"{final} is a folder, which a file cannot replace; choose another name"
            )
        if new.is_dir() and final.exists():
            if not final.is_dir():
                raise NotADirectoryError(
                    errno.ENOTDIR,
                    f"{final} is a file, which a folder cannot replace; remove it or choose another name",
                )
            check_folder(final)
    if len(moves) == 1 and not moves[0][0].is_dir():
        moves[0][0].replace(moves[0][1])
        return
    undo: list[tuple[Path, Path]] = []  # Pairs of new path and previous path.
    aside: dict[Path, Path] = {}
    try:
        for new, final in moves:
            if os.path.lexists(final):
                if final.parent not in aside:
                    aside[final.parent] = temporary_name(final.with_suffix(""), "old")
                    aside[final.parent].mkdir()
                old = aside[final.parent] / final.name
                final.rename(old)
                undo.append((old, final))
            new.rename(final)
            undo.append((final, new))
    except BaseException:
        for current, previous in reversed(undo):
            current.rename(previous)
        raise
    finally:
        for folder in aside.values():
            remove(folder)


@contextlib.contextmanager
def workspace(beside: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder that is removed afterwards, in any case. If the process is killed, the next run removes it.

    Args:
        beside: File or folder next to which the new folder is created. None uses the system's folder for temporary
            files.
    """
    folder = _temporary_folder(beside)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


def _temporary_folder(beside: Path | None = None) -> Path:
    """Return an unused name for a folder that only this process uses, as described in `workspace`."""
    beside = Path(tempfile.gettempdir(), "faircut") if beside is None else Path(os.path.realpath(beside))
    beside.parent.mkdir(parents=True, exist_ok=True)
    clear_partials(beside.parent)
    return temporary_name(beside.with_suffix(""))


class HeldFolder:
    """A new folder that is removed when the last reference to this object is gone.

    If the process is killed, the next run removes the folder.

    Args:
        path: Path from `temporary_name`. None uses the system's folder for temporary files.

    Attributes:
        path: Path of the folder.
        close: Function that removes the folder at once.
    """

    def __init__(self, path: Path | None = None) -> None:
        # A killed run may have left a folder there, and this one may need none: its inversion is in the cache.
        clear_partials(Path(tempfile.gettempdir()))
        self.path = _temporary_folder() if path is None else path
        self.path.mkdir(mode=0o700)
        self.close = weakref.finalize(self, _remove_if_owner, self.path, os.getpid())


def _remove_if_owner(path: Path, process: int) -> None:
    if os.getpid() == process:  # A forked process inherits the object, but the files belong to its parent.
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def all_or_nothing(final: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Yield temporary paths for several files, and move all of them to their final paths if the body succeeds.

    Args:
        final: Final paths of the files and folders by any name, all in one folder.

    Yields:
        Temporary paths by the same names. Paths at which the body writes nothing are skipped.

    Raises:
        OSError: If the file system refuses. Nothing has then been changed.
    """
    first = next(iter(final.values()))
    with workspace(first) as staging, contextlib.ExitStack() as elsewhere:
        files = {kind: staging / path.name for kind, path in final.items()}
        with name_in_errors(first, staging, first.parent):
            yield files
            moves = []
            for kind, path in final.items():
                target, written = Path(os.path.realpath(path)), files[kind]
                if not written.exists():
                    continue
                if written.is_file() and can_be_marked(path):
                    _check_free(path, staging)
                if target.parent != staging.parent:  # The path is a link, perhaps to another file system.
                    written = Path(shutil.move(written, elsewhere.enter_context(workspace(target)) / path.name))
                moves.append((written, target))
            replace_all(moves)


def _check_free(path: Path, staging: Path) -> None:
    """Check that no foreign file has appeared at a final path since the run began. If one has, keep the results beside
    it.

    Raises:
        ConfigError: If there is such a file.
    """
    try:
        check_file(path)
    except ConfigError as error:
        rescued = next(f for n in range(1, 10_000) if not (f := staging.parent / f"{path.stem}.kept-{n}").exists())
        staging.rename(rescued)
        raise ConfigError(f"{error}; it appeared during the run, whose results are in {rescued}") from None


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text that already contains the mark as a UTF-8 file, completely or not at all.

    Raises:
        ConfigError: If it would replace a file that faircut did not make.
    """
    check_file(path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | os.PathLike[str], data: Mapping[str, Any]) -> Path:
    """Write a mapping as a JSON file with the mark under ``generator``, completely or not at all.

    Raises:
        ValueError: If a number is not finite.
        ConfigError: If it would replace a file that faircut did not make.
    """
    return write_text(path, json_text(data) + "\n")


def save_picture(picture: Any, path: str | os.PathLike[str], **options: Any) -> Path:
    """Write a Pillow image as a PNG file with the mark, completely or not at all.

    Args:
        picture: A ``PIL.Image.Image``.
        path: Path of the file.
        options: Keyword arguments for ``PIL.Image.Image.save``.

    Raises:
        ConfigError: If it would replace a file that faircut did not make.
    """
    from PIL.PngImagePlugin import PngInfo

    check_file(path)
    info = PngInfo()
    info.add_text("Software", GENERATOR)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="png", pnginfo=info, **options)
    return Path(path)
