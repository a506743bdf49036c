"""The settings of fitting an atlas."""

from __future__ import annotations

from dataclasses import dataclass

from faircut.config.ranges import check_range, check_seed

__all__ = ["AtlasSettings"]


@dataclass(frozen=True)
class AtlasSettings:
    """The settings for fitting an atlas to a clip.

    The weights are for losses with distances in pixels and colours in [-1, 1].

    Attributes:
        steps: Number of gradient steps (Adam), each on `frames_per_step` whole frames.
        frames_per_step: Number of consecutive frames of a step, or all frames of a shorter clip.
        spacing: Approximate distance in pixels between the control points of the mappings.
        resolution: Number of atlas pixels for each pixel of the clip, in each direction.
        gradient: Weight of errors in the differences between neighbouring pixels.
        rigidity: Weight of stretching and shearing in the mappings.
        flow: Weight of the distance, in the atlas, of points that the optical flow matches.
        alpha_flow: Weight of the difference in opacity of points that the optical flow matches.
        sparsity: Weight of colours in the foreground's picture where the foreground is not visible.
        decided: Weight of opacities between 0 and 1, which keeps a layer from shining through where its colours are
            unknown.
        anchor: Weight of changes of a picture where no frame shows it, from the colours filled in from its
            surroundings.
        bootstrap: Weight of the masks, which falls to a tenth over the first half of the steps.
        learning_rate: Learning rate of the pictures. Those of control points (in pixels) and opacities (in logits) are
            multiples.
        seed: Seed for choosing the frames of each step, if the clip has more than a step uses.
    """

    steps: int = 300
    frames_per_step: int = 8
    spacing: int = 8
    resolution: float = 1.0
    gradient: float = 0.5
    rigidity: float = 0.002
    flow: float = 0.005
    alpha_flow: float = 0.01
    sparsity: float = 0.01
    decided: float = 0.005
    anchor: float = 0.05
    bootstrap: float = 0.1
    learning_rate: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("steps", self.steps, 1, 100_000_000, flag="--steps", example="300")
        for name in ("frames_per_step", "spacing"):
            check_range(name, getattr(self, name), 2, 65_536, example="8")
        check_range("resolution", self.resolution, 0.25, 4, example="1 atlas pixel a pixel")
        check_range("learning_rate", self.learning_rate, 0, 100, example="0.02", above=True)
        for name in ("gradient", "rigidity", "flow", "alpha_flow", "sparsity", "decided", "anchor", "bootstrap"):
            check_range(f"the weight {name}", getattr(self, name), 0, 1e6, example="0 (off)")
        check_seed(self.seed)
