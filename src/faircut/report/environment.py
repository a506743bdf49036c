"""Provenance of results: versions, hashes and memory."""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from faircut._version import __version__

if TYPE_CHECKING:
    from faircut.video import Video

__all__ = ["Environment", "PeakMemory", "describe_clip", "hash_clip", "peak_rss"]

_PACKAGES = ("torch", "diffusers", "transformers", "av", "numpy", "opencv-python-headless", "torchmetrics")


def _versions() -> dict[str, str]:
    versions = {"faircut": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


@dataclass(frozen=True)
class Environment:
    """Software and hardware of a run.

    Attributes:
        versions: Versions of faircut, Python and the libraries that affect results.
        platform: Operating system and processor.
        device: torch device, with its name if it has one.
        dtype: dtype of the UNet.
        threads: Number of CPU threads that torch uses.
    """

    versions: dict[str, str] = field(default_factory=_versions)
    platform: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1

    @classmethod
    def of(cls, device: object, dtype: object) -> Environment:
        """Describe the current process.

        Args:
            device: torch device on which the model runs.
            dtype: torch dtype of the UNet.
        """
        import torch

        name = str(device)
        if name.startswith("cuda"):
            name += f" ({torch.cuda.get_device_name(torch.device(name))})"
        return cls(device=name, dtype=str(dtype).removeprefix("torch."), threads=torch.get_num_threads())


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory of the current process so far.

    Attributes:
        rss_bytes: Peak resident memory in bytes.
        gpu_bytes: Peak memory allocated by torch on the CUDA device in bytes, or None if CUDA is not used.
    """

    rss_bytes: int
    gpu_bytes: int | None = None

    @classmethod
    def now(cls) -> PeakMemory:
        """Measure the peak memory so far."""
        import torch

        used = torch.cuda.is_available() and torch.cuda.is_initialized()
        return cls(peak_rss(), torch.cuda.max_memory_allocated() if used else None)


def peak_rss() -> int:
    """Return the peak resident memory of this process in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS reports bytes, other systems kibibytes.
    return peak if sys.platform == "darwin" else peak * 1024


def hash_clip(path: str | Path) -> str:
    """Hash the bytes of a clip's file, or of the pictures in its folder in the order of their names.

    Args:
        path: File or folder.

    Returns:
        ``sha256:`` and 64 hexadecimal digits.
    """
    path = Path(path)
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file()):
        if path.is_dir():
            digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def describe_clip(video: Video, path: str | Path) -> dict[str, Any]:
    """Return the path, hash, size, frame rate and duration of a clip, and how reading changed it.

    Args:
        video: The clip as it was read.
        path: File or folder that it was read from.
    """
    height, width = video.size
    facts: dict[str, Any] = {
        "path": str(path),
        "hash": hash_clip(path),
        "frames": len(video),
        "height": height,
        "width": width,
        "fps": round(float(video.fps), 4),
        "seconds": round(float(video.duration), 4),
    }
    if video.source is not None:
        facts |= {"selection": str(video.source.selection), "notes": list(video.source.notes)}
    return facts
