"""Blended Latent Diffusion: generate inside a mask, noise outside it (Avrahami et al., SIGGRAPH 2023, arXiv
2206.02779)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from faircut.attention.controller import Controller
from faircut.config.flags import blend, option
from faircut.controllers.latents import MaskBlend
from faircut.errors import ConfigError
from faircut.methods.base import EditRegion, EditTask, Method, RegionUse, Start, register
from faircut.methods.regions import check_threshold, region_of
from faircut.methods.sdedit import first_step
from faircut.prompts import Prompt

__all__ = ["BlendedLatent"]


def _source_words(texts: Sequence[str], flag: str) -> tuple[str, ...]:
    """Read ``SOURCE:TARGET`` texts; the mask is made of the source's words alone."""
    return tuple(blend(texts, flag)[0])


@register
@dataclass(frozen=True)
class BlendedLatent(Method):
    """Denoises noised latents, and puts the noised clip back outside the mask after every step (algorithm 1).

    ``z_k = m z_k + (1 - m) (sqrt(a_k) z_0 + sqrt(1 - a_k) noise)``. All frames and all steps share one noise,
    because the clip would flicker otherwise. The paper's last stage, which fits the decoder to the clip, is left out.

    Attributes:
        words: Words of the source prompt; the region that attends to them is the mask.
        masks: Mask of every frame, (frame, height, width), used in place of the region of `words`.
        threshold: Share of the frame's highest attention to `words`, 0 to 1, from which a position belongs to the mask.
        strength: Share of the denoising steps that are run, above 0 to 1; published code: 0.75 to 1.
    """

    name: ClassVar[str] = "blended-latent"
    title: ClassVar[str] = "Blended Latent Diffusion"
    paper: ClassVar[str] = "Avrahami et al., SIGGRAPH 2023, arXiv 2206.02779"
    region_use: ClassVar[RegionUse] = "needed"

    words: str | tuple[str, ...] = option(
        (),
        flag="--blend",
        read=_source_words,
        syntax="SOURCE:TARGET",
        takes="words of the source prompt, a colon, words of the target prompt, such as jeep:car; the mask is made of "
        "the source's words alone; repeatable",
        cli_default="must be given",
    )
    masks: Any = field(default=None, compare=False, repr=False, metadata={"saved": False})
    threshold: float = 0.3
    strength: float = 0.8

    def __post_init__(self) -> None:
        if not self.words and self.masks is None:
            raise ConfigError("blended-latent needs to know where: give words of the source prompt, or masks")
        check_threshold("threshold", self.threshold)
        if not 0.0 < self.strength <= 1.0:
            raise ConfigError(f"strength is {self.strength}; give a share of the steps above 0 to 1, such as 0.8")

    def edit_regions(self, source: Prompt, target: Prompt) -> tuple[EditRegion, ...]:
        """Return the region of the source's words, or of the masks; the target prompt names no part of it."""
        return (EditRegion.of(source, self.words, self.threshold, masks=self.masks),)

    def first_step(self, steps: int) -> int:
        """Begin where `strength` says."""
        return first_step(self.strength, steps)

    def start(self, task: EditTask) -> Start:
        """Noise the clip."""
        k = self.first_step(task.steps)
        return Start(task.noise_path.noised(task.trajectory[0], task.noise, k), k)

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build the blend."""
        (edited,) = self.edit_regions(task.source, task.target)
        region = region_of(task, edited)
        clip, last = task.trajectory[0], task.steps - 1

        def background(index: int) -> torch.Tensor:
            # The last level may still hold a little noise, which must not reach the result.
            return clip if index == last else task.noise_path.noised(clip, task.noise, index, after=True)

        return [MaskBlend(region, background, range(task.steps))]
