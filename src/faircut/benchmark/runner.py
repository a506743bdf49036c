"""The runner of all benchmarks. Each edit is stored as soon as it is made and measured, and is never made twice."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor

from faircut.benchmark.store import EditRecord, Store, as_kept
from faircut.edit.request import EditRequest
from faircut.edit.session import Session
from faircut.errors import Cancelled, ConfigError, FaircutError
from faircut.evaluate import metrics_of
from faircut.model.fingerprint import key_of
from faircut.video import Video

__all__ = [
    "Advance",
    "Job",
    "Made",
    "Stage",
    "check_shard",
    "instruments_of",
    "make_edit",
    "part_of",
    "run_jobs",
    "seed_of",
]

T = TypeVar("T")
R = TypeVar("R", bound=EditRecord)
R_co = TypeVar("R_co", bound=EditRecord, covariant=True)

Advance = Callable[[], None]
Stage = Callable[..., AbstractContextManager[Advance]]
"""Opens a progress bar: ``stage(name, steps)`` is a context manager that yields a function to call after each step."""


@dataclass(frozen=True)
class Made:
    """An edit that has just been made.

    Attributes:
        frames: (frame, 3, height, width) in [-1, 1].
        seconds: Seconds that the edit took, without the inversion.
        preparing: Seconds that the method's preparation of the clip took, beyond the plain inversion.
    """

    frames: Tensor
    seconds: float
    preparing: float = 0.0


def make_edit(session: Session, request: EditRequest, clip: Video | Tensor) -> tuple[Video, Made]:
    """Edit a clip, and measure the time of the edit with the session's clock.

    Args:
        session: Session with the model.
        request: The edit to make.
        clip: The clip, or its frames: (frame, 3, height, width) in [-1, 1].

    Returns:
        The edited clip, and its frames with the times that the edit took.

    Raises:
        FaircutError: If the edit cannot be made.
    """
    prepared = session.prepare(request, clip)
    started = session.clock()
    video = session.edit(prepared).video
    assert video is not None
    return video, Made(video.frames, session.clock() - started, prepared.preparing)


class Job(Protocol[R_co]):
    """One edit that a run makes and measures."""

    @property
    def title(self) -> str:
        """Name of the edit in the list of failed edits."""

    def key(self) -> str:
        """Return the edit's key: a hash of everything that decides its result."""

    def source(self) -> Tensor:
        """Return the source clip, (frame, 3, height, width), RGB in [0, 1]."""

    def edit(self) -> Made:
        """Make the edit."""

    def measure(self, key: str, edited: Tensor, seconds: float, preparing: float) -> R_co:
        """Measure the edit, (frame, 3, height, width), RGB in [0, 1]."""


J = TypeVar("J", bound=Job[Any])


def seed_of(seed: int, name: str) -> int:
    """Return the noise seed of a clip, which depends only on its name, so that every shard gives equal edits."""
    return seed + zlib.crc32(name.encode())


def check_shard(shard: tuple[int, int]) -> None:
    """Check a shard of a run.

    Args:
        shard: (k, n), the kth of n parts, counted from 0.

    Raises:
        ConfigError: If k is not from 0 to n - 1.
    """
    k, n = shard
    if not 0 <= k < n:
        raise ConfigError(f"the shard is {k + 1}/{n}; give 1/{n} to {n}/{n}")


def part_of(items: Sequence[T], shard: tuple[int, int]) -> Sequence[T]:
    """Return every nth item from the kth on; the shard (0, 1) is all items."""
    return items[shard[0] :: shard[1]]


def instruments_of(table: str, *fingerprints: str) -> str:
    """Return a fingerprint of the measuring models and metrics. Records with another fingerprint are measured again.

    Args:
        table: Table of metrics, one of `faircut.metrics.registry.TABLES`.
        fingerprints: Fingerprints of the models that measure.
    """
    return "-".join([*fingerprints, key_of(metrics=sorted(metrics_of(table)))])


def run_jobs(
    jobs: Iterable[J], store: Store[R], instruments: str, advance: Advance, *, rounded: bool = True
) -> Iterator[tuple[J, R | None, str]]:
    """Make and measure every edit that the store does not have.

    Args:
        jobs: The edits, in order.
        store: Store of the records; each edit is stored at once.
        instruments: Fingerprint of the measuring models and metrics; records with another one are measured again.
        advance: Called after each job.
        rounded: Whether to round edits to 256 levels before they are measured, so that a stored clip gives the same
            figures. False measures them unrounded; use this only if no clips are stored.

    Yields:
        The job, its record and an empty line; for a failed edit the job, None and the reason in one line.

    Raises:
        Cancelled: If an edit was cancelled.
    """
    for job in jobs:
        record, failure = None, ""
        try:
            record = _make_or_find(job, store, instruments, rounded)
        except Cancelled:
            raise
        except FaircutError as error:
            # A clip that cannot be edited must not stop the others. It is reported, and tried again in the next run.
            failure = f"{job.title}: {error}"
        advance()
        yield job, record, failure


def _make_or_find(job: Job[R], store: Store[R], instruments: str, rounded: bool) -> R:
    key = job.key()
    record = store.find(key)
    if record is not None and store.is_done(record, instruments):
        return record
    source = job.source()
    edited = None if record is None else store.find_clip(key, source.shape)
    if record is not None and edited is not None:
        seconds, preparing = record.seconds, record.preparing
    else:
        made = job.edit()
        edited = as_kept(made.frames) if rounded else (made.frames + 1) / 2
        seconds, preparing = made.seconds, made.preparing
    record = job.measure(key, edited, seconds, preparing)
    store.keep(record, source, edited)
    return record
