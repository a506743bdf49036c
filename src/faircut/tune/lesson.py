"""The training task: the clip's noise to predict, and the parameters of a UNet that are trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from faircut.attention.context import BatchLayout, Step
from faircut.attention.stages import AttentionControl
from faircut.edit.editor import VideoEditor
from faircut.errors import ConfigError, choices
from faircut.model import latents as vae_io
from faircut.model.noise_path import DDIMPath, NoisePath
from faircut.model.temporal import has_temporal

__all__ = ["Lesson", "learning_parameters", "learns"]


@dataclass(frozen=True)
class Lesson:
    """A clip as training data.

    Attributes:
        z_0: (frame, channel, height, width), float32, latents of the clip.
        text: (frame, token, channel), embedding of the clip's prompt.
        noise_path: Every noise level that the model was trained on.
        seed: Seed of the noise.
    """

    z_0: torch.Tensor
    text: torch.Tensor
    noise_path: NoisePath
    seed: int

    @classmethod
    def of(cls, editor: VideoEditor, frames: torch.Tensor, prompt: str, seed: int) -> Lesson:
        """Encode a clip, (frame, 3, height, width) in [-1, 1], and its prompt, once for all steps."""
        device = editor.execution_device
        with torch.no_grad():
            z_0 = vae_io.encode(frames, editor.vae, device).float()
            text = editor.embed(prompt).expand(len(z_0), -1, -1)
        return cls(z_0, text, DDIMPath.training(editor.scheduler.config), seed)

    def loss(self, unet: Any, control: AttentionControl, step: int) -> torch.Tensor:
        """Return the mean squared error for the noise and the noise level that a step draws (section 4.3)."""
        rng = np.random.default_rng([self.seed, step])
        t = int(rng.integers(len(self.noise_path)))
        noise = torch.from_numpy(rng.standard_normal(self.z_0.shape, np.float32)).to(self.z_0)
        k = len(self.noise_path) - 1 - t  # Step 0 is the noisiest.
        z_t, target = self.noise_path.noised(self.z_0, noise, k), self.noise_path.target(self.z_0, noise, k)
        frames, grid = len(z_t), (z_t.shape[2], z_t.shape[3])
        control.begin(Step("denoise", 0, 1, t, BatchLayout(("cond",), frames), grid))
        timestep = torch.tensor(t, device=z_t.device)
        output = unet(z_t, timestep, encoder_hidden_states=self.text, return_dict=False)[0]
        control.check_fired()
        return F.mse_loss(output.float(), target)


def learning_parameters(unet: nn.Module, ends: tuple[str, ...]) -> dict[str, nn.Parameter]:
    """Return the parameters to train, by name: those of all modules whose names have one of the given ends.

    Raises:
        ConfigError: If no module's name has one of the ends.
    """
    ends = tuple(end for end in ends if end != "attn_temp" or has_temporal(unet))
    modules = dict(unet.named_modules())
    for end in ends:
        if not any(name.endswith(end) and list(part.parameters()) for name, part in modules.items()):
            possible = {".".join(name.split(".")[-2:]) for name in modules if ".transformer_blocks.0." in name}
            raise ConfigError(f"no module of this UNet ends with {end!r}: {choices(end, possible)}")
    return {
        f"{name}.{parameter_name}": parameter
        for name, part in modules.items()
        if name.endswith(ends)
        for parameter_name, parameter in part.named_parameters()
    }


@contextlib.contextmanager
def learns(unet: Any, parameters: Mapping[str, nn.Parameter], checkpointing: bool) -> Iterator[None]:
    """Enable gradients for some parameters of a frozen UNet, and disable them on exit."""
    was_enabled = unet.is_gradient_checkpointing
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    if checkpointing:
        unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        for parameter in parameters.values():
            parameter.requires_grad_(False)
        if checkpointing and not was_enabled:
            unet.disable_gradient_checkpointing()
