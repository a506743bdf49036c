"""Files and folders that appear whole or not at all, and never in the place of what faircut did not make.

Everything that faircut writes bears a mark: the words `MARK` in JSON, HTML, YAML, Markdown and pictures, the comment of a
video; files that can bear none are listed in a marked JSON file of their folder, under ``files``. What bears no mark
belongs to somebody else and is not replaced.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from faircut._version import __version__
from faircut.errors import ConfigError

__all__ = [
    "GENERATOR",
    "MARK",
    "Output",
    "all_or_nothing",
    "atomic_path",
    "check_name",
    "check_outputs",
    "clear_partials",
    "folder_outputs",
    "foreign",
    "is_ours",
    "json_text",
    "list_files",
    "remove",
    "replace_all",
    "save_picture",
    "temporary_name",
    "workspace",
    "write_json",
    "write_text",
]

MARK = "made by faircut"
GENERATOR = f"{MARK} {__version__}"
"""What says in a file that faircut made it."""

_MARKED = frozenset((".json", ".html", ".yaml", ".md", ".png", ".gif", ".webp", ".mp4", ".mov", ".webm"))
_LITTER = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))  # What file managers leave in every folder they show.
_LOOK = 1 << 20  # Bytes at the beginning and at the end of a file in which its mark is.
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
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"nothing was written for {final}")
        replace_all([(temporary, final)])
    finally:
        remove(temporary)


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
            _check_folder(final)
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
    beside = Path(tempfile.gettempdir(), "faircut") if beside is None else Path(os.path.realpath(beside))
    beside.parent.mkdir(parents=True, exist_ok=True)
    clear_partials(beside.parent)
    folder = temporary_name(beside.with_suffix(""))
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


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
    with workspace(next(iter(final.values()))) as staging:
        files = {kind: staging / path.name for kind, path in final.items()}
        yield files
        replace_all([(files[k], Path(os.path.realpath(path))) for k, path in final.items() if files[k].exists()])


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write text in UTF-8, whole or not at all; the text itself must bear the mark."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | os.PathLike[str], data: Mapping[str, Any]) -> Path:
    """Write a mapping as JSON with the mark under ``generator``, whole or not at all.

    Raises:
        ValueError: a number is not finite.
    """
    return write_text(path, json_text(data) + "\n")


def json_text(data: Mapping[str, Any]) -> str:
    """Return a mapping as JSON with the mark under ``generator``.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps({"generator": GENERATOR, **data}, indent=1, ensure_ascii=False, allow_nan=False)


def save_picture(picture: Any, path: str | os.PathLike[str], **options: Any) -> Path:
    """Write a Pillow image as PNG with the mark, whole or not at all.

    Args:
        picture: a ``PIL.Image.Image``.
        path: where.
        options: of Pillow's writer.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", GENERATOR)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="png", pnginfo=info, **options)
    return Path(path)


def list_files(folder: Path) -> list[str]:
    """Return the names of all files in a folder, relative to it, sorted: what a marked JSON file holds as ``files``."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


# What may be replaced --------------------------------------------------------------------------------------------------


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


def _check_folder(folder: Path) -> None:
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


@dataclass(frozen=True)
class Output:
    """Something that a command will write.

    Attributes:
        path: as it was given.
        flag: that gave it, for messages.
        kind: a ``"file"``; a ``"folder"`` that is replaced as a whole; or ``"records"``, a folder to which files are added.
    """

    path: str | os.PathLike[str]
    flag: str = "-o"
    kind: Literal["file", "folder", "records"] = "file"


def folder_outputs(folder: Path, names: Iterable[str], flag: str = "-o") -> list[Output]:
    """Return what is written of a folder to which files are added: itself, and the files whose names do not vary."""
    return [Output(folder, flag, "records"), *(Output(folder / name, flag) for name in names)]


def check_outputs(outputs: Iterable[Output], inputs: Iterable[str | os.PathLike[str] | None] = ()) -> None:
    """Check, before time is spent, that everything can be written and nothing is lost by it.

    Args:
        outputs: all that will be written.
        inputs: the files and folders that are read; None and what is not there are passed over. Links are followed, and two
            names of one file are one file.

    Raises:
        ConfigError: a name is none, two outputs are one, an output is an input, would replace what faircut did not make,
            or cannot be written.
    """
    read = [Path(path) for path in inputs if path is not None and _there(path)]
    seen: list[tuple[Path, Output]] = []
    for output in outputs:
        check_name(output.path, f"the output of {output.flag}")
        final = Path(os.path.realpath(output.path))
        try:
            _check_kind(output, final)
            for other, given in seen:
                if final == other or (output.kind != "records" and final in other.parents and given.kind != "records"):
                    raise ConfigError(f"{output.path} would be written twice; give {output.flag} another name")
            for path in read:
                _check_input(output, final, path)
            _check_replaced(output, final)
            _check_place(output, final)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {output.path} ({error.strerror or error}); choose another place with {output.flag}"
            ) from None
        seen.append((final, output))


def check_name(path: str | os.PathLike[str], what: str) -> None:
    """Check that a path is one.

    Args:
        path: as it was given.
        what: it is, for the message.

    Raises:
        ConfigError: it is empty, or no text that file systems and reports can hold.
    """
    text = os.fspath(path)
    if not text.strip():
        raise ConfigError(f"{what} is empty; give a name")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} is {text!r}, which is not valid text; give a name in UTF-8") from None
    if "\0" in text:
        raise ConfigError(f"{what} is {text!r}, and no name can hold a zero byte; give another")


def _there(path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:
        return False


def _check_kind(output: Output, final: Path) -> None:
    given = output.path
    try:
        kind = os.stat(given).st_mode
    except FileNotFoundError:
        return
    if output.kind == "file" and stat.S_ISDIR(kind):
        example = Path(given, f"out{final.suffix}")
        raise ConfigError(f"{given} is a folder; name a file in it, such as {example}")
    if output.kind != "file" and not stat.S_ISDIR(kind):
        raise ConfigError(f"{given} is there and is no folder; choose another name with {output.flag}")
    if output.kind == "file" and not stat.S_ISREG(kind):
        raise ConfigError(f"{given} is no file but a device, pipe or socket; choose another name with {output.flag}")
    if output.kind == "folder":
        here = Path.cwd()
        if final == here or final in here.parents:
            raise ConfigError(
                f"{given} is the folder that the command runs in, or one around it; name a new one with {output.flag}"
            )


def _check_input(output: Output, final: Path, read: Path) -> None:
    source = Path(os.path.realpath(read))
    same = final == source or (final.exists() and os.path.samefile(final, source))
    inside = source.is_dir() and source in final.parents
    around = output.kind == "folder" and final in source.parents
    if output.kind == "records":
        return
    if not same and inside and output.kind == "file":
        # A folder of pictures is read as a whole: a new picture in it would be a frame of the clip next time.
        same = final.exists() or final.suffix.lower() in (".png", ".webp", ".gif")
    if same or around or (inside and output.kind == "folder"):
        what = "is" if same and not inside else "is a part of" if inside else "holds"
        raise ConfigError(
            f"the output {output.path} {what} the input {read}, which would be lost; choose another name with {output.flag}"
        )


def _check_replaced(output: Output, final: Path) -> None:
    if output.kind == "folder" and final.is_dir():
        _check_folder(final)
    if output.kind == "file" and final.exists() and not is_ours(final):
        raise ConfigError(
            f"{output.path} is there and faircut did not make it; choose another name with {output.flag}, or remove it"
        )


def _check_place(output: Output, final: Path) -> None:
    place = final if output.kind == "records" else final.parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise ConfigError(
            f"{place} is a file, so {output.path} cannot be in it; choose another place with {output.flag}"
        )
    # Permissions do not tell of read-only disks and the like; a file without a name does, and is gone at once.
    with tempfile.TemporaryFile(dir=place):
        pass
    # The name's length: the file system itself says what is too long.
    with contextlib.suppress(FileNotFoundError):
        os.lstat(final)
