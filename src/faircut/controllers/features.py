"""Features of the source in the edit: injected unchanged (Plug-and-Play), or propagated between frames (TokenFlow)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch.nn import functional as F

from faircut.attention.context import AttentionContext, Step
from faircut.attention.controller import QKV, Controller, Where

__all__ = ["FeatureInjection", "TokenPropagation", "nearest_tokens"]

_EDITED = ("uncond", "cond")


class FeatureInjection(Controller):
    """A controller that gives the edit the features and self-attention, except values, of the branch ``"reference"``.

    Args:
        features: Names of submodules of the network.
        feature_steps: Denoising steps in which the outputs of these submodules are replaced by the reference's.
        layers: Names of self-attention layers.
        attention_steps: Denoising steps in which the queries and keys of these layers are replaced by the reference's.
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
        """Return whether the layer's attention is injected in this step."""
        is_selected = context.layer.name in self.layers and context.step.index in self.attention_steps
        return is_selected and "reference" in context.layout.branches and super().applies(context)

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Replace the edit's queries and keys by the reference's."""
        # Both are (batch, head, position, dim). Slices of a branch are batch entries, so branches match frame by frame.
        reference = context.layout.slice("reference")
        for branch in set(_EDITED) & set(context.layout.branches):
            edit = context.layout.slice(branch)
            qkv.query[edit], qkv.key[edit] = qkv.query[reference], qkv.key[reference]
        return context, qkv

    def on_features(self, step: Step, name: str, output: torch.Tensor) -> torch.Tensor:
        """Replace the edit's features by the reference's."""
        if step.index not in self.feature_steps or "reference" not in step.layout.branches:
            return output
        injected = output.clone()  # (batch, channel, height, width)
        for branch in set(_EDITED) & set(step.layout.branches):
            injected[step.layout.slice(branch)] = output[step.layout.slice("reference")]
        return injected


def nearest_tokens(tokens: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Return the most similar token in another frame for every token (TokenFlow, equation 5: cosine distance).

    Args:
        tokens: (frame, position, channel), tokens to match.
        keys: (frame, position, channel), tokens of the frame that each frame is matched with.

    Returns:
        (frame, position), int64, positions in ``keys``.
    """
    # (frame, position, channel) x (frame, channel, key position) -> (frame, position, key position)
    similarity = F.normalize(tokens.float(), dim=-1) @ F.normalize(keys.float(), dim=-1).transpose(1, 2)
    return similarity.argmax(-1)


class TokenPropagation(Controller):
    """A controller that attends in keyframes only, jointly, and propagates their tokens (TokenFlow, section 4).

    A token of another frame is ``w T[next keyframe][nearest] + (1 - w) T[last keyframe][nearest]``. The nearest token
    is found by the source's tokens, and ``w = sigmoid(d- / (d+ + d-))`` with the distances to both keyframes (equation
    6). Keyframes keep their tokens.

    Args:
        keyframes: Indices of the keyframes in each step, in ascending order.
        frames: Number of frames of the clip.
    """

    branches = _EDITED

    def __init__(self, keyframes: Sequence[Sequence[int]], frames: int) -> None:
        self.where = Where(kind="self")
        self.keyframes, self.frames = keyframes, frames
        self._edited: dict[str, torch.Tensor] = {}

    def applies(self, context: AttentionContext) -> bool:
        """Return whether there is a reference branch to match tokens with, and more than one frame."""
        return self.frames > 1 and "reference" in context.layout.branches and super().applies(context)

    def on_qkv(self, context: AttentionContext, qkv: QKV) -> tuple[AttentionContext, QKV]:
        """Let the keyframes attend to each other, separately in each branch."""
        keyframes = list(self.keyframes[context.step.index])
        self._edited = {}
        for branch in set(_EDITED) & set(context.layout.branches):
            query, key, value, _ = qkv.part(context.layout.slice(branch))
            # (frame, head, position, dim) -> (keyframe, head, keyframe * position, dim): every keyframe sees the keys
            # of all keyframes, one after the other.
            key, value = (
                x[keyframes].transpose(0, 1).flatten(1, 2)[None].expand(len(keyframes), -1, -1, -1)
                for x in (key, value)
            )
            # (keyframe, head, position, dim)
            self._edited[branch] = F.scaled_dot_product_attention(query[keyframes], key, value)
        return context, qkv

    def on_output(self, context: AttentionContext, output: torch.Tensor) -> tuple[AttentionContext, torch.Tensor]:
        """Propagate the keyframes' tokens to all frames."""
        keyframes = torch.tensor(self.keyframes[context.step.index])  # (keyframe,)
        frame = torch.arange(self.frames)  # (frame,)
        # (frame,) each: the index in ``keyframes`` of the last keyframe before a frame and the next one after. Both are
        # the same at a keyframe, and beyond the first and last keyframe.
        after = torch.searchsorted(keyframes, frame).clamp(max=len(keyframes) - 1)
        before = torch.where(keyframes[after] == frame, after, (after - 1).clamp(min=0))
        before = torch.where(frame > keyframes[after], after, before)
        # (frame, head, position, dim) -> (frame, position, channel): tokens are compared by all heads together.
        tokens = output[context.layout.slice("reference")].transpose(1, 2).flatten(2)
        # (frame, position) each: the nearest position in the keyframe before and in the one after.
        nearest = [nearest_tokens(tokens, tokens[keyframes[index]]) for index in (before, after)]
        distance = [(frame - keyframes[index]).abs().float() for index in (before, after)]  # (frame,) each
        weight = torch.sigmoid(distance[0] / (distance[0] + distance[1]).clamp(min=1.0))
        # (frame,) -> (frame, 1, 1, 1), for all heads, positions and channels alike.
        weight = torch.where(before == after, 0.0, weight).to(output)[:, None, None, None]
        output = output.clone()
        for branch, edited in self._edited.items():
            # edited: (keyframe, head, position, dim). The others: (frame, head, position, dim).
            last, following = (
                _take(edited[index], positions) for index, positions in zip((before, after), nearest, strict=True)
            )
            propagated = torch.lerp(last, following, weight)
            propagated[keyframes] = edited
            output[context.layout.slice(branch)] = propagated
        return context, output


def _take(tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return tokens, (frame, head, position, dim), at the given positions, (frame, position)."""
    # (frame, position) -> (frame, head, position, dim), the same index for all heads and channels.
    return tokens.gather(2, positions[:, None, :, None].expand(-1, tokens.shape[1], -1, tokens.shape[3]))
