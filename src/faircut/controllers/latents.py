"""What is done to the latents of an edit by region: the source's put back outside one, fresh noise put into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from faircut.attention.context import AttentionContext, Step
from faircut.attention.controller import Controller, Where
from faircut.attention.masks import blend_mask, token_map
from faircut.controllers.regions import BlendRegion, Region

__all__ = ["FreshNoise", "LatentBlend", "MaskBlend"]


class FreshNoise(Controller):
    """Puts fresh noise into a region before the first step, in place of a share of what the inversion left there.

    ``z <- sqrt(1 - share^2) z + share noise``, which keeps the variance. Inverted noise is not white: it remembers the
    silhouette that it was made from. (Ours; docs/reference/fame.md, section 6.)

    Args:
        region: where; None is everywhere.
        noise: (frame, channel, height, width), standard normal.
        share: 0 leaves the latents as they are, 1 forgets them.
    """

    branches = ()
    frames_in = ("batch", "sequence")

    def __init__(self, region: Region | None, noise: torch.Tensor, share: float) -> None:
        self.region, self.noise, self.share = region, noise, share

    def uses_source(self, index: int) -> bool:
        """Whether the region does, in the first step."""
        return index == 0 and self.region is not None and self.region.uses_source(index)

    def on_latents(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        """Mix, before the first step."""
        if index > 0:
            return latents
        mixed = (1 - self.share**2) ** 0.5 * latents + self.share * self.noise.to(latents)
        if self.region is None:
            return mixed
        height, width = latents.shape[-2:]
        return torch.where(self.region.mask((height, width))[:, None], mixed, latents)


class MaskBlend(Controller):
    """After each step, puts other latents in place of the edit's outside a region (Blended Diffusion, DiffEdit).

    Args:
        region: where the edit stays.
        background: by step, the latents after it, (frame, channel, height, width).
        steps: the denoising steps in which it acts.
    """

    branches = ()
    frames_in = ("batch", "sequence")

    def __init__(self, region: Region, background: Callable[[int], torch.Tensor], steps: range) -> None:
        self.region, self.background, self.steps = region, background, steps

    def uses_source(self, index: int) -> bool:
        """Whether the region does."""
        return index in self.steps and self.region.uses_source(index)

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Blend, if it is one of the steps."""
        if step.index not in self.steps:
            return latents
        return torch.where(
            self.region.mask(step.latent_grid)[:, None], latents, self.background(step.index).to(latents)
        )


class LatentBlend(Controller):
    """After each step, puts the source's latents of the same noise level back outside the region (FateZero).

    The region is the union of two masks: the blend words' in the source prompt, and those in the target prompt, whose
    attention is averaged over the steps so far. (The reference blends with latents one level noisier than the edit's.)

    Args:
        region: the source's region.
        tokens: the blend words' tokens in the target prompt.
        trajectory: (step + 1, frame, channel, height, width), the latents of the inversion, the clip first.
        steps: the denoising steps in which it acts.
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
        """Watch the layers that masks are made of, from the first step to the last that is blended."""
        return context.step.index < self.steps.stop and context.layer.name in self._names and super().applies(context)

    def uses_source(self, index: int) -> bool:
        """Whether the step is blended."""
        return index in self.steps

    def on_step_begin(self, step: Step) -> None:
        """Forget the last step's attention."""
        self._blocks.clear()

    def on_probs(self, context: AttentionContext, probs: torch.Tensor, queries: slice) -> torch.Tensor:
        """Note what the target's blend words attend to, before anything is fused into it."""
        self._blocks.setdefault(context.layer.name, []).append(probs)
        return probs

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Blend, if it is one of the steps."""
        if self._blocks:
            maps = token_map((torch.cat(b, dim=2) for b in self._blocks.values()), self.tokens, self.region.grid)
            self._sum = maps if self._sum is None else self._sum + maps
        if step.index not in self.steps or self._sum is None:
            return latents
        grid = step.latent_grid
        mask = self.region.mask(grid) | blend_mask(self._sum, grid, self.region.threshold)
        source = self.trajectory[step.count - 1 - step.index].to(latents)
        return torch.where(mask[:, None], latents, source)
