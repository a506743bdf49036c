"""Measurements of one clip as CLIP sees it: consistency, and agreement with a prompt."""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["clip_t", "clip_t_series", "frame_acc", "frame_acc_series", "q_edit", "tem_con", "tem_con_series"]


def tem_con_series(embeddings: Tensor) -> Tensor:
    """Temporal consistency pair by pair.

    Args:
        embeddings: (frame, channel), of length 1.

    Returns:
        (frame - 1,), the cosine of each frame and the next, -1 to 1.
    """
    return (embeddings[1:] * embeddings[:-1]).sum(-1)


def tem_con(embeddings: Tensor) -> float:
    """Temporal consistency (Tem-Con, CLIP-F): how alike neighbouring frames are to CLIP (Esser et al., 2023).

    Args:
        embeddings: (frame, channel), of length 1.

    Returns:
        Mean cosine of consecutive frames, -1 to 1; 1 for a single frame. Higher is better, and an edit that changed nothing
        is as consistent as its source.
    """
    return float(tem_con_series(embeddings).mean()) if len(embeddings) > 1 else 1.0


def clip_t_series(embeddings: Tensor, text: Tensor) -> Tensor:
    """Agreement with a prompt frame by frame.

    Args:
        embeddings: (frame, channel), of length 1.
        text: (channel,), of length 1.

    Returns:
        (frame,), the cosine of each frame and the text, -1 to 1.
    """
    return embeddings @ text


def clip_t(embeddings: Tensor, text: Tensor) -> float:
    """Agreement with a prompt (CLIP-T): how alike the frames and a text are to CLIP (Hessel et al., 2021).

    Args:
        embeddings: (frame, channel), of length 1.
        text: (channel,), of length 1.

    Returns:
        Mean cosine, -1 to 1; papers print it times 100. Higher is better.
    """
    return float(clip_t_series(embeddings, text).mean())


def frame_acc_series(embeddings: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """Say of each frame whether CLIP finds it nearer to the target prompt than to the source prompt.

    Args:
        embeddings: (frame, channel), of length 1.
        target: (channel,), of length 1: the target prompt.
        source: (channel,), of length 1: the source prompt.

    Returns:
        (frame,) bool.
    """
    return embeddings @ target > embeddings @ source


def frame_acc(embeddings: Tensor, target: Tensor, source: Tensor) -> float:
    """Frame accuracy (Frame-Acc): in how many frames the edit is seen (FateZero, Qi et al., 2023).

    Args:
        embeddings: (frame, channel), of length 1.
        target: (channel,), of length 1: the target prompt.
        source: (channel,), of length 1: the source prompt.

    Returns:
        Share of frames that are nearer to the target prompt than to the source prompt, 0 to 1; a tie is no success. Higher
        is better.
    """
    return float(frame_acc_series(embeddings, target, source).float().mean())


def q_edit(clip_t: float, warp_error: float) -> float:
    """Q-edit: agreement with the prompt over warping error, on the scales that papers print.

    It is CLIP-T times 100 over Warp-Err in thousandths, so that the published 36.56 and 1.42 are 25.75. FLATTEN (Cong et
    al., 2024) introduced the quotient and VideoGrain (Yang et al., 2025) prints it under this name. RAVE (Kara et al., 2024)
    has another Q-edit, the product of WarpSSIM and CLIP-T: the two must not stand in one table.

    Args:
        clip_t: mean cosine, as `clip_t` returns it.
        warp_error: mean squared difference of frames in [0, 1], as `warp_error` returns it.

    Returns:
        The quotient; infinite where nothing differs, as in a still clip. Higher is better.
    """
    return 100 * clip_t / (1000 * warp_error) if warp_error else math.inf
