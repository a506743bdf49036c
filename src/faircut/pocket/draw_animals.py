"""Draw the animals of the drawn world, in eight colours. The origin is on the ground in the middle, facing right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .draw_outfits import PAINT
from .draw_pen import Colour, Pen, darker, lighter, place, turn

_PINK: Colour = (250, 150, 160)
_INK: Colour = (24, 22, 28)


def _eye(pen: Pen, x: float, y: float, r: float = 4.0) -> None:
    pen.oval(x, y, r, r * 1.1, (255, 255, 255))
    pen.oval(x + 0.8, y, r * 0.55, r * 0.65, _INK)


def _legs(
    pen: Pen, base: np.ndarray, owner: int, xs: tuple[float, ...], top: float, width: float, swing: float, paint: Colour
) -> None:
    """Draw four swinging legs, each as a part. Every second one is behind and darker."""
    for k, x in enumerate(xs):
        sign = 1.0 if k in (0, 3) else -1.0
        pen.part(base @ turn(x, top, 20 * swing * sign), owner)
        shade = darker(paint, 0.28 if k % 2 else 0.1)
        pen.rect(x - width / 2, top, x + width / 2, -3, shade)
        pen.oval(x + 1, -3, width * 0.62, 3, darker(paint, 0.5))


def _dog(pen: Pen, base: np.ndarray, owner: int, paint: Colour, swing: float) -> None:
    _legs(pen, base, owner, (-26, -17, 12, 21), -26, 8, swing, paint)
    pen.part(base @ turn(-30, -38, 14 * swing), owner)
    pen.path(((-30, -38), (-40, -46), (-44, -58)), 6, paint)
    pen.part(base, owner)
    pen.oval(-4, -34, 32, 14, paint)
    pen.oval(-2, -26, 22, 5, lighter(paint, 0.4))
    pen.poly(((12, -38), (24, -60), (38, -50), (28, -30)), paint)
    pen.line(17, -36, 35, -42, 5, (230, 40, 40) if paint != PAINT["red"] else (250, 220, 60))
    pen.oval(31, -60, 14, 12, paint)
    pen.oval(43, -55, 11, 7, lighter(paint, 0.35))
    pen.oval(52, -58, 4, 3.6, _INK)
    pen.oval(21, -55, 7, 15, darker(paint, 0.45), 12)
    _eye(pen, 35, -64)
    pen.poly(((42, -49), (48, -49), (46, -40)), (240, 70, 90))


def _cat(pen: Pen, base: np.ndarray, owner: int, paint: Colour, swing: float) -> None:
    pen.part(base @ turn(-22, -16, 10 * swing), owner)
    pen.path(((-18, -10), (-36, -10), (-44, -22), (-40, -38), (-30, -42), (-26, -34)), 7, darker(paint, 0.2))
    pen.part(base, owner)
    # Sitting, a pear shape with a round head on top, unlike any of the walking animals.
    pen.oval(-2, -20, 22, 20, paint)
    pen.poly(((-20, -24), (-10, -56), (14, -56), (19, -24)), paint)
    pen.oval(4, -20, 9, 15, lighter(paint, 0.45))
    for x in (-4.0, 12.0):
        pen.oval(x, -4, 8, 4.5, lighter(paint, 0.45))
    for y in (-40.0, -32.0, -24.0):
        pen.rect(-19, y, -9, y + 3, darker(paint, 0.4))
    pen.part(base @ turn(4, -52, 3 * swing), owner)
    for side in (-1, 1):
        pen.poly(((4 + side * 4, -76), (4 + side * 20, -92), (4 + side * 19, -64)), paint)
        pen.poly(((4 + side * 9, -76), (4 + side * 17, -86), (4 + side * 17, -70)), _PINK)
    pen.oval(4, -64, 20, 16, paint)
    for x in (-4.0, 13.0):
        pen.oval(x, -67, 5, 5.6, (190, 250, 80))
        pen.oval(x, -67, 1.6, 5, _INK)
    pen.poly(((1, -61), (8, -61), (4.5, -57)), _PINK)
    for side in (-1, 1):
        for dy in (-2.0, 2.5):
            pen.line(4 + side * 8, -58 + dy * 0.4, 4 + side * 26, -58 + dy * 1.6, 1.2, (250, 250, 250))


def _rabbit(pen: Pen, base: np.ndarray, owner: int, paint: Colour, swing: float) -> None:
    hop = base @ turn(-10, -8, 4 * swing)
    pen.part(hop, owner)
    pen.oval(-32, -22, 9, 9, (255, 255, 255) if paint != PAINT["white"] else (214, 214, 220))
    pen.oval(-8, -22, 26, 21, paint)
    pen.oval(-14, -5, 17, 5, darker(paint, 0.25))
    pen.oval(14, -4, 10, 4.5, darker(paint, 0.25))
    pen.oval(-14, -16, 13, 12, darker(paint, 0.12))
    for x, tilt in ((10.0, -12.0), (24.0, 10.0)):
        pen.part(hop @ turn(x, -56, tilt + 5 * swing), owner)
        pen.oval(x, -76, 6.5, 23, paint)
        pen.oval(x, -76, 3.4, 18, _PINK)
    pen.part(hop, owner)
    pen.oval(17, -46, 18, 15, paint)
    pen.oval(22, -39, 9, 6, lighter(paint, 0.5))
    _eye(pen, 23, -50, 4.4)
    pen.oval(32, -43, 3, 2.4, (240, 90, 120))
    pen.rect(23, -37, 27, -32, (255, 255, 255))


def _swan(pen: Pen, base: np.ndarray, owner: int, paint: Colour, swing: float) -> None:
    pen.part(base @ turn(0, -8, 2.5 * swing), owner)
    pen.poly(((-28, -16), (-50, -42), (-16, -34)), paint)
    pen.oval(-4, -16, 36, 17, paint)
    pen.path(((26, -16), (36, -32), (34, -48), (26, -60), (28, -74), (36, -80)), 10, paint)
    pen.oval(37, -80, 10, 8, paint)
    pen.poly(((44, -85), (62, -77), (44, -73)), (255, 140, 20) if paint != PAINT["orange"] else (255, 220, 40))
    pen.oval(45, -81, 3.5, 4.6, _INK)
    _eye(pen, 38, -83, 3.2)
    pen.poly(((-34, -28), (14, -30), (16, -14), (-8, -4), (-30, -10)), lighter(paint, 0.3))
    for y in (-22.0, -14.0):
        pen.line(-26, y, 10, y + 1, 1.6, darker(paint, 0.3))


def _horse(pen: Pen, base: np.ndarray, owner: int, paint: Colour, swing: float) -> None:
    mane = (92, 54, 28) if paint in (PAINT["black"], PAINT["blue"], PAINT["purple"]) else _INK
    _legs(pen, base, owner, (-26, -18, 12, 20), -42, 7, swing, paint)
    pen.part(base @ turn(-32, -50, 8 * swing), owner)
    pen.poly(((-30, -58), (-42, -52), (-46, -20), (-38, -22), (-32, -44)), mane)
    pen.part(base, owner)
    pen.oval(-4, -48, 31, 14, paint)
    pen.poly(((8, -52), (22, -88), (38, -82), (26, -44)), paint)
    pen.poly(((22, -92), (36, -88), (54, -70), (50, -62), (42, -62), (26, -76)), paint)
    pen.oval(49, -67, 6, 6, lighter(paint, 0.35))
    pen.poly(((25, -88), (26, -102), (34, -90)), paint)
    pen.poly(((27, -94), (18, -92), (0, -62), (4, -52), (14, -58), (24, -82)), mane)
    _eye(pen, 36, -80, 3.6)
    pen.oval(52, -67, 1.5, 1.8, _INK)
    pen.poly(((-16, -62), (6, -62), (8, -48), (-14, -48)), (150, 84, 40) if paint != PAINT["orange"] else (60, 60, 160))


def _cow(pen: Pen, base: np.ndarray, owner: int, paint: Colour, swing: float) -> None:
    patch = (255, 255, 255) if paint != PAINT["white"] else (60, 50, 50)
    _legs(pen, base, owner, (-30, -21, 12, 21), -24, 9, swing * 0.8, paint)
    pen.part(base @ turn(-36, -52, 8 * swing), owner)
    pen.path(((-36, -54), (-43, -40), (-42, -26)), 3.2, darker(paint, 0.3))
    pen.oval(-42, -24, 4, 6, _INK)
    pen.part(base, owner)
    pen.oval(-12, -22, 8, 6, _PINK)
    pen.poly(((-38, -56), (-32, -62), (22, -62), (30, -54), (28, -26), (20, -22), (-32, -22), (-38, -28)), paint)
    pen.oval(-22, -46, 10, 10, patch)
    pen.oval(2, -36, 11, 9, patch)
    pen.oval(14, -56, 7, 5, patch)
    for side in (-1, 1):
        pen.path(((36 + side * 9, -70), (36 + side * 17, -76), (36 + side * 15, -86)), 4.5, (250, 240, 200))
        pen.oval(36 + side * 17, -64, 8, 4, darker(paint, 0.3), side * 20)
    pen.poly(((24, -74), (48, -74), (46, -50), (27, -50)), paint)
    pen.poly(((33, -74), (40, -74), (39, -52), (34, -52)), patch)
    pen.oval(37, -48, 14, 9, _PINK)
    pen.oval(32, -48, 2, 2.6, (120, 50, 60))
    pen.oval(42, -48, 2, 2.6, (120, 50, 60))
    _eye(pen, 30, -65, 3.6)
    _eye(pen, 43, -65, 3.6)


_BODIES: dict[str, Callable[[Pen, np.ndarray, int, Colour, float], None]] = {
    "dog": _dog,
    "cat": _cat,
    "rabbit": _rabbit,
    "swan": _swan,
    "horse": _horse,
    "cow": _cow,
}


def draw_animal(
    pen: Pen, owner: int, *, noun: str, colour: str, x: float, y: float, scale: float, facing_left: bool, phase: float
) -> None:
    """Draw one animal.

    Args:
        pen: Pen to draw with.
        owner: Index of the subject.
        noun: An animal of the world.
        colour: A key of `PAINT`.
        x: Middle, world units.
        y: Ground line, world units.
        scale: Size factor; 1 is about 90 units long.
        facing_left: Whether the animal faces and walks to the left.
        phase: Position in the walking cycle, in cycles.
    """
    swing = float(np.sin(2 * np.pi * phase))
    _BODIES[noun](pen, place(x, y, scale, facing_left), owner, PAINT[colour], swing)
