"""SDEdit: noise the clip part of the way, and denoise it under the prompt (Meng et al., ICLR 2022, arXiv
2108.01073)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faircut.errors import ConfigError
from faircut.methods.base import EditTask, Method, Start, register

__all__ = ["SDEdit", "first_step"]


def first_step(strength: float, steps: int) -> int:
    """Return the step at which denoising begins when a share of the steps is to be run; at least one is.

    Args:
        strength: the share, above 0 to 1.
        steps: N.
    """
    return min(steps - 1, steps - int(steps * strength))


@register
@dataclass(frozen=True)
class SDEdit(Method):
    """Begins with ``sqrt(a_k) z_0 + sqrt(1 - a_k) noise`` (algorithm 1) in place of an inversion.

    Attributes:
        strength: share of the steps that are run: little keeps the clip, 1 forgets it. The paper recommends .3 to .6.
        shared_noise: whether the frames get the same noise. The paper, made for pictures, does not say: with noise of
            their own they flicker; what the same noise leaves stands still before whatever moves.
    """

    name: ClassVar[str] = "sdedit"
    title: ClassVar[str] = "SDEdit"
    paper: ClassVar[str] = "Meng et al., ICLR 2022, arXiv 2108.01073"

    strength: float = 0.6
    shared_noise: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.strength <= 1.0:
            raise ConfigError(f"strength is {self.strength}; give a share of the steps above 0 to 1, such as 0.6")

    def first_step(self, steps: int) -> int:
        """Begin where `strength` says."""
        return first_step(self.strength, steps)

    def start(self, task: EditTask) -> Start:
        """Noise the clip."""
        k = self.first_step(task.steps)
        noise = task.draw_noise(shared=self.shared_noise)
        return Start(task.noise_path.noised(task.trajectory[0], noise, k), k)
