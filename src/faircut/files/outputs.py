"""Check before any work begins that outputs can be written and that nothing of value is overwritten."""

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
    """A file or folder that a command will write.

    Attributes:
        path: Path as the user gave it.
        flag: Command-line flag of the path, for error messages.
        kind: ``"file"``, ``"folder"`` for a folder that is replaced as a whole, or ``"records"`` for a folder to which
            files are added.
    """

    path: str | os.PathLike[str]
    flag: str = "-o"
    kind: Literal["file", "folder", "records"] = "file"


def folder_outputs(folder: Path, names: Iterable[str], flag: str = "-o") -> list[Output]:
    """Return the outputs of a folder to which files are added: the folder, and the files in it with fixed names."""
    return [Output(folder, flag, "records"), *(Output(folder / name, flag) for name in names)]


def check_outputs(outputs: Iterable[Output], inputs: Iterable[str | os.PathLike[str] | None] = ()) -> None:
    """Check that all outputs can be written and that no input or foreign file would be lost.

    Args:
        outputs: Everything that will be written.
        inputs: Files and folders that are read; None and missing ones are ignored. Links are followed, so that two
            names of one file count as one file.

    Raises:
        ConfigError: If a name is not valid, two outputs are the same file, or an output is an input, would replace
            something that faircut did not make, or cannot be written.
    """
    existing_inputs = [Path(path) for path in inputs if path is not None and _exists(path)]
    seen: list[tuple[Path, Output]] = []
    for output in outputs:
        check_name(output.path, f"the output of {output.flag}")
        final = Path(os.path.realpath(output.path))
        if not final.name:
            raise ConfigError(f"{output.path} is the root folder; name a file or folder in it with {output.flag}")
        try:
            _check_parents(output)
            _check_kind(output, final)
            for other, earlier in seen:
                if final == other or (
                    output.kind != "records" and final in other.parents and earlier.kind != "records"
                ):
                    raise ConfigError(f"{output.path} would be written twice; give {output.flag} another name")
            for path in existing_inputs:
                _check_input(output, final, path)
            _check_replaced(output, final)
            _check_writable(output, final)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {output.path} ({error.strerror or error}); choose another path with {output.flag}"
            ) from None
        seen.append((final, output))


def check_name(path: str | os.PathLike[str], what: str) -> None:
    """Check that a path is not empty and is valid text.

    Args:
        path: Path as the user gave it.
        what: Name of the path for the error message.

    Raises:
        ConfigError: If the path is empty, is not valid Unicode, or contains a zero byte.
    """
    text = os.fspath(path)
    if not text.strip():
        raise ConfigError(f"{what} is empty; give a name")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} is {text!r}, which is not valid text; give a name in UTF-8") from None
    if "\0" in text:
        raise ConfigError(f"{what} is {text!r}, but no name can contain a zero byte; give another name")


def _exists(path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:
        return False


def _check_parents(output: Output) -> None:
    parts = Path(output.path).parts
    for index, part in enumerate(parts):
        if part == ".." and index and not os.path.isdir(os.path.join(*parts[:index])):
            raise ConfigError(
                f"{output.path} passes through {os.path.join(*parts[:index])}, which is not a folder; give another "
                f"path with {output.flag}"
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
        raise ConfigError(f"{given} already exists and is not a folder; choose another name with {output.flag}")
    if output.kind == "file" and not stat.S_ISREG(kind):
        raise ConfigError(f"{given} is a device, pipe or socket, not a file; choose another name with {output.flag}")
    if output.kind == "folder":
        current = Path.cwd()
        if final == current or final in current.parents:
            raise ConfigError(f"{given} is the current folder or contains it; give a new folder with {output.flag}")


def _check_input(output: Output, final: Path, read: Path) -> None:
    source = Path(os.path.realpath(read))
    is_input = final == source or (final.exists() and os.path.samefile(final, source))
    is_inside = source.is_dir() and source in final.parents
    is_around = output.kind == "folder" and final in source.parents
    if output.kind == "records" and not is_input:
        return
    if source.is_dir() and not is_input:
        # The pictures of a folder may be links.
        members = [Path(os.path.realpath(entry.path)) for entry in os.scandir(source)]
        is_input = any(final == member or (output.kind == "folder" and final in member.parents) for member in members)
    if not is_input and is_inside and output.kind == "file":
        # A folder of pictures is read as a whole: a new picture in it would become a frame of the clip next time.
        is_input = final.exists() or final.suffix.lower() in (".png", ".webp", ".gif")
    if is_input or is_around or (is_inside and output.kind == "folder"):
        relation = "is" if is_input and not is_inside else "is part of" if is_inside else "contains"
        raise ConfigError(
            f"the output {output.path} {relation} the input {read}, which would be lost; choose another name with "
            f"{output.flag}"
        )


def _check_replaced(output: Output, final: Path) -> None:
    if output.kind == "folder" and final.is_dir():
        check_folder(final)
    if output.kind == "file":
        check_file(output.path, f" with {output.flag}")


def _check_writable(output: Output, final: Path) -> None:
    folder = final if output.kind == "records" else final.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is a file, so {output.path} cannot be in it; choose another path with {output.flag}"
        )
    # Permissions do not reveal a read-only disk. Creating an unnamed file does, and the file disappears at once.
    with tempfile.TemporaryFile(dir=folder):
        pass
    # The file system reports names that are too long: the final one, and the longer temporary one.
    for path in (final, temporary_name(final) / final.name):
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)
