"""The settings of tuning."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from faircut.config.ranges import check_guidance, check_range, check_seed
from faircut.config.texts import check_prompt
from faircut.errors import ConfigError

__all__ = ["TuneSettings", "default_rate"]

# Tune-A-Video's published configurations tune Stable Diffusion, whose widest block has 1280 channels, at this rate.
_PUBLISHED_RATE = 3e-5
# A narrow model, such as the pocket model, hardly moves at that rate: see docs/results/tuning.md.
_NARROW, _NARROW_RATE = 512, 3e-4


def default_rate(unet: Any) -> float:
    """Return the default learning rate for a UNet: the published 3e-5, or 3e-4 for one as narrow as the pocket's."""
    return _PUBLISHED_RATE if max(unet.config.block_out_channels) > _NARROW else _NARROW_RATE


@dataclass(frozen=True)
class TuneSettings:
    """The settings for tuning a model to a clip. The defaults are those of Tune-A-Video's published configurations.

    Attributes:
        steps: Number of optimiser steps, each on the whole clip at one noise level.
        learning_rate: Learning rate of AdamW, constant. None uses `default_rate`.
        trainable: Ends of the names of the UNet's modules to train.
        temporal_layers: Whether to add attention over the frames to every transformer block.
        seed: Seed of all random numbers, together with the step.
        precision: Precision of the forward pass. Weights and optimiser use float32.
        gradient_checkpointing: Whether to compute activations twice instead of storing them: less memory, a third more
            time.
        validation_prompts: Prompts to edit the clip with at times, to show the progress of tuning.
        validate_every: Number of steps between validations. There is also one at the end.
        validation_steps: Number of DDIM steps of a validation's inversion and edits.
        guidance_scale: Guidance scale of the validation's edits.
        checkpoint_every: Number of seconds between checkpoints.
    """

    steps: int = 500
    learning_rate: float | None = None
    trainable: tuple[str, ...] = ("attn1.to_q", "attn2.to_q", "attn_temp")
    temporal_layers: bool = True
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    validation_prompts: tuple[str, ...] = ()
    validate_every: int = 100
    validation_steps: int = 50
    guidance_scale: float = 7.5
    checkpoint_every: float = 120.0

    def __post_init__(self) -> None:
        for name in ("steps", "validate_every"):
            check_range(name, getattr(self, name), 1, 100_000_000, flag=f"--{name.replace('_', '-')}")
        check_range("validation_steps", self.validation_steps, 1, 100_000, flag="--validation-steps", example="50")
        if self.learning_rate is not None:
            check_range("learning_rate", self.learning_rate, 0, 1, flag="--lr", example="3e-5", above=True)
        check_seed(self.seed)
        check_guidance(self.guidance_scale)
        check_range("checkpoint_every", self.checkpoint_every, 0)
        for text in self.validation_prompts:
            check_prompt(text, "a validation prompt (--validate)", required=True)
        if self.precision not in ("float32", "bfloat16"):
            raise ConfigError(f"precision is {self.precision!r}; give 'float32' or 'bfloat16'")
        if not self.trainable or isinstance(self.trainable, str):
            raise ConfigError(
                f"trainable is {self.trainable!r}; give ends of module names, such as ('attn1.to_q', 'attn2.to_q')"
            )

    def resolved(self, unet: Any) -> TuneSettings:
        """Return the settings with the default learning rate for a UNet, if none was given."""
        rate = default_rate(unet) if self.learning_rate is None else self.learning_rate
        return dataclasses.replace(self, learning_rate=rate)
