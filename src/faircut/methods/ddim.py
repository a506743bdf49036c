"""DDIM inversion and guidance alone: what every other method adds to (Song et al., ICLR 2021, arXiv 2010.02502)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faircut.config.values import TUNED, SpatialTemporal
from faircut.methods.base import Method, register

__all__ = ["Ddim", "TuneAVideo"]


@register
@dataclass(frozen=True)
class Ddim(Method):
    """Denoises the inverted noise under the target prompt; nothing else keeps the edit close to the source.

    ``z_T = invert(z_0, source)``, then ``z_{t-1} = step(z_t, eps_u + g (eps_target - eps_u))``.
    """

    name: ClassVar[str] = "ddim"
    title: ClassVar[str] = "DDIM inversion and guidance"
    paper: ClassVar[str] = "Song et al., ICLR 2021, arXiv 2010.02502"


@register
@dataclass(frozen=True)
class TuneAVideo(Method):
    """Denoises the inverted noise under the target prompt, on a model that `faircut tune` has tuned to the clip.

    Each frame attends to the first frame and to the previous one, as during tuning.
    """

    name: ClassVar[str] = "tune-a-video"
    title: ClassVar[str] = "Tune-A-Video"
    paper: ClassVar[str] = "Wu et al., ICCV 2023, arXiv 2212.11565"
    temporal: ClassVar[SpatialTemporal] = TUNED
