"""MasaCtrl: the edit's queries look things up in the source (Cao et al., ICCV 2023, arXiv 2304.08465)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from faircut.attention.context import AttentionContext
from faircut.attention.controller import QKV, Controller, StepWindow, Where
from faircut.methods.base import EditTask, Method, register

__all__ = ["MasaCtrl"]

Steps = float | tuple[float, float]


@register
@dataclass(frozen=True)
class MasaCtrl(Method):
    """Keeps the appearance of the source and lets the layout follow the prompt: mutual self-attention (equation 4).

    ``Attention(Q_edit, K_source, V_source)`` in the decoder's self-attention, once the layout has formed. The
    published code also restricts it by masks of foreground and background; this one does not.

    Attributes:
        steps: Steps in which the edit takes the source's keys and values; published: after the first 4 of 50 steps.
    """

    name: ClassVar[str] = "masactrl"
    title: ClassVar[str] = "MasaCtrl"
    paper: ClassVar[str] = "Cao et al., ICCV 2023, arXiv 2304.08465"
    reference: ClassVar[bool] = True

    steps: Steps = (0.08, 1.0)

    def __post_init__(self) -> None:
        StepWindow.of(self.steps)

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build the exchange."""
        return [_MutualSelfAttention(StepWindow.of(self.steps).steps(task.steps))]


class _MutualSelfAttention(Controller):
    """Gives the edit the keys and values of the branch ``"reference"``."""

    where = Where(kind="self", decoder=True)
    branches = ("uncond", "cond")
    frames_in = ("batch", "sequence")  # It exchanges whole branches.

    def __init__(self, steps: range) -> None:
        self.steps = steps

    def applies(self, context: AttentionContext) -> bool:
        """Whether it is one of the steps, and the source is denoised beside the edit."""
        beside = "reference" in context.layout.branches
        return beside and context.step.index in self.steps and super().applies(context)

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Exchange them."""
        reference = context.layout.slice("reference")
        for branch in ("uncond", "cond"):
            if branch in context.layout.branches:
                edit = context.layout.slice(branch)
                qkv.key[edit], qkv.value[edit] = qkv.key[reference], qkv.value[reference]
        return context, qkv
