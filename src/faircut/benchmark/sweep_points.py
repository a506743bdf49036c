"""What a sweep finds: its edits, and the best trade-offs among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faircut.benchmark.store import EditRecord

__all__ = ["Sweep", "SweepPoint"]


@dataclass(frozen=True, kw_only=True)
class SweepPoint(EditRecord):
    """One edit of a sweep.

    Attributes:
        options: the options that were swept, with their values; see `EditRecord` for what every record has.
        front: whether no other edit agrees better with the prompt and is more consistent.
    """

    options: Mapping[str, Any]
    front: bool = False


@dataclass(frozen=True)
class Sweep:
    """What a sweep found, and with what.

    Attributes:
        points: every edit, the best in agreement first.
        agreement: the metric of agreement with the prompt.
        consistency: the metric of consistency.
        source: figures of the clip itself, as if it were its own edit.
        provenance: settings, model, instruments, versions.
        failed: one line for each edit that could not be made.
    """

    points: tuple[SweepPoint, ...]
    agreement: str
    consistency: str
    source: Mapping[str, float]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
