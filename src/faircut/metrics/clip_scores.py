"""CLIP scores of one clip: agreement with a prompt, and consistency between frames."""

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
    """Return the temporal consistency of every pair of neighbouring frames.

    Args:
        embeddings: (frame, channel), of length 1.

    Returns:
        (frame - 1,), cosine similarity of each frame and the next, -1 to 1.
    """
    return (embeddings[1:] * embeddings[:-1]).sum(-1)


def tem_con(embeddings: Tensor) -> float:
    """Return the temporal consistency (Tem-Con, CLIP-F): the CLIP similarity of neighbouring frames (Esser et al.,
    2023).

    Args:
        embeddings: (frame, channel), of length 1.

    Returns:
        Mean cosine similarity of neighbouring frames, -1 to 1; 1 for a single frame. Higher is better, but an edit that
        changes nothing is as consistent as its source.
    """
    return float(tem_con_series(embeddings).mean()) if len(embeddings) > 1 else 1.0


def clip_t_series(embeddings: Tensor, text: Tensor) -> Tensor:
    """Return the agreement of every frame with a prompt.

    Args:
        embeddings: (frame, channel), of length 1.
        text: (channel,), of length 1: embedding of the prompt.

    Returns:
        (frame,), cosine similarity of each frame and the text, -1 to 1.
    """
    return embeddings @ text


def clip_t(embeddings: Tensor, text: Tensor) -> float:
    """Return the agreement with a prompt (CLIP-T): the CLIP similarity of frames and text (Hessel et al., 2021).

    Args:
        embeddings: (frame, channel), of length 1.
        text: (channel,), of length 1: embedding of the prompt.

    Returns:
        Mean cosine similarity, -1 to 1; papers print 100 times this value. Higher is better.
    """
    return float(clip_t_series(embeddings, text).mean())


def frame_acc_series(embeddings: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """Return for every frame whether its CLIP embedding is nearer to the target prompt than to the source prompt.

    Args:
        embeddings: (frame, channel), of length 1.
        target: (channel,), of length 1: the target prompt.
        source: (channel,), of length 1: the source prompt.

    Returns:
        (frame,) bool.
    """
    return embeddings @ target > embeddings @ source


def frame_acc(embeddings: Tensor, target: Tensor, source: Tensor) -> float:
    """Return the frame accuracy (Frame-Acc): the share of frames that show the edit (FateZero, Qi et al., 2023).

    Args:
        embeddings: (frame, channel), of length 1.
        target: (channel,), of length 1: the target prompt.
        source: (channel,), of length 1: the source prompt.

    Returns:
        Share of frames that are nearer to the target prompt than to the source prompt, 0 to 1; a tie does not count.
        Higher is better.
    """
    return float(frame_acc_series(embeddings, target, source).float().mean())


def tem_con_ratio(embeddings: Tensor, source_embeddings: Tensor) -> float:
    """Return the temporal consistency of an edit divided by the consistency of its source.

    Args:
        embeddings: (frame, channel), of length 1: embeddings of the edited frames.
        source_embeddings: (frame, channel), of length 1: embeddings of the source's frames.

    Returns:
        Quotient of the two `tem_con`: 1 for an edit as consistent as its source, NaN if the source's is 0. Higher is
        better.
    """
    source = tem_con(source_embeddings)
    return tem_con(embeddings) / source if source else math.nan


register(
    Metric(
        "clip_t", "CLIP-T", "CLIP similarity of frames and prompt", better="higher", aspect="agreement",
        needs=("embeddings", "prompt_embedding"), function=clip_t, curve=clip_t_series, per="frame",
    )
)  # fmt: skip
register(
    Metric(
        "frame_acc", "Frame-Acc", "share of frames nearer to the prompt than to the source prompt", better="higher",
        aspect="agreement",
        needs=("embeddings", "prompt_embedding", "source_prompt_embedding"), function=frame_acc, curve=frame_acc_series,
        per="frame", tables=("evaluate", "bench"),
    )
)  # fmt: skip
register(
    Metric(
        "tem_con", "Tem-Con", "CLIP similarity of neighbouring frames", better="higher", aspect="consistency",
        needs=("embeddings",), function=tem_con, curve=tem_con_series, per="pair",
    )
)  # fmt: skip
# `faircut evaluate` prints the source's figure next to the edit's, so only averages over clips need the quotient.
register(
    Metric(
        "tem_con_ratio", "Tem-Con / source's", "Tem-Con divided by the source's", better="higher", aspect="consistency",
        needs=("embeddings", "source_embeddings"), function=tem_con_ratio, tables=("bench",), headline=False,
    )
)  # fmt: skip
