"""What a method is: options on the outside, controllers on the inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import torch

from faircut.attention.context import Layer
from faircut.attention.controller import Controller
from faircut.attention.source import RecordedSource
from faircut.config import SpatialTemporal
from faircut.errors import ConfigError, choices
from faircut.prompts import Prompt

__all__ = ["EditTask", "Method", "TextAccess", "get_method", "method_names", "register"]


class TextAccess(Protocol):
    """What a method may ask of the model about text."""

    def tokenize(self, text: str) -> Prompt:
        """Tokenise a prompt."""

    def embed(self, prompt: Prompt) -> torch.Tensor:
        """Encode a prompt, (1, token, channel)."""

    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (key, value) of a cross-attention layer for an embedding, (1, head, token, dim) each."""


@dataclass(frozen=True)
class EditTask:
    """What a method is asked to do, and with what.

    Attributes:
        source: the source prompt.
        target: the target prompt.
        steps: N, the number of denoising steps.
        trajectory: (step + 1, frame, channel, height, width), the latents of the inversion, the clip first.
        layers: the UNet's attention layers.
        source_attention: supplies the source's attention at every step.
        text: the model's way with text, for methods with prompts of their own.
        temporal: how the frames see each other.
        generator: for methods that draw noise.
    """

    source: Prompt
    target: Prompt
    steps: int
    trajectory: torch.Tensor
    layers: Sequence[Layer]
    source_attention: RecordedSource
    text: TextAccess
    temporal: SpatialTemporal
    generator: torch.Generator | None = None

    @property
    def latent_grid(self) -> tuple[int, int]:
        """(height, width) of the latents."""
        height, width = self.trajectory[0].shape[-2:]
        return height, width


@runtime_checkable
class Method(Protocol):
    """An editing method."""

    name: ClassVar[str]

    def check(self, source: Prompt, target: Prompt) -> None:
        """Say what is wrong with the prompts or options, before any time is spent.

        Raises:
            PromptError: a word is missing, or the prompts do not fit the options.
        """

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Return what is attached to attention while denoising, in the order in which stages run."""


_METHODS: dict[str, type[Method]] = {}

M = TypeVar("M", bound="type[Method]")


def register(cls: M) -> M:
    """Enter a method class under its ``name``."""
    _METHODS[cls.name] = cls
    return cls


def method_names() -> list[str]:
    """Return the names of all methods."""
    return sorted(_METHODS)


def get_method(name: str) -> Any:
    """Return the class of a method.

    Raises:
        ConfigError: there is no such method.
    """
    if name not in _METHODS:
        raise ConfigError(f"no method {name!r}: {choices(name, _METHODS)}")
    return _METHODS[name]
