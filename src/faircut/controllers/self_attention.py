"""Self-attention control: keeping the source's layout, all over or outside a mask (FateZero, sections 3.2 and 3.3)."""

from __future__ import annotations

import torch

from faircut.attention.context import AttentionContext
from faircut.attention.controller import QKV, Controller, Where
from faircut.attention.source import RecordedSource
from faircut.controllers.regions import Region

__all__ = ["SelfAttentionFusion"]

_BRANCH = "source-layout"


class SelfAttentionFusion(Controller):
    """Gives the edit the source's self-attention, ``S = M S_edit + (1 - M) S_source``, the values staying its own.

    ``M S_edit V + (1 - M) S_source V`` is two fused attentions with the same values, chosen per query: exact, and no
    map of all keys is ever built. Without a mask the source's queries and keys simply take the edit's place.

    Args:
        source: the source's attention.
        steps: the denoising steps in which it acts.
        region: where the edit's own attention is kept; None keeps it nowhere.
    """

    frames_in = ("batch", "sequence")

    def __init__(self, source: RecordedSource, steps: range, region: Region | None = None) -> None:
        self.where = Where(kind="self", coarse=True)
        self.source = source
        self.steps = steps
        self.region = region

    def applies(self, context: AttentionContext) -> bool:
        """Whether it acts in this step and layer."""
        return context.step.index in self.steps and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Whether it acts in this step."""
        return index in self.steps

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Put the source's queries and keys in place of the edit's, or beside them where a mask will choose."""
        query, key = self.source.query_key(context.layer)
        edit = context.layout.slice("cond")
        if self.region is None:
            return context, qkv._replace(query=_put(qkv.query, edit, query), key=_put(qkv.key, edit, key))
        pairs = ((qkv.query, query), (qkv.key, key), (qkv.value, qkv.value[edit]))
        return context.with_branch(_BRANCH), QKV(*(torch.cat(pair) for pair in pairs))

    def on_output(self, context: AttentionContext, output: torch.Tensor) -> tuple[AttentionContext, torch.Tensor]:
        """Choose, per query, between the edit's attention and the source's."""
        if self.region is None or _BRANCH not in context.layout.branches:
            return context, output
        edit, kept = context.layout.slice("cond"), output[context.layout.slice(_BRANCH)]
        # (frame, height, width) -> (entry, 1, query, 1): a batch entry's positions are those of one frame, or of all.
        mask = self.region.mask(context.grid).reshape(context.layout.entries, 1, -1, 1)
        output = _put(output[: context.step.layout.batch_size], edit, torch.where(mask, output[edit], kept))
        return context.without_last_branch(), output


def _put(x: torch.Tensor, part: slice, value: torch.Tensor) -> torch.Tensor:
    """Replace one part of the batch, in place: what a layer projects or returns belongs to this call alone."""
    x[part] = value
    return x
