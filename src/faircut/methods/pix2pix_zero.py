"""pix2pix-zero: an edit direction, and latents that follow the source's cross-attention (Parmar et al., SIGGRAPH
2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from faircut.attention.controller import Controller
from faircut.config.ranges import check_range
from faircut.config.texts import check_prompt
from faircut.controllers.guidance import CrossAttentionGuidance
from faircut.errors import ConfigError
from faircut.methods.base import Cost, EditTask, Method, register

__all__ = ["Pix2PixZero"]


@register
@dataclass(frozen=True)
class Pix2PixZero(Method):
    """Adds the direction between two sets of sentences to the source prompt's embedding (section 3.2).

    ``c_edit = c + mean(embed(target sentences)) - mean(embed(source sentences))``, and before every step ``z <- z -
    guidance grad_z |M_edit - M_source|^2`` with M the cross-attention of the layers up to half the latent grid (section
    3.3; the paper has all of them). The paper draws the sentences with a language model and decorrelates the inverted
    noise; here you give the sentences, and the inversion is the same as for all methods.

    Attributes:
        source_sentences: Sentences that describe the source clip; by default the source prompt.
        target_sentences: Sentences that describe the edited clip; by default the target prompt.
        guidance: How strongly the latents follow the source's cross-attention; published: 0.1.
    """

    name: ClassVar[str] = "pix2pix-zero"
    title: ClassVar[str] = "pix2pix-zero"
    paper: ClassVar[str] = "Parmar et al., SIGGRAPH 2023, arXiv 2302.03027"
    source_level: ClassVar[Literal["inversion", "denoising"]] = "denoising"

    source_sentences: tuple[str, ...] = ()
    target_sentences: tuple[str, ...] = ()
    guidance: float = 0.1

    def __post_init__(self) -> None:
        if bool(self.source_sentences) != bool(self.target_sentences):
            raise ConfigError(
                "an edit direction needs sentences of the source and of the target; give both, or neither"
            )
        check_range("guidance", self.guidance, 0, 1000, example="0.1")
        for sentence in (*self.source_sentences, *self.target_sentences):
            check_prompt(sentence, "a sentence of an edit direction", required=True)

    def embedding(self, task: EditTask) -> torch.Tensor:
        """Move the source prompt along the direction."""

        def mean(sentences: tuple[str, ...], prompt: str) -> torch.Tensor:
            texts = sentences or (prompt,)
            return torch.cat([task.text.embed(task.text.tokenize(text)) for text in texts]).mean(0, keepdim=True)

        direction = mean(self.target_sentences, task.target.text) - mean(self.source_sentences, task.source.text)
        return task.text.embed(task.source) + direction

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build the guidance."""
        if self.guidance == 0:
            return ()
        return [
            CrossAttentionGuidance(
                task.source_attention, task.layers, task.predict, self.embedding(task), self.guidance
            )
        ]

    def cost(self, task: EditTask, controllers: Sequence[Controller]) -> Cost:
        """Add the gradient of every step."""
        return replace(super().cost(task, controllers), gradients=task.steps if controllers else 0)
