"""Clips: the flow leads from a frame to the next one, and nothing moves that should stand still."""

import dataclasses

import cv2
import numpy as np
import pytest

from faircut.errors import ConfigError
from faircut.pocket.clips import render_clip
from faircut.pocket.world import STYLES, render, sample_scene


def _scene(seed=0, **forced):
    return sample_scene(np.random.default_rng(seed), **({"style": None} | forced))


def _warped_back(clip, i):
    """Frame i+1 fetched along the flow from frame i."""
    flow = clip.flow[i]
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return cv2.remap(clip.frames[i + 1], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)


def test_a_clip_has_the_documented_shapes():
    clip = render_clip(_scene(people=2), 5, size=64, fps=10)
    assert clip.frames.shape == (5, 64, 64, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.masks.shape == (5, 2, 64, 64)
    assert clip.masks.dtype == bool
    assert clip.flow.shape == (4, 64, 64, 2)
    assert clip.flow.dtype == np.float32
    assert clip.fps == 10
    assert render_clip(_scene(), 1).flow.shape == (0, 128, 128, 2)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"frames": 3, "fps": 0}])
def test_a_clip_of_no_length_is_refused(wrong):
    with pytest.raises(ConfigError):
        render_clip(_scene(), **wrong)


def test_the_scene_itself_is_the_middle_of_the_clip():
    scene = _scene(noun="dog")
    assert np.array_equal(render_clip(scene, 3).frames[1], render(scene).image)


@pytest.mark.parametrize("noun", ["person", "firefighter", "car", "boat", "horse", "rabbit", "swan"])
def test_flow_carries_every_subject_to_the_next_frame(noun):
    forced = {"walking": True, "people": 1} if noun in ("person", "firefighter") else {}
    scene = dataclasses.replace(_scene(3, noun=noun, background="street", **forced), pan_speed=-7.0)
    clip = render_clip(scene, 4)
    for i in range(3):
        inside = clip.masks[i, 0]
        frame = clip.frames[i].astype(float)
        still = np.abs(clip.frames[i + 1] - frame).mean(axis=2)[inside].mean()
        carried = np.abs(_warped_back(clip, i) - frame).mean(axis=2)[inside].mean()
        assert carried < 0.55 * still


def test_the_background_moves_with_the_camera_alone():
    scene = dataclasses.replace(_scene(noun="car"), pan_speed=6.0)
    clip = render_clip(scene, 3, fps=8, size=256)
    outside = clip.flow[0][~clip.masks[0, 0] & (clip.flow[0][..., 1] == 0)]
    # 6 world units a second to the right at 8 frames a second, two pixels a unit: the world moves left.
    assert np.median(outside[:, 0]) == pytest.approx(-6.0 / 8 * 2, abs=1e-4)


def test_a_walk_is_visible_but_moderate_and_goes_where_the_person_looks():
    for facing, sign in (("left", -1), ("right", 1)):
        clip = render_clip(_scene(noun="chef", people=1, walking=True, facing=facing), 8)
        middles = np.array([np.nonzero(mask[0])[1].mean() for mask in clip.masks])
        step = sign * (middles[-1] - middles[0]) / 7
        assert 0.7 < step < 3.5


def test_someone_who_stands_stays_in_place_but_not_frozen():
    scene = dataclasses.replace(_scene(noun="pilot", people=1, walking=False), pan_speed=0.0)
    clip = render_clip(scene, 6)
    assert np.abs(clip.flow).max() < 3
    assert not np.array_equal(clip.frames[0], clip.frames[-1])


@pytest.mark.parametrize("style", STYLES)
def test_style_noise_stands_still_in_a_clip(style):
    scene = dataclasses.replace(_scene(noun="car", background="farm"), style=style, pan_speed=0.0)
    clip = render_clip(scene, 2)
    # Far from the car, nothing may change: noise that flickers would.
    away = ~cv2.dilate(clip.masks[:, 0].any(axis=0).astype(np.uint8), np.ones((25, 25))).astype(bool)
    assert np.array_equal(clip.frames[0][away], clip.frames[1][away])


def test_captions_come_with_the_clip():
    clip = render_clip(
        _scene(noun="nurse", people=1, gender="man", mention_gender=True, walking=True, mention_hair=False), 2
    )
    assert clip.caption.text.startswith("a male nurse walking")
    assert clip.neutral_caption.text.startswith("a nurse walking")
