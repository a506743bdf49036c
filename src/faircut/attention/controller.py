"""The base class of controllers, and where and when a controller acts."""

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
        query: (batch, head, query, dim), queries.
        key: (batch, head, key, dim), keys.
        value: (batch, head, key, dim), values.
        bias: (batch, 1, 1, key), logarithm of each key's weight, -inf for weight 0. It is added to the scores after all
            controllers have seen them. None adds nothing.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor | None = None

    def part(self, entries: slice) -> QKV:
        """Return the queries, keys, values and bias of some batch entries."""
        bias = None if self.bias is None else self.bias[entries]
        return QKV(self.query[entries], self.key[entries], self.value[entries], bias)


@dataclass(frozen=True)
class StepWindow:
    """A window of the sampler's steps, as shares like in the papers: 0.8 is the first 80%, (0.2, 0.8) the middle 60%.

    Attributes:
        start: Begin of the window, as a share of the steps, 0 to 1.
        stop: End of the window, exclusive, as a share of the steps, 0 to 1.
    """

    start: float
    stop: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.start <= self.stop <= 1.0:
            raise ConfigError(
                f"steps ({self.start}, {self.stop}) are not a share of the run; give 0 <= start <= stop <= 1, such as "
                "0.8"
            )

    @classmethod
    def of(cls, value: float | Sequence[float] | StepWindow) -> StepWindow:
        """Convert a window as users write it: ``0.8`` for (0, 0.8), or a pair.

        Raises:
            ConfigError: If the value is neither a number nor a pair, or is out of range.
        """
        if isinstance(value, StepWindow):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return cls(0.0, float(value))
        if isinstance(value, (list, tuple)) and len(value) == 2:
            return cls(float(value[0]), float(value[1]))
        raise ConfigError(f"steps {value!r} are not a share of the run; give a number such as 0.8 or a pair (0.2, 0.8)")

    def steps(self, count: int) -> range:
        """Return the steps k in the window out of ``count``: ``int(count * start) <= k < int(count * stop)``."""
        return range(int(count * self.start), int(count * self.stop))


@dataclass(frozen=True)
class Where:
    """The attention layers that a controller acts on, selected by their roles.

    Attributes:
        kind: ``"self"`` or ``"cross"``; None selects both.
        coarse: True selects layers whose grid is at most half the latent grid, False finer ones, None both.
        decoder: True selects layers of the network's second half, False those of the first, None both.
        phases: Phases of the sampler in which the controller acts.
    """

    kind: Literal["self", "cross"] | None = None
    coarse: bool | None = None
    decoder: bool | None = None
    phases: tuple[Phase, ...] = ("denoise",)

    def holds(self, context: AttentionContext) -> bool:
        """Return whether an attention call is selected."""
        return (
            context.step.phase in self.phases
            and self.kind in (None, context.layer.kind)
            and self.coarse in (None, context.layer.coarse)
            and self.decoder in (None, context.layer.decoder)
        )


class Controller:
    """An object that observes or changes attention.

    A controller overrides the stages that it needs. Stages that are not overridden cost nothing. With `on_scores` and
    `on_probs`, the attention of the controller's `branches` is computed explicitly, in blocks of queries: whole rows,
    but never more of the map than the memory budget allows. All other attention is fused.

    Attributes:
        where: Layers and phases that the controller acts on.
        branches: Branches that the controller acts on. It does nothing if the batch has none of them. None means all
            branches, and an empty tuple leaves attention alone.
        features: Names of submodules of the network whose outputs the controller changes, such as
            ``"up_blocks.1.resnets.1"``.
        frames_in: Batch layouts that the controller supports. A network with another layout is refused before it is
            evaluated.
    """

    where: Where = Where()
    branches: tuple[str, ...] | None = ("cond",)
    features: tuple[str, ...] = ()
    frames_in: tuple[FramesIn, ...] = ("batch",)

    def applies(self, context: AttentionContext) -> bool:
        """Return whether the controller acts on a call. By default `where` and `branches` decide."""
        return self.where.holds(context) and self.acts_on(*context.layout.branches)

    def acts_on(self, *branches: str) -> bool:
        """Return whether the controller acts on at least one of the branches."""
        return self.branches is None or not set(self.branches).isdisjoint(branches)

    def uses_source(self, index: int) -> bool:
        """Return whether denoising step ``index`` needs the attention of the source."""
        return False

    def on_latents(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        """Change the latents, (frame, channel, height, width), that denoising step ``index`` begins with."""
        return latents

    def on_step_begin(self, step: Step) -> None:
        """Prepare for an evaluation of the network, which is about to begin."""

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Change queries, keys or values, or add a branch to the batch."""
        return context, qkv

    def on_scores(self, context: AttentionContext, scores: torch.Tensor, queries: slice) -> torch.Tensor:
        """Change the scaled dot products, (frame, head, query, key), of one branch for one block of queries."""
        return scores

    def on_probs(self, context: AttentionContext, probs: torch.Tensor, queries: slice) -> torch.Tensor:
        """Change the attention probabilities, (frame, head, query, key), of one branch for one block of queries."""
        return probs

    def on_output(self, context: AttentionContext, output: torch.Tensor) -> tuple[AttentionContext, torch.Tensor]:
        """Change the output of the heads, (batch, head, query, dim), before the output projection."""
        return context, output

    def on_features(self, step: Step, name: str, output: torch.Tensor) -> torch.Tensor:
        """Change the output, (batch, channel, height, width), of one of the submodules in `features`."""
        return output

    def on_guidance(self, step: Step, scale: torch.Tensor) -> torch.Tensor:
        """Change the guidance scale, broadcastable to (frame, 1, height, width)."""
        return scale

    def on_step_end(self, step: Step, latents: torch.Tensor) -> torch.Tensor:
        """Change the latents, (frame, channel, height, width), at the end of the step."""
        return latents

    def overrides(self, stage: str) -> bool:
        """Return whether the controller overrides a stage."""
        return getattr(type(self), stage) is not getattr(Controller, stage)
