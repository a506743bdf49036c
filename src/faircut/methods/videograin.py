"""VideoGrain: attention modulated by layout, for edits of several subjects (Yang et al., ICLR 2025, arXiv
2502.17258)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from faircut.attention.controller import Controller, StepWindow
from faircut.config.flags import blend, option
from faircut.controllers.features import FeatureInjection
from faircut.controllers.layout import CrossModulation, TemporalModulation
from faircut.errors import ConfigError
from faircut.methods.base import EditRegion, EditTask, Method, RegionUse, register
from faircut.methods.regions import check_threshold, modulated_layers, region_of
from faircut.prompts import Prompt

__all__ = ["VideoGrain"]

Steps = float | tuple[float, float]


def _subjects(texts: Sequence[str], flag: str) -> tuple[tuple[str, str], ...]:
    """Read ``SOURCE:TARGET`` texts: every pair of words is a region.

    Raises:
        ConfigError: If the words do not come in pairs.
    """
    source, target = blend(texts, flag)
    if len(source) != len(target):
        raise ConfigError(
            f"videograin binds words in pairs, but {', '.join(source)} and {', '.join(target)} were given; give one "
            "word or phrase of the target for each of the source"
        )
    return tuple(zip(source, target, strict=True))


@register
@dataclass(frozen=True)
class VideoGrain(Method):
    """Binds the words of each subject to its region, and keeps the region's self-attention within it (section 3.2).

    ``L' = L + l [R (max L - L) - (1 - R) (L - min L)]`` with ``l = strength (t / 1000)^5 (1 - S)``, S the region's
    share of the frame; R is 1 between a region's positions and its words (cross-attention), and between positions of
    one region in all frames attended to (self-attention). The published configurations hold the structure by ControlNet
    and by injecting the source's self-attention; here it is the injection. Positions outside every region are left
    unchanged in self-attention: the background is not a region.

    Attributes:
        regions: Words of the source prompt and words of the target prompt, for each subject. From Python:
            ``(("jeep", "car"), ("road", "river"))``.
        masks: Mask of each subject, (frame, height, width), or None for the region of its source words.
        threshold: Share of the frame's highest attention to the source words, 0 to 1, from which a position belongs to
            a subject's region.
        self_modulation: Strength of the modulation in self-attention, 0 to 1.
        cross_modulation: Strength of the modulation in cross-attention, 0 to 1.
        attention_steps: Steps in which the source's self-attention is injected.
    """

    name: ClassVar[str] = "videograin"
    title: ClassVar[str] = "VideoGrain"
    paper: ClassVar[str] = "Yang et al., ICLR 2025, arXiv 2502.17258"
    reference: ClassVar[bool] = True
    region_use: ClassVar[RegionUse] = "needed"

    regions: tuple[tuple[str | tuple[str, ...], str | tuple[str, ...]], ...] = option(
        flag="--blend",
        read=_subjects,
        syntax="SOURCE:TARGET",
        takes="a subject's words in the source prompt, a colon, its words in the target prompt, such as jeep:car; once "
        "for each subject",
    )
    masks: Any = field(default=None, metadata={"python_only": True})
    threshold: float = 0.3
    self_modulation: float = 1.0
    cross_modulation: float = 1.0
    attention_steps: Steps = 0.5

    def __post_init__(self) -> None:
        if not self.regions:
            raise ConfigError("videograin needs regions; give a pair (source words, target words) for every subject")
        if self.masks is not None and len(self.masks) != len(self.regions):
            raise ConfigError(f"{len(self.masks)} masks for {len(self.regions)} regions; give one for each, or None")
        check_threshold("threshold", self.threshold)
        for name in ("self_modulation", "cross_modulation"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 to 1")
        StepWindow.of(self.attention_steps)

    def edit_regions(self, source: Prompt, target: Prompt) -> tuple[EditRegion, ...]:
        """Return the region of each subject, of its source words or of its mask."""
        masks = self.masks or [None] * len(self.regions)
        return tuple(
            EditRegion.of(source, words, self.threshold, target, becomes, mask)
            for (words, becomes), mask in zip(self.regions, masks, strict=True)
        )

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build the injection and both modulations."""
        subjects = self.edit_regions(task.source, task.target)
        regions = [region_of(task, subject) for subject in subjects]
        # (token,): the number of the subject that each target token names; -1 names none.
        region_of_token = torch.full((len(task.target.ids),), -1, dtype=torch.int64)
        for number, subject in enumerate(subjects):
            region_of_token[list(subject.target_tokens)] = number
        injected = {layer.name for layer in task.layers if layer.decoder and layer.kind == "self"}
        nowhere = range(0)
        attached: list[Controller] = [
            FeatureInjection((), nowhere, injected, StepWindow.of(self.attention_steps).steps(task.steps))
        ]
        if self.cross_modulation > 0:
            where, ones = modulated_layers(task.latent_grid, "cross"), torch.ones(len(region_of_token))
            attached.append(CrossModulation(regions, self.cross_modulation, region_of_token, ones, ("cond",), where))
        if self.self_modulation > 0:
            where, tau = modulated_layers(task.latent_grid, "self"), float("inf")
            attached += [
                TemporalModulation(region, self.self_modulation, tau, task.temporal, task.frames, where)
                for region in regions
            ]
        return attached
