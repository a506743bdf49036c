"""Guidance of latents: gradients of a loss on attention (pix2pix-zero)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from faircut.attention.context import AttentionContext, Layer, Step
from faircut.attention.controller import Controller, Where
from faircut.attention.source import RecordedSource
from faircut.controllers.regions import Region

__all__ = ["CrossAttentionGuidance", "MapKeeper", "RegionGuidance"]


class MapKeeper(Controller):
    """Keeps cross-attention maps with their gradients; changes nothing.

    Attributes:
        maps: by layer (frame, head, query, token), float32.
    """

    where = Where(kind="cross", coarse=True)
    frames_in = ("batch", "sequence")

    def __init__(self) -> None:
        self.maps: dict[str, torch.Tensor] = {}

    def on_probs(self, context: AttentionContext, probs: torch.Tensor, queries: slice) -> torch.Tensor:
        """Keep a block of queries."""
        name = context.layer.name
        self.maps[name] = torch.cat([self.maps[name], probs], dim=2) if name in self.maps else probs
        return probs


class CrossAttentionGuidance(Controller):
    """Before every step, moves the latents so that the edit's cross-attention comes nearer to the source's.

    ``z <- z - amount grad_z sum |M_edit - M_source|^2``: summed over layers, queries and tokens, averaged over heads,
    each frame for itself (pix2pix-zero, equation 3 and its published code).

    Args:
        source: the source's attention.
        layers: of the network.
        predict: evaluates the network; gradients flow to the latents.
        embedding: of the edit, (1, token, channel).
        amount: step size.
    """

    branches = ()  # Not in the edit's own evaluation: it has one of its own.
    frames_in = ("batch", "sequence")

    def __init__(
        self,
        source: RecordedSource,
        layers: Sequence[Layer],
        predict: Callable[..., torch.Tensor],
        embedding: torch.Tensor,
        amount: float,
    ) -> None:
        self.source, self.predict, self.embedding, self.amount = source, predict, embedding, amount
        self.layers = [layer for layer in layers if layer.kind == "cross" and layer.coarse]

    def uses_source(self, index: int) -> bool:
        """Always."""
        return True

    def on_latents(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        """Follow the gradient one step."""
        keeper = MapKeeper()
        with torch.enable_grad():
            z = latents.detach().requires_grad_(True)
            self.predict(z, index, self.embedding, [keeper])
            differences = [keeper.maps[layer.name] - self.source.probs(layer) for layer in self.layers]
            loss = torch.stack([d.square().sum((2, 3)).mean(1).sum() for d in differences]).sum()
            (gradient,) = torch.autograd.grad(loss, z)
        return latents - self.amount * gradient


class RegionGuidance(Controller):
    """Guides the edit inside a region only: ``1 + (g - 1) m``, m how much of a cell belongs to it.

    The inversion is not guided. Where an edit is, it leaves what it should keep; where it is not, it follows the
    inversion back. (Ours; docs/reference/fame.md, section 7.)

    Args:
        region: where the edit is guided.
    """

    branches = ()
    frames_in = ("batch", "sequence")

    def __init__(self, region: Region) -> None:
        self.region = region

    def uses_source(self, index: int) -> bool:
        """Whether the region does."""
        return self.region.uses_source(index)

    def on_guidance(self, step: Step, scale: torch.Tensor) -> torch.Tensor:
        """Take guidance away outside the region."""
        inside = self.region.soft_mask(step.latent_grid)[:, None]
        return 1 + (scale.to(inside) - 1) * inside
