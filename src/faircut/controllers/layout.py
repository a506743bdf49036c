"""Layout modulation: attention inside a region strengthened, across its border weakened (VideoGrain, FAME).

The form is VideoGrain's (arXiv 2502.17258): ``L' = L + l [R W (max L - L) - (1 - R) (L - min L)]`` with L the scaled dot
products, max and min those of the query's row. What W is, and how l falls with the noise and the region's size, is FAME's as
we read it: docs/fairness.md.
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

    ``R[x, y] = 1`` where query and key are both in the region; ``W = exp(-|frame(x) - frame(y)| / tau)``; ``l = base u^5
    (1 - S)`` with S the region's share of the positions; queries outside the region are left alone. (FAME, our equation 3.)

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
        mask = self.region.mask(context.grid).flatten(1).float()
        amount = mask * strength(context.step.timestep, self.base) * (1 - mask.mean())
        inside = mask[self.listed.to(mask.device)].flatten(1)[:, None, None]
        weight = self.decay.to(mask.device).repeat_interleave(mask.shape[1], dim=1)[:, None, None]
        return modulate(scores, inside, weight, amount[:, None, queries, None])


class CrossModulation(Controller):
    """Turns each region's attention towards the words that describe it, and all others' away from them.

    ``R[x, token] = 1`` where x is in the region that the token describes; tokens that describe no region are exempt; ``l =
    base u^5 (1 - S)`` with S the share of the frames that the described region takes. (VideoGrain's form; FAME's weights,
    our section 4.)

    Args:
        regions: of the people.
        base: l at pure noise and for a region of no size.
        described: (key,), int64: which person a key describes; -1 for nobody.
        weights: (key,), W, 0 to 1.
        branches: the branches of the batch that it acts on.
        where: the layers.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        base: float,
        described: torch.Tensor,
        weights: torch.Tensor,
        branches: tuple[str, ...],
        where: Where,
    ) -> None:
        self.regions, self.base, self.where, self.branches = regions, base, where, branches
        self.described, self.weights = described, weights

    def applies(self, context: AttentionContext) -> bool:
        """Whether it is still strong enough to matter."""
        return strength(context.step.timestep, self.base) >= _LEAST and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Whether a region does."""
        return any(region.uses_source(index) for region in self.regions)

    def on_scores(self, context: AttentionContext, scores: torch.Tensor, queries: slice) -> torch.Tensor:
        """Modulate one block of queries."""
        described, weights = self.described.to(scores.device), self.weights.to(scores.device)
        masks = torch.stack([region.mask(context.grid).flatten(1).float() for region in self.regions])
        shares = masks.mean((1, 2))
        # (frame, query, key): whether the query is in the region that the key describes.
        inside = masks[described.clamp_min(0)][:, :, queries].movedim(0, -1)[:, None]
        amount = torch.where(described >= 0, 1 - shares[described.clamp_min(0)], 0.0)
        amount = amount * strength(context.step.timestep, self.base)
        # Behind its own keys there may be some without weight, which say nothing about a row's range.
        own = scores[..., : len(weights)]
        return torch.cat([modulate(own, inside, weights, amount), scores[..., len(weights) :]], dim=-1)
