"""Region-bound conditioning: a person's region attends to the person's embedding, everything else to the prompt's."""

from __future__ import annotations

import torch

from faircut.attention.context import AttentionContext
from faircut.attention.controller import QKV, Controller, Where
from faircut.controllers.regions import Region

__all__ = ["RegionConditioning"]


class RegionConditioning(Controller):
    """A controller that adds a cross-attention branch for one person, and uses its output in that person's region.

    In the branch, the edit's queries attend to the person's keys. Other controllers can act on the branch by its name
    (fusion with the source, modulation). (FAME, section 4 of docs/reference/fame.md.)

    Args:
        name: Name of the branch.
        region: Region where the branch's output is used. Soft masks mix both outputs.
        keys: (key, value) by layer name, (1, head, key, dim) each.
        log_weights: (key,), added to the branch's logits.
    """

    where = Where(kind="cross")
    frames_in = ("batch", "sequence")

    def __init__(
        self,
        name: str,
        region: Region,
        keys: dict[str, tuple[torch.Tensor, torch.Tensor]],
        log_weights: torch.Tensor,
    ) -> None:
        self.name, self.region, self.keys = name, region, keys
        self.log_weights = log_weights
        self._weighted = bool(log_weights.any())

    def uses_source(self, index: int) -> bool:
        """Return whether the region needs the source's attention in a step."""
        return self.region.uses_source(index)

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Add the branch."""
        entries = context.layout.entries
        query = qkv.query[context.layout.slice("cond")]  # (entry, head, query, dim)
        # (1, head, key, dim) -> (entry, head, key, dim): the person's text is the same for all frames.
        key, value = (x.expand(entries, -1, -1, -1).to(query) for x in self.keys[context.layer.name])
        # (key,) -> (entry, 1, 1, key), for all heads and queries alike.
        bias = self.log_weights.to(query.device)[None, None, None].expand(entries, 1, 1, -1)
        plain = key.shape == qkv.key[:entries].shape and qkv.bias is None and not self._weighted
        person = QKV(query, key, value, None if plain else bias)
        # All branches of a call must have the same number of keys, so the shorter text is padded with keys without
        # weight.
        length = max(key.shape[2], qkv.key.shape[2])
        batch, person = (_pad(x, length, biased=not plain) for x in (qkv, person))
        query, key, value = (torch.cat(pair) for pair in zip(batch[:3], person[:3], strict=True))
        joined = None if batch.bias is None or person.bias is None else torch.cat([batch.bias, person.bias])
        return context.with_branch(self.name), QKV(query, key, value, joined)

    def on_output(self, context: AttentionContext, output: torch.Tensor) -> tuple[AttentionContext, torch.Tensor]:
        """Use the branch's output inside the region, and remove the branch from the batch."""
        edit, person = context.layout.slice("cond"), output[context.layout.slice(self.name)]
        # (frame, height, width) -> (entry, 1, query, 1): the positions of a batch entry are those of one frame, or of
        # all.
        share = self.region.soft_mask(context.grid).reshape(context.layout.entries, 1, -1, 1).to(output)
        output = output[: -context.layout.entries].clone()
        output[edit] = torch.lerp(output[edit], person, share)
        return context.without_last_branch(), output


def _pad(qkv: QKV, length: int, *, biased: bool) -> QKV:
    """Pad keys and values to a number of keys with keys without weight, and add a bias if ``biased``."""
    if not biased:
        return qkv
    query, key, value, bias = qkv
    batch, heads, keys, dim = key.shape  # The padding is along the key axis; the bias is (batch, 1, 1, key).
    bias = torch.zeros(batch, 1, 1, keys, device=key.device) if bias is None else bias
    empty = torch.full((batch, 1, 1, length - keys), float("-inf"), device=bias.device)
    filler = key.new_zeros(batch, heads, length - keys, dim)
    return QKV(query, torch.cat([key, filler], 2), torch.cat([value, filler], 2), torch.cat([bias, empty], 3))
