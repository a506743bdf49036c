"""Changes to the edit's latents by region: restoring the source's outside a region, and fresh noise inside one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from faircut.attention.context import AttentionContext, Step
from faircut.attention.controller import Controller, Where
from faircut.attention.masks import blend_mask, token_map
from faircut.controllers.regions import BlendRegion, Region

__all__ = ["FreshNoise", "LatentBlend", "MaskBlend"]


class FreshNoise(Controller):
    """A controller that mixes fresh noise into a region before the first step.

    ``z <- sqrt(1 - share^2) z + share noise``, which keeps the variance. Inverted noise is not white, because it
    retains the silhouette of the clip. (Introduced here; see docs/reference/fame.md, section 6.)

    Args:
        region: Region that gets the noise. None means everywhere.
        noise: (frame, channel, height, width), standard normal noise.
        share: 0 keeps the latents, 1 replaces them by noise.
    """

    branches = ()
    frames_in = ("batch", "sequence")

    def __init__(self, region: Region | None, noise: torch.Tensor, share: float) -> None:
        self.region, self.noise, self.share = region, noise, share

    def uses_source(self, index: int) -> bool:
        """Return whether the region needs the source's attention, in the first step only."""
        return index == 0 and self.region is not None and self.region.uses_source(index)

    def on_latents(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        """Mix the noise in before the first step."""
        if index > 0:
            return latents
        mixed = (1 - self.share**2) ** 0.5 * latents + self.share * self.noise.to(latents)
        if self.region is None:
            return mixed
        height, width = latents.shape[-2:]
        # (frame, height, width) -> (frame, 1, height, width), for all channels alike.
        return torch.where(self.region.mask((height, width))[:, None], mixed, latents)


class MaskBlend(Controller):
    """A controller that replaces the edit's latents outside a region after each step (Blended Diffusion, DiffEdit).

    Args:
        region: Region where the edit's latents stay.
        background: Function from the index of a step to the latents after it, (frame, channel, height, width).
        steps: Denoising steps in which the controller acts.
    """

    branches = ()
    frames_in = ("batch", "sequence")

    def __init__(self, region: Region, background: Callable[[int], torch.Tensor], steps: range) -> None:
        self.region, self.background, self.steps = region, background, steps

    def uses_source(self, index: int) -> bool:
        """Return whether the region needs the source's attention in a step."""
        return index in self.steps and self.region.uses_source(index)

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Blend the latents, if the controller acts in this step."""
        if step.index not in self.steps:
            return latents
        return torch.where(
            self.region.mask(step.latent_grid)[:, None], latents, self.background(step.index).to(latents)
        )


class LatentBlend(Controller):
    """A controller that restores the source's latents of the same noise level outside the region (FateZero).

    It acts after each step. The region is the union of two masks: that of the blend words in the source prompt, and
    that of the blend words in the target prompt, whose attention is averaged over the steps so far. (The reference
    implementation blends with latents that are one level noisier than the edit's.)

    Args:
        region: Region of the blend words in the source prompt.
        tokens: Indices of the blend words' tokens in the target prompt.
        trajectory: (step + 1, frame, channel, height, width), latents of the inversion, from the clip to the noisiest.
        steps: Denoising steps in which the controller acts.
    """

    frames_in = ("batch", "sequence")

    def __init__(self, region: BlendRegion, tokens: Sequence[int], trajectory: torch.Tensor, steps: range) -> None:
        self.where = Where(kind="cross")
        self.region, self.tokens = region, tokens
        self.trajectory, self.steps = trajectory, steps
        self._names = {layer.name for layer in region.layers}
        self._blocks: dict[str, list[torch.Tensor]] = {}
        self._sum: torch.Tensor | None = None

    def applies(self, context: AttentionContext) -> bool:
        """Return whether the layer contributes to the mask, up to the last step that is blended."""
        return context.step.index < self.steps.stop and context.layer.name in self._names and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Return whether the step is blended."""
        return index in self.steps

    def on_step_begin(self, step: Step) -> None:
        """Remove the attention of the last step."""
        self._blocks.clear()

    def on_probs(self, context: AttentionContext, probs: torch.Tensor, queries: slice) -> torch.Tensor:
        """Store the attention of the target prompt, before another controller changes it."""
        self._blocks.setdefault(context.layer.name, []).append(probs)
        return probs

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Blend the latents, if the controller acts in this step."""
        if self._blocks:
            # Blocks of queries are joined to (frame, head, query, token); the map is (frame, height, width) of the
            # region's grid.
            maps = token_map((torch.cat(b, dim=2) for b in self._blocks.values()), self.tokens, self.region.grid)
            self._sum = maps if self._sum is None else self._sum + maps
        if step.index not in self.steps or self._sum is None:
            return latents
        grid = step.latent_grid
        # (frame, height, width). The threshold is relative to a frame's maximum, so the sum over steps does for the
        # mean.
        mask = self.region.mask(grid) | blend_mask(self._sum, grid, self.region.threshold)
        # The trajectory begins at the clip and steps count from the noisiest, so this is the level where the step ends.
        source = self.trajectory[step.count - 1 - step.index].to(latents)
        return torch.where(mask[:, None], latents, source)
