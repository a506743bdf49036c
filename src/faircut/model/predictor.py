"""What the sampler and a method may ask of a model: noise for the branches of a clip, and keys and values for texts."""

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
    """Text as one model takes it: CLIP's tokens and embeddings; see `faircut.methods.base.TextAccess`.

    Attributes:
        pipeline: a diffusers pipeline with tokenizer and text encoder, and its `backbone`.
    """

    pipeline: Any

    @property
    def token_limit(self) -> int:
        """Tokens of every sequence, start, end and padding included: 77 in Stable Diffusion."""
        return int(self.pipeline.tokenizer.model_max_length)

    def tokenize(self, text: str) -> Prompt:
        """Tokenise a prompt."""
        return Prompt.of(self.pipeline.maybe_convert_prompt(text, self.pipeline.tokenizer), self.pipeline.tokenizer)

    def embed(self, prompt: Prompt) -> torch.Tensor:
        """Encode a prompt, (1, token, channel), in the network's dtype."""
        device = self.pipeline.execution_device
        return encode(prompt, self.pipeline.text_encoder, device).to(device, self.pipeline.backbone.dtype)

    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (key, value) of a cross-attention layer for an embedding, (1, head, token, dim) each."""
        return self.pipeline.backbone.project(layer, embedding)


@dataclass(frozen=True)
class NoisePredictor:
    """Evaluates a network under control for some branches of a clip, announcing every evaluation.

    Attributes:
        backbone: the network's adapter.
        control: what `Backbone.install` gave.
        noise_path: the timesteps and noise levels.
        frames: of the clip.
    """

    backbone: Backbone
    control: AttentionControl
    noise_path: NoisePath
    frames: int

    def __call__(
        self, phase: Phase, k: int, branches: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """Predict the noise.

        Args:
            phase: ``"invert"``, ``"correct"`` or ``"denoise"``.
            k: the step.
            branches: by branch, in batch order, its latents (frame, channel, height, width) and its text's embedding
                (1 or frame, token, channel).

        Returns:
            The noise of each branch, (frame, channel, height, width), float32.
        """
        z = torch.cat([latents for latents, _ in branches.values()])
        layout = BatchLayout(tuple(branches), self.frames, self.backbone.frames_in)
        height, width = z.shape[-2:]
        step = Step(phase, k, len(self.noise_path), self.noise_path.timesteps[k], layout, (height, width))
        self.control.begin(step)
        # The sampler works in float32 whatever the model's precision: rounding would add up over its steps.
        text = torch.cat([embedding.expand(layout.entries, -1, -1) for _, embedding in branches.values()])
        timestep = torch.tensor(step.timestep, device=z.device)
        output = self.backbone.predict(z.to(text.dtype), timestep, text, layout).float()
        self.control.check_fired()
        eps = self.noise_path.eps(output, z, k)
        return dict(zip(branches, eps.split(self.frames), strict=True))


@contextmanager
def frozen(module: torch.nn.Module) -> Iterator[None]:
    """Keep a module's parameters out of gradients, so that only what is sought takes memory; restores them
    afterwards."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
