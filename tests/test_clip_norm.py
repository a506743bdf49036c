"""Group norms over a clip equal torch's own with the frames laid side by side, with and without gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faircut.model.norm import ClipGroupNorm


def _norm(groups: int, per_group: int, eps: float = 1e-5) -> nn.GroupNorm:
    norm = nn.GroupNorm(groups, groups * per_group, eps=eps)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def _reference(norm: nn.GroupNorm, x: torch.Tensor, frames: int) -> torch.Tensor:
    """(clip * frame, c, h, w), in float64: one sample a clip, (clip, c, frame * h, w)."""
    clips = x.double().unflatten(0, (-1, frames)).transpose(1, 2)
    weight, bias = norm.weight.double(), norm.bias.double()
    side_by_side = nn.functional.group_norm(clips.flatten(2, 3), norm.num_groups, weight, bias, norm.eps)
    return side_by_side.view(clips.shape).transpose(1, 2).flatten(0, 1)


@settings(max_examples=40, deadline=None)
@given(
    clips=st.integers(1, 3),
    frames=st.integers(2, 5),
    groups=st.integers(1, 4),
    per_group=st.integers(1, 3),
    height=st.integers(1, 7),
    width=st.integers(2, 7),
    gradients=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_group_norm_over_the_clip(clips, frames, groups, per_group, height, width, gradients, seed):
    torch.manual_seed(seed)
    norm = _norm(groups, per_group)
    # Frames of different brightness and contrast, or the clip's statistics would be those of any frame.
    shape = (clips * frames, groups * per_group, height, width)
    x = torch.randn(shape) * torch.rand(len(shape) * [1]).add(0.1) + 3 * torch.randn(clips * frames, 1, 1, 1)
    before = x.clone()
    with torch.set_grad_enabled(gradients):
        ours = ClipGroupNorm(norm, frames)(x)
    expected = _reference(norm, x, frames)
    assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert torch.equal(x, before)


@pytest.mark.parametrize("gradients", [False, True])
def test_frames_of_one_colour_stay_finite(gradients):
    x = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 4, 3, 3)
    norm = _norm(2, 2)
    with torch.set_grad_enabled(gradients):
        ours = ClipGroupNorm(norm, 2)(x)
    assert torch.allclose(ours, _reference(norm, x, 2).float(), rtol=1e-4, atol=1e-4)


def test_half_precision_keeps_float32_statistics():
    torch.manual_seed(0)
    norm = _norm(4, 2)
    x = torch.randn(6, 8, 5, 4) + 30
    with torch.no_grad():
        ours = ClipGroupNorm(norm.bfloat16(), 3)(x.bfloat16())
    assert ours.dtype == torch.bfloat16
    expected = _reference(norm, x.bfloat16(), 3)
    assert (ours.double() - expected).abs().max() <= 0.05 * expected.abs().max() + 0.25


def test_gradients_reach_the_input_and_the_weights():
    torch.manual_seed(0)
    norm = _norm(2, 2)
    x = torch.randn(4, 4, 3, 3, requires_grad=True)
    (ours,) = torch.autograd.grad(ClipGroupNorm(norm, 2)(x).square().sum(), x)
    (expected,) = torch.autograd.grad(_reference(norm, x, 2).square().sum(), x)
    assert torch.allclose(ours, expected.float(), rtol=1e-4, atol=1e-4)
