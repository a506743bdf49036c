"""CLIP scores of one clip: agreement with a prompt, and consistency from frame to frame."""

from __future__ import annotations

import math

from torch import Tensor

from faircut.metrics.registry import Metric, register

__all__ = [
    "clip_t",
    "clip_t_series",
    "frame_acc",
    "frame_acc_series",
    "tem_con",
    "tem_con_ratio",
    "tem_con_series",
]


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
        Mean cosine of consecutive frames, -1 to 1; 1 for a single frame. Higher is better, and an edit that changed
        nothing is as consistent as its source.
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
        Share of frames that are nearer to the target prompt than to the source prompt, 0 to 1; a tie is no success.
        Higher is better.
    """
    return float(frame_acc_series(embeddings, target, source).float().mean())


def tem_con_ratio(embeddings: Tensor, source_embeddings: Tensor) -> float:
    """Temporal consistency as a share of the source's own.

    Args:
        embeddings: (frame, channel), of length 1: of the edit.
        source_embeddings: the same of the source.

    Returns:
        The quotient of the two `tem_con`; 1 for an edit as consistent as its source, NaN where the source's is 0.
        Higher is better.
    """
    source = tem_con(source_embeddings)
    return tem_con(embeddings) / source if source else math.nan


register(
    Metric(
        "clip_t", "CLIP-T", "agrees with the prompt", better="higher", aspect="agreement",
        needs=("embeddings", "prompt_embedding"), function=clip_t, curve=clip_t_series, per="frame",
    )
)  # fmt: skip
register(
    Metric(
        "frame_acc", "Frame-Acc", "frames nearer to the prompt", better="higher", aspect="agreement",
        needs=("embeddings", "prompt_embedding", "source_prompt_embedding"), function=frame_acc, curve=frame_acc_series,
        per="frame", tables=("evaluate", "bench"),
    )
)  # fmt: skip
register(
    Metric(
        "tem_con", "Tem-Con", "neighbours are alike to CLIP", better="higher", aspect="consistency",
        needs=("embeddings",), function=tem_con, curve=tem_con_series, per="pair",
    )
)  # fmt: skip
# `faircut evaluate` prints the source's own figure beside the edit's, so only averages need the quotient.
register(
    Metric(
        "tem_con_ratio", "Tem-Con / source's", "Tem-Con as a share of the source's", better="higher",
        aspect="consistency",
        needs=("embeddings", "source_embeddings"), function=tem_con_ratio, tables=("bench",), headline=False,
    )
)  # fmt: skip
