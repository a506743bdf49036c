"""One picture of everything in the drawn world: ``faircut pocket sheet OUT.png``."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import cv2
import numpy as np

from .clips import render_clip
from .world import (
    ANIMALS,
    BACKGROUNDS,
    COLOURS,
    GENDERS,
    HAIR,
    PROFESSIONS,
    SKIN,
    STYLES,
    VEHICLES,
    Scene,
    render,
    sample_scene,
)

_COLUMNS = 12
_LABEL = 12  # height of the line of text under a picture, pixels


def _tile(image: np.ndarray, text: str) -> np.ndarray:
    """Return a picture with a line of text below: (H + 12, W, 3) uint8."""
    line = np.full((_LABEL, image.shape[1], 3), 255, np.uint8)
    cv2.putText(line, text, (2, 9), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (40, 40, 40), 1, cv2.LINE_AA)
    return np.concatenate([image, line])


def _flow_colours(flow: np.ndarray) -> np.ndarray:
    """Convert flow to colours, with the direction as hue: (H, W, 2) float32 pixels to (H, W, 3) uint8."""
    length, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    hsv = np.stack([angle / 2, np.clip(length * 70, 0, 255), np.full_like(length, 255)], axis=-1)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)


def contact_sheet(seed: int = 0) -> np.ndarray:
    """Draw professions, plain clothes, pairs, things, places, styles and one clip with its ground truth.

    Args:
        seed: Seed of all scenes.

    Returns:
        (H, W, 3) uint8 RGB, twelve labelled pictures in a row.
    """
    rng = np.random.default_rng(seed)
    hair, skin, colours = cycle(HAIR), cycle(SKIN), cycle(COLOURS)
    tiles: list[np.ndarray] = []

    def show(text: str, **forced: Any) -> Scene:
        scene = sample_scene(rng, **({"style": None} | forced))
        tiles.append(_tile(render(scene).image, text))
        return scene

    for gender in GENDERS:
        for noun in PROFESSIONS:
            show(f"{noun}, {gender}", noun=noun, gender=gender, people=1, hair=next(hair), skin=next(skin))
    for k, colour in enumerate(COLOURS):
        gender = GENDERS[k % 2]
        show(f"{gender} in {colour}", noun="person", gender=gender, colour=colour, people=1, hair=next(hair))
    for _ in range(4):
        pair = sample_scene(rng, people=2, style=None)
        text = " + ".join(subject.noun for subject in pair.subjects)
        tiles.append(_tile(render(pair).image, text))
    for noun in (*VEHICLES, *ANIMALS) * 2:
        colour = next(colours)
        show(f"{colour} {noun}", noun=noun, colour=colour)
    for place in BACKGROUNDS:
        show(place, background=place, kind="person", people=1)
    for gender in GENDERS:
        show(f"{gender}", noun="person", gender=gender, people=1)
    for style in STYLES:
        show(style, style=style, noun="doctor", people=1)
        show(style, style=style, noun="car" if style != "night scene" else "rabbit", colour="red")
    clip = render_clip(sample_scene(rng, noun="farmer", people=1, style=None, facing="right", background="park"), 8)
    tiles += [_tile(frame, f"clip, frame {i}") for i, frame in enumerate(clip.frames)]
    masks = [np.repeat(mask[0, ..., None], 3, axis=2).astype(np.uint8) * 255 for mask in clip.masks]
    tiles += [_tile(masks[i], f"mask, frame {i}") for i in (0, 7)]
    tiles += [_tile(_flow_colours(clip.flow[i]), f"flow, frame {i} to {i + 1}") for i in (0, 3)]
    rows = [np.concatenate(tiles[i : i + _COLUMNS], axis=1) for i in range(0, len(tiles), _COLUMNS)]
    # Steps of six per colour channel are invisible in flat drawings and keep the file small.
    return np.clip(np.round(np.concatenate(rows) / 6.0) * 6, 0, 255).astype(np.uint8)
