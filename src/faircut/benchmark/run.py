"""From settings to files: what every benchmark does in the same way."""

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
    """One kind of benchmark: how its edits are made, and what becomes of them.

    Attributes:
        settings: of the run.
        file: name of the file with the result.
        cache: where inversions are kept and found again; None for nowhere.
    """

    settings: S
    file: ClassVar[str]
    cache: Cache | None = field(init=False, default=None)

    @property
    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """Names of all files that may be written, beside records and clips."""

    @abstractmethod
    def check(self) -> Iterable[Any]:
        """Read what is edited and check everything that needs no model.

        Returns:
            The files that are read, which no output may replace.

        Raises:
            FaircutError: something that was given cannot be used.
        """

    @abstractmethod
    def load(self) -> None:
        """Load what measures.

        Raises:
            FaircutError: it cannot be loaded, or was not named.
        """

    @abstractmethod
    def make(self, session: Session, stage: Stage) -> tuple[E, list[str]]:
        """Make and measure every edit, or find it.

        Args:
            session: holds the model.
            stage: opens a progress bar.

        Returns:
            The edits, and one line for each that failed.
        """

    @abstractmethod
    def result(self, edits: E, failed: list[str], facts: dict[str, Any]) -> R:
        """Summarise the edits.

        Args:
            edits: from `make`.
            failed: one line for each that failed.
            facts: settings, model and versions, for the result's provenance.
        """

    @abstractmethod
    def report(self, result: R, edits: E, folder: Path) -> None:
        """Write tables, plots and pictures into a folder."""


def run(wing: Wing[S, E, R], stage: Stage, json: Path | None = None) -> R | None:
    """Run a benchmark, and write its records, pictures, figures and report.

    Args:
        wing: which benchmark, with its settings.
        stage: opens a progress bar of so many steps.
        json: another place for the figures.

    Returns:
        The result; None for a part of a run.

    Raises:
        FaircutError: something that was given cannot be used.
    """
    settings = wing.settings
    folder = Path(settings.output)
    figures = [] if json is None else [Output(json, "--json")]
    read = wing.check()
    check_outputs([*folder_outputs(folder, wing.files), *figures], [settings.model, settings.clip, *read])
    check_model_steps(settings.model, settings.steps)
    device, _ = parse_device(settings.device, settings.dtype)
    wing.load()
    # On a CPU the processor's own time, so that whatever else runs there does not count.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    session = Session.load(settings.model, device=settings.device, dtype=settings.dtype, cache=wing.cache, clock=clock)
    edits, failed = wing.make(session, stage)
    if settings.shard != (0, 1):
        return None
    if not edits:
        raise ConfigError(
            f"no edit could be made; the first failure: {failed[0] if failed else 'nothing was to be edited'}"
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
