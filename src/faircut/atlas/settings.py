"""How an atlas is fitted, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from faircut.config.ranges import check_range, check_seed

__all__ = ["AtlasSettings"]


@dataclass(frozen=True)
class AtlasSettings:
    """Everything that decides what atlas a clip gets.

    Weights are of losses whose distances are in pixels and whose colours are in [-1, 1].

    Attributes:
        steps: gradient steps (Adam); each sees `frames_per_step` whole frames.
        frames_per_step: how many consecutive frames a step looks at; all of a shorter clip.
        spacing: pixels between the control points of the mappings, about.
        resolution: pixels of an atlas picture for each pixel of the clip.
        gradient: weight of the colours' differences between neighbouring pixels.
        rigidity: weight of the mappings' stretching and shearing.
        flow: weight of the distance, in the atlas, of points that the optical flow calls one.
        alpha_flow: the same for opacities.
        sparsity: weight of what the foreground's picture holds where the foreground is not seen.
        decided: weight of opacities between 0 and 1, so that a layer does not shine through where it is unknown.
        anchor: weight of what becomes of a picture where no frame shows it; it begins filled from around.
        bootstrap: weight of the masks, which fades to a tenth over the first half of the steps.
        learning_rate: of the pictures; control points (in pixels) and opacities (in logits) take multiples of it.
        seed: of the choice of frames, where a clip has more than a step looks at.
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
