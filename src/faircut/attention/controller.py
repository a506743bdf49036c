"""What can be attached to attention: the base class of every controller, and where and when one acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from faircut.attention.context import AttentionContext, FramesIn, Phase, Step
from faircut.errors import ConfigError

__all__ = ["QKV", "Controller", "StepWindow", "Where"]


class QKV(NamedTuple):
    """Queries, keys and values of one attention call.

    Attributes:
        query: (batch, head, query, dim).
        key: (batch, head, key, dim).
        value: (batch, head, key, dim).
        bias: (batch, 1, 1, key), added to the scores after all controllers have seen them: the logarithm of each key's
            weight, -inf for none. None is no bias.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor | None = None

    def part(self, entries: slice) -> QKV:
        """Return some entries of the batch."""
        bias = None if self.bias is None else self.bias[entries]
        return QKV(self.query[entries], self.key[entries], self.value[entries], bias)


@dataclass(frozen=True)
class StepWindow:
    """A share of the sampler's steps, as the papers state it: 0.8 is the first 80%, (0.2, 0.8) the middle 60%.

    Attributes:
        start: where it begins, as a share of the steps.
        stop: where it ends, exclusive.
    """

    start: float
    stop: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.start <= self.stop <= 1.0:
            raise ConfigError(
                f"steps ({self.start}, {self.stop}) are no share of the run; give 0 <= start <= stop <= 1, such as 0.8"
            )

    @classmethod
    def of(cls, value: float | Sequence[float] | StepWindow) -> StepWindow:
        """Read a window as users write it: ``0.8`` for (0, 0.8), or a pair.

        Raises:
            ConfigError: it is neither, or out of range.
        """
        if isinstance(value, StepWindow):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return cls(0.0, float(value))
        if isinstance(value, (list, tuple)) and len(value) == 2:
            return cls(float(value[0]), float(value[1]))
        raise ConfigError(f"steps {value!r} are not a share of the run; give a number such as 0.8 or a pair (0.2, 0.8)")

    def steps(self, count: int) -> range:
        """Return the steps covered out of ``count``: ``int(count * start) <= k < int(count * stop)``."""
        return range(int(count * self.start), int(count * self.stop))


@dataclass(frozen=True)
class Where:
    """Which attention layers a controller acts on, by their roles.

    Attributes:
        kind: ``"self"``, ``"cross"`` or both when None.
        coarse: only layers whose grid is at most half the latent grid (True), only finer ones (False), or both (None).
        decoder: only layers of the network's second half (True), only others (False), or both (None).
        phases: in which phases of the sampler.
    """

    kind: Literal["self", "cross"] | None = None
    coarse: bool | None = None
    decoder: bool | None = None
    phases: tuple[Phase, ...] = ("denoise",)

    def holds(self, context: AttentionContext) -> bool:
        """Whether the call is one of them."""
        return (
            context.step.phase in self.phases
            and self.kind in (None, context.layer.kind)
            and self.coarse in (None, context.layer.coarse)
            and self.decoder in (None, context.layer.decoder)
        )


class Controller:
    """Something that watches or changes attention.

    A controller overrides the stages it needs; a stage that is not overridden costs nothing. `on_scores` and `on_probs`
    ask for the attention of their `branches` to be computed explicitly, in blocks of queries: whole rows, never more of
    the map than the memory budget allows. All other attention runs fused.

    Attributes:
        where: the layers it acts on.
        branches: the branches it acts on; it is left alone where the batch has none of them. None is all branches, an
            empty tuple leaves attention alone.
        features: names of submodules of the network whose outputs it changes, such as ``"up_blocks.1.resnets.1"``.
        frames_in: the batch layouts that it can act in; a network with another one is refused before it is evaluated.
    """

    where: Where = Where()
    branches: tuple[str, ...] | None = ("cond",)
    features: tuple[str, ...] = ()
    frames_in: tuple[FramesIn, ...] = ("batch",)

    def applies(self, context: AttentionContext) -> bool:
        """Whether this controller acts on this call; by default wherever `where` holds for one of its branches."""
        return self.where.holds(context) and self.acts_on(*context.layout.branches)

    def acts_on(self, *branches: str) -> bool:
        """Whether one of the branches is its own."""
        return self.branches is None or not set(self.branches).isdisjoint(branches)

    def uses_source(self, index: int) -> bool:
        """Whether denoising step ``index`` needs the attention of the source."""
        return False

    def on_latents(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        """Change the latents that denoising step ``index`` begins with, (frame, channel, height, width)."""
        return latents

    def on_step_begin(self, step: Step) -> None:
        """Learn that the network is about to be evaluated."""

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Change queries, keys or values, or add a branch to the batch."""
        return context, qkv

    def on_scores(self, context: AttentionContext, scores: torch.Tensor, queries: slice) -> torch.Tensor:
        """Change scaled dot products of one branch, (frame, head, query, key), for one block of queries."""
        return scores

    def on_probs(self, context: AttentionContext, probs: torch.Tensor, queries: slice) -> torch.Tensor:
        """Change attention probabilities of one branch, (frame, head, query, key), for one block of queries."""
        return probs

    def on_output(self, context: AttentionContext, output: torch.Tensor) -> tuple[AttentionContext, torch.Tensor]:
        """Change what the heads return, (batch, head, query, dim), before the output projection."""
        return context, output

    def on_features(self, step: Step, name: str, output: torch.Tensor) -> torch.Tensor:
        """Change what one of the submodules in `features` returns, (batch, channel, height, width)."""
        return output

    def on_guidance(self, step: Step, scale: torch.Tensor) -> torch.Tensor:
        """Change how strongly each position is guided, broadcastable to (frame, 1, height, width)."""
        return scale

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Change the latents that the sampler arrived at, (frame, channel, height, width)."""
        return latents

    def overrides(self, stage: str) -> bool:
        """Whether the stage is overridden."""
        return getattr(type(self), stage) is not getattr(Controller, stage)
