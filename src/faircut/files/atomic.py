"""Files and folders that appear whole or not at all, and are cleared up after a kill."""

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
    "naming",
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


# Names of what is not finished -----------------------------------------------------------------------------------------


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _owner() -> str:
    """Name this process so that another one can tell whether it still lives: computer, number and time of its start."""
    import psutil

    return f"{_host()}-{os.getpid()}-{int(psutil.Process().create_time())}"


def temporary_name(final: Path, kind: Literal["partial", "old"] = "partial") -> Path:
    """Return a free name beside a file or folder that says which process owns it.

    Args:
        final: what shall be there in the end; its suffix is kept, since writers look at it.
        kind: ``"partial"`` for what is being written, ``"old"`` for what steps aside.
    """
    stem = final.stem.encode()[:60].decode(errors="ignore")
    suffix = final.suffix if len(final.suffix) <= 16 else ""
    return final.with_name(f".{stem}.{_owner()}-{secrets.token_hex(4)}.{kind}{suffix}")


def clear_partials(folder: Path) -> None:
    """Remove from a folder what processes that are dead have left there, and put back what they had moved aside.

    A folder is looked at once by each process. What belongs to a living process, another computer or another user stays.

    Args:
        folder: where; nothing happens if it is missing.
    """
    place = os.path.realpath(folder)
    if place in _cleared:
        return
    _cleared.add(place)
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(place)):
            owner = _PARTIAL.fullmatch(entry.name)
            if owner is None or owner["host"] != _host() or _lives(int(owner["pid"]), int(owner["start"])):
                continue
            if hasattr(os, "getuid") and entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            path = Path(entry.path)
            if owner["kind"] == "old" and path.is_dir():
                for moved in list(path.iterdir()):
                    if not os.path.lexists(path.parent / moved.name):
                        moved.rename(path.parent / moved.name)
            remove(path)


def _lives(pid: int, start: int) -> bool:
    import psutil

    try:
        return abs(psutil.Process(pid).create_time() - start) < 2
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def remove(path: Path) -> None:
    """Remove a file or a folder that is ours, as far as the file system lets us; a link goes, not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


# Writing ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary sibling of ``path`` to write to, and rename it to ``path`` when all went well.

    The body may make a file or a folder of the name that it is given. A reader of ``path`` sees what was there before or
    the finished work, never a half of it. After any exception, a keyboard interrupt included, the temporary is removed and
    what was there before is untouched. Parent folders are made where they are missing; a link is followed.

    Args:
        path: the final name of a file or of a folder.

    Yields:
        A name in the same folder, with the same suffix (writers look at it), at which nothing exists yet.

    Raises:
        FileNotFoundError: the body ended without making anything at the name it was given.
        IsADirectoryError: a file was made, and ``path`` is a folder.
        NotADirectoryError: a folder was made, and ``path`` is a file.
        ConfigError: a folder was made, and the one at ``path`` holds something that faircut did not make.
        OSError: whatever the file system says, such as no space or no permission.
    """
    final = Path(os.path.realpath(path))
    final.parent.mkdir(parents=True, exist_ok=True)
    clear_partials(final.parent)
    temporary = temporary_name(final)
    try:
        with naming(final, temporary):
            yield temporary
            if not temporary.exists():
                raise FileNotFoundError(f"nothing was written for {final}")
            replace_all([(temporary, final)])
    finally:
        remove(temporary)


@contextlib.contextmanager
def naming(final: Path, temporary: Path | None = None, place: Path | None = None) -> Iterator[None]:
    """Let errors of the file system name the file that is made: a full disk names none, and temporary names say nothing.

    Args:
        final: what is made.
        temporary: the name that it has meanwhile, or the folder that it is in.
        place: what the temporary name stands for, if not for ``final``.
    """
    try:
        yield
    except OSError as error:
        name = str(final if error.filename is None else error.filename)
        if temporary is not None and (name == str(temporary) or name.startswith(f"{temporary}{os.sep}")):
            name = f"{place or final}{name[len(str(temporary)) :]}"
        # Without a number it is one of ours, in words; FFmpeg's errors let nobody change them.
        if error.errno is not None:
            with contextlib.suppress(AttributeError):
                error.filename = name
        raise


def replace_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move files and folders to their final names: all of them, or none.

    Args:
        moves: where each is and where it shall be, on one file system; what is there is replaced.

    Raises:
        IsADirectoryError, NotADirectoryError: a file would replace a folder, or a folder a file.
        ConfigError: a folder that would be replaced holds something that faircut did not make.
        OSError: whatever the file system says; everything is then as it was.
    """
    for new, final in moves:
        if final.is_dir() and not new.is_dir():
            raise IsADirectoryError(
                errno.EISDIR, f"{final} is a folder; a file cannot take its place: choose another name"
            )
        if new.is_dir() and final.exists():
            if not final.is_dir():
                raise NotADirectoryError(
                    errno.ENOTDIR,
                    f"{final} is a file; a folder cannot take its place: remove it or choose another name",
                )
            check_folder(final)
    if len(moves) == 1 and not moves[0][0].is_dir():
        moves[0][0].replace(moves[0][1])
        return
    undo: list[tuple[Path, Path]] = []  # where each thing is now, and where it was
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
        for now, before in reversed(undo):
            now.rename(before)
        raise
    finally:
        for folder in aside.values():
            remove(folder)


@contextlib.contextmanager
def workspace(beside: Path | None = None) -> Iterator[Path]:
    """Give an empty folder that is gone afterwards, whatever happens; after a kill the next run clears it.

    Args:
        beside: a file or folder that is being made; None for the folder of temporary files.
    """
    folder = _temporary_folder(beside)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


def _temporary_folder(beside: Path | None = None) -> Path:
    """Return a free name for a folder that is of use to this process alone; see `workspace`."""
    beside = Path(tempfile.gettempdir(), "faircut") if beside is None else Path(os.path.realpath(beside))
    beside.parent.mkdir(parents=True, exist_ok=True)
    clear_partials(beside.parent)
    return temporary_name(beside.with_suffix(""))


class HeldFolder:
    """A new folder that is removed as soon as nothing refers to this object any more; after a kill the next run clears it.

    Args:
        path: a name from `temporary_name`; None for one in the folder of temporary files.

    Attributes:
        path: the folder.
        close: removes it at once.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = _temporary_folder() if path is None else path
        self.path.mkdir(mode=0o700)
        self.close = weakref.finalize(self, _remove_own, self.path, os.getpid())


def _remove_own(path: Path, process: int) -> None:
    if os.getpid() == process:  # A fork inherits the object, but the files are its parent's.
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def all_or_nothing(final: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Give temporary names to write several files to, and move them to their final names when all went well.

    Args:
        final: the files and folders by what they are, all in one folder.

    Yields:
        The same with temporary names; what the body does not write is passed over.

    Raises:
        OSError: the file system refuses; nothing has then been changed.
    """
    first = next(iter(final.values()))
    with workspace(first) as staging, contextlib.ExitStack() as elsewhere:
        files = {kind: staging / path.name for kind, path in final.items()}
        with naming(first, staging, first.parent):
            yield files
            moves = []
            for kind, path in final.items():
                place, made = Path(os.path.realpath(path)), files[kind]
                if not made.exists():
                    continue
                if made.is_file() and can_be_marked(path):
                    _check_free(path, staging)
                if place.parent != staging.parent:  # By a link, perhaps to where nothing of here can be renamed to.
                    made = Path(shutil.move(made, elsewhere.enter_context(workspace(place)) / path.name))
                moves.append((made, place))
            replace_all(moves)


def _check_free(path: Path, staging: Path) -> None:
    """Check that nobody has put a file where ours goes since the run began; if so, what was made is kept beside it.

    Raises:
        ConfigError: somebody has.
    """
    try:
        check_file(path)
    except ConfigError as error:
        kept = next(name for n in range(1, 10_000) if not (name := staging.parent / f"{path.stem}.kept-{n}").exists())
        staging.rename(kept)
        raise ConfigError(f"{error}; it came while the run went on, whose results are in {kept}") from None


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write text that bears the mark, in UTF-8, whole or not at all.

    Raises:
        ConfigError: it would replace what faircut did not make.
    """
    check_file(path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | os.PathLike[str], data: Mapping[str, Any]) -> Path:
    """Write a mapping as JSON with the mark under ``generator``, whole or not at all.

    Raises:
        ValueError: a number is not finite.
        ConfigError: it would replace what faircut did not make.
    """
    return write_text(path, json_text(data) + "\n")


def save_picture(picture: Any, path: str | os.PathLike[str], **options: Any) -> Path:
    """Write a Pillow image as PNG with the mark, whole or not at all.

    Args:
        picture: a ``PIL.Image.Image``.
        path: where.
        options: of Pillow's writer.

    Raises:
        ConfigError: it would replace what faircut did not make.
    """
    from PIL.PngImagePlugin import PngInfo

    check_file(path)
    info = PngInfo()
    info.add_text("Software", GENERATOR)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="png", pnginfo=info, **options)
    return Path(path)
