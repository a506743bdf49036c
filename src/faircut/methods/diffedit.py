"""DiffEdit: a mask from the difference of two predictions (Couairon et al., ICLR 2023, arXiv 2210.11427)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch.nn import functional as F

from faircut.attention.controller import Controller
from faircut.config.ranges import check_range
from faircut.controllers.latents import MaskBlend
from faircut.controllers.regions import FixedRegion
from faircut.errors import ConfigError
from faircut.methods.base import Cost, EditRegion, EditTask, Method, RegionUse, register
from faircut.methods.regions import check_threshold
from faircut.methods.sdedit import first_step
from faircut.prompts import Prompt

__all__ = ["DiffEdit", "difference_map"]


@register
@dataclass(frozen=True)
class DiffEdit(Method):
    """Edits where source and target prompt predict different noise, and keeps the inversion's latents elsewhere.

    ``M = [mean |eps(z_k, target) - eps(z_k, source)| > threshold]`` over noised copies of the clip; then ``y_k = M y_k
    + (1 - M) z_k`` after every step (section 3.2). The paper inverts without a prompt; the inversion here is
    the same as for all methods.

    Attributes:
        strength: Share of the denoising steps that are run ("encoding ratio"), above 0 to 1; published: 0.5 to 0.8.
        mask_strength: Noise level at which predictions are compared, as a share of the steps; published: 0.5.
        draws: Number of noised copies over which the difference is averaged; published: 10.
        threshold: Value from which a position belongs to the mask, 0 to 1, of the difference scaled to that range;
            published: 0.5.
    """

    name: ClassVar[str] = "diffedit"
    title: ClassVar[str] = "DiffEdit"
    paper: ClassVar[str] = "Couairon et al., ICLR 2023, arXiv 2210.11427"
    region_use: ClassVar[RegionUse] = "computed"

    strength: float = 0.8
    mask_strength: float = 0.5
    draws: int = 10
    threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("strength", "mask_strength"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a share of the steps above 0 to 1")
        check_range("draws", self.draws, 1, 1000, example="10")
        check_threshold("threshold", self.threshold)

    def first_step(self, steps: int) -> int:
        """Begin part of the way along the inversion."""
        return first_step(self.strength, steps)

    def edit_regions(self, source: Prompt, target: Prompt) -> tuple[EditRegion, ...]:
        """Return the one region, which no word names: it is found by comparing predictions under both prompts."""
        return (EditRegion(threshold=self.threshold, made_of="predictions"),)

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build the blend, for which the mask is made."""
        k = first_step(self.mask_strength, task.steps)
        mask = difference_map(task, k, self.draws) > self.threshold
        return [MaskBlend(FixedRegion(mask), lambda index: task.source_latents(index + 1), range(task.steps))]

    def cost(self, task: EditTask, controllers: Sequence[Controller]) -> Cost:
        """Add the predictions under both prompts that the mask is made of."""
        return replace(super().cost(task, controllers), evaluations=2 * self.draws)


def difference_map(task: EditTask, index: int, draws: int) -> torch.Tensor:
    """Say how differently source and target prompt predict the noise in a clip.

    Args:
        task: the edit.
        index: the step at whose noise level they are compared.
        draws: how many noised copies to average over.

    Returns:
        (frame, height, width), 0 to 1 within each frame, the highest hundredth cut off.
    """
    source, target = (task.text.embed(prompt) for prompt in (task.source, task.target))
    total = torch.zeros(task.trajectory.shape[1:], device=task.trajectory.device)
    for _ in range(draws):
        z = task.noise_path.noised(task.trajectory[0], task.draw_noise(), index)
        total += (task.predict(z, index, target) - task.predict(z, index, source)).abs()
    # Three cells wide, as single cells are noise.
    difference = F.avg_pool2d(total.mean(1, keepdim=True), 3, 1, 1, count_include_pad=False)[:, 0].flatten(1)
    least, most = difference.amin(1, keepdim=True), difference.quantile(0.99, dim=1, keepdim=True)
    return ((difference - least) / (most - least).clamp_min(1e-12)).clamp(0, 1).unflatten(1, task.latent_grid)
