"""The runner of all benchmarks: every edit is made or found, measured and kept at once, and never made again."""

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
"""Opens a progress bar: ``stage(name, steps)``; what it gives is called after each step."""


@dataclass(frozen=True)
class Made:
    """An edit that was made just now.

    Attributes:
        frames: (frame, 3, height, width) in [-1, 1].
        seconds: of the edit, without the inversion.
        preparing: seconds of what its method needs once for a clip, beside the plain inversion.
    """

    frames: Tensor
    seconds: float
    preparing: float = 0.0


def make_edit(session: Session, request: EditRequest, clip: Video | Tensor) -> tuple[Video, Made]:
    """Edit a clip, and take the time of the edit by the session's clock.

    Args:
        session: holds the model.
        request: the edit.
        clip: the clip; or its frames, (frame, 3, height, width) in [-1, 1].

    Returns:
        The edited clip as it is, and what of it is measured.

    Raises:
        FaircutError: the edit cannot be made.
    """
    prepared = session.prepare(request, clip)
    started = session.clock()
    video = session.edit(prepared).video
    assert video is not None
    return video, Made(video.frames, session.clock() - started, prepared.preparing)


class Job(Protocol[R_co]):
    """One edit that is wanted."""

    @property
    def title(self) -> str:
        """What the list of failures calls it."""

    def key(self) -> str:
        """Name the edit by all that decides it."""

    def source(self) -> Tensor:
        """Return the source clip, (frame, 3, height, width), RGB in [0, 1]."""

    def edit(self) -> Made:
        """Make the edit."""

    def measure(self, key: str, edited: Tensor, seconds: float, preparing: float) -> R_co:
        """Measure the edit, (frame, 3, height, width), RGB in [0, 1]."""


J = TypeVar("J", bound=Job[Any])


def seed_of(seed: int, name: str) -> int:
    """Return the seed of a clip's noise: each clip has its own, the same in a part of a benchmark as in all of it."""
    return seed + zlib.crc32(name.encode())


def check_shard(shard: tuple[int, int]) -> None:
    """Check a part of a run.

    Args:
        shard: (k, n), the kth of n parts, counted from 0.

    Raises:
        ConfigError: there is no such part.
    """
    k, n = shard
    if not 0 <= k < n:
        raise ConfigError(f"the shard is {k + 1}/{n}; give 1/{n} to {n}/{n}")


def part_of(items: Sequence[T], shard: tuple[int, int]) -> Sequence[T]:
    """Return every nth item, from the kth; (0, 1) is all of them."""
    return items[shard[0] :: shard[1]]


def instruments_of(table: str, *fingerprints: str) -> str:
    """Identify what measures: a record that others have measured, or fewer metrics, is measured anew.

    Args:
        table: whose metrics are measured, one of `faircut.metrics.registry.TABLES`.
        fingerprints: of the models that measure.
    """
    return "-".join([*fingerprints, key_of(metrics=sorted(metrics_of(table)))])


def run_jobs(
    jobs: Iterable[J], store: Store[R], instruments: str, advance: Advance, *, rounded: bool = True
) -> Iterator[tuple[J, R | None, str]]:
    """Make and measure every edit, or find it in the store.

    Args:
        jobs: the edits, in order.
        store: keeps what is made, at once.
        instruments: fingerprint of what measures; records of others are measured anew.
        advance: called after each job.
        rounded: whether edits are measured in the 256 levels in which a file holds them, so that a kept clip measures
            the same; False measures them as they are, where no clips are kept.

    Yields:
        The job with its record; or, where it failed, None and one line that says why.

    Raises:
        Cancelled: an edit was cancelled.
    """
    for job in jobs:
        record, failure = None, ""
        try:
            record = _make_or_find(job, store, instruments, rounded)
        except Cancelled:
            raise
        except FaircutError as error:
            # One clip that cannot be edited must not cost the others; it is reported, and tried again next time.
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
