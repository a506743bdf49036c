"""Layout modulation: attention is strengthened inside a region and weakened across its border (VideoGrain, FAME).

The formula is VideoGrain's (arXiv 2502.17258): ``L' = L + l [R W (max L - L) - (1 - R) (L - min L)]``, where L are the
scaled dot products, and max and min those of the query's row. W, and how l falls with the noise and the region's size,
follow our reading of FAME; see docs/reference/fame.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from faircut.attention.context import AttentionContext
from faircut.attention.controller import Controller, Where
from faircut.config.values import SpatialTemporal
from faircut.controllers.regions import Region
from faircut.controllers.spatial_temporal import frame_indices

__all__ = ["CrossModulation", "TemporalModulation", "modulate", "strength"]

# A modulation by less than this share of a row's range has no visible effect, and explicit attention is slower than
# fused.
_MIN_STRENGTH = 1e-2


def modulate(scores: torch.Tensor, inside: torch.Tensor, weight: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """Pull scores inside a region towards their row's maximum, and push scores outside towards its minimum.

    If R, W and l are in [0, 1], the result stays within its row's [min, max].

    Args:
        scores: (..., query, key), scaled dot products.
        inside: R, 0 or 1, broadcastable to ``scores``.
        weight: W, 0 to 1, broadcastable to ``scores``.
        amount: l, 0 to 1, broadcastable to ``scores``. Rows with 0 do not change.

    Returns:
        (..., query, key), the modulated scores.
    """
    lowest, highest = scores.aminmax(dim=-1, keepdim=True)  # (..., query, 1): of a query's row, over all keys.
    return scores + amount * (inside * weight * (highest - scores) - (1 - inside) * (scores - lowest))


def strength(timestep: int, base: float) -> float:
    """Return the strength of a modulation at a noise level: ``base * (t / 1000)^5``.

    Args:
        timestep: t, 0 to 999.
        base: Strength at pure noise.

    Returns:
        Strength, from 0 to ``base``.
    """
    return base * (timestep / 1000) ** 5


class TemporalModulation(Controller):
    """A controller that keeps a region's self-attention within the region, with more weight on nearer frames.

    ``R[x, y] = 1`` if query x and key y are both in the region; ``W = exp(-|frame(x) - frame(y)| / tau)``; ``l = base
    u^5 (1 - S)``, where S is the region's share of the positions. Queries outside the region do not change. (FAME,
    equation 3 in docs/reference/fame.md.)

    Args:
        region: Region of one person.
        base: l at pure noise for a region of size 0.
        tau: Time constant of the decay, in frames. Infinity means no decay.
        temporal: Frames that every frame attends to, and the layers in which it does.
        count: Number of frames of the clip.
        where: Layers that the controller acts on.
    """

    def __init__(
        self, region: Region, base: float, tau: float, temporal: SpatialTemporal, count: int, where: Where
    ) -> None:
        self.region, self.base, self.where = region, base, where
        self.least_channels, self.count = temporal.least_channels, count
        self.listed = frame_indices(temporal.frames, count)
        self.decay = torch.exp(-(self.listed - torch.arange(count)[:, None]).abs() / tau)

    def applies(self, context: AttentionContext) -> bool:
        """Return whether the layer attends across frames and the modulation is strong enough to have an effect."""
        is_effective = strength(context.step.timestep, self.base) >= _MIN_STRENGTH and self.count > 1
        return is_effective and context.layer.channels >= self.least_channels and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Return whether the region needs the source's attention in a step."""
        return self.region.uses_source(index)

    def on_scores(self, context: AttentionContext, scores: torch.Tensor, queries: slice) -> torch.Tensor:
        """Modulate the scores of one block of queries."""
        mask = self.region.mask(context.grid).flatten(1).float()  # (frame, position)
        amount = mask * strength(context.step.timestep, self.base) * (1 - mask.mean())  # (frame, query): l
        # The keys of a frame are the positions of the frames that it attends to, one frame after the other: (frame,
        # listed * position). Both tensors become (frame, 1, 1, key), because they are the same for all heads and
        # queries.
        inside = mask[self.listed.to(mask.device)].flatten(1)[:, None, None]
        weight = self.decay.to(mask.device).repeat_interleave(mask.shape[1], dim=1)[:, None, None]
        # amount: (frame, query) -> (frame, 1, query of the block, 1)
        return modulate(scores, inside, weight, amount[:, None, queries, None])


class CrossModulation(Controller):
    """A controller that strengthens attention to a region's words inside that region, and weakens it outside.

    ``R[x, token] = 1`` if position x is in the region that the token describes. Other tokens do not change.
    ``l = base u^5 (1 - S)``, where S is the share of the frames that the described region takes. (VideoGrain's formula
    with FAME's weights, section 4 of docs/reference/fame.md.)

    Args:
        regions: Regions of the people.
        base: l at pure noise for a region of size 0.
        region_of_key: (key,), int64, index of the region that each key describes, or -1 for none.
        weights: (key,), W, 0 to 1.
        branches: Branches of the batch that the controller acts on.
        where: Layers that the controller acts on.
    """

    frames_in = ("batch", "sequence")

    def __init__(
        self,
        regions: Sequence[Region],
        base: float,
        region_of_key: torch.Tensor,
        weights: torch.Tensor,
        branches: tuple[str, ...],
        where: Where,
    ) -> None:
        self.regions, self.base, self.where, self.branches = regions, base, where, branches
        self.region_of_key, self.weights = region_of_key, weights

    def applies(self, context: AttentionContext) -> bool:
        """Return whether the modulation is strong enough to have an effect."""
        return strength(context.step.timestep, self.base) >= _MIN_STRENGTH and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Return whether any region needs the source's attention in a step."""
        return any(region.uses_source(index) for region in self.regions)

    def on_scores(self, context: AttentionContext, scores: torch.Tensor, queries: slice) -> torch.Tensor:
        """Modulate the scores of one block of queries."""
        region_of_key, weights = self.region_of_key.to(scores.device), self.weights.to(scores.device)
        # Keys that describe no region get the index 0 here. Their amount is 0, so region 0 does not affect them.
        region = region_of_key.clamp_min(0)  # (key,)
        # (region, entry, query), 0 or 1. The queries of a batch entry are the positions of one frame, or of all frames.
        entries = context.layout.entries
        masks = torch.stack([r.mask(context.grid).reshape(entries, -1).float() for r in self.regions])
        shares = masks.mean((1, 2))  # (region,): S, the share of all positions of the clip.
        # (region, entry, query) -> (key, entry, query) -> (entry, 1, query, key): R, whether the query is in the region
        # that the key describes, for all heads alike.
        inside = masks[region][:, :, queries].movedim(0, -1)[:, None]
        amount = torch.where(region_of_key >= 0, 1 - shares[region], 0.0)  # (key,): l
        amount = amount * strength(context.step.timestep, self.base)
        # The text's keys may be followed by padding without weight, which must not count for a row's minimum and
        # maximum.
        text, padding = scores[..., : len(weights)], scores[..., len(weights) :]
        return torch.cat([modulate(text, inside, weights, amount), padding], dim=-1)
