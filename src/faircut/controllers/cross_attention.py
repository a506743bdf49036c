"""Cross-attention control: Replace, Refine and Reweight, with step windows per word (Prompt-to-Prompt, FateZero)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from faircut.attention.context import AttentionContext
from faircut.attention.controller import Controller, StepWindow, Where
from faircut.attention.source import RecordedSource
from faircut.prompts import Alignment, Prompt

__all__ = ["CrossAttentionFusion", "fusion_weights"]


def fusion_weights(target: Prompt, count: int, default: StepWindow, words: Mapping[str, StepWindow]) -> torch.Tensor:
    """Say at which step which target token takes the source's attention.

    Args:
        target: the target prompt.
        count: N, the number of steps.
        default: the window of all tokens.
        words: windows of their own for some target words.

    Returns:
        (step, token), float32, of 0 and 1. Windows are shares of N + 1, as in Prompt-to-Prompt.

    Raises:
        PromptError: a word is not in the target prompt.
    """
    weights = torch.zeros(count + 1, len(target.ids))
    weights[list(default.steps(count + 1))] = 1.0
    for word, window in words.items():
        tokens = list(target.find(word))
        weights[:, tokens] = 0.0
        for step in window.steps(count + 1):
            weights[step, tokens] = 1.0
    return weights[:count]


class CrossAttentionFusion(Controller):
    """Gives target tokens the cross-attention of their source tokens: ``A = w fuse(A_source, A_edit) + (1 - w)
    A_edit``.

    Args:
        source: the source's attention.
        alignment: which target token comes from which source token.
        weights: (step, token), w.
        factors: (token,), Reweight's factor of each target token; rows are not renormalised.
        branches: the branches whose attention it is.
        renormalise: bring every fused row to a sum of 1, where tokens without a partner join in.
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
        """Whether any token is fused in this step."""
        return self._active[context.step.index] and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Whether any token is fused in this step."""
        return self._active[index]

    def on_probs(self, context: AttentionContext, probs: torch.Tensor, queries: slice) -> torch.Tensor:
        """Fuse the source's probabilities into the edit's."""
        mapped = self.source.probs(context.layer)[:, :, queries] @ self.mapper
        # Behind its own keys there may be some without weight, which another branch of the batch needs.
        own, rest = probs[..., : mapped.shape[-1]], probs[..., mapped.shape[-1] :]
        fused = torch.lerp(own, mapped, self.aligned)
        if self.renormalise:
            fused = fused / fused.sum(-1, keepdim=True).clamp_min(1e-12)
        fused = torch.lerp(own, fused * self.factors, self.weights[context.step.index])
        return fused if rest.shape[-1] == 0 else torch.cat([fused, rest], dim=-1)
