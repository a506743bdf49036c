"""An inversion as a value: computed once, edited many times, saved, loaded and found again by its content."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from faircut.attention.source import AttentionStore, DiskStore
from faircut.config import SpatialTemporal, from_dict, to_dict
from faircut.errors import ConfigError, FaircutError
from faircut.files import atomic_path, list_files, write_json
from faircut.video import SourceInfo, Video

__all__ = ["Inversion"]

_FORMAT = 4


@dataclass(frozen=True)
class Inversion:
    """A clip brought to noise by DDIM, with all that editing it needs.

    Attributes:
        latents: (step + 1, frame, channel, height, width), the clip first, the noisiest last.
        source_prompt: what is in the clip.
        num_inference_steps: N.
        temporal: how the frames saw each other; edits use the same.
        size: (height, width) of the clip in pixels, before padding.
        model: fingerprint of the model it belongs to: weights, configuration, scheduler, tokenizer, adapters, dtype.
        frames: the clip, uint8 (frame, channel, height, width), or None when latents were inverted.
        times: when each frame begins, in seconds, or None when there was no video.
        duration: when the last frame ends, in seconds.
        source: the file that the clip was read from.
        attention: the source's queries and keys, if they were recorded.
        fixed_point_steps: share of the steps, from the clip on, that made one fixed-point iteration.
        null_embeddings: (step, 1 or frame, token, channel), unconditional embeddings with which guided denoising gives the
            clip back (`VideoEditor.optimise_null_text`); None if they were not sought.
        reconstruction_psnr: dB between the clip as the VAE alone gives it back and as inversion and denoising do; None
            until it is measured.
    """

    latents: torch.Tensor
    source_prompt: str
    num_inference_steps: int
    temporal: SpatialTemporal
    size: tuple[int, int]
    model: str
    frames: torch.Tensor | None = None
    times: tuple[Fraction, ...] | None = None
    duration: Fraction | None = None
    source: SourceInfo | None = None
    attention: AttentionStore | None = field(default=None, compare=False)
    fixed_point_steps: float = 0.0
    null_embeddings: torch.Tensor | None = None
    reconstruction_psnr: float | None = None

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return self.latents.shape[1]

    @property
    def stored_bytes(self) -> int:
        """Bytes kept between inversion and edit: the latents, and the attention if it was recorded."""
        return self.latents.nbytes + (self.attention.nbytes if self.attention is not None else 0)

    def of_clip(self, video: Video) -> Inversion:
        """Return the inversion with the times and the source of a clip, whose frames must be the same."""
        return replace(self, times=video.times, duration=video.duration, source=video.source)

    def as_video(self, frames: torch.Tensor) -> Video:
        """Give frames, (frame, 3, height, width) in [-1, 1], the times and the source of the clip that was inverted."""
        if self.times is None or self.duration is None:
            return Video.from_frames(frames)
        return Video(frames, self.times, self.duration, self.source)

    def with_reconstruction(self, psnr: float) -> Inversion:
        """Return the inversion with its reconstruction quality noted, in dB."""
        return replace(self, reconstruction_psnr=psnr)

    def save(self, folder: str | Path) -> Path:
        """Write the inversion to a folder (safetensors and JSON), whole or not at all.

        Args:
            folder: where; an existing inversion there is replaced.

        Returns:
            The folder.
        """
        folder = Path(folder)
        tensors = {"latents": self.latents.detach().cpu().contiguous()}
        for name in ("frames", "null_embeddings"):
            if getattr(self, name) is not None:
                tensors[name] = getattr(self, name).cpu().contiguous()
        facts = {
            "format": _FORMAT,
            "source_prompt": self.source_prompt,
            "num_inference_steps": self.num_inference_steps,
            "temporal": to_dict(self.temporal),
            "size": list(self.size),
            "model": self.model,
            "fixed_point_steps": self.fixed_point_steps,
            "reconstruction_psnr": self.reconstruction_psnr,
            "times": to_dict(self.times),
            "duration": to_dict(self.duration),
            "source": to_dict(self.source),
            "attention": self.attention is not None,
        }
        with atomic_path(folder) as path:
            path.mkdir()
            save_file(tensors, path / "inversion.safetensors")
            if self.attention is not None:
                (path / "attention").mkdir()
                _copy(self.attention, DiskStore(path / "attention"))
            write_json(path / "inversion.json", {**facts, "files": [*list_files(path), "inversion.json"]})
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Inversion:
        """Read an inversion from a folder; recorded attention stays on disk until it is used.

        Raises:
            ConfigError: there is no inversion in the folder, or it is damaged.
        """
        folder = Path(folder)
        try:
            facts = json.loads((folder / "inversion.json").read_text())
            with safe_open(folder / "inversion.safetensors", framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts["format"] != _FORMAT:
                raise ConfigError(
                    f"{folder} holds format {facts['format']}; this version reads {_FORMAT}; invert again"
                )
            return cls(
                latents=tensors["latents"],
                source_prompt=facts["source_prompt"],
                num_inference_steps=facts["num_inference_steps"],
                temporal=from_dict(SpatialTemporal, facts["temporal"]),
                size=tuple(facts["size"]),
                model=facts["model"],
                frames=tensors.get("frames"),
                null_embeddings=tensors.get("null_embeddings"),
                times=None if facts["times"] is None else tuple(map(Fraction, facts["times"])),
                duration=None if facts["duration"] is None else Fraction(facts["duration"]),
                source=None if facts["source"] is None else from_dict(SourceInfo, facts["source"]),
                attention=DiskStore(folder / "attention") if facts["attention"] else None,
                fixed_point_steps=facts["fixed_point_steps"],
                reconstruction_psnr=facts["reconstruction_psnr"],
            )
        except FaircutError:
            raise
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ConfigError(
                f"{folder} holds no readable inversion ({error}); write one with Inversion.save"
            ) from None


def _copy(attention: AttentionStore, to: DiskStore) -> None:
    """Copy recorded attention, a step at a time."""
    for index, layers in attention.entries().items():
        for layer in layers:
            to.put(index, layer, *attention.get(index, layer))
        to.close_step(index)


def storage_dtype(compute: torch.dtype) -> torch.dtype:
    """Return what trajectories are kept in: float32 for a float32 model, float16 for any half-precision one.

    Latents stay well within float16's range, where it is eight times finer than bfloat16.
    """
    return torch.float32 if compute == torch.float32 else torch.float16
