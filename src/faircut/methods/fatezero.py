"""FateZero: fusing attentions for zero-shot text-based video editing (Qi et al., ICCV 2023, arXiv 2303.09535)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from faircut.attention.controller import Controller, StepWindow
from faircut.config.flags import (
    blend,
    numbers_of_words,
    option,
    read_number,
    read_text,
    read_window,
    windows_of_words,
)
from faircut.config.ranges import check_range
from faircut.controllers.cross_attention import CrossAttentionFusion, fusion_weights
from faircut.controllers.guidance import RegionGuidance
from faircut.controllers.latents import FreshNoise, LatentBlend
from faircut.controllers.regions import BlendRegion
from faircut.controllers.self_attention import SelfAttentionFusion
from faircut.errors import ConfigError
from faircut.methods.base import EditRegion, EditTask, Method, RegionUse, register
from faircut.methods.regions import check_threshold, region_of
from faircut.prompts import Alignment, Prompt, align, phrases, token_weights

__all__ = ["FateZero"]

Steps = float | tuple[float, float]


@register
@dataclass(frozen=True)
class FateZero(Method):
    """Fuses the source's attention, recorded during inversion, into the edit's attention.

    Step windows are shares of the run: 0.8 is the first 80% of the steps, (0.2, 0.8) is from 20% to 80%.

    Attributes:
        alignment: ``"replace"`` exchanges words one for one, ``"refine"`` adds or drops words, ``"auto"`` replaces
            where the prompts have as many words and refines otherwise.
        cross_replace_steps: Steps in which tokens of the target prompt take the source's cross-attention.
        word_replace_steps: Steps for single words of the target prompt, in place of `cross_replace_steps`.
        self_replace_steps: Steps in which the edit takes the source's self-attention: outside the region of the blend
            words, or everywhere if there are none.
        blend_words: Words of the source prompt and words of the target prompt that name what is edited. The edit acts
            in their region; without them, everywhere. From Python: ``("jeep", "car")``, or ``(("man",), ("female",
            "doctor"))`` for several words, or None.
        blend_self_attention: Whether the edit keeps its own self-attention inside the region.
        blend_threshold: Share of the frame's highest attention, 0 to 1, from which a position belongs to the region.
        reweight: Factors on the cross-attention of words of the target prompt. From Python: ``{"watercolor": 10.0}``.
        latent_blend_steps: Steps in which the source's latents are put back outside the region; by default none.
        fresh_noise: Share of the inverted noise that is drawn anew, 0 to 1, in the region or everywhere if there is
            none. Not in the paper: the inverted noise still holds the source's silhouette, which keeps edits too close
            to the source.
        region_guidance: Whether guidance acts in the region only. Not in the paper: the inversion is not guided, so
            guidance redraws parts that an edit should keep.
    """

    name: ClassVar[str] = "fatezero"
    title: ClassVar[str] = "FateZero"
    paper: ClassVar[str] = "Qi et al., ICCV 2023, arXiv 2303.09535"
    region_use: ClassVar[RegionUse] = "optional"

    alignment: Literal["auto", "replace", "refine"] = option(
        "auto", flag="--alignment", read=read_text, syntax="auto|replace|refine"
    )
    cross_replace_steps: Steps = option(0.8, flag="--cross-replace", read=read_window)
    word_replace_steps: Mapping[str, Steps] = option(default_factory=dict, flag="--word-replace", read=windows_of_words)
    self_replace_steps: Steps = option(0.8, flag="--self-replace", read=read_window)
    blend_words: tuple[str | tuple[str, ...], str | tuple[str, ...]] | None = option(None, flag="--blend", read=blend)
    blend_self_attention: bool = True
    blend_threshold: float = option(0.3, flag="--threshold", read=read_number)
    reweight: Mapping[str, float] = option(default_factory=dict, flag="--reweight", read=numbers_of_words)
    latent_blend_steps: Steps | None = option(None, flag="--latent-blend", read=read_window)
    fresh_noise: float = option(0.0, flag="--fresh-noise", read=read_number)
    region_guidance: bool = False

    def __post_init__(self) -> None:
        for steps in (self.cross_replace_steps, self.self_replace_steps, *self.word_replace_steps.values()):
            StepWindow.of(steps)
        if self.blend_words is not None and (isinstance(self.blend_words, str) or len(self.blend_words) != 2):
            raise ConfigError(
                f"blend_words {self.blend_words!r} are not a pair; give (source words, target words), such as ('jeep', "
                "'car')"
            )
        for word, factor in self.reweight.items():
            check_range(f"the factor of {word!r}", factor, -1000, 1000, flag="--reweight", example="4")
        if self.blend_words is not None and not all(phrases(words) for words in self.blend_words):
            raise ConfigError(f"blend_words {self.blend_words!r} lack words; give some of both prompts, or none at all")
        check_threshold("blend_threshold", self.blend_threshold)
        if not 0.0 <= self.fresh_noise <= 1.0:
            raise ConfigError(f"fresh_noise is {self.fresh_noise}; give a share of the noise, 0 to 1, such as 0.7")
        if self.latent_blend_steps is not None:
            StepWindow.of(self.latent_blend_steps)

    def edit_regions(self, source: Prompt, target: Prompt) -> tuple[EditRegion, ...]:
        """Return the region of all blend words together."""
        if self.blend_words is None:
            return ()
        return (EditRegion.of(source, self.blend_words[0], self.blend_threshold, target, self.blend_words[1]),)

    def align(self, source: Prompt, target: Prompt) -> Alignment:
        """Align the prompts as `alignment` says."""
        return align(source, target, self.alignment)

    def check(self, source: Prompt, target: Prompt) -> None:
        """Check that every named word is in its prompt and that the prompts can be aligned.

        Raises:
            PromptError: they are not, or cannot be.
            ConfigError: latents are to be blended, or guidance bound, but nowhere.
        """
        local = {"latent_blend_steps": self.latent_blend_steps is not None, "region_guidance": self.region_guidance}
        for name, asked in local.items():
            if asked and self.blend_words is None:
                raise ConfigError(f"{name} needs blend_words, which say where the edit happens; give them too")
        super().check(source, target)
        for word in (*self.word_replace_steps, *self.reweight):
            target.find(word)

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build what is asked for of fresh noise, bound guidance and latent blending; cross- and self-attention
        fusion."""
        attached: list[Controller] = []
        edited = next(iter(self.edit_regions(task.source, task.target)), None)
        region = None if edited is None else region_of(task, edited)
        if self.fresh_noise > 0:
            attached.append(FreshNoise(region, task.noise, self.fresh_noise))
        if region is not None and self.region_guidance:
            attached.append(RegionGuidance(region))
        if isinstance(region, BlendRegion) and edited is not None and self.latent_blend_steps is not None:
            steps = StepWindow.of(self.latent_blend_steps).steps(task.steps)
            attached.append(LatentBlend(region, edited.target_tokens, task.trajectory, steps))
        words = {word: StepWindow.of(steps) for word, steps in self.word_replace_steps.items()}
        attached.append(
            CrossAttentionFusion(
                task.source_attention,
                self.align(task.source, task.target),
                fusion_weights(task.target, task.steps, StepWindow.of(self.cross_replace_steps), words),
                token_weights(task.target, self.reweight),
            )
        )
        steps = StepWindow.of(self.self_replace_steps).steps(task.steps)
        attached.append(
            SelfAttentionFusion(task.source_attention, steps, region if self.blend_self_attention else None)
        )
        return attached
