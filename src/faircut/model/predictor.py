"""What the sampler and a method use of a model: noise for the branches of a clip, and keys and values for texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from faircut.attention.context import BatchLayout, Layer, Phase, Step
from faircut.attention.stages import AttentionControl
from faircut.model.backbone import Backbone
from faircut.model.noise_path import NoisePath
from faircut.prompts import Prompt, encode

__all__ = ["ModelText", "NoisePredictor", "frozen"]


@dataclass(frozen=True)
class ModelText:
    """The text interface of one model: CLIP's tokens and embeddings. See `faircut.methods.base.TextAccess`.

    Attributes:
        pipeline: A diffusers pipeline with tokenizer and text encoder, and a `backbone`.
    """

    pipeline: Any

    @property
    def token_limit(self) -> int:
        """Number of tokens of every sequence, including start, end and padding: 77 in Stable Diffusion."""
        return int(self.pipeline.tokenizer.model_max_length)

    def tokenize(self, text: str) -> Prompt:
        """Tokenise a prompt."""
        return Prompt.of(self.pipeline.maybe_convert_prompt(text, self.pipeline.tokenizer), self.pipeline.tokenizer)

    def embed(self, prompt: Prompt) -> torch.Tensor:
        """Encode a prompt as (1, token, channel), in the network's dtype."""
        device = self.pipeline.execution_device
        return encode(prompt, self.pipeline.text_encoder, device).to(device, self.pipeline.backbone.dtype)

    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (key, value) of a cross-attention layer for an embedding, (1, head, token, dim) each."""
        return self.pipeline.backbone.project(layer, embedding)


@dataclass(frozen=True)
class NoisePredictor:
    """A callable that evaluates a network under control for some branches of a clip.

    Every evaluation is first announced to the control.

    Attributes:
        backbone: Adapter of the network.
        control: Control, as `Backbone.install` yields it.
        noise_path: Timesteps and noise levels.
        frames: Number of frames of the clip.
    """

    backbone: Backbone
    control: AttentionControl
    noise_path: NoisePath
    frames: int

    def __call__(
        self, phase: Phase, k: int, branches: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """Predict the noise of all branches.

        Args:
            phase: ``"invert"``, ``"correct"`` or ``"denoise"``.
            k: Index of the step.
            branches: For each branch, in batch order, the latents (frame, channel, height, width) and the embedding of
                the text (1 or frame, token, channel).

        Returns:
            The noise of each branch, (frame, channel, height, width), float32.
        """
        z = torch.cat([latents for latents, _ in branches.values()])  # (branch * frame, channel, height, width)
        layout = BatchLayout(tuple(branches), self.frames, self.backbone.frames_in)
        height, width = z.shape[-2:]
        step = Step(phase, k, len(self.noise_path), self.noise_path.timesteps[k], layout, (height, width))
        self.control.begin(step)
        # The sampler works in float32 whatever the model's precision, because rounding errors add up over its steps.
        text = torch.cat([embedding.expand(layout.entries, -1, -1) for _, embedding in branches.values()])
        timestep = torch.tensor(step.timestep, device=z.device)
        output = self.backbone.predict(z.to(text.dtype), timestep, text, layout).float()
        self.control.check_fired()
        eps = self.noise_path.eps(output, z, k)
        return dict(zip(branches, eps.split(self.frames), strict=True))


@contextmanager
def frozen(module: torch.nn.Module) -> Iterator[None]:
    """Exclude a module's parameters from gradients, which saves memory, and restore them on exit."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
