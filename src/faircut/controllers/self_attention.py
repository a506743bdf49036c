"""Self-attention control: keeping the source's layout, fully or outside a mask (FateZero, sections 3.2 and 3.3)."""

from __future__ import annotations

import torch

from faircut.attention.context import AttentionContext
from faircut.attention.controller import QKV, Controller, Where
from faircut.attention.source import RecordedSource
from faircut.controllers.regions import Region

__all__ = ["SelfAttentionFusion"]

_BRANCH = "source-layout"


class SelfAttentionFusion(Controller):
    """A controller that gives the edit the source's self-attention, except values: ``S = M S_edit + (1 - M) S_source``.

    ``M S_edit V + (1 - M) S_source V`` is computed by two fused attentions with the same values, one of which is
    selected for each query. This is exact and never builds a map of all keys. Without a mask, the source's queries and
    keys simply replace the edit's.

    Args:
        source: Attention of the source.
        steps: Denoising steps in which the controller acts.
        region: Region where the edit's own attention is kept. None keeps it nowhere.
    """

    frames_in = ("batch", "sequence")

    def __init__(self, source: RecordedSource, steps: range, region: Region | None = None) -> None:
        self.where = Where(kind="self", coarse=True)
        self.source = source
        self.steps = steps
        self.region = region

    def applies(self, context: AttentionContext) -> bool:
        """Return whether the controller acts in this step and layer."""
        return context.step.index in self.steps and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Return whether the controller acts in this step."""
        return index in self.steps

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Replace the edit's queries and keys by the source's. With a mask, add them as another branch instead."""
        query, key = self.source.query_key(context.layer)  # (frame, head, position, dim) each
        edit = context.layout.slice("cond")
        if self.region is None:
            return context, qkv._replace(query=_put(qkv.query, edit, query), key=_put(qkv.key, edit, key))
        # Each pair is joined along the batch axis; the new branch attends with the source's map to the edit's values.
        pairs = ((qkv.query, query), (qkv.key, key), (qkv.value, qkv.value[edit]))
        return context.with_branch(_BRANCH), QKV(*(torch.cat(pair) for pair in pairs))

    def on_output(self, context: AttentionContext, output: torch.Tensor) -> tuple[AttentionContext, torch.Tensor]:
        """Select between the edit's attention and the source's for each query, and remove the added branch."""
        if self.region is None or _BRANCH not in context.layout.branches:
            return context, output
        edit, source = context.layout.slice("cond"), output[context.layout.slice(_BRANCH)]
        # (frame, height, width) -> (entry, 1, query, 1): the positions of a batch entry are those of one frame, or of
        # all.
        mask = self.region.mask(context.grid).reshape(context.layout.entries, 1, -1, 1)
        output = _put(output[: context.step.layout.batch_size], edit, torch.where(mask, output[edit], source))
        return context.without_last_branch(), output


def _put(x: torch.Tensor, part: slice, value: torch.Tensor) -> torch.Tensor:
    """Replace some batch entries in place, which is safe because the tensor belongs to this call alone."""
    x[part] = value
    return x
