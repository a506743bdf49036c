"""The steps from settings to result files that all benchmarks share."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from faircut.benchmark.results import write_result
from faircut.benchmark.runner import Stage
from faircut.benchmark.settings import RunOptions
from faircut.config.values import to_dict
from faircut.edit.preflight import check_model_steps
from faircut.edit.request import parse_device
from faircut.edit.session import Session
from faircut.errors import ConfigError
from faircut.files import Output, check_outputs, folder_outputs
from faircut.files.cache import Cache
from faircut.report import Environment

__all__ = ["Wing", "run"]

S = TypeVar("S", bound=RunOptions)
E = TypeVar("E")
R = TypeVar("R")


@dataclass
class Wing(ABC, Generic[S, E, R]):
    """A kind of benchmark: how its edits are made, summarised and reported.

    Attributes:
        settings: Settings of the run.
        file: Name of the result file.
        cache: Cache for inversions, or None to cache none.
    """

    settings: S
    file: ClassVar[str]
    cache: Cache | None = field(init=False, default=None)

    @property
    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """Names of all files that the run may write, except records and clips."""

    @abstractmethod
    def check(self) -> Iterable[Any]:
        """Read the clips' list and check everything that needs no model.

        Returns:
            The input files, which no output may replace.

        Raises:
            FaircutError: If an input cannot be used.
        """

    @abstractmethod
    def load(self) -> None:
        """Load the models that measure.

        Raises:
            FaircutError: If a model cannot be loaded, or none was given.
        """

    @abstractmethod
    def make(self, session: Session, stage: Stage) -> tuple[E, list[str]]:
        """Make and measure every edit that is not stored yet.

        Args:
            session: Session with the model.
            stage: Opens a progress bar.

        Returns:
            The edits, and one line for each failed edit.
        """

    @abstractmethod
    def result(self, edits: E, failed: list[str], facts: dict[str, Any]) -> R:
        """Summarise the edits.

        Args:
            edits: The edits that `make` returned.
            failed: One line for each failed edit.
            facts: Settings, model and versions, for the result's provenance.
        """

    @abstractmethod
    def report(self, result: R, edits: E, folder: Path) -> None:
        """Write tables, plots and pictures into a folder."""


def run(wing: Wing[S, E, R], stage: Stage, json: Path | None = None) -> R | None:
    """Run a benchmark, and write its records, pictures, figures and report.

    Args:
        wing: The benchmark with its settings.
        stage: Opens a progress bar with a number of steps.
        json: Path for a second copy of the result, or None.

    Returns:
        The result, or None if the run is one shard of several.

    Raises:
        FaircutError: If an input cannot be used.
    """
    settings = wing.settings
    folder = Path(settings.output)
    figures = [] if json is None else [Output(json, "--json")]
    read = wing.check()
    check_outputs([*folder_outputs(folder, wing.files), *figures], [settings.model, settings.clip, *read])
    check_model_steps(settings.model, settings.steps)
    device, _ = parse_device(settings.device, settings.dtype)
    wing.load()
    # On a CPU, process time is measured, so that other processes do not count.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    session = Session.load(settings.model, device=settings.device, dtype=settings.dtype, cache=wing.cache, clock=clock)
    edits, failed = wing.make(session, stage)
    if settings.shard != (0, 1):
        return None
    if not edits:
        raise ConfigError(
            f"no edit could be made; the first failure: {failed[0] if failed else 'there was nothing to edit'}"
        )
    facts = {
        "settings": to_dict(settings),
        "model": {"name": settings.model, "fingerprint": session.fingerprint},
        "environment": to_dict(Environment.of(device, session.editor.backbone.dtype)),
    }
    result = wing.result(edits, failed, facts)
    for path in (folder / wing.file, json):
        if path is not None:
            write_result(result, path)
    wing.report(result, edits, folder)
    return result
