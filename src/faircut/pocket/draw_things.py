"""Draw the vehicles of the drawn world, in eight colours. The origin is on the ground in the middle, facing right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .draw_outfits import PAINT
from .draw_pen import Colour, Pen, darker, lighter, place, turn

_GLASS: Colour = (176, 222, 246)
_TYRE: Colour = (34, 34, 38)
_LAMP: Colour = (255, 244, 150)


def _wheel(pen: Pen, base: np.ndarray, owner: int, x: float, radius: float, degrees: float) -> None:
    """Draw a rolling wheel as a part."""
    pen.part(base @ turn(x, -radius, degrees), owner)
    pen.oval(x, -radius, radius, radius, _TYRE)
    pen.oval(x, -radius, radius * 0.58, radius * 0.58, (206, 210, 216))
    pen.line(x - radius * 0.55, -radius, x + radius * 0.55, -radius, 2, (110, 114, 122))
    pen.line(x, -radius * 1.55, x, -radius * 0.45, 2, (110, 114, 122))


def _car(pen: Pen, paint: Colour) -> None:
    pen.poly(((-26, -26), (-15, -42), (13, -42), (28, -26)), paint)
    pen.poly(((-20, -27), (-12, -38), (-2, -38), (-2, -27)), _GLASS)
    pen.poly(((2, -27), (2, -38), (11, -38), (22, -27)), _GLASS)
    pen.poly(((-46, -22), (-40, -28), (32, -28), (46, -22), (47, -8), (-46, -8)), paint)
    pen.rect(-46, -12, 47, -8, darker(paint, 0.35))
    pen.oval(43, -19, 3.5, 3.5, _LAMP)
    pen.rect(-46, -21, -42, -16, (255, 80, 60))
    pen.rect(-6, -23, 2, -21, darker(paint, 0.4))


def _jeep(pen: Pen, paint: Colour) -> None:
    pen.rect(-40, -60, 8, -34, paint)
    pen.rect(-44, -62, 12, -57, darker(paint, 0.45))
    pen.rect(-34, -54, -18, -40, _GLASS)
    pen.rect(-13, -54, 4, -40, _GLASS)
    pen.poly(((8, -57), (13, -57), (20, -36), (8, -36)), _GLASS)
    pen.poly(((-42, -38), (40, -38), (44, -33), (44, -14), (-42, -14)), paint)
    pen.rect(-44, -17, 47, -12, (60, 60, 66))
    pen.oval(-46, -32, 5, 10, _TYRE)
    pen.oval(41, -29, 4, 4, _LAMP)


def _bus(pen: Pen, paint: Colour) -> None:
    pen.rect(-50, -62, 50, -9, paint)
    pen.rect(-50, -64, 50, -60, lighter(paint, 0.5))
    for k in range(5):
        pen.rect(-46 + 16 * k, -55, -33 + 16 * k, -38, _GLASS)
    pen.rect(36, -55, 50, -34, _GLASS)
    pen.rect(-50, -28, 50, -23, (255, 255, 255) if paint != PAINT["white"] else (150, 156, 166))
    pen.rect(-50, -12, 50, -9, darker(paint, 0.4))
    pen.rect(46, -19, 50, -14, _LAMP)


def _truck(pen: Pen, paint: Colour) -> None:
    pen.rect(-50, -66, 16, -16, paint)
    for x in (-34.0, -17.0, 0.0):
        pen.rect(x - 0.9, -66, x + 0.9, -16, darker(paint, 0.3))
    pen.poly(((20, -48), (36, -48), (44, -30), (48, -28), (48, -12), (20, -12)), darker(paint, 0.18))
    pen.poly(((26, -44), (34, -44), (40, -30), (26, -30)), _GLASS)
    pen.rect(-50, -16, 48, -11, (70, 72, 80))
    pen.oval(46, -20, 3, 3.5, _LAMP)


def _train(pen: Pen, paint: Colour) -> None:
    pen.rect(-48, -62, -16, -12, paint)
    pen.rect(-52, -67, -12, -61, darker(paint, 0.45))
    pen.rect(-42, -55, -22, -38, _GLASS)
    pen.rect(-16, -44, 40, -16, paint)
    pen.oval(40, -30, 7, 14, darker(paint, 0.3))
    for x in (-6.0, 12.0):
        pen.rect(x - 1.5, -44, x + 1.5, -16, _LAMP)
    pen.rect(22, -62, 32, -44, (46, 46, 52))
    pen.poly(((18, -70), (36, -70), (32, -60), (22, -60)), (46, 46, 52))
    pen.oval(3, -46, 6, 5, (250, 206, 80))
    pen.oval(24, -78, 9, 6, (240, 240, 244))
    pen.oval(10, -85, 11, 7, (240, 240, 244))
    pen.rect(-50, -16, 46, -10, (60, 60, 66))
    pen.poly(((42, -14), (52, -2), (36, -2), (36, -14)), (200, 40, 40))


def _boat(pen: Pen, paint: Colour) -> None:
    pen.rect(-3, -92, 1, -18, (130, 84, 44))
    pen.poly(((4, -90), (4, -28), (40, -28)), (255, 255, 255))
    pen.poly(((-6, -82), (-6, -28), (-34, -28)), lighter(paint, 0.35))
    pen.poly(((1, -92), (1, -85), (-14, -88.5)), paint)
    pen.poly(((-48, -24), (50, -24), (36, 0), (-34, 0)), paint)
    pen.poly(((-48, -24), (50, -24), (47, -19), (-45, -19)), (255, 255, 255) if paint != PAINT["white"] else _TYRE)


_BODIES: dict[str, tuple[Callable[[Pen, Colour], None], tuple[tuple[float, float], ...]]] = {
    "car": (_car, ((-26, 10.5), (27, 10.5))),
    "jeep": (_jeep, ((-25, 14.5), (27, 14.5))),
    "bus": (_bus, ((-29, 11), (29, 11))),
    "truck": (_truck, ((-35, 11), (-11, 11), (34, 11))),
    "train": (_train, ((-37, 12), (-8, 9), (11, 9), (30, 9))),
    "boat": (_boat, ()),
}


def draw_vehicle(
    pen: Pen, owner: int, *, noun: str, colour: str, x: float, y: float, scale: float, facing_left: bool, phase: float
) -> None:
    """Draw one vehicle.

    Args:
        pen: Pen to draw with.
        owner: Index of the subject.
        noun: A vehicle of the world.
        colour: A key of `PAINT`.
        x: Middle, world units.
        y: Ground (or water) line, world units.
        scale: Size factor; 1 is about 95 units long.
        facing_left: Whether the vehicle drives to the left.
        phase: Turns of the wheels; for a boat, cycles of its rocking.
    """
    base = place(x, y, scale, facing_left)
    body, wheels = _BODIES[noun]
    rock = 3.0 * float(np.sin(2 * np.pi * phase)) if not wheels else 0.0
    pen.part(base @ turn(0, -6, rock), owner)
    body(pen, PAINT[colour])
    for wheel, radius in wheels:
        _wheel(pen, base, owner, wheel, radius, 360.0 * phase)
