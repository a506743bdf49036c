"""The result of a sweep: its edits with their figures, and the best trade-offs."""

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
        options: Swept options with their values. See `EditRecord` for the other attributes.
        front: Whether the edit is on the Pareto front: no other edit is at least as good in both metrics and better in
            one.
    """

    options: Mapping[str, Any]
    front: bool = False


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep, with its provenance.

    Attributes:
        points: All edits, the best in agreement first.
        agreement: Name of the metric for agreement with the prompt.
        consistency: Name of the metric for consistency.
        source: Figures of the source clip, measured as if it were the edit.
        provenance: Settings, model, CLIP and versions.
        failed: One line for each failed edit.
    """

    points: tuple[SweepPoint, ...]
    agreement: str
    consistency: str
    source: Mapping[str, float]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
