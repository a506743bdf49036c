"""Plug-and-Play: features and self-attention of the source (Tumanyan et al., CVPR 2023, arXiv 2211.12572)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from faircut.attention.controller import Controller, StepWindow
from faircut.controllers.features import FeatureInjection
from faircut.errors import AttentionError
from faircut.methods.base import EditTask, Method, register
from faircut.model.backbone import Backbone

__all__ = ["PlugAndPlay"]

Steps = float | tuple[float, float]


@register
@dataclass(frozen=True)
class PlugAndPlay(Method):
    """Denoises the source beside the edit, and injects its decoder features and self-attention (algorithm 1).

    ``f*_t = f_t`` of one residual block in the first steps, ``A*_t = A_t`` of the decoder's self-attention. What is
    injected is the block's output; the published code injects what the block adds to its input.

    Attributes:
        feature_steps: Steps in which the source's features are injected; published: 0.8.
        attention_steps: Steps in which the source's self-attention is injected; published: 0.5.
        feature_layer: Name of the residual block whose features are injected. By default the network's adapter names
            it: in Stable Diffusion the published one, the fourth layer of the decoder, 16x16 at 512 px.
    """

    name: ClassVar[str] = "plug-and-play"
    title: ClassVar[str] = "Plug-and-Play"
    paper: ClassVar[str] = "Tumanyan et al., CVPR 2023, arXiv 2211.12572"
    reference: ClassVar[bool] = True

    feature_steps: Steps = 0.8
    attention_steps: Steps = 0.5
    feature_layer: str | None = None

    def __post_init__(self) -> None:
        for steps in (self.feature_steps, self.attention_steps):
            StepWindow.of(steps)

    def check_model(self, backbone: Backbone) -> None:
        """Look for the residual block."""
        backbone.feature(self._features(backbone.feature_layer))

    def _features(self, offered: str | None) -> str:
        """Return the name of the block: the option's, or the one that the network offers."""
        name = offered if self.feature_layer is None else self.feature_layer
        if name is None:
            raise AttentionError(
                f"{self.name} injects the output of a block, and this network's adapter names none; give feature_layer"
            )
        return name

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build the injection, into guided and unguided branch alike."""
        features, attention = (StepWindow.of(s).steps(task.steps) for s in (self.feature_steps, self.attention_steps))
        # The first decoder layers have only the coarsest grid, where the layout would be fixed too firmly to edit.
        decoder = {layer.name for layer in task.layers if layer.decoder and layer.kind == "self"}
        return [FeatureInjection((self._features(task.feature_layer),), features, decoder, attention)]
