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
    """Settings, environment and results of one edit.

    Attributes:
        settings: Settings of the run, as in its YAML file.
        method: Editing method with all of its options, including defaults.
        environment: Versions, device and dtype.
        clip: Source clip: its hash, frames, size and rate, and how reading changed it.
        model: Name and fingerprint of the checkpoint.
        supplier: Where the source's attention came from: live, memory or disk.
        inversion_from_cache: Whether the inversion came from the cache.
        stored_bytes: Bytes that are stored between inversion and edit.
        reconstruction_psnr: PSNR in dB of the reconstructed clip against the VAE's round trip of the clip. Higher is
            better. None if it was not measured.
        alignment: How each word of the two prompts is treated.
        people: Decision for each person, with the reason. Empty for methods without people.
        seconds: Wall time of each stage in seconds.
        peak_memory: Peak memory of the process.
        warnings: Warnings of the run.
        outputs: Written files by kind.
        seed: Seed of the run.
        format: Version of the report's layout.
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
    """Write a report as a JSON file, completely or not at all.

    Args:
        report: Report to write.
        path: Path of the file.

    Returns:
        The path.
    """
    return write_text(path, report.to_json() + "\n")


@dataclass
class Stopwatch:
    """Measures the time of named stages.

    Attributes:
        seconds: Time by stage, in the order in which the stages first began.
        clock: Function that returns the time in seconds. The default is wall time.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time of the block. The times of a stage that runs several times are added up."""
        started = self.clock()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds[name] + self.clock() - started, 4)
