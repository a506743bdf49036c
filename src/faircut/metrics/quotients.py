"""Q-edit: agreement with the prompt divided by the warping error."""

from __future__ import annotations

import math

from faircut.metrics.registry import Metric, register

__all__ = ["q_edit"]


def q_edit(clip_t: float, warp_error: float) -> float:
    """Return Q-edit: agreement with the prompt divided by the warping error, on the scales that papers print.

    Q-edit is 100 CLIP-T / (1000 Warp-Err), so that the published 36.56 and 1.42 give 25.75. FLATTEN (Cong et
    al., 2024) introduced the quotient, and VideoGrain (Yang et al., 2025) calls it Q-edit. RAVE (Kara et al., 2024)
    uses the name for the product of WarpSSIM and CLIP-T; the two must not be compared.

    Args:
        clip_t: Mean cosine similarity, as `clip_t` returns it.
        warp_error: Mean squared difference of frames in [0, 1], as `warp_error` returns it.

    Returns:
        The quotient; infinite if the warping error is 0, as in a still clip. Higher is better.
    """
    return 100 * clip_t / (1000 * warp_error) if warp_error else math.inf


register(
    Metric(
        "q_edit", "Q-edit", "100 CLIP-T / 1000 Warp-Err", better="higher", aspect="consistency",
        needs=("clip_t", "warp_error"), function=q_edit, tables=("evaluate", "bench"), headline=False,
    )
)  # fmt: skip
