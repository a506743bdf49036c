"""Prompt-to-Prompt, frame by frame, on DDIM or null-text inversion, and as Video-P2P has it for clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from faircut.attention.controller import Controller, StepWindow
from faircut.config.flags import blend, numbers_of_words, option, read_number, read_text, read_window
from faircut.config.values import SpatialTemporal
from faircut.methods.base import (
    EditRegion,
    EditSession,
    EditTask,
    Method,
    Preparation,
    RegionUse,
    SourceInversion,
    register,
)
from faircut.methods.fatezero import FateZero
from faircut.prompts import Alignment, Prompt

__all__ = ["NullText", "PromptToPrompt", "VideoP2P"]

Steps = float | tuple[float, float]


@register
@dataclass(frozen=True)
class PromptToPrompt(Method):
    """Replaces the edit's attention by the source's, which is computed while the source is denoised.

    ``A = w (A_source R) + (1 - w) A_edit`` for cross-attention (section 3.1: Replace, Refine, Reweight) and ``S =
    S_source`` for self-attention in the first steps, frame by frame: no frame sees another. FateZero takes the source's
    attention from the inversion and only outside a region; here it comes from denoising, for the whole frame. The
    source branch is given the inversion's latents in every step, so it cannot drift from the clip; the published one
    continues from its own latents and may drift.

    Attributes:
        alignment: ``"replace"`` exchanges words one for one, ``"refine"`` adds or drops words, ``"auto"`` replaces
            where the prompts have as many words and refines otherwise.
        cross_replace_steps: Steps in which tokens of the target prompt take the source's cross-attention; published:
            0.8.
        self_replace_steps: Steps in which the edit takes the source's self-attention; published: 0.4.
        reweight: Factors on the cross-attention of words of the target prompt. From Python: ``{"watercolor": 10.0}``.
        blend_words: Words of the source prompt and words of the target prompt that name what is edited. Outside their
            region the source's latents are put back ("local blend"); without them nothing is put back. From Python:
            ``("jeep", "car")``, or None.
        blend_threshold: Share of the frame's highest attention, 0 to 1, from which a position belongs to the region;
            published: 0.3.
        latent_blend_steps: Steps in which the source's latents are put back outside the region; published: after the
            first fifth.
    """

    name: ClassVar[str] = "prompt-to-prompt"
    title: ClassVar[str] = "Prompt-to-Prompt"
    paper: ClassVar[str] = "Hertz et al., ICLR 2023, arXiv 2208.01626"
    temporal: ClassVar[SpatialTemporal | None] = SpatialTemporal((0,), clip_norm=False)
    source_level: ClassVar[Literal["inversion", "denoising"]] = "denoising"
    region_use: ClassVar[RegionUse] = "optional"

    alignment: Literal["auto", "replace", "refine"] = option(
        "auto", flag="--alignment", read=read_text, syntax="auto|replace|refine"
    )
    cross_replace_steps: Steps = option(0.8, flag="--cross-replace", read=read_window)
    self_replace_steps: Steps = option(0.4, flag="--self-replace", read=read_window)
    reweight: Mapping[str, float] = option(default_factory=dict, flag="--reweight", read=numbers_of_words)
    blend_words: tuple[str | tuple[str, ...], str | tuple[str, ...]] | None = option(None, flag="--blend", read=blend)
    blend_threshold: float = option(0.3, flag="--threshold", read=read_number)
    latent_blend_steps: Steps = option((0.2, 1.0), flag="--latent-blend", read=read_window)

    def __post_init__(self) -> None:
        StepWindow.of(self.latent_blend_steps)
        _ = self._fusion  # Its options are checked there.

    @property
    def _fusion(self) -> FateZero:
        """FateZero's controllers without its own idea, the blended self-attention."""
        return FateZero(
            alignment=self.alignment,
            cross_replace_steps=self.cross_replace_steps,
            self_replace_steps=self.self_replace_steps,
            reweight=self.reweight,
            blend_words=self.blend_words,
            blend_self_attention=False,
            blend_threshold=self.blend_threshold,
            latent_blend_steps=None if self.blend_words is None else self.latent_blend_steps,
        )

    def edit_regions(self, source: Prompt, target: Prompt) -> tuple[EditRegion, ...]:
        """Return the region of all blend words together."""
        return self._fusion.edit_regions(source, target)

    def align(self, source: Prompt, target: Prompt) -> Alignment:
        """Align the prompts as `alignment` says."""
        return self._fusion.align(source, target)

    def check(self, source: Prompt, target: Prompt) -> None:
        """Check that every named word is in its prompt and that the prompts can be aligned."""
        self._fusion.check(source, target)

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build cross- and self-attention control, and local blending if there are blend words."""
        return self._fusion.controllers(task)


@register
@dataclass(frozen=True)
class NullText(PromptToPrompt):
    """Prompt-to-Prompt with optimised unconditional embeddings, with which guided denoising gives the source clip back.

    Parts that the edit does not change therefore stay. The embeddings come from `VideoEditor.optimise_null_text`, one
    for every frame and step.
    """

    name: ClassVar[str] = "null-text"
    title: ClassVar[str] = "Prompt-to-Prompt on null-text inversion"
    paper: ClassVar[str] = "Mokady et al., CVPR 2023, arXiv 2211.09794"
    null_text: ClassVar[bool] = True

    def prepare(self, session: EditSession, inversion: SourceInversion) -> Preparation:
        """Optimise the unconditional embeddings, unless the inversion has them already."""
        if inversion.null_embeddings is not None:
            return Preparation(self, inversion)
        return Preparation(self, session.optimise_null_text(inversion))


@register
@dataclass(frozen=True)
class VideoP2P(PromptToPrompt):
    """Prompt-to-Prompt for clips, with separate guidance for source and edit ("decoupled guidance").

    All frames attend to the first one (the paper's "text-to-set" model). The source, whose attention is fused, must
    stay the clip: the paper optimises an unconditional embedding for that, here the source branch is given the
    inversion's latents. The edit keeps the plain unconditional embedding, which is easier to edit with. The paper tunes
    the model to the clip first, which `faircut.tune` does.
    """

    name: ClassVar[str] = "video-p2p"
    title: ClassVar[str] = "Video-P2P"
    paper: ClassVar[str] = "Liu et al., CVPR 2024, arXiv 2303.04761"
    temporal: ClassVar[SpatialTemporal | None] = SpatialTemporal(("first",))
