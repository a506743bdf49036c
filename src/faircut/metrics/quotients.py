"""Q-edit: agreement with the prompt over warping error."""

from __future__ import annotations

import math

from faircut.metrics.registry import Metric, register

__all__ = ["q_edit"]


def q_edit(clip_t: float, warp_error: float) -> float:
    """Q-edit: agreement with the prompt over warping error, on the scales that papers print.

    It is CLIP-T times 100 over Warp-Err in thousandths, so that the published 36.56 and 1.42 are 25.75. FLATTEN (Cong
    et al., 2024) introduced the quotient and VideoGrain (Yang et al., 2025) prints it under this name. RAVE (Kara et
    al., 2024) has another Q-edit, the product of WarpSSIM and CLIP-T: the two must not stand in one table.

    Args:
        clip_t: mean cosine, as `clip_t` returns it.
        warp_error: mean squared difference of frames in [0, 1], as `warp_error` returns it.

    Returns:
        The quotient; infinite where nothing differs, as in a still clip. Higher is better.
    """
    return 100 * clip_t / (1000 * warp_error) if warp_error else math.inf


register(
    Metric(
        "q_edit", "Q-edit", "100 CLIP-T / 1000 Warp-Err", better="higher", aspect="consistency",
        needs=("clip_t", "warp_error"), function=q_edit, tables=("evaluate", "bench"), headline=False,
    )
)  # fmt: skip
