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
    """Adds noise to the clip, ``sqrt(a_k) z_0 + sqrt(1 - a_k) noise``, and denoises it under the prompt (algorithm 1).

    Attributes:
        strength: Share of the denoising steps that are run, above 0 to 1: a small one keeps the clip, 1 keeps nothing
            of it. The paper recommends 0.3 to 0.6.
        shared_noise: Whether all frames get the same noise. The paper is about pictures and does not say. With
            different noise the frames flicker; with the same noise, some texture stands still while things move.
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
