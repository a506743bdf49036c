"""The context of an attention call: layer, grid of positions, step of the sampler and branches of the batch.

All of it is stated explicitly and independent of the network. An adapter (`faircut.model.backbone`) describes its
layers and where a clip's frames are, and the sampler announces its steps. So there are no call counters, no square
roots of token counts and no assumptions about size or aspect ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from faircut.errors import AttentionError

__all__ = ["AttentionContext", "BatchLayout", "FramesIn", "Layer", "Phase", "Step"]

Phase = Literal["invert", "correct", "denoise"]

FramesIn = Literal["batch", "sequence"]
"""Whether the frames of a clip are batch entries (image models) or positions of one sequence (video transformers)."""


@dataclass(frozen=True)
class Layer:
    """One attention layer of a network, with the properties by which methods select layers.

    Attributes:
        name: Unique name in the network, by which an adapter finds the layer.
        kind: ``"self"``, or ``"cross"`` for attention to the text.
        channels: Width of the layer (320, 640 or 1280 in Stable Diffusion 1.x).
        heads: Number of attention heads.
        patch: Number of (frames, rows, columns) of the latents that one position covers: (1, 2**d, 2**d) after d
            halvings in a UNet, the patch size in a transformer.
        decoder: Whether the layer is in the second half of the network, where Plug-and-Play and MasaCtrl act.
    """

    name: str
    kind: Literal["self", "cross"]
    channels: int
    heads: int
    patch: tuple[int, int, int] = (1, 1, 1)
    decoder: bool = False

    @property
    def coarse(self) -> bool:
        """Whether the grid is at most half the latent grid in each direction, as in the layers that FateZero fuses."""
        return min(self.patch[1:]) >= 2

    def grid(self, latent_grid: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) of a frame's positions for latents of a given (height, width), rounded up."""
        height, width = (-(-side // cells) for side, cells in zip(latent_grid, self.patch[1:], strict=True))
        return height, width


@dataclass(frozen=True)
class BatchLayout:
    """The arrangement of branches in a batch: one after the other, each with the whole clip.

    Attributes:
        branches: Names in batch order, e.g. ``("uncond", "cond")``.
        frames: Number of frames of the clip's latents.
        frames_in: ``"batch"`` if a branch has one batch entry for each frame, ``"sequence"`` if it has one entry with
            the positions of all frames.
    """

    branches: tuple[str, ...]
    frames: int
    frames_in: FramesIn = "batch"

    @property
    def entries(self) -> int:
        """Number of batch entries of one branch."""
        return self.frames if self.frames_in == "batch" else 1

    @property
    def batch_size(self) -> int:
        """Number of entries of the whole batch."""
        return len(self.branches) * self.entries

    def slice(self, branch: str) -> slice:
        """Return the batch entries of one branch.

        Raises:
            AttentionError: If the batch has no such branch.
        """
        if branch not in self.branches:
            raise AttentionError(f"this batch has no branch {branch!r}; it contains {', '.join(self.branches)}")
        start = self.branches.index(branch) * self.entries
        return slice(start, start + self.entries)

    def with_branch(self, branch: str) -> BatchLayout:
        """Return the layout with one more branch at the end."""
        return replace(self, branches=(*self.branches, branch))


@dataclass(frozen=True)
class Step:
    """One evaluation of the network on the sampler's path.

    Attributes:
        phase: ``"invert"`` (clean to noisy, source prompt), ``"correct"`` (a fixed-point iteration of the inversion) or
            ``"denoise"``.
        index: k, counted from the noisiest timestep in all phases, so that the same k means the same timestep.
        count: N, the number of steps.
        timestep: Timestep that the network gets, 0 to 999.
        layout: Branches and frames of the batch.
        latent_grid: (height, width) of the latents.
    """

    phase: Phase
    index: int
    count: int
    timestep: int
    layout: BatchLayout
    latent_grid: tuple[int, int]


@dataclass(frozen=True)
class AttentionContext:
    """Everything that a stage may need to know about the current attention call.

    Attributes:
        layer: Layer of the call.
        step: Evaluation of the network that the call belongs to.
        layout: Branches and frames of this call's batch. It has more branches than ``step.layout`` if a controller
            added one.
    """

    layer: Layer
    step: Step
    layout: BatchLayout

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) of one frame's query positions."""
        return self.layer.grid(self.step.latent_grid)

    @property
    def positions(self) -> tuple[int, int, int]:
        """(frame, height, width) of the query positions of one batch entry, ordered by frame, then row, then column.

        An entry contains one frame, or all frames if they are positions of one sequence.
        """
        frames = 1 if self.layout.frames_in == "batch" else -(-self.layout.frames // self.layer.patch[0])
        return (frames, *self.grid)

    def with_branch(self, branch: str) -> AttentionContext:
        """Return the context of the same call with one more branch at the end of the batch."""
        return replace(self, layout=self.layout.with_branch(branch))

    def without_last_branch(self) -> AttentionContext:
        """Return the context of the same call without the branch at the end of the batch."""
        return replace(self, layout=replace(self.layout, branches=self.layout.branches[:-1]))
