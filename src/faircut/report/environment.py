"""Where a number comes from: versions, hashes, memory."""

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
    found = {"faircut": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


@dataclass(frozen=True)
class Environment:
    """What a run ran with.

    Attributes:
        versions: of faircut, Python and the libraries that numbers depend on.
        platform: operating system and processor.
        device: the torch device, with its name where it has one.
        dtype: of the UNet.
        threads: that torch computes with on the CPU.
    """

    versions: dict[str, str] = field(default_factory=_versions)
    platform: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")
    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1

    @classmethod
    def of(cls, device: object, dtype: object) -> Environment:
        """Describe this process.

        Args:
            device: the torch device that the model runs on.
            dtype: the torch dtype of the UNet.
        """
        import torch

        name = str(device)
        if name.startswith("cuda"):
            name += f" ({torch.cuda.get_device_name(torch.device(name))})"
        return cls(device=name, dtype=str(dtype).removeprefix("torch."), threads=torch.get_num_threads())


@dataclass(frozen=True)
class PeakMemory:
    """The most memory that this process has held so far.

    Attributes:
        rss_bytes: resident main memory.
        gpu_bytes: memory of the CUDA device that torch had allocated; None without one.
    """

    rss_bytes: int
    gpu_bytes: int | None = None

    @classmethod
    def now(cls) -> PeakMemory:
        """Read it."""
        import torch

        used = torch.cuda.is_available() and torch.cuda.is_initialized()
        return cls(peak_rss(), torch.cuda.max_memory_allocated() if used else None)


def peak_rss() -> int:
    """Return the most resident memory that this process has held, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, everyone else kibibytes.
    return peak if sys.platform == "darwin" else peak * 1024


def hash_clip(path: str | Path) -> str:
    """Identify a clip by the bytes of its file, or of the pictures in its folder, in order of their names.

    Args:
        path: a file or a folder.

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
    """Say what a clip is: where it was, its hash, its frames, size and rate, and what reading it did.

    Args:
        video: the clip, as it was read.
        path: where from.
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
