"""The table of metrics: what each one is called, which inputs it needs, and which way is better.

Tables, reports, flags and leaderboards take names, labels and order from here. A metric is added by one file: put it
into this folder, or name it in another package under the entry point group ``faircut.metrics``.
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
"""The entry point group in which other packages name their metrics."""

TABLES = ("evaluate", "bench", "audit")
"""Where metrics are shown; ``faircut sweep`` measures what ``faircut evaluate`` does."""

ASPECTS = ("fairness", "success", "agreement", "consistency", "preservation", "cost")
"""What metrics are about, in the order in which tables show them."""

INPUTS: dict[str, str] = {
    # Of every edit.
    "frames": "(frame, 3, height, width), RGB in [0, 1]: the edited clip",
    "source_frames": "the source clip, of the same shape",
    "source_prompt": "text: what the source shows",
    "prompt": "text: what the edit was asked for",
    "clip": "the `ClipScorer`, for metrics that embed something else themselves",
    "embeddings": "(frame, channel), of length 1: CLIP's embeddings of the edited frames",
    "source_embeddings": "(frame, channel), of length 1: CLIP's embeddings of the source's frames",
    "prompt_embedding": "(channel,), of length 1: CLIP's embedding of the prompt",
    "source_prompt_embedding": "(channel,), of length 1: CLIP's embedding of the source prompt",
    "flow": "(frame - 1, height, width, 2): the source's motion, pixels to the right and down",
    "visible": "(frame - 1, height, width) bool: the source's pixels that the next frame shows as well",
    # Only where they are known.
    "region": "(frame, height, width) bool: what was to be edited",
    "reached": "bool: the judge of a drawn clip sees what was asked for",
    "kept": "bool: the judge of a drawn clip sees everything else as it was",
    # Of an audit.
    "requested": "text: the attribute value that was asked for",
    "source_value": "text: the attribute value that is perceived in the source",
    "perceived": "text: the attribute value that is perceived in the edit; None if it is unclear",
    "perceived_index": "int: the position of that value among the attribute's values; -1 if it is unclear",
    "stability": "0 to 1: the share of frames that agree with the most frequent value",
    "profession_seen": "bool: the edit shows the profession that was asked for",
    "others_kept": "bool: every other person is perceived as in the source",
    "position_shift": "0 to 1: the person's mean horizontal distance from the source's, in widths of the picture",
    "escaped": "bool: in some frame the person has jumped away or is missing",
    # Of a whole run.
    "edit_seconds": "seconds of the edit",
    "preparing_seconds": "seconds of what a method needs once for a clip, beside the plain inversion",
    "reference_seconds": "seconds that FateZero needed for the same clip, both of the above",
}
"""What a metric may need, by name. A caller leaves out what it does not have, and the metric is left out of the
table."""


class MetricError(ValueError):
    """A metric that cannot be registered."""


@dataclass(frozen=True)
class Metric:
    """A metric: how it is computed, and how it is shown.

    Attributes:
        name: in records, JSON files and flags.
        label: in tables.
        meaning: what its figure says, in a few words.
        better: which figures are better; ``"none"`` where neither are, such as for an edit's likeness to its source.
        aspect: what it is about, one of `ASPECTS`; tables are sorted by it.
        needs: what `function` is called with, in this order: names of `INPUTS`, or of other metrics, whose figure it is
            then given.
        function: computes the figure of a whole clip; NaN where there is none.
        curve: computes the figures of its frames, called with the same, (frame,) or (frame - 1,); None for no curve.
        per: what each value of the curve belongs to: a frame, a pair of neighbouring frames, or ``"clip"`` for no
            curve.
        tables: where it is shown, of `TABLES`.
        headline: whether the short tables on a terminal show it; reports and files show all metrics.
        average: makes one number of the figures of many clips: called with a list of groups, (..., clip) each.
        average_needs_values: whether `average` is called with ``values`` as well, how many values an audit's attribute
            has.
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
            ("the better side", (self.better,), ("higher", "lower", "none")),
            ("the part of a clip", (self.per,), ("frame", "pair", "clip")),
        ):
            for name in given:
                if name not in possible:
                    raise MetricError(f"metric {self.name!r} has {what} {name!r}; possible: {', '.join(possible)}")
        if self.average_needs_values and self.tables != ("audit",):
            raise MetricError(f"metric {self.name!r} needs an attribute's values, which only the table audit has")
        if (self.curve is None) != (self.per == "clip"):
            raise MetricError(
                f"metric {self.name!r} has per={self.per!r}; give a curve and per='frame' or per='pair', or neither"
            )

    @property
    def higher_is_better(self) -> bool | None:
        """Whether higher figures are better; None where neither are."""
        return {"higher": True, "lower": False, "none": None}[self.better]

    @property
    def arrow(self) -> str:
        """An arrow to the better side, for the heads of tables; empty where neither is."""
        return {"higher": "↑", "lower": "↓", "none": ""}[self.better]

    @property
    def heading(self) -> str:
        """The label with the arrow."""
        return f"{self.label} {self.arrow}".strip()

    @property
    def built_in(self) -> bool:
        """Whether faircut itself has it, rather than another package."""
        return self.function.__module__.partition(".")[0] == "faircut"


@dataclass(frozen=True)
class Figure:
    """What a metric found.

    Attributes:
        value: of the whole clip.
        curve: of its frames, or pairs of neighbouring frames; empty where the metric has none.
    """

    value: float
    curve: tuple[float, ...] = ()


class Inputs(Mapping[str, Any]):
    """Inputs of metrics, each made only when a metric first needs it.

    Args:
        makers: by name, of `INPUTS`, what makes the input.
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
    """Enter a metric into the table.

    Args:
        metric: the metric; entering the same one again changes nothing.

    Returns:
        The metric, so that a module can name it.

    Raises:
        MetricError: another metric has its name.
    """
    if _metrics.setdefault(metric.name, metric) != metric:
        other = _metrics[metric.name].function.__module__
        raise MetricError(f"two metrics are called {metric.name!r}, one of them in {other}; give one another name")
    return metric


@lru_cache(maxsize=1)
def _load_all() -> None:
    """Import every module of this folder, and what other packages name as their metrics.

    Raises:
        MetricError: a metric of another package cannot be used.
    """
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    for entry in entry_points(group=GROUP):
        try:
            metric = entry.load()
        except Exception as error:
            raise MetricError(
                f"cannot load the metric {entry.name!r} from {entry.value}: {error}; repair or remove that package"
            ) from error
        if not isinstance(metric, Metric):
            raise MetricError(
                f"{entry.value} of the entry point group {GROUP} is no Metric; repair or remove that package"
            )
        register(metric)


def load(table: str | None = None) -> dict[str, Metric]:
    """Return the metrics of a table, in the order in which they are shown.

    Args:
        table: one of `TABLES`; None for every metric.

    Returns:
        The metrics by name, sorted by aspect, and within one in the order in which they were registered.

    Raises:
        MetricError: a metric of another package cannot be used, or a metric needs what nothing supplies.
    """
    _load_all()
    for metric in _metrics.values():
        for name in metric.needs:
            if name not in INPUTS and name not in _metrics:
                raise MetricError(f"metric {metric.name!r} needs {name!r}; possible: {', '.join([*INPUTS, *_metrics])}")
    ordered = sorted(_metrics.values(), key=lambda metric: ASPECTS.index(metric.aspect))
    return {metric.name: metric for metric in ordered if table is None or table in metric.tables}


def measure(metrics: Iterable[Metric], inputs: Mapping[str, Any], *, curves: bool = True) -> dict[str, Figure]:
    """Compute every metric whose inputs are there.

    Args:
        metrics: which ones.
        inputs: by name, of `INPUTS`.
        curves: whether the curves are computed as well.

    Returns:
        The figures by the metrics' names; a metric that lacks an input is left out.
    """
    values: dict[str, float | None] = {}
    return {
        metric.name: Figure(value, _curve(metric, inputs, values) if curves else ())
        for metric in metrics
        if (value := _value(metric, inputs, values)) is not None
    }


def _value(metric: Metric, inputs: Mapping[str, Any], values: dict[str, float | None]) -> float | None:
    """Compute a figure, and those of the metrics that it needs; None if an input is missing."""
    if metric.name not in values:
        values[metric.name] = None  # A metric that needs itself, through others, is one whose input is missing.
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
