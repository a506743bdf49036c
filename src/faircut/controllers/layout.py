"""Layout modulation: attention inside a region strengthened, across its border weakened (VideoGrain, FAME).

The form is VideoGrain's (arXiv 2502.17258): ``L' = L + l [R W (max L - L) - (1 - R) (L - min L)]`` with L the scaled
dot products, max and min those of the query's row. What W is, and how l falls with the noise and the region's size, is
FAME's as we read it: docs/reference/fame.md.
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

# Below this share of a row's range a modulation changes nothing that could be seen; explicit attention costs time.
_LEAST = 1e-2


def modulate(scores: torch.Tensor, inside: torch.Tensor, weight: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """Pull scores inside a region towards their row's maximum, and push those outside towards its minimum.

    With every argument in [0, 1] the result stays within its row's [min, max].

    Args:
        scores: (..., query, key), scaled dot products.
        inside: R, broadcastable, 0 or 1.
        weight: W, broadcastable, 0 to 1.
        amount: l, broadcastable, 0 to 1; rows with 0 come back as they are.

    Returns:
        The modulated scores.
    """
    least, most = scores.aminmax(dim=-1, keepdim=True)
    return scores + amount * (inside * weight * (most - scores) - (1 - inside) * (scores - least))


def strength(timestep: int, base: float) -> float:
    """How strong a modulation is at a noise level: ``base * (t / 1000)^5``.

    Args:
        timestep: t, 0 to 999.
        base: the strength at pure noise.

    Returns:
        0 to base.
    """
    return base * (timestep / 1000) ** 5


class TemporalModulation(Controller):
    """Keeps a region's self-attention within the region, in all frames attended to, nearer frames more.

    ``R[x, y] = 1`` where query and key are both in the region; ``W = exp(-|frame(x) - frame(y)| / tau)``; ``l = base
    u^5 (1 - S)`` with S the region's share of the positions; queries outside the region are left alone. (FAME, our
    equation 3.)

    Args:
        region: of one person.
        base: l at pure noise and for a region of no size.
        tau: of the decay, in frames; infinity for none.
        temporal: the frames that every frame attends to, and the layers in which it does.
        count: frames of the clip.
        where: the layers.
    """

    def __init__(
        self, region: Region, base: float, tau: float, temporal: SpatialTemporal, count: int, where: Where
    ) -> None:
        self.region, self.base, self.where = region, base, where
        self.least_channels, self.count = temporal.least_channels, count
        self.listed = frame_indices(temporal.frames, count)
        self.decay = torch.exp(-(self.listed - torch.arange(count)[:, None]).abs() / tau)

    def applies(self, context: AttentionContext) -> bool:
        """Whether it is still strong enough to matter, in a layer where frames see each other."""
        enough = strength(context.step.timestep, self.base) >= _LEAST and self.count > 1
        return enough and context.layer.channels >= self.least_channels and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Whether the region does."""
        return self.region.uses_source(index)

    def on_scores(self, context: AttentionContext, scores: torch.Tensor, queries: slice) -> torch.Tensor:
        """Modulate one block of queries."""
        mask = self.region.mask(context.grid).flatten(1).float()  # (frame, position)
        amount = mask * strength(context.step.timestep, self.base) * (1 - mask.mean())  # (frame, query): l
        # The keys of a frame are the positions of its listed frames one after the other, (frame, listed * position).
        # Both tensors are (frame, 1, 1, key): the same for all heads and queries.
        inside = mask[self.listed.to(mask.device)].flatten(1)[:, None, None]
        weight = self.decay.to(mask.device).repeat_interleave(mask.shape[1], dim=1)[:, None, None]
        return modulate(scores, inside, weight, amount[:, None, queries, None])


class CrossModulation(Controller):
    """Turns each region's attention towards the words that describe it, and all others' away from them.

    ``R[x, token] = 1`` where x is in the region that the token describes; tokens that describe no region are exempt;
    ``l = base u^5 (1 - S)`` with S the share of the frames that the described region takes. (VideoGrain's form; FAME's
    weights, our section 4.)

    Args:
        regions: of the people.
        base: l at pure noise and for a region of no size.
        region_of_key: (key,), int64: index of the region that each key describes; -1 for none.
        weights: (key,), W, 0 to 1.
        branches: the branches of the batch that it acts on.
        where: the layers.
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
        """Whether it is still strong enough to matter."""
        return strength(context.step.timestep, self.base) >= _LEAST and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Whether a region does."""
        return any(region.uses_source(index) for region in self.regions)

    def on_scores(self, context: AttentionContext, scores: torch.Tensor, queries: slice) -> torch.Tensor:
        """Modulate one block of queries."""
        region_of_key, weights = self.region_of_key.to(scores.device), self.weights.to(scores.device)
        # Keys that describe no region index region 0 here; their amount is 0, so that nothing is read from it.
        at = region_of_key.clamp_min(0)
        # (region, entry, query), 0 or 1. A batch entry's queries are the positions of one frame, or of all of them.
        entries = context.layout.entries
        masks = torch.stack([region.mask(context.grid).reshape(entries, -1).float() for region in self.regions])
        shares = masks.mean((1, 2))  # (region,): S, the share of all positions of the clip.
        # (region, entry, query) -> (key, entry, query) -> (entry, 1, query, key): R, whether the query is in the region
        # that the key describes, for all heads alike.
        inside = masks[at][:, :, queries].movedim(0, -1)[:, None]
        amount = torch.where(region_of_key >= 0, 1 - shares[at], 0.0)  # (key,): l
        amount = amount * strength(context.step.timestep, self.base)
        # Behind the text's keys there may be padding without weight, which says nothing about a row's range.
        text, padding = scores[..., : len(weights)], scores[..., len(weights) :]
        return torch.cat([modulate(text, inside, weights, amount), padding], dim=-1)
