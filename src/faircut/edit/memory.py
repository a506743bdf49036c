"""How much memory things take: predicted from shapes, and explained when there is not enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import psutil

from faircut.attention.context import Layer
from faircut.errors import OutOfMemoryError, ran_out_of_memory

__all__ = ["budget_for_recording", "explain_out_of_memory", "map_bytes", "recorded_bytes"]


def recorded_bytes(
    layers: Iterable[Layer], latent_grid: Sequence[int], frames: int, steps: int, tokens: int, itemsize: int
) -> int:
    """Count the bytes of recorded attention: queries and keys of every coarse layer.

    Args:
        layers: the network's attention layers.
        latent_grid: (height, width) of the latents.
        frames: frames of the clip.
        steps: N.
        tokens: length of the text sequence.
        itemsize: bytes of a number.
    """
    numbers = 0
    for layer in layers:
        if layer.coarse:
            height, width = layer.grid((latent_grid[0], latent_grid[1]))
            queries = frames * height * width * layer.channels
            numbers += 2 * queries if layer.kind == "self" else queries + tokens * layer.channels
    return numbers * steps * itemsize


def map_bytes(
    layers: Iterable[Layer],
    latent_grid: Sequence[int],
    frames: int,
    steps: int,
    tokens: int,
    itemsize: int,
    key_frames: int = 2,
) -> int:
    """Count the bytes of every attention map of the coarse layers, which is what the reference implementation keeps."""
    numbers = 0
    for layer in layers:
        if layer.coarse:
            height, width = layer.grid((latent_grid[0], latent_grid[1]))
            keys = key_frames * height * width if layer.kind == "self" else tokens
            numbers += frames * layer.heads * height * width * keys
    return numbers * steps * itemsize


def budget_for_recording() -> int:
    """Return the bytes that recorded attention may take by default: an eighth of the free memory."""
    return psutil.virtual_memory().available // 8


def explain_out_of_memory(
    error: BaseException, frames: int, size: Sequence[int], fitting: Callable[[], str | None] | None = None
) -> None:
    """Raise our own error if memory ran out; do nothing for any other error.

    Args:
        error: what was raised.
        frames: of the clip.
        size: (height, width) of the clip.
        fitting: says what would fit, in words, or None if it cannot tell.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    if isinstance(error, OutOfMemoryError) or not ran_out_of_memory(error):
        return
    try:
        plan = fitting() if fitting is not None else None
    except Exception:
        # Whatever goes wrong while explaining must not hide what is explained.
        plan = None
    plan = plan or f"{max(1, frames // 2)} frames, or half the size, with supplier 'live'"
    raise OutOfMemoryError(
        f"out of memory with {frames} frames of {size[1]} x {size[0]}; try {plan}; `faircut plan` shows every mode"
    ) from error
