"""The folder of what is expensive to make and is found again by its content, kept under a size.

An entry is a folder named by its key. It appears by one rename and is never changed: of several processes that make the
same entry the first wins, and the others drop theirs. Whoever finds an entry takes a copy of it first (hard links,
which cost no space), checks the copy and uses that, so that other processes may remove the entry at any moment.
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
_OURS = {
    "inversions",
    "calibrations",
    "digests",
    "faults",
    "pocket-train",
}  # What faircut makes in the root of its cache.


# Settings -------------------------------------------------------------------------------------------------------------


def parse_bytes(text: str) -> int:
    """Read a number of bytes as people write it: ``4GiB``, ``500 MB``, ``1e9``.

    Raises:
        ConfigError: it is none.
    """
    amount = _AMOUNT.fullmatch(text.strip().lower().replace(" ", ""))
    size = float(amount["number"]) * _UNITS[amount["unit"]] if amount else -1
    if not 0 <= size < 2**63:
        raise ConfigError(
            f"{text[:60]!r} is no amount of memory; give a number and a unit, such as 4GiB or 500MB, under 8 EiB"
        )
    return int(size)


def cache_limit() -> int:
    """Return how many bytes a cache may take: ``$FAIRCUT_CACHE_LIMIT``, or 8 GiB.

    Raises:
        ConfigError: the variable is no amount of memory.
    """
    try:
        return parse_bytes(os.environ.get("FAIRCUT_CACHE_LIMIT", "").strip() or _LIMIT)
    except ConfigError as error:
        raise ConfigError(f"the environment variable FAIRCUT_CACHE_LIMIT: {error}") from None


def cache_folder() -> Path | None:
    """Return where inversions are kept: ``$FAIRCUT_CACHE``, or ``~/.cache/faircut``, and in it ``inversions``.

    Returns:
        The folder, which may be missing; None if the variable is not set and there is no home folder.

    Raises:
        ConfigError: the variable is no path.
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
            f"the environment variable FAIRCUT_CACHE is {root!r}, and there is no such user's home folder; give another one"
        ) from None


def _root() -> str:
    return os.environ.get("FAIRCUT_CACHE", "").strip()


def _home() -> Path | None:
    if os.environ.get("HOME") == "":
        return None  # Python takes an empty one for the root of the file system.
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_absolute() else None


def private_folder(folder: Path) -> Path:
    """Make a folder that its owner alone may read, or close one that is there to everybody else.

    Args:
        folder: where; parents that are missing are made in the same way.

    Raises:
        OSError: it cannot be made, or belongs to another user.
    """
    for path in (*reversed([p for p in folder.parents if not p.exists()]), folder):
        path.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "geteuid"):
        facts = folder.stat()
        if facts.st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, "the folder belongs to another user", str(folder))
        if facts.st_mode & 0o077:
            folder.chmod(0o700)
    return folder


def user_cache() -> Cache | None:
    """Return the user's cache of inversions, ready to be used; None, with a warning, if there is no place for one.

    Raises:
        ConfigError: ``$FAIRCUT_CACHE`` or ``$FAIRCUT_CACHE_LIMIT`` is wrong.
    """
    limit, folder = cache_limit(), cache_folder()
    if folder is None:
        warnings.warn(
            "there is no home folder, so inversions are not kept; name a place for them in FAIRCUT_CACHE", stacklevel=2
        )
        return None
    cache = Cache(folder, limit, named="FAIRCUT_CACHE" if _root() else "in the home folder")
    return cache if cache.open() else None


# The cache ------------------------------------------------------------------------------------------------------------


class Cache:
    """A folder of entries by key that several processes may use at once.

    What goes wrong with it, such as a full disk, is a warning: whoever uses it goes on as if there were none.

    Args:
        folder: where; made when it is needed.
        limit: bytes; by default ``$FAIRCUT_CACHE_LIMIT``, or 8 GiB.
        named: what names the folder, for messages, if it is faircut's own: it is then closed to all other users; in any
            other folder only the entries are.

    Raises:
        ConfigError: the variable is no amount of memory.
    """

    def __init__(self, folder: str | Path, limit: int | None = None, *, named: str = "") -> None:
        self.folder = Path(folder)
        self.limit = cache_limit() if limit is None else limit
        self._named = named
        self._usable: bool | None = None

    def open(self) -> bool:
        """Make the folder ready, and say whether the cache can be used; if not, there is a warning, once."""
        if self._usable is None:
            try:
                self._make_folder()
                clear_partials(self.folder)
                self._usable = True
            except OSError as error:
                self._give_up(error)
        return bool(self._usable)

    def find(self, key: str, load: Callable[[Path, HeldFolder], T]) -> T | None:
        """Return what an entry holds; one that cannot be loaded is removed, with a warning.

        Args:
            key: its name.
            load: reads and checks a copy of its files: the folder, and what to refer to as long as the files are
                needed; raises a `FaircutError` if they are damaged.

        Returns:
            What was loaded, or None if there is no such entry.
        """
        entry = self.folder / key
        if not self.open():
            return None
        try:
            copy, made = self._copy(entry)
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
            warnings.warn(f"a damaged entry of the cache is made again: {reason}", stacklevel=2)
            if _identity(entry) == made:
                self._remove(entry)
            return None
        _use(entry)
        return value

    def keep(self, key: str, save: Callable[[Path], object]) -> None:
        """Make an entry, unless it is there, and remove what was not used for longest.

        Args:
            key: its name.
            save: writes a folder of the name that it is given.
        """
        entry = self.folder / key
        if not self.open():
            return
        try:
            if not entry.is_dir():
                with workspace(entry) as staging:
                    save(staging / key)
                    _close_to_others(staging / key)
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
        """Note beside an entry what was measured of it later; nothing happens if the entry has gone."""
        try:
            if self.open() and (self.folder / key).is_dir():
                # Private before it has its name: another process may remove it at once, with the entry.
                with atomic_path(self._notes(key)) as path:
                    path.write_text(json_text({"facts": facts, "check": _check(key, facts)}), encoding="utf-8")
                    path.chmod(0o600)
        except OSError as error:
            self._give_up(error)

    def notes(self, key: str) -> dict[str, Any]:
        """Return what was noted beside an entry; nothing if there is no note or a damaged one."""
        try:
            data = json.loads(self._notes(key).read_bytes())
            return dict(data["facts"]) if data["check"] == _check(key, data["facts"]) else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def prune(self) -> None:
        """Remove the entries that were not used for longest, until the rest fits, and notes whose entry has gone."""
        total = 0
        for _, size, entry in sorted(self._entries(), key=lambda known: -known[0]):
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
        """Yield when each entry was used, in nanoseconds, its bytes and its folder; all else in the folder is not ours."""
        with contextlib.suppress(OSError), os.scandir(self.folder) as found:
            for item in found:
                with contextlib.suppress(OSError):
                    if _KEY.fullmatch(item.name) and item.is_dir(follow_symlinks=False):
                        path = Path(item.path)
                        yield item.stat().st_mtime_ns, sum(file.stat().st_size for file in _files(path)), path

    def _make_folder(self) -> None:
        if not self._named:
            self.folder.mkdir(parents=True, exist_ok=True)
            return
        root = self.folder.parent
        if not root.exists() or (_is_own(root) and set(os.listdir(root)) <= _OURS):
            private_folder(root)
        private_folder(self.folder)

    def _give_up(self, error: OSError) -> None:
        self._usable = False
        where = f"{self.folder} ({self._named})" if self._named else str(self.folder)
        reason = error.strerror or str(error)
        warnings.warn(f"the cache {where} cannot be used ({reason}); going on without it", stacklevel=3)

    def _copy(self, entry: Path) -> tuple[HeldFolder | None, tuple[int, int] | None]:
        """Return a copy of an entry and the entry's identity; None if there is no entry.

        Raises:
            OSError: there is one, and it cannot be copied.
        """
        for _ in range(10):
            made = _identity(entry)
            if made is None:
                break
            copy = HeldFolder(temporary_name(entry))
            try:
                for file in _files(entry):
                    target = copy.path / file.relative_to(entry)
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    _link(file, target)
            except FileNotFoundError:
                pass  # It was removed meanwhile, and perhaps made again: look once more.
            except BaseException:
                copy.close()
                raise
            if _identity(entry) == made:
                return copy, made
            copy.close()
        return None, None

    def _remove(self, entry: Path) -> None:
        """Remove an entry: one rename, so that nobody sees a part of it, then its files."""
        aside = temporary_name(entry)
        with contextlib.suppress(OSError):
            entry.rename(aside)
            self._notes(entry.name).unlink(missing_ok=True)
            remove(aside)


def _identity(entry: Path) -> tuple[int, int] | None:
    """Return what tells an entry from a later one of its name; None if there is none."""
    try:
        facts = entry.lstat()
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files in a folder and below; links are not followed."""
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root, name)).is_file() and not path.is_symlink())


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except FileNotFoundError:
        raise
    except OSError:  # File systems without hard links, and files of other users.
        shutil.copyfile(file, target)


def _use(entry: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(entry)


def _is_own(folder: Path) -> bool:
    return not hasattr(os, "geteuid") or folder.stat().st_uid == os.geteuid()


def _close_to_others(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        os.chmod(root, 0o700)
        for name in names:
            os.chmod(Path(root, name), 0o600)


def _check(key: str, facts: dict[str, Any]) -> str:
    return hashlib.blake2b((key + json.dumps(facts, sort_keys=True)).encode(), digest_size=16).hexdigest()
