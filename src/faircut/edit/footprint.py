"""How much memory the parts of a run hold at their peak, counted on tensors without data.

The UNet and the VAE are built once more on torch's meta device and evaluated there under the same controllers as in a
real run. A dispatch mode sees every storage come and go. Nothing is computed, so it takes a second or two whatever the
size of the clip.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from faircut.attention.context import BatchLayout, Layer, Step
from faircut.attention.controller import Controller
from faircut.attention.source import MemoryStore, RecordedSource, Recorder, SourceComplete
from faircut.config.values import SpatialTemporal
from faircut.controllers.spatial_temporal import SpatialTemporalAttention
from faircut.edit.memory import recorded_bytes
from faircut.methods.base import EditTask, Method
from faircut.model.backbone import Backbone, backbone_of
from faircut.model.latents import vae_factor
from faircut.model.noise_path import DDIMPath
from faircut.model.predictor import frozen
from faircut.prompts import Prompt

__all__ = ["Footprint", "LiveBytes", "Shadow", "evaluate", "footprint", "free_bytes", "what_fits"]

# Frames that `faircut.model.latents` encodes and decodes at a time.
_CHUNK = 4
# Length of the text sequence where no prompt says it: CLIP's, in every Stable Diffusion.
_CLIP_TOKENS = 77


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors alive that were made inside the block, and the most there were.

    It sees every storage that an operator returns. Parameters and inputs made before do not count, and neither does
    scratch memory inside an operator; unlike the memory of a process the figure does not depend on the allocator.

    Attributes:
        now: bytes alive.
        peak: the most there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and note the storages of what it returns."""
        result = func(*args, **(kwargs or {}))
        # An operator may hand back what it was given; that was counted when it was made, or is not ours.
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in given:
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size

    def peak_of(self, work: Callable[[], Any]) -> int:
        """Return the most bytes alive during some work, over those alive before it."""
        before = self.peak = self.now
        result = work()
        del result
        return self.peak - before


class _Fused(torch.autograd.Function):
    """What fused attention allocates, and keeps for its backward pass."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.empty_like(x) for x in ctx.saved_tensors[:3])


class _FusedAttention(TorchFunctionMode):
    """Lets fused attention allocate what its kernels do, rather than the map that the meta device would build."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            return _Fused.apply(*args[:3])
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Footprint:
    """Bytes that the parts of a run hold at their peak, besides weights and Python.

    Attributes:
        encode: one chunk of frames through the VAE's encoder.
        decode: one chunk of latents through its decoder.
        source: one evaluation of the UNet for the source alone: inversion and reconstruction.
        edit: one evaluation for the edit, with all its branches and, when live, one step of the source's attention.
        gradient: one evaluation with a backward pass, for methods that need it; else 0.
        recorded: the source's attention of all steps.
        latents: the latents of all steps.
        clip: the clip as float32 pictures.
    """

    encode: int
    decode: int
    source: int
    edit: int
    gradient: int
    recorded: int
    latents: int
    clip: int


class Shadow:
    """A model without data: the UNet and the VAE of a checkpoint on the meta device.

    Args:
        unet: the network, one that has an adapter; its weights are not read.
        vae: an ``AutoencoderKL``; likewise.
    """

    def __init__(self, unet: Any, vae: Any) -> None:
        with torch.device("meta"):
            # Module.to, because diffusers' own warns of modules to keep in float32 even where there are none.
            self.vae = torch.nn.Module.to(type(vae).from_config(vae.config), vae.dtype).eval()
        self.unet = backbone_of(unet).shadow().network

    def task(
        self,
        frames: int,
        grid: tuple[int, int],
        steps: int,
        temporal: SpatialTemporal,
        prompts: tuple[Prompt, Prompt],
        tokenize: Callable[[str], Prompt] | None = None,
    ) -> EditTask:
        """Return an edit without data, of which a method builds its controllers as for a real one.

        Args:
            frames: of the clip.
            grid: (height, width) of the latents.
            steps: N.
            temporal: how the frames see each other.
            prompts: source and target.
            tokenize: makes a Prompt of a text; needed with methods that have prompts of their own.
        """
        backbone, tokens = backbone_of(self.unet), len(prompts[0].ids)
        trajectory = torch.empty(steps + 1, frames, backbone.latent_channels, *grid, device="meta")
        # Levels matter to nobody where there are shapes and no numbers.
        levels = DDIMPath(tuple(reversed(range(steps))), torch.ones(steps), torch.ones(steps), "epsilon")

        def predict(
            z: torch.Tensor, index: int, embedding: torch.Tensor, controllers: Sequence[Controller] = ()
        ) -> torch.Tensor:
            if not torch.is_grad_enabled():
                return z  # An evaluation of its own, which holds less than the edit's.
            count, latents = (index, steps), z.to(backbone.dtype)
            return evaluate(self.unet, ("cond",), frames, grid, temporal, controllers, count, tokens, latents=latents)

        return EditTask(
            source=prompts[0],
            target=prompts[1],
            noise_path=levels,
            trajectory=trajectory,
            layers=tuple(backbone.layers().values()),
            source_attention=RecordedSource(MemoryStore(), torch.device("meta")),
            text=ShadowText(backbone, tokenize, tokens),
            predict=predict,
            temporal=temporal,
            feature_layer=backbone.feature_layer,
        )


def evaluate(
    unet: Any,
    branches: Sequence[str],
    frames: int,
    grid: tuple[int, int],
    temporal: SpatialTemporal,
    controllers: Sequence[Controller] = (),
    step: tuple[int, int] = (0, 1),
    tokens: int = _CLIP_TOKENS,
    *,
    latents: torch.Tensor | None = None,
    backward: bool = False,
) -> torch.Tensor:
    """Evaluate a network once on nothing, as `VideoEditor` does on a clip; on the meta device only shapes are computed.

    Args:
        unet: the network, one that has an adapter.
        branches: who is in the batch.
        frames: of the clip.
        grid: (height, width) of the latents.
        temporal: how the frames see each other.
        controllers: what is attached besides that.
        step: (k, N).
        tokens: length of the text sequence.
        latents: what is evaluated, (branch * frame, channel, height, width); None is zeros.
        backward: go back to latents and text as well.

    Returns:
        What the network returned, (branch * frame, channel, height, width).
    """
    backbone = backbone_of(unet)
    layout = BatchLayout(tuple(branches), frames, backbone.frames_in)
    attached = list(controllers)
    if backbone.frames_in == "batch":
        attached.append(SpatialTemporalAttention(temporal, frames))
    like: dict[str, Any] = {"dtype": backbone.dtype, "device": backbone.device}
    with ExitStack() as stack:
        control = stack.enter_context(backbone.install(attached, frames=frames, clip_norm=temporal.clip_norm))
        if backbone.device.type == "meta":
            stack.enter_context(_FusedAttention())
        control.begin(Step("denoise", step[0], step[1], 500, layout, grid))
        stack.enter_context(torch.set_grad_enabled(backward or (latents is not None and latents.requires_grad)))
        stack.enter_context(frozen(unet))
        z = torch.zeros(len(layout.branches) * frames, backbone.latent_channels, *grid, **like)
        z = z if latents is None else latents
        text = torch.zeros(layout.batch_size, tokens, backbone.text_channels, **like)
        inputs = (z.requires_grad_(), text.requires_grad_()) if backward else ()
        timestep = torch.zeros((), dtype=torch.long, device=backbone.device)
        noise = backbone.predict(z, timestep, text, layout)
        control.end(noise[:frames])
        if backward:
            torch.autograd.grad(noise.sum(), inputs)
        return noise


@dataclass(frozen=True)
class ShadowText:
    """Embeddings of the right shape, for methods with prompts of their own; see `faircut.methods.base.TextAccess`.

    Attributes:
        backbone: of the network without data.
        tokenizer: makes a Prompt of a text.
        token_limit: tokens of every sequence.
    """

    backbone: Backbone
    tokenizer: Callable[[str], Prompt] | None
    token_limit: int

    def tokenize(self, text: str) -> Prompt:
        """Tokenise a prompt."""
        assert self.tokenizer is not None
        return self.tokenizer(text)

    def embed(self, prompt: Prompt) -> torch.Tensor:
        """Return zeros, with data: what is counted from them decides how many keys there are."""
        return torch.zeros(1, len(prompt.ids), self.backbone.text_channels, dtype=self.backbone.dtype)

    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values without data."""
        return self.backbone.project(layer, embedding.to(self.backbone.device))


def footprint(
    shadow: Shadow,
    frames: int,
    size: tuple[int, int],
    steps: int,
    temporal: SpatialTemporal,
    method: Method | None = None,
    prompts: tuple[Prompt, Prompt] | None = None,
    *,
    tokenize: Callable[[str], Prompt] | None = None,
    live: bool = True,
    guided: bool = True,
) -> Footprint:
    """Count the memory of a run.

    Args:
        shadow: the model.
        frames: of the clip.
        size: (height, width) of the clip in pixels.
        steps: N.
        temporal: how the frames see each other.
        method: the editing method; None is DDIM alone.
        prompts: source and target; needed with a method.
        tokenize: makes a Prompt of a text; needed with methods that have prompts of their own.
        live: whether the source's attention is computed again in every step.
        guided: whether there is classifier-free guidance.
    """
    unet, vae, backbone = shadow.unet, shadow.vae, backbone_of(shadow.unet)
    factor = vae_factor(vae)
    grid = (-(-size[0] // factor), -(-size[1] // factor))
    chunk = min(_CHUNK, frames)
    tokens = _CLIP_TOKENS if prompts is None else len(prompts[0].ids)
    counter = LiveBytes()

    def encode() -> Any:
        pictures = torch.empty(chunk, 3, grid[0] * factor, grid[1] * factor, dtype=vae.dtype, device="meta")
        return vae.encode(pictures).latent_dist.mode()

    def decode() -> Any:
        z = torch.empty(chunk, vae.config.latent_channels, *grid, dtype=vae.dtype, device="meta")
        return vae.decode(z).sample.float().clamp(-1, 1)

    # Recorded attention is not that of the edit's own noise level, so that it is computed again all the same.
    live = live or (method is not None and method.source_level == "denoising")

    def attach(method: Method, prompts: tuple[Prompt, Prompt]) -> tuple[EditTask, Sequence[Controller], int]:
        """Build the controllers, and have the source's attention ready in the step in which most of them look at it."""
        task = shadow.task(frames, grid, steps, temporal, prompts, tokenize)
        controllers = list(method.controllers(task))
        counter.now -= task.trajectory.nbytes  # It is counted among the latents.
        counter.peak = counter.now
        # The step in which most of them act holds the most.
        k = max(
            range(method.first_step(steps), steps), key=lambda index: sum(c.uses_source(index) for c in controllers)
        )
        task.source_attention.advance(k)
        store = task.source_attention.store
        last = next((layer.name for layer in reversed(task.layers) if layer.coarse), None)
        with suppress(SourceComplete):
            evaluate(unet, ("source",), frames, grid, temporal, [Recorder(store, last)], (k, steps), tokens)
        if not live:
            # What was recorded is counted whole; here it only supplies shapes.
            counter.now -= store.nbytes
            counter.peak = counter.now
        return task, controllers, k

    def edit() -> None:
        controllers: Sequence[Controller] = ()
        k = 0
        if method is not None and prompts is not None:
            # Kept while the edit is evaluated, as the source's attention is.
            _task, controllers, k = attach(method, prompts)
        branches = ("uncond", "cond") if guided else ("cond",)
        if method is not None and method.reference:
            branches = ("reference", *branches)
        evaluate(unet, branches, frames, grid, temporal, controllers, (k, steps), tokens)

    def gradient() -> None:
        if method is None or prompts is None:
            return
        task, controllers, k = attach(method, prompts)
        if not method.cost(task, controllers).gradients:
            counter.peak = counter.now
            return
        evaluate(unet, ("uncond",), frames, grid, temporal, (), (k, steps), tokens, backward=True)
        for controller in controllers:
            controller.on_latents(k, task.source_latents(k))

    with torch.no_grad(), counter:
        peaks: Mapping[str, int] = {
            "encode": counter.peak_of(encode),
            "decode": counter.peak_of(decode),
            "source": counter.peak_of(lambda: evaluate(unet, ("source",), frames, grid, temporal, tokens=tokens)),
            "edit": counter.peak_of(edit),
            "gradient": counter.peak_of(gradient),
        }
    itemsize = backbone.dtype.itemsize
    return Footprint(
        **peaks,
        recorded=recorded_bytes(backbone.layers().values(), grid, frames, steps, tokens, itemsize),
        latents=(steps + 1) * frames * backbone.latent_channels * grid[0] * grid[1] * itemsize,
        clip=frames * 3 * size[0] * size[1] * 4,
    )


def free_bytes(device: torch.device) -> int:
    """Return how much more memory this process can take on a device, what its allocator holds in reserve included."""
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserve
    free = psutil.virtual_memory().available
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free = min(free, max(0, limit - psutil.Process().memory_info().vms))
    return free


def what_fits(
    unet: Any, vae: Any, frames: int, size: Sequence[int], temporal: SpatialTemporal, free: int
) -> str | None:
    """Find the largest clip whose live edit fits into memory, losing as little as possible.

    Args:
        unet: the UNet.
        vae: the VAE.
        frames: of the clip that did not fit.
        size: its (height, width) in pixels.
        temporal: how the frames see each other.
        free: bytes that are free.

    Returns:
        The choice in words, with its bytes and those that are free; None if nothing fits.
    """
    counted = footprint(Shadow(unet, vae), frames, (size[0], size[1]), 1, temporal)
    halves = [frames]
    while halves[-1] > 1:
        halves.append(halves[-1] // 2)
    options = [(count, share) for share in (1.0, 0.75, 0.5, 0.25) for count in halves]
    for count, share in sorted(options, key=lambda option: -option[0] * option[1] ** 2):
        # All of it grows linearly with pixels and, but for the VAE's chunks, with frames.
        pixels, chunks = share**2, min(_CHUNK, count) / min(_CHUNK, frames)
        # A third branch for the source's layout, and what allocators keep besides.
        unet_bytes, vae_bytes = 1.5 * counted.edit * count / frames, max(counted.encode, counted.decode) * chunks
        needed = pixels * (1.25 * max(unet_bytes, vae_bytes) + 2 * counted.clip * count / frames)
        if needed <= free:
            what = f"{count} frames of {round(size[1] * share)} x {round(size[0] * share)} with supplier 'live'"
            return f"{what}, which needs about {needed / 2**30:.2f} GiB of the {free / 2**30:.2f} GiB that are free"
    return None
