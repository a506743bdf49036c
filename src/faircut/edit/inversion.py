"""An inversion as a value: computed once, edited many times, saved, loaded and found again by its content."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from faircut.attention.source import AttentionStore, DiskStore
from faircut.config.values import SpatialTemporal, from_dict, to_dict
from faircut.errors import ConfigError, FaircutError
from faircut.files import GENERATOR, atomic_path, list_files
from faircut.files.cache import Cache
from faircut.files.tensors import file_digest, save_tensors
from faircut.video import SourceInfo, Video

__all__ = ["Inversion", "facts_digest", "find_inversion", "keep_inversion", "storage_dtype", "to_bytes"]

_FORMAT = 5
_FACTS, _TENSORS = "inversion.json", "inversion.safetensors"
_ATTENTION = re.compile(r"attention/step_[0-9]{4,}\.safetensors")
_LONGEST = 1 << 24  # Bytes of inversion.json; a thousand frames take a tenth of a megabyte.


@dataclass(frozen=True)
class Inversion:
    """A clip brought to noise by DDIM, with all that editing it needs.

    Attributes:
        latents: (step + 1, frame, channel, height, width), the clip first, the noisiest last.
        source_prompt: Source prompt: what the clip shows.
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
        null_embeddings: (step, 1 or frame, token, channel), unconditional embeddings with which guided denoising gives
            the clip back (`VideoEditor.optimise_null_text`); None if they were not sought.
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

    @property
    def supplier(self) -> Literal["live", "memory", "disk"]:
        """Where the source's attention comes from: computed again, or recorded in memory or on disk."""
        if self.attention is None:
            return "live"
        return "disk" if isinstance(self.attention, DiskStore) else "memory"

    def of_clip(self, video: Video | None) -> Inversion:
        """Return the inversion with the times and the source of a clip, whose frames must be the same; None has
        neither."""
        if video is None:
            return replace(self, times=None, duration=None, source=None)
        return replace(self, times=video.times, duration=video.duration, source=video.source)

    def as_video(self, frames: torch.Tensor) -> Video:
        """Give frames, (frame, 3, height, width) in [-1, 1], the times and the source of the clip that was inverted."""
        if self.times is None or self.duration is None:
            return Video.from_frames(frames)
        return Video(frames, self.times, self.duration, self.source)

    def with_reconstruction(self, psnr: float) -> Inversion:
        """Return the inversion with its reconstruction quality noted, in dB."""
        return replace(self, reconstruction_psnr=psnr)

    def save(self, folder: str | Path, *, key: str | None = None) -> Path:
        """Write the inversion to a folder (safetensors and JSON), whole or not at all.

        ``inversion.json`` lists every other file with its digest, and bears one of its own.

        Args:
            folder: where; an existing inversion there is replaced.
            key: the name by which a cache finds the inversion.

        Returns:
            The folder.

        Raises:
            ConfigError: the folder holds something that faircut did not make.
            OSError: it cannot be written.
        """
        folder = Path(folder)
        tensors = {"latents": self.latents}
        for name in ("frames", "null_embeddings"):
            if getattr(self, name) is not None:
                tensors[name] = getattr(self, name)
        facts = {
            "format": _FORMAT,
            "key": key,
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
            save_tensors(tensors, path / _TENSORS)
            if self.attention is not None:
                (path / "attention").mkdir()
                _copy(self.attention, DiskStore(path / "attention"))
            facts |= {"generator": GENERATOR, "files": {name: file_digest(path / name) for name in list_files(path)}}
            # In ASCII: a path that is not valid text is escaped.
            (path / _FACTS).write_text(json.dumps(facts | {"digest": _digest(facts)}, indent=1))
        return folder

    @classmethod
    def load(cls, folder: str | Path, *, key: str | None = None, owner: object = None) -> Inversion:
        """Read an inversion from a folder, and check all of it; recorded attention stays on disk until it is used.

        Args:
            folder: that `save` wrote.
            key: the name by which a cache finds it; None for any.
            owner: what the folder goes with; it is referred to as long as recorded attention may be read.

        Raises:
            ConfigError: If the folder holds no inversion, or a damaged one.
        """
        folder = Path(folder)
        try:
            facts = _read_facts(folder / _FACTS)
            if facts.key != key and key is not None:
                raise ConfigError(f"it was made under the key {facts.key}")
            for name, digest in facts.files.items():
                if name != _TENSORS and not (facts.attention and _ATTENTION.fullmatch(name)):
                    raise ConfigError(f"it lists a file {name!r}, which no inversion has")
                if not (folder / name).is_file():
                    raise ConfigError(f"its file {name} is missing")
                if file_digest(folder / name) != digest:
                    raise ConfigError(f"its file {name} is not as it was written")
            with safe_open(folder / _TENSORS, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            _check_tensors(facts, tensors)
            _check_facts(facts, tensors["latents"].shape[1])
            return cls(
                **tensors,
                source_prompt=facts.source_prompt,
                num_inference_steps=facts.num_inference_steps,
                temporal=facts.temporal,
                size=facts.size,
                model=facts.model,
                times=facts.times,
                duration=facts.duration,
                source=facts.source,
                attention=DiskStore(folder / "attention", owner) if facts.attention else None,
                fixed_point_steps=facts.fixed_point_steps,
                reconstruction_psnr=facts.reconstruction_psnr,
            )
        except (FaircutError, OSError, ValueError, KeyError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]
            raise ConfigError(f"{folder} holds no readable inversion ({reason}); invert the clip again") from None


@dataclass(frozen=True)
class _Facts:
    """What ``inversion.json`` says; the fields of `Inversion` are described there."""

    format: int
    generator: str
    digest: str
    files: Mapping[str, str]
    key: str | None
    source_prompt: str
    num_inference_steps: int
    temporal: SpatialTemporal
    size: tuple[int, int]
    model: str
    fixed_point_steps: float
    reconstruction_psnr: float | None
    times: tuple[Fraction, ...] | None
    duration: Fraction | None
    source: SourceInfo | None
    attention: bool


def _digest(facts: Mapping[str, Any]) -> str:
    """Return the digest of what ``inversion.json`` says, but for the digest itself."""
    text = json.dumps({name: value for name, value in facts.items() if name != "digest"}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read_facts(path: Path) -> _Facts:
    """Read ``inversion.json``.

    Raises:
        ConfigError, OSError, ValueError: it is missing or damaged.
    """
    if not path.is_file():
        raise ConfigError(f"there is no {path.name}")
    if path.stat().st_size > _LONGEST:
        raise ConfigError(f"{path.name} has more than {_LONGEST:,} bytes")
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict) or "format" not in data:
            raise ConfigError(f"{path.name} holds no facts of an inversion")
        if data["format"] != _FORMAT:
            raise ConfigError(f"it has format {data['format']}, and this version reads {_FORMAT}")
        if data.get("digest") != _digest(data):
            raise ConfigError(f"{path.name} is not as it was written")
        return from_dict(_Facts, data, path.name)
    except (TypeError, ArithmeticError, RecursionError) as error:
        raise ConfigError(f"{path.name}: {type(error).__name__}: {error}") from None


def _check_facts(facts: _Facts, frames: int) -> None:
    """Check that the numbers of an inversion are possible ones.

    Raises:
        ConfigError: one is not.
    """
    psnr = facts.reconstruction_psnr
    times, duration = facts.times or (), (() if facts.duration is None else (facts.duration,))
    for right, what in (
        (facts.num_inference_steps >= 1, "the number of steps"),
        (min(facts.size) >= 1, "the size"),
        (0.0 <= facts.fixed_point_steps <= 1.0, "the share of fixed-point steps"),
        (psnr is None or math.isfinite(psnr), "the reconstruction quality"),
        (facts.times is None if facts.duration is None else len(times) == frames, "the number of times"),
        (all(a < b for a, b in pairwise((*times, *duration))), "the order of the times"),
    ):
        if not right:
            raise ConfigError(f"{what} in it cannot be right")


def _check_tensors(facts: _Facts, tensors: Mapping[str, torch.Tensor]) -> None:
    """Check names, shapes, dtypes and values of an inversion's tensors against its facts.

    Raises:
        ConfigError: they do not fit.
    """
    if "latents" not in tensors or not set(tensors) <= {"latents", "frames", "null_embeddings"}:
        raise ConfigError(f"its tensors are {', '.join(sorted(tensors)) or 'none'}")
    steps, latents = facts.num_inference_steps, tensors["latents"]
    if latents.ndim != 5 or len(latents) != steps + 1 or 0 in latents.shape:
        raise ConfigError(f"its latents have the shape {tuple(latents.shape)} for {steps} steps")
    count = latents.shape[1]
    frames = tensors.get("frames")
    if frames is not None and (frames.shape != (count, 3, *facts.size) or frames.dtype != torch.uint8):
        raise ConfigError(f"its frames have the shape {tuple(frames.shape)} and the type {frames.dtype}")
    null = tensors.get("null_embeddings")
    if null is not None and (null.ndim != 4 or len(null) != steps or null.shape[1] not in (1, count)):
        raise ConfigError(f"its null_embeddings have the shape {tuple(null.shape)}")
    for name, tensor in tensors.items():
        if name != "frames" and not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise ConfigError(f"its {name} contain values that are not finite numbers")


def _copy(attention: AttentionStore, to: DiskStore) -> None:
    """Copy recorded attention, a step at a time."""
    for index, layers in attention.entries().items():
        for layer in layers:
            to.put(index, layer, *attention.get(index, layer))
        to.close_step(index)


def facts_digest(folder: str | Path) -> str:
    """Return a digest of ``inversion.json`` in a folder, which lists the digests of all other files.

    Raises:
        ConfigError: If the folder holds no inversion.
    """
    try:
        return file_digest(Path(folder) / _FACTS)
    except OSError as error:
        raise ConfigError(
            f"{folder} holds no readable inversion ({error.strerror or error}); invert the clip again"
        ) from None


def find_inversion(cache: Cache | None, key: str) -> Inversion | None:
    """Look an inversion up in a cache; a damaged one is removed, with a warning.

    Args:
        cache: None finds nothing.
        key: its name, as `Session.key` gives it.
    """
    if cache is None:
        return None
    found = cache.find(key, lambda folder, owner: Inversion.load(folder, key=key, owner=owner))
    if found is not None and found.reconstruction_psnr is None:
        psnr = cache.notes(key).get("reconstruction_psnr")
        return found.with_reconstruction(psnr) if isinstance(psnr, float) and math.isfinite(psnr) else found
    return found


def keep_inversion(cache: Cache | None, key: str, inversion: Inversion) -> None:
    """Keep an inversion in a cache, or note of one that is there what was measured since.

    Args:
        cache: None keeps nothing.
        key: its name.
        inversion: it, found or new.
    """
    if cache is None:
        return
    cache.keep(key, lambda folder: inversion.save(folder, key=key))
    if inversion.reconstruction_psnr is not None and not cache.notes(key):
        cache.note(key, {"reconstruction_psnr": inversion.reconstruction_psnr})


def to_bytes(frames: torch.Tensor) -> torch.Tensor:
    """Return frames, RGB in [-1, 1], as an inversion keeps them: uint8 on the CPU."""
    return ((frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def storage_dtype(compute: torch.dtype) -> torch.dtype:
    """Return what trajectories are kept in: float32 for a float32 model, float16 for any half-precision one.

    Latents stay well within float16's range, where it is eight times finer than bfloat16.
    """
    return torch.float32 if compute == torch.float32 else torch.float16
