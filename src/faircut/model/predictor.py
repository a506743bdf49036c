"""What the sampler and a method may ask of a model: noise for the branches of a clip, and keys and values for texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from faircut.attention.context import BatchLayout, Layer, Phase, Step
from faircut.attention.stages import AttentionControl
from faircut.model.noise_path import NoisePath
from faircut.model.unet import project_text
from faircut.prompts import Prompt, encode

__all__ = ["ModelText", "NoisePredictor", "frozen"]


@dataclass(frozen=True)
class ModelText:
    """A model's way with text; see `faircut.methods.base.TextAccess`.

    Attributes:
        pipeline: a diffusers pipeline with tokenizer, text encoder and UNet.
    """

    pipeline: Any

    def tokenize(self, text: str) -> Prompt:
        """Tokenise a prompt."""
        return Prompt.of(self.pipeline.maybe_convert_prompt(text, self.pipeline.tokenizer), self.pipeline.tokenizer)

    def embed(self, prompt: Prompt) -> torch.Tensor:
        """Encode a prompt, (1, token, channel), in the UNet's dtype."""
        device = self.pipeline.execution_device
        return encode(prompt, self.pipeline.text_encoder, device).to(device, self.pipeline.unet.dtype)

    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (key, value) of a cross-attention layer for an embedding, (1, head, token, dim) each."""
        return project_text(self.pipeline.unet, layer, embedding)


@dataclass(frozen=True)
class NoisePredictor:
    """Evaluates a UNet under control for some branches of a clip, announcing every evaluation.

    Attributes:
        unet: a ``UNet2DConditionModel``.
        control: what `faircut.model.unet.install` gave.
        noise_path: the timesteps and noise levels.
        frames: of the clip.
    """

    unet: Any
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
        layout = BatchLayout(tuple(branches), self.frames)
        height, width = z.shape[-2:]
        step = Step(phase, k, len(self.noise_path), self.noise_path.timesteps[k], layout, (height, width))
        self.control.begin(step)
        # The sampler works in float32 whatever the model's precision: rounding would add up over its steps.
        text = torch.cat([embedding.expand(self.frames, -1, -1) for _, embedding in branches.values()])
        timestep = torch.tensor(step.timestep, device=z.device)
        output = self.unet(z.to(text.dtype), timestep, encoder_hidden_states=text, return_dict=False)[0].float()
        self.control.check_fired()
        eps = self.noise_path.eps(output, z, k)
        return dict(zip(branches, eps.split(self.frames), strict=True))


@contextmanager
def frozen(module: torch.nn.Module) -> Iterator[None]:
    """Keep a module's parameters out of gradients, so that only what is sought takes memory; restores them afterwards."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
