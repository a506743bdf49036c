"""Draw the people of the drawn world: pictograms three heads tall, with clearly visible gender, hair and profession.

The coordinates of a person are world units with the feet at (0, 0), the head at negative y, facing right. Woman and man
differ by coarse features on purpose: long hair wider than the head and a flared skirt or coat, versus short hair, a
beard and trousers. Hats are high and never hide the hair. These features survive the blur of a small latent diffusion
model.
"""

from __future__ import annotations

import numpy as np

from .draw_outfits import OUTFITS, Outfit, draw_chest, draw_hat, draw_tool, plain_outfit
from .draw_pen import Colour, Pen, darker, lighter, place, turn

SKIN_COLOURS: dict[str, Colour] = {
    "pale": (255, 224, 204),
    "fair": (246, 198, 164),
    "tan": (222, 164, 116),
    "olive": (190, 130, 84),
    "brown": (158, 106, 70),
    "dark": (110, 72, 52),
}
HAIR_COLOURS: dict[str, Colour] = {
    "black": (28, 24, 28),
    "brown": (92, 48, 16),
    "blonde": (250, 206, 50),
    "red": (206, 62, 12),
    "grey": (196, 198, 204),
}

_HEAD_Y = -82.0


def _long_hair_behind(pen: Pen, hair: Colour) -> None:
    """Draw the silhouette of long hair, which reaches below the shoulders."""
    outline = (
        (-13, -99),
        (0, -104),
        (13, -99),
        (20, -86),
        (24, -64),
        (26, -47),
        (17, -44),
        (12, -50),
        (-12, -50),
        (-17, -44),
        (-26, -47),
        (-24, -64),
        (-20, -86),
    )
    pen.poly(outline, hair)


def _head(pen: Pen, woman: bool, skin: Colour, hair: Colour) -> None:
    """Draw the face, the hair around it, eyes and mouth."""
    y = _HEAD_Y
    if woman:
        pen.rect(-4, -70, 4, -62, darker(skin, 0.15))
        pen.oval(0, y, 14.5, 16, skin)
        # Hair over the forehead and down both cheeks keeps the long hair visible under any hat.
        pen.poly(((-15.5, -80), (-13, -97), (0, -102), (13, -97), (15.5, -80), (9, -90), (-4, -93), (-10, -90)), hair)
        pen.poly(((-19, -84), (-12, -94), (-11, -80), (-14, -60), (-21, -56)), hair)
        pen.poly(((19, -84), (12, -94), (13.5, -80), (15, -60), (21, -56)), hair)
    else:
        pen.rect(-6, -72, 6, -62, darker(skin, 0.15))
        pen.oval(-14.5, y, 3.5, 4.5, skin)
        pen.oval(14.5, y, 3.5, 4.5, skin)
        pen.oval(0, y, 15, 16, skin)
        top = ((-15.5, -80), (-15, -92), (-8, -100), (6, -100), (15, -92), (15.5, -80), (11.5, -90), (-11.5, -90))
        pen.poly(top, hair)
        # The beard: sideburns, a full jaw and a moustache.
        jaw = (
            (-15.5, -84),
            (-12, -84),
            (-11, -76.5),
            (-4, -78),
            (2, -79),
            (8, -78),
            (12, -76.5),
            (13, -84),
            (15.5, -84),
            (15, -72),
            (8, -63),
            (-8, -63),
            (-15, -72),
        )
        pen.poly(jaw, hair)
        # A dark rim, for beards that are nearly as light as the skin.
        pen.path(
            ((-11.5, -83), (-11, -76.5), (-4, -78), (2, -79), (8, -78), (12, -76.5), (12.5, -83)),
            1.5,
            darker(hair, 0.4),
        )
    for x in (-4.5, 7.0):
        pen.oval(x, y - 1.5, 4.0, 4.6 if woman else 3.8, (255, 255, 255))
        pen.oval(x + 0.8, y - 1.2, 2.3, 3.0 if woman else 2.4, (26, 24, 34))
    if woman:
        for x in (-4.5, 7.0):
            pen.rect(x - 4.8, y - 6.6, x + 4.8, y - 4.6, (30, 24, 30))
        pen.oval(2, y + 9.0, 4.6, 2.4, (222, 30, 60))
    else:
        for x in (-4.5, 7.0):
            pen.rect(x - 4.6, y - 7.6, x + 4.6, y - 5.2, darker(hair, 0.35))
        pen.oval(2, y + 9.5, 4.2, 1.8, (190, 60, 56))


def _leg(pen: Pen, x: float, woman: bool, outfit: Outfit, skin: Colour) -> None:
    if woman:
        pen.rect(x - 3.4, -28, x + 3.4, -4, skin)
        pen.oval(x + 1.5, -3, 6, 3.6, outfit.shoes)
    else:
        pen.rect(x - 6.6, -36, x + 6.6, -4, outfit.trousers)
        if outfit.stripe is not None and outfit.cuffs:
            pen.rect(x - 6.6, -14, x + 6.6, -9, outfit.stripe)
        pen.oval(x + 1.5, -3, 8, 4, outfit.shoes)


def _arm(pen: Pen, side: float, woman: bool, outfit: Outfit, skin: Colour) -> None:
    shoulder = side * (14.5 if woman else 19)
    hand = side * (25 if woman else 27)
    width = 8.0 if woman else 10.5
    pen.limb(shoulder, -58, hand, -38, width, outfit.sleeves)
    if outfit.stripe is not None and outfit.cuffs:
        pen.line(shoulder + 0.6 * (hand - shoulder), -46, hand, -40, width, outfit.stripe)
    pen.oval(hand, -35, 5.2, 5.2, outfit.gloves or skin)


def _torso(pen: Pen, woman: bool, outfit: Outfit) -> None:
    if woman:
        # Narrow shoulders and waist, then a wide flared skirt: a bell.
        pen.poly(((-14, -64), (14, -64), (11, -44), (27, -15), (-27, -15), (-11, -44)), outfit.top)
        if outfit.skirt is not None:
            pen.poly(((-11, -43), (11, -43), (27, -15), (-27, -15)), outfit.skirt)
    else:
        pen.poly(((-22, -64), (22, -64), (24, -54), (17, -32), (-17, -32), (-24, -54)), outfit.top)
        if outfit.coat:
            pen.poly(((-17, -34), (17, -34), (18, -20), (-18, -20)), outfit.top)


def draw_person(
    pen: Pen,
    owner: int,
    *,
    noun: str,
    woman: bool,
    skin: str,
    hair: str,
    colour: str | None,
    x: float,
    y: float,
    scale: float,
    facing_left: bool,
    phase: float,
    walking: bool,
) -> None:
    """Draw one person.

    Args:
        pen: Pen to draw with.
        owner: Index of the subject.
        noun: A profession, or "person" for plain clothes.
        woman: Whether to draw the woman's pictogram; if not, the man's.
        skin: A key of `SKIN_COLOURS`.
        hair: A key of `HAIR_COLOURS`.
        colour: Colour of plain clothes; None for a profession.
        x: Middle of the feet, world units.
        y: Bottom of the feet, world units.
        scale: Size factor; 1 is about 105 units tall.
        facing_left: Whether the person faces and walks to the left.
        phase: Position in the walking cycle, in cycles.
        walking: Whether the limbs swing.
    """
    skin_colour, hair_colour = SKIN_COLOURS[skin], HAIR_COLOURS[hair]
    outfit = OUTFITS[noun] if colour is None else plain_outfit(colour, woman)
    swing = float(np.sin(2 * np.pi * phase))
    if not walking:
        swing = 0.1 + 0.12 * swing  # a standing person sways a little
    lift = 1.6 * abs(swing) if walking else 0.0
    base = place(x, y, scale, facing_left)
    body = place(x, y - lift * scale, scale, facing_left)
    hip = 6.0 if woman else 8.5

    if woman:
        pen.part(body, owner)
        _long_hair_behind(pen, darker(hair_colour, 0.12))
    for side, sign in ((-1.0, 1.0), (1.0, -1.0)):
        pen.part(base @ turn(side * hip, -34, 22 * swing * sign), owner)
        _leg(pen, side * hip, woman, outfit, skin_colour)
    pen.part(body @ turn(-16, -58, 16 * swing), owner)
    _arm(pen, -1.0, woman, outfit, skin_colour)
    pen.part(body, owner)
    _torso(pen, woman, outfit)
    draw_chest(pen, noun, woman)
    pen.part(body @ turn(16, -58, -14 * swing), owner)
    draw_tool(pen, noun)
    _arm(pen, 1.0, woman, outfit, skin_colour)
    pen.part(body @ turn(0, -64, 1.5 * swing), owner)
    _head(pen, woman, skin_colour, hair_colour)
    if hair == "grey" and woman:
        pen.poly(((-15, -90), (0, -101), (-6, -93)), lighter(hair_colour, 0.5))
    draw_hat(pen, noun)
