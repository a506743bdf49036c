"""Guidance of the latents: by gradients of a loss on attention (pix2pix-zero), and only inside a region."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from faircut.attention.context import AttentionContext, Layer, Step
from faircut.attention.controller import Controller, Where
from faircut.attention.source import RecordedSource
from faircut.controllers.regions import Region

__all__ = ["CrossAttentionGuidance", "MapKeeper", "RegionGuidance"]


class MapKeeper(Controller):
    """A controller that stores cross-attention maps with their gradients, and changes nothing.

    Attributes:
        maps: (frame, head, query, token), float32, by layer name.
    """

    where = Where(kind="cross", coarse=True)
    frames_in = ("batch", "sequence")

    def __init__(self) -> None:
        self.maps: dict[str, torch.Tensor] = {}

    def on_probs(self, context: AttentionContext, probs: torch.Tensor, queries: slice) -> torch.Tensor:
        """Store the map of a block of queries."""
        name = context.layer.name
        # Blocks arrive in order and are joined along the query axis of (frame, head, query, token).
        self.maps[name] = torch.cat([self.maps[name], probs], dim=2) if name in self.maps else probs
        return probs


class CrossAttentionGuidance(Controller):
    """A controller that moves the latents so that the edit's cross-attention comes nearer to the source's.

    Before every step, ``z <- z - amount grad_z sum |M_edit - M_source|^2``, summed over layers, queries and tokens,
    averaged over heads, separately for each frame (pix2pix-zero, equation 3 and its published code).

    Args:
        source: Attention of the source.
        layers: Layers of the network.
        predict: Function that evaluates the network with gradients to the latents.
        embedding: (1, token, channel), text embedding of the edit.
        amount: Step size of the gradient descent.
    """

    branches = ()  # It does not act in the edit's evaluation, but makes a separate one.
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
        """Return True, because every step needs the source."""
        return True

    def on_latents(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        """Move the latents by one step of gradient descent."""
        keeper = MapKeeper()
        with torch.enable_grad():
            z = latents.detach().requires_grad_(True)
            self.predict(z, index, self.embedding, [keeper])
            differences = [keeper.maps[layer.name] - self.source.probs(layer) for layer in self.layers]
            # (frame, head, query, token) -> (frame, head) -> (frame,) -> (): frames do not influence each other's
            # gradient.
            loss = torch.stack([d.square().sum((2, 3)).mean(1).sum() for d in differences]).sum()
            (gradient,) = torch.autograd.grad(loss, z)
        return latents - self.amount * gradient


class RegionGuidance(Controller):
    """A controller that guides only inside a region: ``1 + (g - 1) m``, where m is the share of a cell in the region.

    The inversion runs without guidance. Outside the region the unguided edit follows the inversion back to the clip.
    Inside it, guidance leads the edit away from the clip. (Introduced here; see docs/reference/fame.md, section 7.)

    Args:
        region: Region where the edit is guided.
    """

    branches = ()
    frames_in = ("batch", "sequence")

    def __init__(self, region: Region) -> None:
        self.region = region

    def uses_source(self, index: int) -> bool:
        """Return whether the region needs the source's attention in a step."""
        return self.region.uses_source(index)

    def on_guidance(self, step: Step, scale: torch.Tensor) -> torch.Tensor:
        """Remove guidance outside the region."""
        inside = self.region.soft_mask(step.latent_grid)[:, None]  # (frame, 1, height, width)
        return 1 + (scale.to(inside) - 1) * inside
