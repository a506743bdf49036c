"""VideoEditor: invert a clip once, edit it many times, with any Stable Diffusion 1.x or 2.x checkpoint."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from faircut.attention.masks import blend_mask, token_map
from faircut.attention.source import DiskStore, MemoryStore, RecordedSource, Recorder
from faircut.config.reading import short_repr
from faircut.config.values import SpatialTemporal, Supplier, to_dict
from faircut.controllers.regions import mask_layers
from faircut.edit.clip_run import ClipRun, StepEnd
from faircut.edit.inversion import Inversion, storage_dtype
from faircut.edit.pipeline import EditorPipeline
from faircut.errors import ConfigError, ReconstructionWarning, VideoError
from faircut.methods.base import NULL_TEXT_STEPS, EditTask, Method, Watcher, check_type, describe
from faircut.model import latents as vae_io
from faircut.model.noise_path import (
    classifier_free_guidance,
    denoise_latents,
    invert_latents,
    null_text_inversion,
)
from faircut.model.predictor import frozen
from faircut.video import Video

__all__ = ["EditResult", "VideoEditor", "warn_of_reconstruction"]

# Below this many dB against the VAE's own round trip an inversion has lost the clip, and edits will not keep it.
RECONSTRUCTION_FLOOR = 25.0


def warn_of_reconstruction(inversion: Inversion) -> None:
    """Say that an inversion does not give its clip back, whether that was measured just now or when it was kept.

    Warns:
        ReconstructionWarning: the quality is known, and under 25 dB.
    """
    psnr = inversion.reconstruction_psnr
    if psnr is not None and psnr < RECONSTRUCTION_FLOOR:
        warnings.warn(
            f"the inversion gives the clip back at {psnr:.1f} dB only (under {RECONSTRUCTION_FLOOR:.0f}); the edit "
            "will not keep it well: describe the clip better in the source prompt, or use more steps",
            ReconstructionWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class EditResult:
    """What an edit gives back.

    Attributes:
        video: the edited clip, or None for ``output_type="latent"``.
        latents: its latents, (frame, channel, height, width).
        report: settings, timings in seconds and qualities, ready for JSON.
    """

    video: Video | None
    latents: torch.Tensor
    report: dict[str, Any] = field(default_factory=dict)


class VideoEditor(EditorPipeline):
    """Edits videos by text with a text-to-image model and no training.

    A diffusers pipeline: devices, dtypes, offloading, LoRA and textual inversion work as they do there. Loading and
    parts are those of `faircut.edit.pipeline.EditorPipeline`; what the passes over a clip share is in
    `faircut.edit.clip_run.ClipRun`.
    """

    # Inversion ----------------------------------------------------------------------------------------------------

    def check_clip(self, clip: torch.Tensor) -> None:
        """Check that a clip is a tensor of frames or of latents with finite values.

        Args:
            clip: (frame, 3, height, width) or (frame, latent channel, height, width).

        Raises:
            VideoError: If it is not a tensor, has another shape or no frames, or contains NaN or infinity.
        """
        channels = self.backbone.latent_channels
        if not isinstance(clip, torch.Tensor):
            raise VideoError(
                f"a clip of type {type(clip).__name__} was given; give a Video, as read_video returns it, or a "
                "tensor of frames or latents"
            )
        if clip.ndim != 4 or clip.shape[1] not in (3, channels) or not len(clip):
            raise VideoError(
                f"a clip of shape {tuple(clip.shape)} was given; give frames (frame, 3, height, width) in [-1, 1] or "
                f"latents (frame, {channels}, height, width)"
            )
        if not clip.isfinite().all():
            raise VideoError("the clip contains NaN or infinite values; give finite frames in [-1, 1], or latents")

    @torch.no_grad()
    def invert(
        self,
        video: Video | torch.Tensor,
        source_prompt: str,
        *,
        num_inference_steps: int = 50,
        temporal: SpatialTemporal | None = None,
        fixed_point_steps: float = 0.0,
        supplier: Supplier = "auto",
        memory_budget: int | None = None,
        attention_folder: str | Path | None = None,
        generator: torch.Generator | None = None,
        callback_on_step_end: StepEnd | None = None,
    ) -> Inversion:
        """Bring a clip to noise by DDIM under its own prompt, without guidance.

        Args:
            video: a clip; or its frames, (frame, 3, height, width), RGB in [-1, 1]; or its scaled latents,
                (frame, latent channel, height, width).
            source_prompt: Source prompt: what the clip shows.
            num_inference_steps: N.
            temporal: how the frames see each other; by default as in `spatial_temporal`.
            fixed_point_steps: share of the steps, from the clip on, that are corrected by one fixed-point iteration
                each; 0 is FateZero's inversion, 0.1 reconstructs some 4 dB better for a tenth more time.
            supplier: where edits get the source's attention from. ``"live"`` computes it again, ``"memory"`` and
                ``"disk"`` record it now; ``"auto"`` records in memory if it fits ``memory_budget`` and is live
                otherwise.
            memory_budget: bytes that recorded attention may take in ``"auto"``; by default an eighth of the free
                memory.
            attention_folder: for ``"disk"``: an existing folder for the recorded attention.
            generator: draws the clip's latents from the VAE's posterior; without one its mean is taken.
            callback_on_step_end: as in diffusers: ``(editor, step, timestep, {"latents": ...})``.

        Raises:
            ConfigError, ModelError, PromptError, VideoError: If the input cannot be used.
            NumericalError: If latents stop being finite.
            OutOfMemoryError: If memory runs out; the message says what would fit.
        """
        noise_path = self.noise_path(num_inference_steps)
        temporal = temporal or self.spatial_temporal
        if not 0.0 <= fixed_point_steps <= 1.0:
            raise ConfigError(
                f"fixed_point_steps is {fixed_point_steps}; give a share of the steps, 0 to 1, such as 0.1"
            )
        self.tokenize(source_prompt)  # Says what is wrong with it before time is spent.
        clip = video.frames if isinstance(video, Video) else video
        self.check_clip(clip)
        supplier = self.choose_supplier(supplier, clip, num_inference_steps, memory_budget)
        store: MemoryStore | DiskStore | None = None
        if supplier == "memory":
            store = MemoryStore("cpu")
        elif supplier == "disk":
            if attention_folder is None or not Path(attention_folder).is_dir():
                raise ConfigError(
                    f"supplier 'disk' needs an existing attention_folder, but {attention_folder!r} was given; make one"
                )
            store = DiskStore(Path(attention_folder))

        run = ClipRun(self, noise_path, temporal, len(clip), (clip.shape[2], clip.shape[3]))
        with run.guarded():
            z_0, size, frames = self.to_latents(clip, generator)
            recorders = [] if store is None else [Recorder(store)]
            with run.controlled(recorders) as predict, run.steps(callback_on_step_end) as step_end:
                embedding = self.embed(source_prompt)

                def eps(z: torch.Tensor, k: int) -> torch.Tensor:
                    noise = predict("invert", k, {"source": (z, embedding)})["source"]
                    predict.control.end(z)
                    step_end(k, z, len(noise_path) - 1 - k)
                    return noise

                def eps_again(z: torch.Tensor, k: int) -> torch.Tensor:
                    return predict("correct", k, {"source": (z, embedding)})["source"]

                corrected = round(fixed_point_steps * len(noise_path))
                trajectory = invert_latents(eps, z_0, noise_path, corrected=corrected, eps_again=eps_again)
        inversion = Inversion(
            latents=torch.stack(trajectory).to(storage_dtype(self.backbone.dtype)),
            source_prompt=source_prompt,
            num_inference_steps=num_inference_steps,
            temporal=temporal,
            size=size,
            model=self.fingerprint,
            frames=frames,
            attention=store,
            fixed_point_steps=fixed_point_steps,
        )
        return inversion.of_clip(video) if isinstance(video, Video) else inversion

    @torch.no_grad()
    def reconstruct(
        self, inversion: Inversion, *, callback_on_step_end: StepEnd | None = None
    ) -> tuple[torch.Tensor, Inversion]:
        """Denoise an inversion with its own prompt and no guidance, and measure what is lost.

        Args:
            inversion: what `invert` returned.
            callback_on_step_end: as in `invert`.

        Returns:
            The latents, (frame, channel, height, width), and the inversion with its ``reconstruction_psnr`` noted: dB
            between the VAE's round trip of the clip and of the reconstruction, pictures in [0, 1].

        Warns:
            ReconstructionWarning: the quality is under 25 dB.
        """
        run = ClipRun.of(self, inversion)
        latents = inversion.latents.to(self.execution_device, torch.float32)
        with run.guarded(), run.controlled([]) as predict, run.steps(callback_on_step_end) as step_end:
            embedding = self.embed(inversion.source_prompt)

            def eps(z: torch.Tensor, k: int) -> torch.Tensor:
                return predict("denoise", k, {"source": (z, embedding)})["source"]

            back = denoise_latents(eps, latents[-1], run.noise_path, step_end)
            pictures = [self.decode(z, inversion.size) for z in (latents[0], back)]
        error = float(((pictures[0] - pictures[1]) / 2).square().mean())
        psnr = min(100.0, -10.0 * torch.log10(torch.tensor(max(error, 1e-12))).item())
        inversion = inversion.with_reconstruction(psnr)
        warn_of_reconstruction(inversion)
        return back, inversion

    @torch.no_grad()
    def locate(
        self, inversion: Inversion, words: str | Sequence[str], *, threshold: float = 0.3, steps: int = 5
    ) -> torch.Tensor:
        """Find where words of the source prompt are in a clip, by the source's cross-attention (FateZero, section 3.3).

        Args:
            inversion: what `invert` returned.
            words: one phrase of the source prompt, or several whose regions are joined.
            threshold: share of a frame's highest attention from which a position belongs to the region.
            steps: how many steps, spread over the run, the attention is averaged over.

        Returns:
            (frame, height, width), bool, on the CPU, in the clip's pixels.

        Raises:
            PromptError: a word is not in the source prompt.
        """
        run = ClipRun.of(self, inversion)
        latents = inversion.latents.to(self.execution_device, torch.float32)
        source = self.tokenize(inversion.source_prompt)
        tokens = source.tokens_of(words)
        height, width = latents.shape[-2:]
        layers = mask_layers(self.layers.values(), (height, width))
        grid = layers[0].grid((height, width))
        total = torch.zeros(inversion.num_frames, *grid, device=latents.device)
        with run.guarded():
            attention = run.source_attention(inversion, latents)
            for k in sorted({round(x) for x in torch.linspace(0, len(run.noise_path) - 1, steps).tolist()}):
                attention.advance(k)
                total += token_map((attention.probs(layer) for layer in layers), tokens, grid)
        factor = vae_io.vae_factor(self.vae)
        mask = blend_mask(total, (height * factor, width * factor), threshold)
        return mask[:, : inversion.size[0], : inversion.size[1]].cpu()

    @torch.no_grad()
    def optimise_null_text(
        self,
        inversion: Inversion,
        *,
        guidance_scale: float = 7.5,
        inner_steps: int = NULL_TEXT_STEPS,
        shared: bool = False,
        callback_on_step_end: StepEnd | None = None,
    ) -> Inversion:
        """Find unconditional embeddings with which guided denoising gives the clip back (null-text inversion).

        Args:
            inversion: what `invert` returned.
            guidance_scale: g of the edits that it is for.
            inner_steps: Largest number of gradient steps for each step of the sampler.
            shared: one embedding for all frames (Video-P2P), in place of one for each.
            callback_on_step_end: as in `invert`.

        Returns:
            The inversion with its ``null_embeddings``.

        Raises:
            ConfigError: If the guidance scale is 1: there is no guidance to undo.
        """
        if guidance_scale == 1.0:
            raise ConfigError(
                "without guidance (guidance_scale 1) there is nothing to optimise; give more, such as 7.5"
            )
        run = ClipRun.of(self, inversion)
        latents = inversion.latents.to(self.execution_device, torch.float32)
        cond, empty = self.embed(inversion.source_prompt), self.embed("")
        predict = run.beside("source")
        with run.guarded(), frozen(self.unet), run.steps(callback_on_step_end) as step_end:
            null = null_text_inversion(
                lambda z, k, embedding: predict(z, k, embedding.to(cond.dtype)),
                lambda z, k: predict(z, k, cond),
                latents,
                run.noise_path,
                # A network that has all frames in one sequence takes one text for all of them.
                empty
                if shared or self.backbone.frames_in == "sequence"
                else empty.expand(inversion.num_frames, -1, -1),
                guidance_scale,
                inner_steps=inner_steps,
                on_step_end=step_end,
            )
        return replace(inversion, null_embeddings=null)

    # Editing ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def edit(
        self,
        inversion: Inversion,
        prompt: str,
        method: Method | None = None,
        *,
        guidance_scale: float = 7.5,
        negative_prompt: str = "",
        output_type: Literal["video", "latent"] = "video",
        generator: torch.Generator | None = None,
        callback_on_step_end: StepEnd | None = None,
        watch: Sequence[Watcher] = (),
    ) -> EditResult:
        """Denoise an inversion under another prompt, with a method's controllers in the attention.

        Args:
            inversion: what `invert` returned.
            prompt: Target prompt: what the edited clip should show.
            method: an editing method, such as ``FateZero(blend_words=("jeep", "car"))``; None is DDIM alone, as with
                ``Ddim()``.
            guidance_scale: g of classifier-free guidance; 1 switches it off.
            negative_prompt: what the unconditional branch is given.
            output_type: ``"video"`` or ``"latent"``.
            generator: for methods that draw noise; DDIM itself draws none.
            callback_on_step_end: as in diffusers; what it returns as ``"latents"`` takes their place.
            watch: controllers that observe the edit, attached after the method's own; the edit is the same without
                them.

        Raises:
            ConfigError, ModelError, PromptError: If the input cannot be used.
            NumericalError: If latents stop being finite.
            OutOfMemoryError: If memory runs out; the message says what would fit.
        """
        if output_type not in ("video", "latent"):
            raise ConfigError(f"output_type is {output_type!r}; give 'video' or 'latent'")
        started = time.perf_counter()
        method = Method() if method is None else method
        check_type(method)
        for watcher in watch:
            if not isinstance(watcher, Watcher):
                raise ConfigError(f"watch holds {short_repr(watcher)}; give watchers, such as MapCapture()")
        run = ClipRun.of(self, inversion)
        source, target = self.tokenize(inversion.source_prompt), self.tokenize(prompt)
        method.check(source, target)
        _check_inversion(inversion, method, negative_prompt)
        latents = inversion.latents.to(self.execution_device, torch.float32)
        guided = guidance_scale != 1.0

        with run.guarded(), frozen(self.unet):
            attention = run.source_attention(inversion, latents, method.source_level)
            task = EditTask(
                source=source,
                target=target,
                noise_path=run.noise_path,
                trajectory=latents,
                layers=tuple(self.layers.values()),
                source_attention=attention,
                text=self.text,
                predict=run.beside("cond"),
                temporal=inversion.temporal,
                generator=generator,
                feature_layer=self.backbone.feature_layer,
            )
            begin, controllers = method.start(task), list(method.controllers(task))
            branches = self._branches(method, task, negative_prompt if guided else None, inversion.null_embeddings)
            for watcher in watch:
                watcher.attach(task, method, controllers, begin.index)
            # Regions stay as they were in the last step whose source was asked for, so watchers do not move it on.
            spare = run.source_attention(inversion, latents, method.source_level) if watch else attention
            with (
                run.controlled([*controllers, *watch]) as predict,
                run.steps(callback_on_step_end, begin.index) as after_step,
            ):
                control = predict.control

                def step_begin(k: int, z: torch.Tensor) -> torch.Tensor:
                    if any(controller.uses_source(k) for controller in controllers):
                        attention.advance(k)
                    for controller in controllers:
                        z = controller.on_latents(k, z)
                    return z

                def eps(z: torch.Tensor, k: int) -> torch.Tensor:
                    noise = predict("denoise", k, branches(z, k))
                    if not guided:
                        return noise["cond"]
                    return classifier_free_guidance(noise["uncond"], noise["cond"], control.guidance(guidance_scale))

                def step_end(k: int, z: torch.Tensor) -> torch.Tensor:
                    z = control.end(z)
                    for watcher in watch:
                        if watcher.uses_source(k):
                            watcher.on_source(k, _at_step(k, attention, spare))
                    return after_step(k, z)

                edited = denoise_latents(
                    eps, begin.latents, run.noise_path, step_end, on_step_begin=step_begin, first=begin.index
                )
            denoised = time.perf_counter()
            result = None
            if output_type == "video":
                result = inversion.as_video(self.decode(edited, inversion.size))
        report = {
            "source_prompt": inversion.source_prompt,
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "method": describe(method),
            "guidance_scale": guidance_scale,
            "num_inference_steps": len(run.noise_path),
            "temporal": to_dict(inversion.temporal),
            "supplier": "live" if inversion.attention is None else "recorded",
            "stored_bytes": inversion.stored_bytes,
            "reconstruction_psnr": inversion.reconstruction_psnr,
            "model": inversion.model,
            "seconds": {"denoise": denoised - started, "decode": time.perf_counter() - denoised},
        }
        return EditResult(result, edited, report)

    def _branches(
        self, method: Method, task: EditTask, negative_prompt: str | None, null: torch.Tensor | None
    ) -> Callable[[torch.Tensor, int], dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        """Return what says, for the latents of a step, who is in its batch; without a negative prompt nothing is
        guided."""
        cond = method.embedding(task)
        source = self.embed(task.source.text) if method.reference else None
        uncond = None if negative_prompt is None else self.embed(negative_prompt)

        def branches(z: torch.Tensor, k: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
            batch = {} if source is None else {"reference": (task.source_latents(k), source)}
            if uncond is not None:
                optimised = null is not None and method.null_text
                batch["uncond"] = (z, null[k].to(cond) if null is not None and optimised else uncond)
            return {**batch, "cond": (z, cond)}

        return branches


def _check_inversion(inversion: Inversion, method: Method, negative_prompt: str) -> None:
    """Check that an inversion has what a method needs.

    Raises:
        ConfigError: it has not.
    """
    if method.temporal is not None and method.temporal != inversion.temporal:
        raise ConfigError(
            f"{method.name} needs an inversion whose frames attend to {method.temporal.frames} with clip_norm "
            f"{method.temporal.clip_norm}, but this one's attend to {inversion.temporal.frames} with clip_norm "
            f"{inversion.temporal.clip_norm}; invert with temporal={method.temporal}"
        )
    if method.null_text and inversion.null_embeddings is None:
        raise ConfigError(f"{method.name} needs null-text embeddings; call editor.optimise_null_text(inversion) first")
    if method.null_text and negative_prompt:
        raise ConfigError(f"{method.name} puts its own embeddings in the negative prompt's place; leave that out")


def _at_step(k: int, attention: RecordedSource, spare: RecordedSource) -> RecordedSource:
    """Return the source's attention of a step: the edit's where it is there, a spare one where it is not."""
    if attention.index == k:
        return attention
    spare.advance(k)
    return spare
