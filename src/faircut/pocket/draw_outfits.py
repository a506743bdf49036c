"""Draw clothes, hats and tools of the twelve professions, and plain clothes, in the coordinates of the person."""

from __future__ import annotations

from dataclasses import dataclass

from .draw_pen import Colour, Pen, darker, lighter

PAINT: dict[str, Colour] = {
    "red": (222, 36, 40),
    "blue": (36, 88, 222),
    "green": (34, 160, 62),
    "yellow": (250, 214, 30),
    "white": (246, 246, 246),
    "black": (38, 38, 44),
    "purple": (146, 52, 190),
    "orange": (250, 132, 24),
}

_WHITE: Colour = (250, 250, 250)
_BLACK: Colour = (30, 30, 34)
_NAVY: Colour = (26, 38, 104)
_GOLD: Colour = (252, 206, 50)
_STEEL: Colour = (176, 184, 196)
_WOOD: Colour = (150, 98, 50)


@dataclass(frozen=True)
class Outfit:
    """The colours of one set of clothes. `coat` extends below the hips, `cuffs` puts `stripe` on sleeves and legs."""

    top: Colour
    sleeves: Colour
    trousers: Colour
    shoes: Colour = _BLACK
    skirt: Colour | None = None
    stripe: Colour | None = None
    gloves: Colour | None = None
    coat: bool = False
    cuffs: bool = False


OUTFITS: dict[str, Outfit] = {
    "doctor": Outfit(_WHITE, _WHITE, (30, 150, 160), coat=True),
    "nurse": Outfit((250, 140, 184), (250, 140, 184), (250, 140, 184), shoes=_WHITE),
    "engineer": Outfit((255, 122, 16), (70, 90, 120), (50, 66, 100), skirt=(50, 66, 100)),
    "teacher": Outfit((40, 120, 66), (40, 120, 66), (150, 110, 70), skirt=(150, 110, 70)),
    "chef": Outfit(_WHITE, _WHITE, (70, 70, 78), skirt=(70, 70, 78)),
    "firefighter": Outfit((196, 30, 26), (196, 30, 26), (196, 30, 26), stripe=(240, 240, 60), coat=True, cuffs=True),
    "police officer": Outfit(_NAVY, _NAVY, _NAVY),
    "farmer": Outfit((204, 50, 44), (204, 50, 44), (66, 116, 196), shoes=(110, 70, 40), skirt=(66, 116, 196)),
    "pilot": Outfit((44, 44, 56), (44, 44, 56), (44, 44, 56), stripe=None),
    "scientist": Outfit((186, 246, 206), (186, 246, 206), (80, 90, 110), gloves=(140, 70, 200), coat=True),
    "cleaner": Outfit((110, 196, 236), (110, 196, 236), (60, 96, 150), gloves=(255, 226, 30)),
    "ceo": Outfit((104, 106, 118), (104, 106, 118), (104, 106, 118)),
}


def plain_outfit(colour: str, woman: bool) -> Outfit:
    """Return plain clothes: a dress in one colour, or a shirt in that colour over dark trousers.

    Args:
        colour: A key of `PAINT`.
        woman: Whether to return the dress.

    Returns:
        The outfit.
    """
    paint = PAINT[colour]
    trousers = (86, 72, 62) if colour in ("blue", "black", "purple") else (58, 66, 96)
    return Outfit(paint, paint, trousers, skirt=darker(paint, 0.1) if woman else None)


def draw_chest(pen: Pen, noun: str, woman: bool) -> None:
    """Draw the details on the front of the clothes.

    Args:
        pen: A pen inside the body's part.
        noun: A profession, or "person".
        woman: Whether the body is bell-shaped; if not, it is straight.
    """
    hem, wide = (-15.0, 27.0) if woman else (-32.0, 17.0)
    chest = 13.0 if woman else 21.0
    if noun == "doctor":
        low = hem if woman else -20.0
        pen.poly(((-7, -64), (7, -64), (3.5, low), (-3.5, low)), (30, 150, 160))
        pen.path(((-7, -63), (-8, -50), (0, -43), (8, -50), (7, -63)), 2.6, (40, 44, 60))
        pen.oval(0, -41, 4.2, 4.2, (40, 44, 60))
        pen.oval(0, -41, 2.2, 2.2, _STEEL)
    elif noun == "nurse":
        pen.poly(((-8, -60), (8, -60), (8, -44), (wide * 0.6, hem + 2), (-wide * 0.6, hem + 2), (-8, -44)), _WHITE)
        pen.rect(-2, -58, 2, -45, (226, 30, 46))
        pen.rect(-6.5, -53.5, 6.5, -49.5, (226, 30, 46))
    elif noun == "engineer":
        for x in (-8.5, 8.5):
            pen.rect(x - 2.6, -64, x + 2.6, -40, (246, 250, 90))
        pen.rect(-chest * 0.85, -47, chest * 0.85, -42, (246, 250, 90))
    elif noun == "teacher":
        pen.poly(((-7, -64), (7, -64), (0, -46)), _WHITE)
        pen.poly(((-2, -62), (2, -62), (2.6, -48), (0, -44), (-2.6, -48)), (220, 60, 40))
        for y in (-56.0, -48.0):
            pen.rect(-chest * 0.8, y, -5, y + 1.8, (120, 190, 120))
            pen.rect(5, y, chest * 0.8, y + 1.8, (120, 190, 120))
    elif noun == "chef":
        pen.poly(((-10, -64), (10, -64), (0, -54)), (226, 40, 40))
        for y in (-52.0, -46.0, -40.0):
            for x in (-4.5, 4.5):
                pen.oval(x, y, 1.9, 1.9, (40, 40, 46))
    elif noun == "firefighter":
        width = 12.0 if woman else 22.0
        pen.rect(-width, -52, width, -46, (240, 240, 60))
        low = -26.0
        span = 20.0 if woman else 18.0
        pen.rect(-span, low, span, low + 6, (240, 240, 60))
        pen.rect(-1.6, -64, 1.6, low, (70, 20, 20))
    elif noun == "police officer":
        pen.poly(((5, -60), (12, -60), (12, -54), (8.5, -49), (5, -54)), _GOLD)
        pen.poly(((-5, -64), (5, -64), (0, -56)), (150, 190, 240))
        belt = 11.5 if woman else 18.0
        pen.rect(-belt, -42 if woman else -37, belt, -38 if woman else -32, _BLACK)
        pen.rect(-3, -42 if woman else -37, 3, -38 if woman else -32, _GOLD)
    elif noun == "farmer":
        denim = (66, 116, 196)
        pen.rect(-10, -54, 10, hem - 6, denim)
        for x in (-8.0, 8.0):
            pen.rect(x - 2.4, -64, x + 2.4, -52, denim)
            pen.oval(x, -52, 1.9, 1.9, _GOLD)
        pen.rect(-5, -49, 5, -42, darker(denim, 0.25))
    elif noun == "pilot":
        pen.poly(((-8, -64), (8, -64), (0, -44)), _WHITE)
        pen.poly(((-2, -62), (2, -62), (2.6, -50), (0, -45), (-2.6, -50)), _BLACK)
        for side in (-1.0, 1.0):
            pen.rect(side * (chest - 3) - 5, -64, side * (chest - 3) + 5, -59, _GOLD)
            for y in (-45.0, -39.0):
                pen.oval(side * 5.5, y, 2, 2, _GOLD)
        pen.rect(-13 if not woman else -10, -55, -6, -51, _GOLD)
    elif noun == "scientist":
        low = hem if woman else -20.0
        pen.poly(((-6, -64), (6, -64), (0, -48)), (80, 90, 110))
        pen.rect(-0.8, -48, 0.8, low, (100, 170, 130))
        pen.rect(5, -54, 11, -47, (110, 190, 146))
    elif noun == "cleaner":
        apron = ((-8, -60), (8, -60), (9, -44), (wide * 0.62, hem + 1), (-wide * 0.62, hem + 1), (-9, -44))
        pen.poly(apron, (255, 244, 150))
        pen.rect(-6, -40, 6, -33, (230, 200, 70))
    elif noun == "ceo":
        pen.poly(((-9, -64), (9, -64), (0, -40)), _WHITE)
        pen.poly(((-3, -63), (3, -63), (3.8, -48), (0, -41), (-3.8, -48)), (224, 20, 34))
        for x in (-chest * 0.68, chest * 0.68):
            pen.rect(x - 0.6, -62, x + 0.6, hem if not woman else -44, lighter((104, 106, 118), 0.35))
    elif woman:
        pen.rect(-11.5, -46, 11.5, -42, _WHITE)


def draw_hat(pen: Pen, noun: str) -> None:
    """Draw the hat of a profession, above the forehead, so that hair is visible at both sides.

    Args:
        pen: A pen inside the head's part.
        noun: A profession, or "person".
    """
    if noun == "doctor":
        pen.poly(((-15, -95), (15, -95), (14.5, -91), (-14.5, -91)), (60, 60, 70))
        pen.oval(1, -95, 6.5, 6.5, (210, 222, 234))
        pen.oval(1, -95, 2.4, 2.4, (60, 60, 70))
    elif noun == "nurse":
        pen.poly(((-13, -94), (13, -94), (15, -108), (0, -111), (-15, -108)), _WHITE)
        pen.rect(-1.8, -107, 1.8, -96, (226, 30, 46))
        pen.rect(-5.5, -103.5, 5.5, -99.5, (226, 30, 46))
    elif noun == "engineer":
        pen.poly(((-15, -94), (-14, -103), (-7, -110), (7, -110), (14, -103), (15, -94)), (255, 210, 20))
        pen.rect(-17, -96, 20, -92, (240, 184, 10))
        pen.rect(-2.5, -112, 2.5, -95, (255, 236, 110))
    elif noun == "teacher":
        pen.rect(-11, -101, 11, -94, _BLACK)
        pen.poly(((-22, -103), (0, -110), (22, -103), (0, -96)), (44, 44, 52))
        pen.line(0, -103, -17, -99, 1.8, _GOLD)
        pen.rect(-19.5, -100, -15, -88, _GOLD)
    elif noun == "chef":
        pen.rect(-12, -106, 12, -94, (236, 238, 244))
        for x, r in ((-10.0, 8.0), (10.0, 8.0), (0.0, 9.5)):
            pen.oval(x, -110, r, r * 0.85, _WHITE)
    elif noun == "firefighter":
        pen.poly(((-15, -95), (-13, -105), (-4, -111), (6, -111), (14, -105), (16, -95)), (232, 30, 24))
        pen.poly(((-21, -92), (-15, -97), (16, -97), (21, -92)), (170, 16, 16))
        pen.poly(((-4, -107), (6, -107), (6, -100), (1, -95), (-4, -100)), _GOLD)
    elif noun == "police officer":
        pen.poly(((-14, -94), (-20, -103), (-8, -109), (8, -109), (20, -103), (14, -94)), _NAVY)
        pen.rect(-14, -97, 14, -93, _BLACK)
        pen.poly(((-4, -93), (16, -93), (18, -90), (2, -90)), _BLACK)
        pen.oval(1, -101.5, 4, 4.4, _GOLD)
    elif noun == "farmer":
        straw = (238, 198, 96)
        pen.oval(0, -95, 25, 4.6, straw)
        pen.poly(((-12, -96), (-10, -109), (10, -109), (12, -96)), straw)
        pen.rect(-12, -100, 12, -96.5, (190, 50, 40))
    elif noun == "pilot":
        pen.poly(((-14, -94), (-21, -104), (-8, -109), (8, -109), (21, -104), (14, -94)), _WHITE)
        pen.rect(-14, -97.5, 14, -93.5, _BLACK)
        pen.poly(((-4, -93.5), (16, -93.5), (18, -90), (2, -90)), _BLACK)
        pen.poly(((-9, -104), (0, -101), (9, -104), (3, -98), (-3, -98)), _GOLD)
    elif noun == "scientist":
        pen.rect(-15.5, -95, 15.5, -91, (40, 60, 60))
        for x in (-6.5, 7.5):
            pen.oval(x, -95, 7, 6, (40, 60, 60))
            pen.oval(x, -95, 5, 4.2, (90, 250, 150))
    elif noun == "cleaner":
        pen.poly(((-15, -93), (-13, -102), (0, -107), (13, -102), (15, -93), (0, -97)), (255, 226, 30))
        for x, y in ((-8.0, -99.0), (0.0, -102.0), (8.0, -99.0)):
            pen.oval(x, y, 1.8, 1.8, _WHITE)
        pen.poly(((-14, -95), (-24, -99), (-22, -89)), (255, 226, 30))


def draw_tool(pen: Pen, noun: str) -> None:
    """Draw the tool of a profession, large, in the hand at (26, -35).

    Args:
        pen: A pen inside the front arm's part.
        noun: A profession, or "person".
    """
    if noun == "doctor":
        pen.rect(19, -46, 39, -20, _WOOD)
        pen.rect(21, -43, 37, -22, _WHITE)
        for y in (-38.0, -33.0, -28.0):
            pen.rect(23, y, 35, y + 1.8, (110, 130, 170))
        pen.rect(25, -48, 33, -43, _STEEL)
    elif noun == "nurse":
        pen.rect(18, -32, 40, -14, (226, 30, 46))
        pen.rect(27, -29, 31, -17, _WHITE)
        pen.rect(23, -25, 35, -21, _WHITE)
    elif noun == "engineer":
        pen.limb(27, -30, 33, -58, 5.5, _STEEL)
        pen.oval(34, -61, 8, 8, _STEEL)
        pen.poly(((31, -70), (38, -70), (36, -60), (33, -60)), (90, 96, 110))
    elif noun == "teacher":
        pen.poly(((15, -46), (28, -42), (28, -22), (15, -26)), (60, 110, 220))
        pen.poly(((41, -46), (28, -42), (28, -22), (41, -26)), (90, 140, 240))
        pen.poly(((17, -45), (28, -41), (39, -45), (39, -42), (28, -38), (17, -42)), _WHITE)
    elif noun == "chef":
        pen.limb(24, -36, 31, -42, 4, _BLACK)
        pen.oval(40, -46, 11, 9, (48, 50, 58))
        pen.oval(40, -47.5, 7, 5, _WHITE)
        pen.oval(40, -47.5, 3, 2.4, (255, 190, 20))
    elif noun == "firefighter":
        pen.limb(26, -14, 30, -66, 4, _WOOD)
        pen.poly(((26, -72), (35, -70), (44, -76), (44, -54), (34, -61), (27, -61)), _STEEL)
    elif noun == "police officer":
        pen.limb(27, -28, 31, -54, 4, _WHITE)
        pen.oval(32, -64, 11, 11, _WHITE)
        pen.oval(32, -64, 9, 9, (226, 24, 34))
        pen.rect(26, -66, 38, -62, _WHITE)
    elif noun == "farmer":
        pen.limb(26, 0, 31, -62, 3.6, _WOOD)
        pen.line(23, -62, 40, -60.5, 3.6, (90, 96, 110))
        for x in (24.0, 31.5, 39.0):
            pen.line(x, -61, x + 1.2, -78, 3, (90, 96, 110))
    elif noun == "pilot":
        pen.poly(((17, -37), (22, -42), (44, -48), (48, -46), (44, -42), (22, -34)), (240, 240, 246))
        pen.poly(((28, -42), (35, -44), (30, -26), (25, -26)), (60, 130, 230))
        pen.poly(((29, -43), (35, -45), (32, -56), (28, -56)), (60, 130, 230))
        pen.poly(((18, -37), (22, -40), (17, -50), (14, -48)), (226, 40, 46))
    elif noun == "scientist":
        pen.rect(28, -60, 35, -44, (214, 240, 250))
        pen.rect(26, -62, 37, -59, (150, 180, 200))
        pen.poly(((28, -46), (35, -46), (44, -24), (19, -24)), (214, 240, 250))
        pen.poly(((26, -40), (37, -40), (42, -26), (21, -26)), (60, 226, 60))
    elif noun == "cleaner":
        pen.limb(26, -66, 31, -10, 3.6, _WOOD)
        pen.poly(((25, -14), (37, -14), (43, 0), (20, 0)), (244, 244, 236))
        for x in (26.0, 31.0, 36.0):
            pen.line(x, -12, x + 0.6, 0, 1.2, (150, 160, 170))
    elif noun == "ceo":
        pen.rect(17, -31, 43, -12, (146, 84, 34))
        pen.rect(17, -24, 43, -21, (250, 206, 80))
        pen.path(((25, -31), (25, -36), (35, -36), (35, -31)), 2.4, (100, 56, 22))
