"""Measure one edit with every metric, and its source for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from faircut import metrics
from faircut.errors import ConfigError, VideoError
from faircut.metrics import Metric, registry
from faircut.metrics.clip import ClipScorer

__all__ = ["LEAST_SIZE", "Measure", "measure_edit", "metrics_of"]

LEAST_SIZE = 12
"""Minimum height and width, in pixels, for which optical flow can be estimated."""


def metrics_of(table: str) -> dict[str, Metric]:
    """Return the metrics of a table, in the order in which they are shown.

    Args:
        table: Name of a table, one of `faircut.metrics.registry.TABLES`.

    Returns:
        The metrics by name.

    Raises:
        ConfigError: If a metric of another package cannot be used.
    """
    try:
        return registry.load(table)
    except metrics.MetricError as error:
        raise ConfigError(str(error)) from error


@dataclass(frozen=True)
class Measure:
    """The result of one metric for an edit.

    Attributes:
        value: Figure of the edited clip. None if it has none, such as a quotient by zero.
        source: Figure of the source clip, measured as if it were the edit. None for metrics that compare with the
            source.
        higher_is_better: Whether higher figures are better. None if neither is, such as for similarity to the source,
            which an unchanged clip maximises.
        of: What each value of `series` describes: ``"frame"``, ``"pair"`` (two neighbouring frames), or ``"clip"`` for
            no curve.
        series: Figures of the frames or pairs; None where there is no value.
    """

    value: float | None
    source: float | None
    higher_is_better: bool | None
    of: str
    series: tuple[float | None, ...] = ()


def measure_edit(
    edited: Tensor,
    source: Tensor,
    prompts: tuple[str, str],
    clip: ClipScorer,
    region: Tensor | None = None,
    table: str = "evaluate",
    **more: Callable[[], Any],
) -> Mapping[str, Measure]:
    """Measure an edit with every metric that applies.

    Motion is estimated from the source. Pixels that are occluded according to the forward-backward check do not count.

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: (frame, 3, height, width), RGB in [0, 1].
        prompts: Source prompt and target prompt.
        clip: CLIP that embeds frames and prompts.
        region: (frame, height, width) bool, where the edit belongs; None if unknown.
        table: Table of metrics to measure, one of `faircut.metrics.registry.TABLES`.
        more: Functions that compute further inputs, by name in `faircut.metrics.registry.INPUTS`.

    Returns:
        The results by metric name; ``background_psnr`` only with a region.

    Raises:
        VideoError: If the shapes differ, or the frames are too small.
        ConfigError: If a metric of another package cannot be used.
    """
    _check(edited, source)
    table_of = metrics_of(table)
    texts, (flow, visible) = clip.texts(prompts), metrics.motion(source)
    shared = {
        "clip": lambda: clip,
        "source_prompt": lambda: prompts[0],
        "prompt": lambda: prompts[1],
        "source_prompt_embedding": lambda: texts[0],
        "prompt_embedding": lambda: texts[1],
        "flow": lambda: flow,
        "visible": lambda: visible,
    }
    # The source is measured as if it were the edit. Without `source_frames`, metrics that compare with it are left out.
    alone = metrics.Inputs(**shared, frames=lambda: source, embeddings=lambda: clip.images(source))
    beside = {"source_frames": lambda: source, "source_embeddings": lambda: alone["embeddings"], **more}
    if region is not None:
        beside["region"] = lambda: region
    inputs = metrics.Inputs(**shared, **beside, frames=lambda: edited, embeddings=lambda: clip.images(edited))
    figures = registry.measure(table_of.values(), inputs)
    sources = registry.measure(table_of.values(), alone, curves=False)
    return {
        name: Measure(
            value=_finite(figure.value),
            source=_finite(sources[name].value) if name in sources else None,
            higher_is_better=table_of[name].higher_is_better,
            of=table_of[name].per,
            series=tuple(_finite(value) for value in figure.curve),
        )
        for name, figure in figures.items()
    }


def _check(edited: Tensor, source: Tensor) -> None:
    """Check that two clips can be compared.

    Raises:
        VideoError: If the shapes differ, or the frames are too small.
    """
    if edited.shape != source.shape:
        raise VideoError(
            f"the edit is {tuple(edited.shape)} and the source {tuple(source.shape)}, (frame, channel, height, width); "
            "give clips with the same number of frames and the same size"
        )
    if min(edited.shape[-2:]) < LEAST_SIZE:
        height, width = edited.shape[-2:]
        raise VideoError(
            f"clips of {width}x{height} are too small to estimate motion; give at least {LEAST_SIZE}x{LEAST_SIZE}"
        )


def _finite(value: float) -> float | None:
    """Replace NaN and infinity by None, because JSON has neither."""
    return value if math.isfinite(value) else None
