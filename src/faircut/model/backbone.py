"""What a network must offer so that faircut can edit with it, and the registry of supported networks.

A `Backbone` adapts one architecture: it lists the attention layers with their roles, passes their queries, keys and
values to `AttentionControl.attend`, and evaluates the network. Everything above this module (controllers, methods, the
editor) works with layers, grids and branches, independent of the architecture. `docs/guide/add-a-model.md` adds a
network step by step.
"""

from __future__ import annotations

import copy
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from faircut.attention.context import BatchLayout, FramesIn, Layer
from faircut.attention.controller import Controller
from faircut.attention.stages import AttentionControl
from faircut.errors import AttentionError, ModelError, choices

__all__ = ["Backbone", "backbone_names", "backbone_of", "register_backbone"]


class Backbone(ABC):
    """The adapter of one architecture.

    Args:
        network: An instance of the class that the adapter is registered for.

    Attributes:
        frames_in: ``"batch"`` if the network takes each frame as a separate batch entry, ``"sequence"`` if the
            positions of all frames form one sequence.
        feature_layer: Name of the submodule whose output Plug-and-Play injects, or None if the network has no such
            submodule.
    """

    frames_in: ClassVar[FramesIn] = "batch"
    feature_layer: ClassVar[str | None] = None

    def __init__(self, network: Any) -> None:
        self.network = network

    # What every adapter must define -------------------------------------------------------------------------------

    @property
    @abstractmethod
    def latent_channels(self) -> int:
        """Number of channels of the latents that the network takes and returns."""

    @property
    @abstractmethod
    def text_channels(self) -> int:
        """Width of the text embedding that the network is conditioned on."""

    @abstractmethod
    def layers(self) -> dict[str, Layer]:
        """Return every attention layer by name, in the order in which the network runs them.

        Raises:
            AttentionError: If a layer cannot be put under control, or the network has no cross-attention.
        """

    @abstractmethod
    def attach(self, control: AttentionControl) -> AbstractContextManager[None]:
        """Compute the attention of every layer of `layers` with ``control.attend``, and restore the network on exit."""

    @abstractmethod
    def predict(self, z: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, layout: BatchLayout) -> torch.Tensor:
        """Evaluate the network once, for all branches of a batch.

        Args:
            z: (branch * frame, channel, height, width), latents in the network's dtype, with a whole clip for each
                branch.
            timestep: (), the timestep of the step.
            text: (branch * layout.entries, token, channel), text embeddings.
            layout: The branches and frames of the batch.

        Returns:
            The network's output, with the shape of ``z``.
        """

    @abstractmethod
    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values that a cross-attention layer computes from a text embedding.

        Args:
            layer: The cross-attention layer.
            embedding: (batch, token, channel), output of the text encoder.

        Returns:
            (key, value), (batch, head, token, dim) each.
        """

    # What an adapter may override ---------------------------------------------------------------------------------

    def over_clip(self, frames: int, clip_norm: bool) -> AbstractContextManager[None]:
        """Let layers other than attention work over whole clips, and restore them on exit.

        Args:
            frames: Number of frames of each clip in the batch; 1 treats the batch as single pictures.
            clip_norm: Whether group norms take their statistics over all frames of a clip together.
        """
        return nullcontext()

    @property
    def dtype(self) -> torch.dtype:
        """Data type in which the network computes."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device that holds the weights. With offloading, the network runs on another one."""
        return next(self.network.parameters()).device

    def shadow(self) -> Backbone:
        """Return the same architecture without data, on torch's meta device, to predict memory use."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        memo: dict[int, Any] = {}
        for tensor in tensors:
            empty = torch.empty_like(tensor, device="meta")
            memo[id(tensor)] = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
        return type(self)(copy.deepcopy(self.network, memo))

    # What all adapters share --------------------------------------------------------------------------------------

    def feature(self, name: str) -> nn.Module:
        """Return a submodule, whose output a controller may change, by its name.

        Raises:
            AttentionError: If the network has no submodule of that name.
        """
        try:
            return self.network.get_submodule(name)
        except AttributeError:
            raise AttentionError(
                f"{type(self.network).__name__} has no submodule {name!r}: {choices(name, self.feature_names())}"
            ) from None

    def feature_names(self) -> list[str]:
        """Return the names that an error message suggests when a submodule does not exist."""
        return [name for name, _ in self.network.named_children()]

    @contextmanager
    def install(
        self,
        controllers: Sequence[Controller],
        *,
        frames: int,
        clip_norm: bool = True,
        block_elements: int = 2**26,
    ) -> Iterator[AttentionControl]:
        """Put the network's attention under control, and restore the network on exit, also after an exception.

        Args:
            controllers: Controllers in the order in which their stages run (`on_output` runs in reverse).
            frames: Number of frames of the clip. Batches hold whole clips.
            clip_norm: Whether group norms take their statistics over all frames of a clip together.
            block_elements: Maximum number of elements of an explicit attention map that exist at one time.

        Yields:
            The control. Its `begin` must be called before every evaluation of the network.

        Raises:
            AttentionError: If the attention cannot be replaced without losing weights or state.
        """
        control = AttentionControl(tuple(controllers), block_elements, self.layers())
        with ExitStack() as stack:
            stack.enter_context(self.over_clip(frames, clip_norm))
            stack.enter_context(self.attach(control))
            for name in dict.fromkeys(name for controller in controllers for name in controller.features):
                stack.callback(self.feature(name).register_forward_hook(partial(_on_features, control, name)).remove)
            yield control


def _on_features(control: AttentionControl, name: str, module: Any, args: Any, output: Any) -> Any:
    """Let the controllers change a submodule's output; a forward hook of torch."""
    return control.features(name, output)


# The registry ---------------------------------------------------------------------------------------------------------

# The module that registers each adapter of faircut, by the network's class. It is imported when the class is first
# used.
_INCLUDED = {"UNet2DConditionModel": "faircut.model.unet"}

_BACKBONES: dict[str, type[Backbone]] = {}

B = TypeVar("B", bound=type[Backbone])


def register_backbone(network: str) -> Callable[[B], B]:
    """Return a decorator that registers an adapter for a class of networks and its subclasses.

    Args:
        network: Name of the class, such as ``"UNet2DConditionModel"``.
    """

    def register(adapter: B) -> B:
        _BACKBONES[network] = adapter
        return adapter

    return register


def backbone_names() -> list[str]:
    """Return the names of the network classes that faircut can edit with."""
    return sorted({*_INCLUDED, *_BACKBONES})


def backbone_of(network: Any) -> Backbone:
    """Return the adapter of a network.

    Args:
        network: The denoiser of a diffusion model, such as a ``UNet2DConditionModel``.

    Raises:
        ModelError: If no adapter is registered for the network's class.
    """
    # torch.compile wraps a network in another class.
    for cls in type(getattr(network, "_orig_mod", network)).__mro__:
        if cls.__name__ in _INCLUDED and cls.__name__ not in _BACKBONES:
            importlib.import_module(_INCLUDED[cls.__name__])
        if cls.__name__ in _BACKBONES:
            return _BACKBONES[cls.__name__](network)
    raise ModelError(
        f"faircut cannot edit with a {type(network).__name__}; it can with {', '.join(backbone_names())}: give a "
        "Stable Diffusion 1.x or 2.x checkpoint, or register an adapter for it (docs/guide/add-a-model.md)"
    )
