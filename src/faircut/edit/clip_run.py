"""One pass of the sampler over a clip: the network under control, progress, and memory errors that say what would
fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from faircut.attention.controller import Controller
from faircut.attention.source import LiveSource, RecordedSource, Recorder
from faircut.config.values import SpatialTemporal
from faircut.controllers.spatial_temporal import SpatialTemporalAttention
from faircut.edit.footprint import free_bytes, what_fits
from faircut.edit.inversion import Inversion
from faircut.edit.memory import explain_out_of_memory
from faircut.edit.pipeline import EditorPipeline
from faircut.errors import ConfigError
from faircut.methods.base import Predict
from faircut.model.noise_path import NoisePath
from faircut.model.predictor import NoisePredictor

__all__ = ["ClipRun", "StepEnd"]

StepEnd = Callable[[Any, int, int, dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]
"""Called after a step as in diffusers: ``(pipeline, step, timestep, {"latents": ...})``."""


@dataclass(frozen=True)
class ClipRun:
    """One pass of the sampler over a clip.

    Attributes:
        pipeline: the model.
        noise_path: the noise levels.
        temporal: how the frames see each other.
        frames: number of frames.
        size: (height, width) of the clip, for messages.
    """

    pipeline: EditorPipeline
    noise_path: NoisePath
    temporal: SpatialTemporal
    frames: int
    size: tuple[int, int]

    @classmethod
    def of(cls, pipeline: EditorPipeline, inversion: Inversion) -> ClipRun:
        """Return a run over a clip that was inverted.

        Raises:
            ModelError: it was inverted with another model.
        """
        pipeline.check_model(inversion)
        noise_path = pipeline.noise_path(inversion.num_inference_steps)
        return cls(pipeline, noise_path, inversion.temporal, inversion.num_frames, inversion.size)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Free offloaded weights at the end, and turn running out of memory into an error that says what would fit.

        Raises:
            OutOfMemoryError: memory ran out.
        """
        pipeline = self.pipeline
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:

            def fitting() -> str | None:
                free = free_bytes(pipeline.execution_device)
                return what_fits(pipeline.unet, pipeline.vae, self.frames, self.size, SpatialTemporal(), free)

            explain_out_of_memory(error, self.frames, self.size, fitting)
            raise
        pipeline.maybe_free_model_hooks()

    @contextmanager
    def controlled(self, controllers: Sequence[Controller]) -> Iterator[NoisePredictor]:
        """Install controllers, and after them what lets the frames see each other; they are removed afterwards.

        Args:
            controllers: in the order in which their stages run.

        Yields:
            What predicts noise under their control.

        Raises:
            ConfigError: a way for frames to see each other was chosen for a network whose frames all see each other.
        """
        backbone, attached = self.pipeline.backbone, list(controllers)
        if backbone.frames_in == "batch":
            attached.append(SpatialTemporalAttention(self.temporal, self.frames))
        elif self.temporal != SpatialTemporal():
            raise ConfigError(
                f"{self.temporal} was asked for, but all frames of a {type(self.pipeline.unet).__name__} see each "
                "other; leave it out"
            )
        with backbone.install(attached, frames=self.frames, clip_norm=self.temporal.clip_norm) as control:
            yield NoisePredictor(backbone, control, self.noise_path, self.frames)

    def beside(self, branch: str) -> Predict:
        """Return what predicts noise for one branch alone, with controllers of its own, beside the run of the
        sampler."""

        def predict(
            z: torch.Tensor, index: int, embedding: torch.Tensor, controllers: Sequence[Controller] = ()
        ) -> torch.Tensor:
            with self.controlled(controllers) as noise:
                return noise("denoise", index, {branch: (z, embedding)})[branch]

        return predict

    def source_attention(
        self,
        inversion: Inversion,
        latents: torch.Tensor,
        level: Literal["inversion", "denoising"] = "inversion",
    ) -> RecordedSource:
        """Return the supplier of the source's attention: what was recorded, or a pass of the source beside the run.

        Args:
            inversion: of the clip.
            latents: its latents on the model's device, (step + 1, frame, channel, height, width).
            level: at which latents it is computed, see `faircut.methods.base.Method`.
        """
        pipeline = self.pipeline
        last = next((layer.name for layer in reversed(pipeline.layers.values()) if layer.coarse), None)
        # Without such a layer nothing was recorded; the live source says so as soon as a method asks for it.
        if inversion.attention is not None and level == "inversion" and last is not None:
            return RecordedSource(inversion.attention, pipeline.execution_device)
        embedding = pipeline.embed(inversion.source_prompt)
        predict = self.beside("source")
        # In an inversion the attention that belongs to t_k was computed from the latent one level cleaner.
        offset = len(self.noise_path) - (1 if level == "inversion" else 0)

        def run_source(k: int, recorder: Recorder) -> None:
            predict(latents[offset - k], k, embedding, [recorder])

        return LiveSource(run_source, pipeline.execution_device, last)

    @contextmanager
    def steps(self, callback: StepEnd | None, first: int = 0) -> Iterator[Callable[..., torch.Tensor]]:
        """Show the pipeline's progress bar.

        Args:
            callback: the user's; what it returns as ``"latents"`` takes their place.
            first: the step that the run begins with.

        Yields:
            ``step_end(k, latents, number=k) -> latents``, to be called after step k; ``number`` is what the callback is
            told.
        """
        with self.pipeline.progress_bar(total=len(self.noise_path) - first) as bar:

            def step_end(k: int, z: torch.Tensor, number: int | None = None) -> torch.Tensor:
                if callback is not None:
                    number = k if number is None else number
                    z = (callback(self.pipeline, number, self.noise_path.timesteps[k], {"latents": z}) or {}).get(
                        "latents", z
                    )
                bar.update()
                return z

            yield step_end
