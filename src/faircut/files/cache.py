"""A cache folder for results that are expensive to compute, found by their content and limited in size.

An entry is a folder named by its key. It appears by a single rename and never changes. If several processes make the
same entry, the first one wins and the others discard theirs. A process that finds an entry first copies it with hard
links, which take no space, then checks and uses the copy. Other processes may therefore remove the entry at any time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from faircut.errors import ConfigError, FaircutError
from faircut.files import HeldFolder, atomic_path, clear_partials, json_text, remove, temporary_name, workspace

__all__ = ["Cache", "cache_folder", "cache_limit", "parse_bytes", "private_folder", "user_cache"]

T = TypeVar("T")

_LIMIT = "8GiB"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_AMOUNT = re.compile(r"(?P<number>[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?)(?P<unit>([kmgt]i?)?)b?")
_KEY = re.compile(r"[0-9a-f]{32,128}")
# Folders that faircut makes in the root of its cache.
_ROOT_FOLDERS = {"inversions", "calibrations", "digests", "faults", "pocket-train"}


# Settings -------------------------------------------------------------------------------------------------------------


def parse_bytes(text: str) -> int:
    """Read a number of bytes, such as ``4GiB``, ``500 MB`` or ``1e9``.

    Raises:
        ConfigError: If the text is not a number of bytes from 0 to 8 EiB.
    """
    amount = _AMOUNT.fullmatch(text.strip().lower().replace(" ", ""))
    size = float(amount["number"]) * _UNITS[amount["unit"]] if amount else -1
    if not 0 <= size < 2**63:
        raise ConfigError(
            f"{text[:60]!r} is not an amount of memory; give a number and a unit, such as 4GiB or 500MB, under 8 EiB"
        )
    return int(size)


def cache_limit() -> int:
    """Return the maximum size of a cache in bytes: ``$FAIRCUT_CACHE_LIMIT``, or 8 GiB.

    Raises:
        ConfigError: If the variable is not an amount of memory.
    """
    try:
        return parse_bytes(os.environ.get("FAIRCUT_CACHE_LIMIT", "").strip() or _LIMIT)
    except ConfigError as error:
        raise ConfigError(f"the environment variable FAIRCUT_CACHE_LIMIT: {error}") from None


def cache_folder() -> Path | None:
    """Return the folder of cached inversions: ``$FAIRCUT_CACHE/inversions`` or ``~/.cache/faircut/inversions``.

    Returns:
        The folder, which may not exist yet. None if the variable is not set and there is no home folder.

    Raises:
        ConfigError: If the variable is not a valid path.
    """
    root = _root()
    if not root:
        return None if (home := _home()) is None else home / ".cache" / "faircut" / "inversions"
    try:
        os.fsencode(root).decode()
        return Path(root).expanduser().absolute() / "inversions"
    except UnicodeDecodeError:
        raise ConfigError(
            f"the environment variable FAIRCUT_CACHE is {root!r}, which is not valid text; give the name of a folder"
        ) from None
    except RuntimeError:
        raise ConfigError(
            f"the environment variable FAIRCUT_CACHE is {root!r}, but that user has no home folder; give another folder"
        ) from None


def _root() -> str:
    return os.environ.get("FAIRCUT_CACHE", "").strip()


def _home() -> Path | None:
    if os.environ.get("HOME") == "":
        return None  # Python would take an empty HOME for the root folder.
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_absolute() else None


def private_folder(folder: Path) -> Path:
    """Create a folder that only its owner can read, or make an existing folder private.

    Args:
        folder: Folder to create. Missing parent folders are created in the same way.

    Raises:
        OSError: If the folder cannot be created, or belongs to another user.
    """
    for path in (*reversed([p for p in folder.parents if not p.exists()]), folder):
        path.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "geteuid"):
        status = folder.stat()
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, "the folder belongs to another user", str(folder))
        if status.st_mode & 0o077:
            folder.chmod(0o700)
    return folder


def user_cache() -> Cache | None:
    """Return the user's cache of inversions, ready for use. If there is no folder for it, warn and return None.

    Raises:
        ConfigError: If ``$FAIRCUT_CACHE`` or ``$FAIRCUT_CACHE_LIMIT`` is not valid.
    """
    limit, folder = cache_limit(), cache_folder()
    if folder is None:
        warnings.warn(
            "there is no home folder, so inversions are not cached; set FAIRCUT_CACHE to a folder", stacklevel=2
        )
        return None
    cache = Cache(folder, limit, named="FAIRCUT_CACHE" if _root() else "in the home folder")
    return cache if cache.open() else None


# The cache ------------------------------------------------------------------------------------------------------------


class Cache:
    """A folder of entries by key that several processes can use at the same time.

    Problems with the cache, such as a full disk, are warnings. The program then continues without a cache.

    Args:
        folder: Folder of the cache. It is created when it is first used.
        limit: Maximum size in bytes. The default is ``$FAIRCUT_CACHE_LIMIT``, or 8 GiB.
        named: Where the folder's name comes from, for messages, if it is faircut's own cache folder. It is then made
            private. In any other folder only the entries are private.

    Raises:
        ConfigError: If the environment variable is not an amount of memory.
    """

    def __init__(self, folder: str | Path, limit: int | None = None, *, named: str = "") -> None:
        self.folder = Path(folder)
        self.limit = cache_limit() if limit is None else limit
        self._named = named
        self._usable: bool | None = None

    def open(self) -> bool:
        """Prepare the folder, and return whether the cache can be used. If not, warn once."""
        if self._usable is None:
            try:
                self._make_folder()
                clear_partials(self.folder)
                self._usable = True
            except OSError as error:
                self._give_up(error)
        return bool(self._usable)

    def find(self, key: str, load: Callable[[Path, HeldFolder], T]) -> T | None:
        """Return the value of an entry. An entry that cannot be loaded is removed, with a warning.

        Args:
            key: Name of the entry.
            load: Function that loads and checks the value. It gets the folder with a copy of the entry's files, and the
                `HeldFolder` to keep a reference to as long as the files are needed. It must raise a `FaircutError` if
                they are damaged.

        Returns:
            The loaded value, or None if there is no such entry.
        """
        entry = self.folder / key
        if not self.open():
            return None
        try:
            copy, identity = self._copy(entry)
        except OSError as error:
            self._give_up(error)
            return None
        if copy is None:
            return None
        try:
            value = load(copy.path, copy)
        except FaircutError as error:
            copy.close()
            reason = str(error).replace(str(copy.path), str(entry))
            warnings.warn(f"a damaged cache entry is made again: {reason}", stacklevel=2)
            if _identity(entry) == identity:
                self._remove(entry)
            return None
        _use(entry)
        return value

    def keep(self, key: str, save: Callable[[Path], object]) -> None:
        """Make an entry if it does not exist, then remove the least recently used entries beyond the size limit.

        Args:
            key: Name of the entry.
            save: Function that creates a folder at the given path and writes the entry's files into it.
        """
        entry = self.folder / key
        if not self.open():
            return
        try:
            if not entry.is_dir():
                with workspace(entry) as staging:
                    save(staging / key)
                    _make_private(staging / key)
                    try:
                        (staging / key).rename(entry)
                    except OSError as error:
                        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                            raise
            _use(entry)
        except OSError as error:
            self._give_up(error)
        self.prune()

    def note(self, key: str, facts: dict[str, Any]) -> None:
        """Store facts that were measured later beside an entry. Does nothing if the entry is gone."""
        try:
            if self.open() and (self.folder / key).is_dir():
                # Made private before it gets its name, because another process may remove it with its entry at once.
                with atomic_path(self._notes(key)) as path:
                    path.write_text(json_text({"facts": facts, "check": _check(key, facts)}), encoding="utf-8")
                    path.chmod(0o600)
        except OSError as error:
            self._give_up(error)

    def notes(self, key: str) -> dict[str, Any]:
        """Return the facts stored beside an entry, or an empty dict if they are missing or damaged."""
        try:
            data = json.loads(self._notes(key).read_bytes())
            return dict(data["facts"]) if data["check"] == _check(key, data["facts"]) else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def prune(self) -> None:
        """Remove the least recently used entries until the rest fits, and notes without an entry."""
        total = 0
        for _, size, entry in sorted(self._entries(), key=lambda item: -item[0]):
            if total + size > self.limit:
                self._remove(entry)
            else:
                total += size
        for note in list(self.folder.glob("*.note.json")):
            key = note.name.removesuffix(".note.json")
            if _KEY.fullmatch(key) and not (self.folder / key).is_dir():
                with contextlib.suppress(OSError):
                    note.unlink()

    def _notes(self, key: str) -> Path:
        return self.folder / f"{key}.note.json"

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (time of last use in ns, size in bytes, folder) of each entry. Other files are ignored."""
        with contextlib.suppress(OSError), os.scandir(self.folder) as items:
            for item in items:
                with contextlib.suppress(OSError):
                    if _KEY.fullmatch(item.name) and item.is_dir(follow_symlinks=False):
                        path = Path(item.path)
                        yield item.stat().st_mtime_ns, sum(file.stat().st_size for file in _files(path)), path

    def _make_folder(self) -> None:
        if not self._named:
            self.folder.mkdir(parents=True, exist_ok=True)
            return
        root = self.folder.parent
        if not root.exists() or (_belongs_to_user(root) and set(os.listdir(root)) <= _ROOT_FOLDERS):
            private_folder(root)
        private_folder(self.folder)

    def _give_up(self, error: OSError) -> None:
        self._usable = False
        where = f"{self.folder} ({self._named})" if self._named else str(self.folder)
        reason = error.strerror or str(error)
        warnings.warn(f"the cache {where} cannot be used ({reason}); going on without it", stacklevel=3)

    def _copy(self, entry: Path) -> tuple[HeldFolder | None, tuple[int, int] | None]:
        """Return a copy of an entry and the entry's identity, or (None, None) if there is no entry.

        Raises:
            OSError: If the entry exists but cannot be copied.
        """
        for _ in range(10):
            identity = _identity(entry)
            if identity is None:
                break
            copy = HeldFolder(temporary_name(entry))
            try:
                for file in _files(entry):
                    target = copy.path / file.relative_to(entry)
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    _link(file, target)
            except FileNotFoundError:
                pass  # Another process removed the entry, and perhaps made it again: look once more.
            except BaseException:
                copy.close()
                raise
            if _identity(entry) == identity:
                return copy, identity
            copy.close()
        return None, None

    def _remove(self, entry: Path) -> None:
        """Remove an entry. It is renamed first, so that no other process sees a part of it."""
        aside = temporary_name(entry)
        with contextlib.suppress(OSError):
            entry.rename(aside)
            self._notes(entry.name).unlink(missing_ok=True)
            remove(aside)


def _identity(entry: Path) -> tuple[int, int] | None:
    """Return what distinguishes an entry from a later one with the same name, or None if there is no entry."""
    try:
        status = entry.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files in a folder and its subfolders. Links are not followed."""
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root, name)).is_file() and not path.is_symlink())


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except FileNotFoundError:
        raise
    except OSError:  # The file system has no hard links, or the file belongs to another user.
        shutil.copyfile(file, target)


def _use(entry: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(entry)


def _belongs_to_user(folder: Path) -> bool:
    return not hasattr(os, "geteuid") or folder.stat().st_uid == os.geteuid()


def _make_private(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        os.chmod(root, 0o700)
        for name in names:
            os.chmod(Path(root, name), 0o600)


def _check(key: str, facts: dict[str, Any]) -> str:
    return hashlib.blake2b((key + json.dumps(facts, sort_keys=True)).encode(), digest_size=16).hexdigest()
