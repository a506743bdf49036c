"""Where an attention call happens: the layer, the grid of its positions, the step of the sampler and who is in the
batch.

Nothing here is guessed, and nothing names a network. An adapter (`faircut.model.backbone`) says what its layers are and
where a clip's frames lie; steps come from the sampler. So there are no call counters, no square roots of token counts
and no assumption about size or aspect ratio.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from faircut.errors import AttentionError

__all__ = ["AttentionContext", "BatchLayout", "FramesIn", "Layer", "Phase", "Step"]

Phase = Literal["invert", "correct", "denoise"]

FramesIn = Literal["batch", "sequence"]
"""Where the frames of a clip are: entries of the batch (image models), or positions of one sequence (video
transformers)."""


@dataclass(frozen=True)
class Layer:
    """One attention layer of a network, by what methods choose it for.

    Attributes:
        name: unique in the network; an adapter finds the layer by it.
        kind: ``"self"``, or ``"cross"`` for attention to the text.
        channels: width of the layer (320, 640 or 1280 in Stable Diffusion 1.x).
        heads: number of attention heads.
        patch: how many (frames, rows, columns) of the latents one position covers: (1, 2**d, 2**d) after d halvings in
            a UNet, the patch size in a transformer.
        decoder: whether it is in the second half of the network, where Plug-and-Play and MasaCtrl act.
    """

    name: str
    kind: Literal["self", "cross"]
    channels: int
    heads: int
    patch: tuple[int, int, int] = (1, 1, 1)
    decoder: bool = False

    @property
    def coarse(self) -> bool:
        """Whether its grid is at most half the latent grid in each direction: the layers that FateZero fuses."""
        return min(self.patch[1:]) >= 2

    def grid(self, latent_grid: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) of a frame's positions for latents of that (height, width); networks round up."""
        height, width = (-(-side // cells) for side, cells in zip(latent_grid, self.patch[1:], strict=True))
        return height, width


@dataclass(frozen=True)
class BatchLayout:
    """Which branch owns which part of a batch: branches one after the other, each with the whole clip.

    Attributes:
        branches: names in batch order, e.g. ``("uncond", "cond")``.
        frames: frames of the clip, as the latents have them.
        frames_in: whether a branch has a batch entry for each frame, or one entry whose positions are those of all
            frames.
    """

    branches: tuple[str, ...]
    frames: int
    frames_in: FramesIn = "batch"

    @property
    def entries(self) -> int:
        """Batch entries of one branch."""
        return self.frames if self.frames_in == "batch" else 1

    @property
    def batch_size(self) -> int:
        """Entries of the whole batch."""
        return len(self.branches) * self.entries

    def slice(self, branch: str) -> slice:
        """Return the batch entries of one branch.

        Raises:
            AttentionError: the batch has no such branch.
        """
        if branch not in self.branches:
            raise AttentionError(f"no branch {branch!r} in this batch; it holds {', '.join(self.branches)}")
        start = self.branches.index(branch) * self.entries
        return slice(start, start + self.entries)

    def with_branch(self, branch: str) -> BatchLayout:
        """Return the layout with one more branch at the end."""
        return replace(self, branches=(*self.branches, branch))


@dataclass(frozen=True)
class Step:
    """One evaluation of the network on the sampler's path.

    Attributes:
        phase: ``"invert"`` (clean to noisy, source prompt), ``"correct"`` (a fixed-point iteration of it) or
            ``"denoise"``.
        index: k, counted from the noisiest timestep in all phases, so that the same k names the same timestep.
        count: N, the number of steps.
        timestep: what the network is told, 0 .. 999.
        layout: who is in the batch.
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
    """Everything that a stage may want to know about the attention call that it is in.

    Attributes:
        layer: the layer.
        step: the evaluation of the network that this call belongs to.
        layout: who is in this call's batch; it has more branches than ``step.layout`` where a controller added one.
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
        """(frame, height, width) of the query positions of one batch entry, frame by frame and row by row.

        An entry holds one frame, or all of them where frames are positions of the sequence.
        """
        frames = 1 if self.layout.frames_in == "batch" else -(-self.layout.frames // self.layer.patch[0])
        return (frames, *self.grid)

    def with_branch(self, branch: str) -> AttentionContext:
        """Return the context of the same call with one more branch at the end of the batch."""
        return replace(self, layout=self.layout.with_branch(branch))

    def without_last_branch(self) -> AttentionContext:
        """Return the context of the same call without the branch at the end of the batch."""
        return replace(self, layout=replace(self.layout, branches=self.layout.branches[:-1]))
