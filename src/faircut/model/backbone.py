"""What a network must offer so that faircut can edit with it, and the registry of those that do.

A `Backbone` adapts one architecture: it names the attention layers and their roles, lets them hand their queries, keys
and values to `AttentionControl.attend`, and evaluates the network. Everything above this module (controllers, methods,
the editor) knows layers, grids and branches, and no architecture. `docs/guide/add-a-model.md` adds one step by step.
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
        network: an instance of the class that the adapter is registered for.

    Attributes:
        frames_in: ``"batch"`` if the network takes each frame as a batch entry of its own, ``"sequence"`` if the
            positions of all frames make one sequence.
        feature_layer: name of the submodule whose output Plug-and-Play injects; None if the network has no such place.
    """

    frames_in: ClassVar[FramesIn] = "batch"
    feature_layer: ClassVar[str | None] = None

    def __init__(self, network: Any) -> None:
        self.network = network

    # What every adapter says --------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def latent_channels(self) -> int:
        """Channels of the latents that the network takes and returns."""

    @property
    @abstractmethod
    def text_channels(self) -> int:
        """Width of the text embedding that it is conditioned on."""

    @abstractmethod
    def layers(self) -> dict[str, Layer]:
        """Describe every attention layer, by name, in the order in which they run.

        Raises:
            AttentionError: there is a layer that cannot be put under control, or no cross-attention.
        """

    @abstractmethod
    def attach(self, control: AttentionControl) -> AbstractContextManager[None]:
        """Let every layer of `layers` compute its attention by ``control.attend``; restore what was there on
        leaving."""

    @abstractmethod
    def predict(self, z: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, layout: BatchLayout) -> torch.Tensor:
        """Evaluate the network once, for all branches of a batch.

        Args:
            z: (branch * frame, channel, height, width), latents in the network's dtype, a whole clip for each branch.
            timestep: (), of the step.
            text: (branch * layout.entries, token, channel), embeddings.
            layout: who is in the batch.

        Returns:
            The network's output, shaped as ``z``.
        """

    @abstractmethod
    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what a cross-attention layer makes of a text.

        Args:
            layer: the layer.
            embedding: (batch, token, channel), as the text encoder gives it.

        Returns:
            (key, value), (batch, head, token, dim) each.
        """

    # What an adapter may say --------------------------------------------------------------------------------------

    def over_clip(self, frames: int, clip_norm: bool) -> AbstractContextManager[None]:
        """Let layers besides attention see the clips in the batch; restore what was there on leaving.

        Args:
            frames: of a clip; 1 is pictures.
            clip_norm: whether group norms take their statistics over all frames of a clip together.
        """
        return nullcontext()

    @property
    def dtype(self) -> torch.dtype:
        """In which the network computes."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where its weights are; with offloading that is not where it runs."""
        return next(self.network.parameters()).device

    def shadow(self) -> Backbone:
        """Return the same architecture without data, on torch's meta device, for predictions of memory."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        memo: dict[int, Any] = {}
        for tensor in tensors:
            empty = torch.empty_like(tensor, device="meta")
            memo[id(tensor)] = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
        return type(self)(copy.deepcopy(self.network, memo))

    # What all of them share ---------------------------------------------------------------------------------------

    def feature(self, name: str) -> nn.Module:
        """Return the submodule of a name, whose output a controller may change.

        Raises:
            AttentionError: there is none.
        """
        try:
            return self.network.get_submodule(name)
        except AttributeError:
            raise AttentionError(
                f"{type(self.network).__name__} has no part {name!r}: {choices(name, self.feature_names())}"
            ) from None

    def feature_names(self) -> list[str]:
        """Return the names that an error proposes in place of a part that does not exist."""
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
        """Put the network's attention under control, and restore whatever was there, also after an exception.

        Args:
            controllers: in the order in which their stages run (`on_output` runs in reverse).
            frames: frames of the clip; batches hold whole clips.
            clip_norm: take the statistics of group norms over all frames of a clip together.
            block_elements: the most elements of an explicit attention map that exist at one time.

        Yields:
            The control, whose `begin` must be called before every evaluation.

        Raises:
            AttentionError: the attention cannot be replaced without losing something.
        """
        control = AttentionControl(tuple(controllers), block_elements, self.layers())
        with ExitStack() as stack:
            stack.enter_context(self.over_clip(frames, clip_norm))
            stack.enter_context(self.attach(control))
            for name in dict.fromkeys(name for controller in controllers for name in controller.features):
                stack.callback(self.feature(name).register_forward_hook(partial(_on_features, control, name)).remove)
            yield control


def _on_features(control: AttentionControl, name: str, module: Any, args: Any, output: Any) -> Any:
    """A forward hook of torch."""
    return control.features(name, output)


# The registry ---------------------------------------------------------------------------------------------------------

# Adapters that come with faircut, by the network's class and the module that registers them; imported when one is met.
_INCLUDED = {"UNet2DConditionModel": "faircut.model.unet"}

_BACKBONES: dict[str, type[Backbone]] = {}

B = TypeVar("B", bound=type[Backbone])


def register_backbone(network: str) -> Callable[[B], B]:
    """Return a decorator that enters an adapter for a class of networks and its subclasses.

    Args:
        network: name of the class, such as ``"UNet2DConditionModel"``.
    """

    def enter(adapter: B) -> B:
        _BACKBONES[network] = adapter
        return adapter

    return enter


def backbone_names() -> list[str]:
    """Return the names of the classes of networks that faircut can edit with."""
    return sorted({*_INCLUDED, *_BACKBONES})


def backbone_of(network: Any) -> Backbone:
    """Return the adapter of a network.

    Args:
        network: the denoiser of a diffusion model, such as a ``UNet2DConditionModel``.

    Raises:
        ModelError: no adapter is registered for its class.
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
