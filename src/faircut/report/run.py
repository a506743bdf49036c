"""The report of one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faircut.config.values import to_dict
from faircut.files import json_text, write_text
from faircut.report.environment import Environment, PeakMemory

__all__ = ["RunReport", "Stopwatch", "save_report"]

_FORMAT = 1


@dataclass(frozen=True)
class RunReport:
    """What one edit did, with what, and how well.

    Attributes:
        settings: of the run, as its YAML file holds them.
        method: the editing method with every option, defaults included.
        environment: versions, device and dtype.
        clip: the source: its hash, frames, size, rate, and what reading it did.
        model: name and fingerprint of the checkpoint.
        supplier: where the source's attention came from: live, memory or disk.
        inversion_from_cache: whether the inversion was found rather than computed.
        stored_bytes: kept between inversion and edit.
        reconstruction_psnr: dB between the VAE's round trip of the clip and of its reconstruction; higher is better; None
            if it was not measured.
        alignment: what became of every word of the two prompts.
        people: what was decided for each person, and why; empty for methods that know none.
        seconds: wall time by stage.
        peak_memory: of the process.
        warnings: what was warned of.
        outputs: the files written, by kind.
        seed: of the run.
        format: version of this layout.
    """

    settings: dict[str, Any]
    method: dict[str, Any]
    environment: Environment
    clip: dict[str, Any]
    model: dict[str, Any]
    supplier: str
    inversion_from_cache: bool
    stored_bytes: int
    reconstruction_psnr: float | None
    alignment: dict[str, Any]
    people: tuple[Any, ...]
    seconds: dict[str, float]
    peak_memory: PeakMemory
    warnings: tuple[str, ...]
    outputs: dict[str, str]
    seed: int
    format: int = _FORMAT

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json_text(to_dict(self))


def save_report(report: RunReport, path: str | Path) -> Path:
    """Write a report as JSON, whole or not at all.

    Args:
        report: the report.
        path: where.

    Returns:
        The path.
    """
    return write_text(path, report.to_json() + "\n")


@dataclass
class Stopwatch:
    """Measures stages by name.

    Attributes:
        seconds: time by stage, in the order in which they began.
        clock: gives seconds; by default of the wall.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside; a stage that runs twice adds up."""
        started = self.clock()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds[name] + self.clock() - started, 4)
