"""Every metric of one edit, and of its source beside it."""

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
"""Smallest height and width in pixels of which optical flow can be estimated."""


def metrics_of(table: str) -> dict[str, Metric]:
    """Return the metrics of a table, in the order in which they are shown.

    Args:
        table: one of `faircut.metrics.registry.TABLES`.

    Returns:
        The metrics by name.

    Raises:
        ConfigError: a metric of another package cannot be used.
    """
    try:
        return registry.load(table)
    except metrics.MetricError as error:
        raise ConfigError(str(error)) from error


@dataclass(frozen=True)
class Measure:
    """A figure of an edit.

    Attributes:
        value: of the clip; None where there is none, such as a quotient by zero.
        source: the same of the source itself, as if it were the edit; None for likeness to the source.
        higher_is_better: None where neither is: an edit that changes nothing is nearest to its source.
        of: what each value of `series` belongs to: ``"frame"``, ``"pair"`` of neighbours, or ``"clip"`` for no curve.
        series: by frame or pair of neighbours; None where there is no value.
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

    The motion is the source's, estimated, and pixels that the forward-backward check finds occluded do not count.

    Args:
        edited: (frame, 3, height, width), RGB in [0, 1].
        source: the same shape.
        prompts: the source prompt and the target prompt.
        clip: embeds frames and prompts.
        region: (frame, height, width) bool, what was to be edited; None where it is not known.
        table: whose metrics, one of `faircut.metrics.registry.TABLES`.
        more: makers of further inputs, by name, of `faircut.metrics.registry.INPUTS`.

    Returns:
        By the metrics' names; ``background_psnr`` only with a region.

    Raises:
        VideoError: the shapes differ, or the frames are too small.
        ConfigError: a metric of another package cannot be used.
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
    # As if the source were its own edit: without `source_frames`, so that likeness to the source is left out.
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
        VideoError: the shapes differ, or the frames are too small.
    """
    if edited.shape != source.shape:
        raise VideoError(
            f"the edit is {tuple(edited.shape)} and the source {tuple(source.shape)}, (frame, channel, height, width); "
            "give clips of as many frames and of one size"
        )
    if min(edited.shape[-2:]) < LEAST_SIZE:
        height, width = edited.shape[-2:]
        raise VideoError(
            f"clips of {width}x{height} are too small to see their motion: at least {LEAST_SIZE}x{LEAST_SIZE} are "
            "needed"
        )


def _finite(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None
