"""The registry of metrics: their names, labels, inputs and directions.

Tables, reports, flags and leaderboards take names, labels and order from here. To add a metric, put one file into this
folder, or name the metric in another package under the entry point group ``faircut.metrics``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Literal

import numpy as np
from torch import Tensor

from faircut.metrics.bootstrap import macro_average

__all__ = [
    "ASPECTS",
    "GROUP",
    "INPUTS",
    "TABLES",
    "Figure",
    "Inputs",
    "Metric",
    "MetricError",
    "load",
    "measure",
    "register",
]

GROUP = "faircut.metrics"
"""Entry point group under which other packages provide metrics."""

TABLES = ("evaluate", "bench", "audit")
"""Tables in which metrics are shown. ``faircut sweep`` uses the table of ``faircut evaluate``."""

ASPECTS = ("fairness", "success", "agreement", "consistency", "preservation", "cost")
"""Aspects of an edit that metrics measure, in the order in which tables show them."""

INPUTS: dict[str, str] = {
    # For every edit.
    "frames": "(frame, 3, height, width), RGB in [0, 1]: the edited clip",
    "source_frames": "the source clip, of the same shape",
    "source_prompt": "text: the source prompt",
    "prompt": "text: the target prompt",
    "clip": "the `ClipScorer`, for metrics that embed other frames or texts",
    "embeddings": "(frame, channel), of length 1: CLIP's embeddings of the edited frames",
    "source_embeddings": "(frame, channel), of length 1: CLIP's embeddings of the source's frames",
    "prompt_embedding": "(channel,), of length 1: CLIP's embedding of the prompt",
    "source_prompt_embedding": "(channel,), of length 1: CLIP's embedding of the source prompt",
    "flow": "(frame - 1, height, width, 2): the source's motion, pixels to the right and down",
    "visible": "(frame - 1, height, width) bool: the source's pixels that are visible in the next frame too",
    # Only if they are known.
    "region": "(frame, height, width) bool: where the edit belongs",
    "reached": "bool: the judge of a drawn clip sees the requested change",
    "kept": "bool: the judge of a drawn clip sees everything else unchanged",
    # For the edits of an audit.
    "requested": "text: the requested attribute value",
    "source_value": "text: the attribute value that is perceived in the source",
    "perceived": "text: the attribute value that is perceived in the edit; None if it is unclear",
    "perceived_index": "int: the position of that value among the attribute's values; -1 if it is unclear",
    "stability": "0 to 1: the share of frames that agree with the most frequent value",
    "profession_seen": "bool: the edit shows the requested profession",
    "others_kept": "bool: every other person is perceived as in the source",
    "position_shift": "0 to 1: the person's mean horizontal distance from the source's person, in frame widths",
    "escaped": "bool: in some frame the person has moved away or is missing",
    # For a whole run.
    "edit_seconds": "seconds of the edit",
    "preparing_seconds": "seconds of a method's preparation of the clip, beyond the plain inversion",
    "reference_seconds": "seconds of FateZero for the same clip, edit and preparation",
}
"""Inputs of metrics, by name. A metric is left out of a table if the caller lacks one of its inputs."""


class MetricError(ValueError):
    """A metric that cannot be registered."""


@dataclass(frozen=True)
class Metric:
    """A metric: how it is computed, and how it is shown.

    Attributes:
        name: Name in records, JSON files and flags.
        label: Name in tables.
        meaning: Meaning of the figure, in a few words.
        better: Which figures are better: ``"higher"``, ``"lower"``, or ``"none"``, such as for similarity to the
            source.
        aspect: Aspect that the metric measures, one of `ASPECTS`; tables are sorted by aspect.
        needs: Arguments of `function`, in order: names of `INPUTS`, or of other metrics, for their figures.
        function: Computes the figure of a whole clip, or NaN if there is none.
        curve: Computes the figures of frames, (frame,), or pairs, (frame - 1,), from the arguments of `function`. None
            for no curve.
        per: What each value of the curve describes: a frame, a pair of neighbouring frames, or ``"clip"`` for no curve.
        tables: Tables that show the metric, of `TABLES`.
        headline: Whether the short tables on a terminal show the metric. Reports and files show all metrics.
        average: Averages the figures of many clips; called with a list of groups, (..., clip) each.
        average_needs_values: Whether `average` also takes ``values``, the number of values of an audit's attribute.
    """

    name: str
    label: str
    meaning: str
    better: Literal["higher", "lower", "none"]
    aspect: str
    needs: tuple[str, ...]
    function: Callable[..., Any]
    curve: Callable[..., Tensor] | None = None
    per: Literal["frame", "pair", "clip"] = "clip"
    tables: tuple[str, ...] = TABLES
    headline: bool = True
    average: Callable[..., np.ndarray] = macro_average
    average_needs_values: bool = False

    def __post_init__(self) -> None:
        for what, given, possible in (
            ("the aspect", (self.aspect,), ASPECTS),
            ("the table", self.tables, TABLES),
            ("the direction", (self.better,), ("higher", "lower", "none")),
            ("the unit per", (self.per,), ("frame", "pair", "clip")),
        ):
            for name in given:
                if name not in possible:
                    raise MetricError(f"metric {self.name!r} has {what} {name!r}; possible: {', '.join(possible)}")
        if self.average_needs_values and self.tables != ("audit",):
            raise MetricError(f"metric {self.name!r} needs an attribute's values, which exist only in the table audit")
        if (self.curve is None) != (self.per == "clip"):
            raise MetricError(
                f"metric {self.name!r} has per={self.per!r}; give a curve and per='frame' or per='pair', or neither"
            )

    @property
    def higher_is_better(self) -> bool | None:
        """Whether higher figures are better; None if neither are."""
        return {"higher": True, "lower": False, "none": None}[self.better]

    @property
    def arrow(self) -> str:
        """Arrow to the better direction for column headings, or an empty text."""
        return {"higher": "↑", "lower": "↓", "none": ""}[self.better]

    @property
    def heading(self) -> str:
        """Label with the arrow, for column headings."""
        return f"{self.label} {self.arrow}".strip()

    @property
    def built_in(self) -> bool:
        """Whether the metric is part of faircut, and not of another package."""
        return self.function.__module__.partition(".")[0] == "faircut"


@dataclass(frozen=True)
class Figure:
    """The result of a metric.

    Attributes:
        value: Figure of the whole clip.
        curve: Figures of the frames or pairs of neighbouring frames; empty if the metric has no curve.
    """

    value: float
    curve: tuple[float, ...] = ()


class Inputs(Mapping[str, Any]):
    """Inputs of metrics, each computed when a metric first needs it.

    Args:
        makers: Functions that compute the inputs, by name in `INPUTS`.
    """

    def __init__(self, **makers: Callable[[], Any]) -> None:
        self._makers = makers
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


_metrics: dict[str, Metric] = {}


def register(metric: Metric) -> Metric:
    """Register a metric.

    Args:
        metric: The metric. Registering an equal one again changes nothing.

    Returns:
        The metric.

    Raises:
        MetricError: If another metric has the name.
    """
    if _metrics.setdefault(metric.name, metric) != metric:
        other = _metrics[metric.name].function.__module__
        raise MetricError(f"two metrics have the name {metric.name!r}, one of them in {other}; rename one of them")
    return metric


@lru_cache(maxsize=1)
def _load_all() -> None:
    """Import every module of this folder, and the metrics of other packages.

    Raises:
        MetricError: If a metric of another package cannot be used.
    """
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    for entry in entry_points(group=GROUP):
        try:
            metric = entry.load()
        except (Exception, SystemExit) as error:
            raise MetricError(
                f"cannot load the metric {entry.name!r} from {entry.value}: {error}; repair or remove that package"
            ) from error
        if not isinstance(metric, Metric):
            raise MetricError(
                f"{entry.value} of the entry point group {GROUP} is not a Metric; repair or remove that package"
            )
        register(metric)


def load(table: str | None = None) -> dict[str, Metric]:
    """Return the metrics of a table, in the order in which they are shown.

    Args:
        table: One of `TABLES`, or None for every metric.

    Returns:
        The metrics by name, sorted by aspect and, within an aspect, in the order of registration.

    Raises:
        MetricError: If a metric of another package cannot be used, or a metric needs an unknown input.
    """
    _load_all()
    for metric in _metrics.values():
        for name in metric.needs:
            if name not in INPUTS and name not in _metrics:
                raise MetricError(f"metric {metric.name!r} needs {name!r}; possible: {', '.join([*INPUTS, *_metrics])}")
    ordered = sorted(_metrics.values(), key=lambda metric: ASPECTS.index(metric.aspect))
    return {metric.name: metric for metric in ordered if table is None or table in metric.tables}


def measure(metrics: Iterable[Metric], inputs: Mapping[str, Any], *, curves: bool = True) -> dict[str, Figure]:
    """Compute every metric whose inputs are available.

    Args:
        metrics: The metrics to compute.
        inputs: Inputs by name in `INPUTS`.
        curves: Whether to compute the curves too.

    Returns:
        The results by metric name. A metric that lacks an input is left out.
    """
    values: dict[str, float | None] = {}
    return {
        metric.name: Figure(value, _curve(metric, inputs, values) if curves else ())
        for metric in metrics
        if (value := _value(metric, inputs, values)) is not None
    }


def _value(metric: Metric, inputs: Mapping[str, Any], values: dict[str, float | None]) -> float | None:
    """Compute a figure, and the figures of the metrics that it depends on; None if an input is missing."""
    if metric.name not in values:
        values[metric.name] = None  # A circular dependency counts as a missing input.
        arguments = _arguments(metric, inputs, values)
        if arguments is not None:
            values[metric.name] = float(metric.function(*arguments))
    return values[metric.name]


def _curve(metric: Metric, inputs: Mapping[str, Any], values: dict[str, float | None]) -> tuple[float, ...]:
    arguments = _arguments(metric, inputs, values)
    return () if metric.curve is None or arguments is None else tuple(metric.curve(*arguments).float().tolist())


def _arguments(metric: Metric, inputs: Mapping[str, Any], values: dict[str, float | None]) -> Sequence[Any] | None:
    arguments = []
    for name in metric.needs:
        if name in inputs:
            arguments.append(inputs[name])
        elif name in _metrics and (value := _value(_metrics[name], inputs, values)) is not None:
            arguments.append(value)
        else:
            return None
    return arguments
