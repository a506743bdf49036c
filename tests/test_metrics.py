"""Every metric on inputs whose answer is known by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faircut.metrics import (
    clip_t,
    clip_t_series,
    disparity,
    estimate,
    frame_acc,
    frame_acc_series,
    macro_average,
    motion,
    optical_flow,
    psnr,
    psnr_series,
    q_edit,
    region_psnr,
    ssim,
    ssim_series,
    tem_con,
    tem_con_series,
    visible_pixels,
    warp,
    warp_error,
    warp_error_series,
    warp_ssim,
    warp_ssim_series,
)


def unit(*degrees):
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def test_tem_con_is_the_mean_cosine_of_neighbours():
    assert tem_con(unit(0, 60, 60)) == pytest.approx((0.5 + 1.0) / 2)
    assert tem_con(unit(0)) == 1.0
    # Neighbours only: the first and the last are never compared.
    assert tem_con(unit(0, 90, 180)) == pytest.approx(0.0, abs=1e-6)


def test_clip_t_is_the_mean_cosine_with_the_text():
    assert clip_t(unit(0, 90), unit(60)[0]) == pytest.approx((0.5 + math.cos(math.radians(30))) / 2)


def test_frame_acc_counts_frames_nearer_to_the_target():
    target, source = unit(0)[0], unit(90)[0]
    assert frame_acc_series(unit(0, 44, 46, 90), target, source).tolist() == [True, True, False, False]
    assert frame_acc(unit(0, 44, 46, 90), target, source) == 0.5
    # A tie is no success: where nothing was asked for, nothing is reached.
    assert frame_acc(unit(10, 20), target, target) == 0.0


def test_q_edit_is_on_the_scales_that_papers_print():
    # VideoGrain prints 36.56, 1.42 thousandths and 25.75 of its own, 33.78, 3.08 and 10.96 of FateZero.
    assert q_edit(0.3656, 0.00142) == pytest.approx(25.75, abs=0.01)
    assert q_edit(0.3378, 0.00308) == pytest.approx(10.96, abs=0.01)
    assert q_edit(0.3, 0.0) == math.inf


def test_series_are_what_the_figures_are_means_of():
    embeddings, text = unit(0, 60, 60), unit(0)[0]
    assert tem_con_series(embeddings).tolist() == pytest.approx([0.5, 1.0])
    assert clip_t_series(embeddings, text).tolist() == pytest.approx([1.0, 0.5, 0.5])
    assert tem_con_series(unit(0)).shape == (0,)


def test_psnr_is_of_the_whole_clip():
    a = torch.zeros(2, 3, 4, 4)
    b = a.clone()
    b[1] = 0.1
    assert psnr_series(a, b).tolist() == pytest.approx([100.0, 20.0])
    assert psnr(a, b) == pytest.approx(-10 * math.log10(0.005))
    assert psnr(a, a) == 100.0


def test_ssim_of_grey_pictures_is_the_comparison_of_their_brightness():
    # Without contrast Wang's formula is (2 xy + c1) / (x^2 + y^2 + c1), c1 = 0.01^2.
    a, b = torch.full((2, 3, 16, 20), 0.5), torch.full((2, 3, 16, 20), 0.25)
    expected = (2 * 0.125 + 1e-4) / (0.25 + 0.0625 + 1e-4)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-5)
    assert ssim_series(a, b).tolist() == pytest.approx([expected] * 2, abs=1e-5)
    assert ssim(a, a) == pytest.approx(1.0)
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 16, 20)
    # The opposite picture has the same contrast and the opposite structure.
    assert ssim(picture, 1 - picture) < -0.5


def test_region_psnr_looks_at_the_region_alone():
    source = torch.zeros(1, 3, 4, 4)
    edited = source.clone()
    edited[..., :2] = 0.1
    edited[..., 2:] = 1.0
    region = torch.zeros(1, 4, 4, dtype=torch.bool)
    region[..., :2] = True
    assert region_psnr(edited, source, region) == pytest.approx(20.0, abs=1e-4)
    assert region_psnr(source, source, region) == 100.0
    assert math.isnan(region_psnr(edited, source, ~torch.ones(1, 4, 4, dtype=torch.bool)))


def test_warping_undoes_a_known_shift():
    torch.manual_seed(0)
    first = torch.rand(1, 3, 8, 10)
    clip = torch.cat([first, torch.roll(first, (1, 2), (-2, -1))])
    flow = torch.tensor([2.0, 1.0]).expand(1, 8, 10, 2)
    back, inside = warp(clip[1:], flow)
    assert inside.sum() == 7 * 8
    torch.testing.assert_close(back[:, :, :-1, :-2], first[:, :, :-1, :-2])
    assert warp_error(clip, flow) == pytest.approx(0.0, abs=1e-10)
    assert warp_error(clip, torch.zeros_like(flow)) > 0.05
    brighter = clip + torch.tensor([0.0, 0.2])[:, None, None, None]
    assert warp_error(brighter, flow) == pytest.approx(0.04, abs=1e-6)


def test_warp_error_leaves_hidden_pixels_out():
    clip = torch.zeros(2, 3, 4, 4)
    clip[1, :, 0, 0] = 1.0
    visible = torch.ones(1, 4, 4, dtype=torch.bool)
    assert warp_error(clip, torch.zeros(1, 4, 4, 2), visible) == pytest.approx(1 / 16)
    visible[0, 0, 0] = False
    assert warp_error(clip, torch.zeros(1, 4, 4, 2), visible) == 0.0
    assert warp_error(clip[:1], torch.zeros(0, 4, 4, 2)) == 0.0


def test_warp_error_averages_pairs_not_pixels():
    clip = torch.zeros(3, 3, 4, 4)
    clip[2] = 1.0
    visible = torch.ones(2, 4, 4, dtype=torch.bool)
    visible[1, 1:] = False
    flow = torch.zeros(2, 4, 4, 2)
    assert warp_error_series(clip, flow, visible).tolist() == [0.0, 1.0]
    assert warp_error(clip, flow, visible) == 0.5
    visible[0] = False
    assert math.isnan(warp_error_series(clip, flow, visible)[0])
    assert warp_error(clip, flow, visible) == 1.0
    assert math.isnan(warp_error(clip, flow, torch.zeros(2, 4, 4, dtype=torch.bool)))


def test_warp_ssim_follows_the_flow_and_looks_at_visible_pixels():
    torch.manual_seed(0)
    first = torch.rand(1, 3, 24, 24)
    clip = torch.cat([first, torch.roll(first, (1, 2), (-2, -1))])
    flow = torch.tensor([2.0, 1.0]).expand(1, 24, 24, 2)
    inner = torch.zeros(1, 24, 24, dtype=torch.bool)
    # Windows of 11 x 11 around these do not reach what was rolled in.
    inner[:, :16, :16] = True
    assert warp_ssim(clip, flow, inner) == pytest.approx(1.0, abs=1e-4)
    assert warp_ssim(clip, torch.zeros_like(flow), inner) < 0.5
    assert warp_ssim_series(clip, flow, ~inner)[0] < 0.99
    assert math.isnan(warp_ssim(clip, flow, torch.zeros_like(inner)))
    assert warp_ssim(first, flow[:0]) == 1.0


def test_a_pixel_is_visible_where_there_and_back_leads_home():
    there = torch.tensor([3.0, 0.0]).expand(1, 4, 8, 2)
    assert visible_pixels(there, -there)[0].tolist() == [[True] * 5 + [False] * 3] * 4
    # |f + b|^2 = 0.49 and 1.21 against 0.01 (9 + 5.29) + 0.5 = 0.64 and 0.01 (9 + 3.61) + 0.5 = 0.63.
    for gap, expected in ((0.7, 20), (1.1, 0)):
        back = torch.tensor([gap - 3.0, 0.0]).expand(1, 4, 8, 2)
        assert visible_pixels(there, back).sum() == expected
    # The way back is read where the way there leads to.
    back = -there.clone()
    back[0, 2, 6] = 0.0
    assert not visible_pixels(there, back)[0, 2, 3]


def test_flow_is_estimated_where_nobody_knows_it():
    torch.manual_seed(0)
    first = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 12), (96, 96), mode="bilinear")
    clip = torch.cat([first, torch.roll(first, (2, 3), (-2, -1))])
    flow = optical_flow(clip)
    assert flow.shape == (1, 96, 96, 2)
    torch.testing.assert_close(flow[0, 24:72, 24:72].mean((0, 1)), torch.tensor([3.0, 2.0]), atol=0.2, rtol=0)
    assert optical_flow(first).shape == (0, 96, 96, 2)
    same, visible = motion(clip)
    assert torch.equal(same, flow)
    assert visible[0, 24:72, 24:72].float().mean() > 0.99


def test_what_an_object_covers_is_not_visible():
    torch.manual_seed(0)
    ground = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 24), (96, 96), mode="bicubic").clamp(0, 1)
    thing = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 12), (48, 48), mode="bicubic").clamp(0, 1)
    clip = ground.repeat(2, 1, 1, 1)
    for frame, left in enumerate((20, 28)):
        clip[frame, :, 24:72, left : left + 48] = thing
    _, visible = motion(clip)
    # The thing goes 8 pixels to the right: of the first frame it covers this strip, and nothing far from it.
    assert visible[0, 32:64, 69:75].float().mean() < 0.3
    assert visible[0, 32:64, 30:60].float().mean() > 0.9
    assert visible[0, :12].float().mean() > 0.95


def test_disparity_is_per_group_so_opposite_skews_do_not_cancel():
    groups = [np.array([0.0, 0, 0, 0]), np.array([1.0, 1, 1, 1])]
    assert disparity(groups) == 1.0
    assert disparity([np.array([0.0, 1, 0, 1])]) == 0.0
    assert disparity([np.array([0.0, 0, 1, -1])]) == 0.25
    # Three values: the largest share less the smallest.
    assert disparity([np.array([0.0, 0, 1, 2])], values=3) == 0.25
    assert disparity([np.array([0.0, 0, 1, 1])], values=3) == 0.5


def test_macro_average_counts_groups_not_clips():
    assert macro_average([np.array([1.0]), np.array([0.0, 0, 0])]) == 0.5


def test_estimates_leave_out_what_does_not_apply():
    found = estimate([[1.0, math.nan], [math.nan], [0.0]], macro_average)
    assert (found.value, found.n) == (0.5, 2)
    assert math.isnan(estimate([[math.nan]], macro_average).value)


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for k in range(100):
        drawn = (rng.random((4, 30)) < 0.3).astype(float)
        found = estimate(list(drawn), macro_average, draws=300, seed=k)
        covered += found.low <= 0.3 <= found.high
    assert 86 <= covered <= 100


def test_draws_keep_the_composition_of_what_was_asked_for():
    values = [[0.0, 0.0, 1.0, 1.0]] * 6
    asked = [["a", "a", "b", "b"]] * 6
    assert estimate(values, disparity, strata=asked).high == 0.0
    assert estimate(values, disparity).low > 0.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 1), min_size=1, max_size=6), min_size=1, max_size=5))
def test_an_estimate_lies_within_its_interval_s_range(groups):
    found = estimate([[float(v) for v in group] for group in groups], disparity, draws=60)
    assert 0.0 <= found.low <= found.high <= 1.0
    assert 0.0 <= found.value <= 1.0
    assert found.n == sum(map(len, groups))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 4))
def test_figures_of_any_clip_stay_in_their_ranges(seed, frames):
    torch.manual_seed(seed)
    a, b = torch.rand(2, frames, 3, 12, 14)
    flow = 4 * torch.randn(frames - 1, 12, 14, 2)
    visible = visible_pixels(flow, -flow)
    embeddings = torch.nn.functional.normalize(torch.randn(frames + 2, 6), dim=-1)
    target, source, embeddings = embeddings[0], embeddings[1], embeddings[2:]
    assert 0.0 <= frame_acc(embeddings, target, source) <= 1.0
    assert frame_acc(embeddings, target, source) + frame_acc(embeddings, source, target) == pytest.approx(1.0)
    assert -1.0 <= ssim(a, b) <= 1.0
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-5)
    assert 0.0 < psnr(a, b) < 100.0
    if bool(visible.any()):
        assert 0.0 <= warp_error(a, flow, visible) <= 1.0
        assert -1.0 <= warp_ssim(a, flow, visible) <= 1.0
