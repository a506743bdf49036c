"""Features of the source in the edit: injected as they are (Plug-and-Play), or carried between frames (TokenFlow)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch.nn import functional as F

from faircut.attention.context import AttentionContext, Step
from faircut.attention.controller import QKV, Controller, Where

__all__ = ["FeatureInjection", "TokenPropagation", "nearest_tokens"]

_EDITED = ("uncond", "cond")


class FeatureInjection(Controller):
    """Gives the edit the features and the self-attention of the branch ``"reference"``; values stay its own.

    Args:
        features: names of the network's submodules.
        feature_steps: the denoising steps in which their outputs are the reference's.
        layers: names of self-attention layers.
        attention_steps: the steps in which their queries and keys are the reference's.
    """

    branches = _EDITED
    frames_in = ("batch", "sequence")

    def __init__(
        self, features: tuple[str, ...], feature_steps: range, layers: Collection[str], attention_steps: range
    ) -> None:
        self.where = Where(kind="self")
        self.features, self.feature_steps = features, feature_steps
        self.layers, self.attention_steps = frozenset(layers), attention_steps

    def applies(self, context: AttentionContext) -> bool:
        """Whether the layer's attention is injected in this step."""
        chosen = context.layer.name in self.layers and context.step.index in self.attention_steps
        return chosen and "reference" in context.layout.branches and super().applies(context)

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Put the reference's queries and keys in place of the edit's."""
        reference = context.layout.slice("reference")
        for branch in set(_EDITED) & set(context.layout.branches):
            edit = context.layout.slice(branch)
            qkv.query[edit], qkv.key[edit] = qkv.query[reference], qkv.key[reference]
        return context, qkv

    def on_features(self, step: Step, name: str, output: torch.Tensor) -> torch.Tensor:
        """Put the reference's features in place of the edit's."""
        if step.index not in self.feature_steps or "reference" not in step.layout.branches:
            return output
        injected = output.clone()
        for branch in set(_EDITED) & set(step.layout.branches):
            injected[step.layout.slice(branch)] = output[step.layout.slice("reference")]
        return injected


def nearest_tokens(tokens: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Find for every token of a frame the most alike token of another (TokenFlow, equation 5: cosine distance).

    Args:
        tokens: (frame, position, channel).
        keys: (frame, position, channel), each frame's other.

    Returns:
        (frame, position), int64.
    """
    likeness = F.normalize(tokens.float(), dim=-1) @ F.normalize(keys.float(), dim=-1).transpose(1, 2)
    return likeness.argmax(-1)


class TokenPropagation(Controller):
    """Attends in keyframes alone, all of them together, and carries their tokens to the other frames (TokenFlow,
    section 4).

    A frame's token is ``w T[next keyframe][nearest] + (1 - w) T[last keyframe][nearest]``, nearest by the source's
    tokens, and ``w = sigmoid(d- / (d+ + d-))`` with the distances to both (equation 6). Keyframes keep their own.

    Args:
        keyframes: by step, in order.
        frames: of the clip.
    """

    branches = _EDITED

    def __init__(self, keyframes: Sequence[Sequence[int]], frames: int) -> None:
        self.where = Where(kind="self")
        self.keyframes, self.frames = keyframes, frames
        self._edited: dict[str, torch.Tensor] = {}

    def applies(self, context: AttentionContext) -> bool:
        """Whether there is a source to find tokens by, and more than one frame."""
        return self.frames > 1 and "reference" in context.layout.branches and super().applies(context)

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Let the keyframes attend to each other; each branch for itself."""
        chosen = list(self.keyframes[context.step.index])
        self._edited = {}
        for branch in set(_EDITED) & set(context.layout.branches):
            query, key, value, _ = qkv.part(context.layout.slice(branch))
            key, value = (
                x[chosen].transpose(0, 1).flatten(1, 2)[None].expand(len(chosen), -1, -1, -1) for x in (key, value)
            )
            self._edited[branch] = F.scaled_dot_product_attention(query[chosen], key, value)
        return context, qkv

    def on_output(self, context: AttentionContext, output: torch.Tensor) -> tuple[AttentionContext, torch.Tensor]:
        """Carry the keyframes' tokens to all frames."""
        chosen = torch.tensor(self.keyframes[context.step.index])
        own = torch.arange(self.frames)
        after = torch.searchsorted(chosen, own).clamp(max=len(chosen) - 1)
        before = torch.where(chosen[after] == own, after, (after - 1).clamp(min=0))
        before = torch.where(own > chosen[after], after, before)
        tokens = output[context.layout.slice("reference")].transpose(1, 2).flatten(2)
        fields = [nearest_tokens(tokens, tokens[chosen[at]]) for at in (before, after)]
        distance = [(own - chosen[at]).abs().float() for at in (before, after)]
        weight = torch.sigmoid(distance[0] / (distance[0] + distance[1]).clamp(min=1.0))
        weight = torch.where(before == after, 0.0, weight).to(output)[:, None, None, None]
        output = output.clone()
        for branch, edited in self._edited.items():
            last, following = (_take(edited[at], field) for at, field in zip((before, after), fields, strict=True))
            carried = torch.lerp(last, following, weight)
            carried[chosen] = edited
            output[context.layout.slice(branch)] = carried
        return context, output


def _take(tokens: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Gather tokens, (frame, head, position, dim), at (frame, position)."""
    return tokens.gather(2, at[:, None, :, None].expand(-1, tokens.shape[1], -1, tokens.shape[3]))
