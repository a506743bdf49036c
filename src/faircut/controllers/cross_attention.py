"""Cross-attention control: Replace, Refine and Reweight, with step windows for words (Prompt-to-Prompt, FateZero)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from faircut.attention.context import AttentionContext
from faircut.attention.controller import Controller, StepWindow, Where
from faircut.attention.source import RecordedSource
from faircut.prompts import Alignment, Prompt

__all__ = ["CrossAttentionFusion", "fusion_weights"]


def fusion_weights(target: Prompt, count: int, default: StepWindow, words: Mapping[str, StepWindow]) -> torch.Tensor:
    """Return at which steps each target token takes the source's attention.

    Args:
        target: Target prompt.
        count: N, the number of steps.
        default: Window of all tokens without an entry in ``words``.
        words: Windows of some words of the target prompt.

    Returns:
        (step, token), float32, 0 or 1. Windows are shares of N + 1, as in Prompt-to-Prompt.

    Raises:
        PromptError: If a word is not in the target prompt.
    """
    weights = torch.zeros(count + 1, len(target.ids))  # (step, token)
    weights[list(default.steps(count + 1))] = 1.0
    for word, window in words.items():
        tokens = list(target.find(word))
        weights[:, tokens] = 0.0
        for step in window.steps(count + 1):
            weights[step, tokens] = 1.0
    return weights[:count]


class CrossAttentionFusion(Controller):
    """A controller that gives target tokens the cross-attention of their source tokens.

    ``A = w fuse(A_source, A_edit) + (1 - w) A_edit``.

    Args:
        source: Attention of the source.
        alignment: Source tokens that each target token comes from.
        weights: (step, token), w, 0 or 1.
        factors: (token,), Reweight's factor of each target token, or None for 1. Rows are not renormalised.
        branches: Branches whose attention is changed.
        renormalise: Whether to scale every fused row to a sum of 1, for branches with tokens that have no partner.
    """

    frames_in = ("batch", "sequence")

    def __init__(
        self,
        source: RecordedSource,
        alignment: Alignment,
        weights: torch.Tensor,
        factors: torch.Tensor | None = None,
        *,
        branches: tuple[str, ...] = ("cond",),
        renormalise: bool = False,
    ) -> None:
        self.branches, self.renormalise = branches, renormalise
        self.where = Where(kind="cross", coarse=True)
        self.source = source
        self.weights = weights.to(source.device)
        self.mapper = alignment.mapper.to(source.device)
        self.aligned = alignment.aligned.to(source.device)
        self.factors = torch.ones_like(self.aligned) if factors is None else factors.to(source.device)
        self._active = [bool(row.any()) for row in weights]

    def applies(self, context: AttentionContext) -> bool:
        """Return whether any token is fused in this step."""
        return self._active[context.step.index] and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Return whether any token is fused in this step."""
        return self._active[index]

    def on_probs(self, context: AttentionContext, probs: torch.Tensor, queries: slice) -> torch.Tensor:
        """Fuse the source's probabilities into the edit's."""
        # (frame, head, query, source token) x (source token, target token) -> (frame, head, query, target token)
        mapped = self.source.probs(context.layer)[:, :, queries] @ self.mapper
        # The prompt's keys may be followed by padding without weight, if another branch of the batch has more keys.
        # Both are (frame, head, query, key).
        edit, padding = probs[..., : mapped.shape[-1]], probs[..., mapped.shape[-1] :]
        # (token,) broadcasts over the last axis: 1 takes the source's attention, 0 keeps the edit's.
        fused = torch.lerp(edit, mapped, self.aligned)
        if self.renormalise:
            fused = fused / fused.sum(-1, keepdim=True).clamp_min(1e-12)
        fused = torch.lerp(edit, fused * self.factors, self.weights[context.step.index])
        return fused if padding.shape[-1] == 0 else torch.cat([fused, padding], dim=-1)
