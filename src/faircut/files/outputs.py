"""What a command will write, checked before time is spent: nothing is lost by it, and it can be written."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faircut.errors import ConfigError
from faircut.files.atomic import temporary_name
from faircut.files.marks import check_file, check_folder

__all__ = ["Output", "check_name", "check_outputs", "folder_outputs"]


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
        if not final.name:
            raise ConfigError(f"{output.path} is the root of all folders; name one in it with {output.flag}")
        try:
            _check_way(output)
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


def _check_way(output: Output) -> None:
    parts = Path(output.path).parts
    for index, part in enumerate(parts):
        if part == ".." and index and not os.path.isdir(os.path.join(*parts[:index])):
            raise ConfigError(
                f"{output.path} leads through {os.path.join(*parts[:index])}, which is no folder; name the way to it with "
                f"{output.flag} otherwise"
            )


def _check_kind(output: Output, final: Path) -> None:
    given = output.path
    try:
        kind = final.stat().st_mode
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
    if output.kind == "records" and not same:
        return
    if source.is_dir() and not same:
        # The pictures of a folder may be links.
        members = [Path(os.path.realpath(entry.path)) for entry in os.scandir(source)]
        same = any(final == member or (output.kind == "folder" and final in member.parents) for member in members)
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
        check_folder(final)
    if output.kind == "file":
        check_file(output.path, f" with {output.flag}")


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
    # The file system itself says what is too long, of the name and of the longer one that it has while it is written.
    for path in (final, temporary_name(final) / final.name):
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)
