from __future__ import annotations

import torch

from faircut.attention.masks import blend_mask, mask_patch, token_map


def test_mask_marks_the_neighbourhood_of_what_is_attended_to():
    maps = torch.zeros(2, 4, 6)
    maps[0, 1, 1] = 1.0
    maps[1, 3, 5], maps[1, 0, 0] = 2.0, 0.5  # a quarter of the maximum: under the threshold
    mask = blend_mask(maps, (8, 12), 0.3)
    expected = torch.zeros(2, 8, 12, dtype=torch.bool)
    expected[0, 0:6, 0:6] = True  # 3x3 cells around (1, 1), each of 2x2 positions
    expected[1, 4:8, 8:12] = True
    assert torch.equal(mask, expected)


def test_a_frame_without_attention_is_kept_from_the_source():
    assert not blend_mask(torch.zeros(1, 4, 4), (4, 4), 0.3).any()


def test_token_map_sums_tokens_and_averages_layers_and_heads():
    a, b = torch.rand(2, 3, 6, 5), torch.rand(2, 1, 6, 5)
    expected = (a[..., 1] + a[..., 4]).sum(1) + (b[..., 1] + b[..., 4]).sum(1)
    assert torch.allclose(token_map([a, b], (1, 4), (2, 3)), (expected / 4).view(2, 2, 3))


def test_masks_are_made_of_a_quarter_of_the_grid_unless_that_is_too_coarse():
    sides = {1, 2, 4, 8}
    assert mask_patch((64, 64), sides) == 4  # 16x16 at 512 px, as in the paper
    assert mask_patch((40, 72), sides) == 4  # the longer side counts
    assert mask_patch((32, 32), sides) == 2
    assert mask_patch((8, 8), sides) == 2  # never finer than half
    assert mask_patch((32, 32), {4, 8}) == 4  # what the UNet has
    assert mask_patch((128, 128), sides) == 4
