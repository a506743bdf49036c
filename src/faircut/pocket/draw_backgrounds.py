"""Draw the ten backgrounds of the drawn world. Each is wider than the picture, so that the camera can pan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .draw_pen import BACKGROUND, Colour, Pen, darker, lighter, mix, place

# Left and right end of a drawn background, in world units; the picture spans 0 to 128.
_LEFT, _RIGHT = -64.0, 192.0


class _Place:
    """The state of drawing one background: the pen, a random generator and a colour jitter."""

    def __init__(self, pen: Pen, rng: np.random.Generator) -> None:
        self.pen = pen
        self.rng = rng
        self.tint = rng.uniform(-14, 14, 3)
        self.horizon = float(rng.uniform(66, 78))

    def colour(self, red: int, green: int, blue: int) -> Colour:
        """Return a colour with the jitter of this background."""
        values = np.clip(np.array((red, green, blue)) + self.tint, 0, 255)
        return int(values[0]), int(values[1]), int(values[2])

    def spots(self, step: float, jitter: float) -> list[float]:
        """Return random positions from left to right, about `step` apart."""
        start = _LEFT + float(self.rng.uniform(0, step))
        return [float(x + self.rng.uniform(-jitter, jitter)) for x in np.arange(start, _RIGHT, step)]

    def band(self, top: float, bottom: float, colour: Colour) -> None:
        """Draw a stripe over the whole width."""
        self.pen.rect(_LEFT, top, _RIGHT, bottom, colour)

    def sky(self, top: Colour, bottom: Colour, clouds: bool = True) -> None:
        """Draw the sky down to the horizon, with a few clouds."""
        self.pen.gradient(top, bottom, self.horizon + 2)
        if not clouds:
            return
        for x in self.spots(62, 18):
            y, size = float(self.rng.uniform(10, 26)), float(self.rng.uniform(0.8, 1.2))
            for dx, dy, r in ((-10, 1, 6), (0, -2, 8), (10, 1, 6)):
                self.pen.oval(x + dx * size, y + dy * size, r * size * 1.3, r * size * 0.8, (255, 255, 255))

    def sun(self, colour: Colour = (255, 226, 70)) -> None:
        """Draw the sun in the upper part."""
        self.pen.oval(float(self.rng.uniform(14, 114)), float(self.rng.uniform(12, 24)), 9, 9, colour)


def _park(p: _Place) -> None:
    h = p.horizon
    p.sky(p.colour(104, 184, 248), p.colour(196, 230, 252))
    p.band(h, 128, p.colour(98, 190, 74))
    p.pen.poly(((_LEFT, 104), (_RIGHT, 96), (_RIGHT, 110), (_LEFT, 122)), p.colour(222, 200, 150))
    for x in p.spots(44, 12):
        base, r = h + float(p.rng.uniform(2, 10)), float(p.rng.uniform(14, 19))
        p.pen.rect(x - 3, base - 26, x + 3, base, (122, 80, 46))
        leaf = p.colour(44, 140, 52)
        for dx, dy in ((-9, 0), (9, 0), (0, -10)):
            p.pen.oval(x + dx, base - 30 + dy, r * 0.8, r * 0.75, leaf if dx else lighter(leaf, 0.12))


def _street(p: _Place) -> None:
    h = p.horizon + 10
    p.sky(p.colour(160, 196, 232), p.colour(214, 226, 240), clouds=False)
    palette = ((192, 152, 104), (150, 78, 70), (116, 140, 168), (204, 180, 130), (134, 124, 156))
    x = _LEFT
    while x < _RIGHT:
        width, top = float(p.rng.uniform(24, 36)), float(p.rng.uniform(6, 40))
        wall = p.colour(*palette[int(p.rng.integers(len(palette)))])
        p.pen.rect(x, top, x + width - 1.5, h, wall)
        for wx in np.arange(x + 4, x + width - 7, 9):
            for wy in np.arange(top + 5, h - 10, 12):
                p.pen.rect(wx, wy, wx + 5, wy + 7, (252, 240, 160))
        x += width
    p.band(h, h + 8, (176, 176, 176))
    p.band(h + 8, 128, p.colour(84, 84, 92))
    for x in p.spots(26, 0):
        p.pen.rect(x, 113, x + 15, 116, (250, 246, 210))


def _beach(p: _Place) -> None:
    h = p.horizon
    p.sky(p.colour(60, 178, 250), p.colour(186, 234, 255))
    p.sun()
    p.band(h - 16, h + 6, p.colour(20, 128, 206))
    p.band(h + 6, h + 9, (255, 255, 255))
    p.band(h + 9, 128, p.colour(248, 224, 150))
    for x in p.spots(74, 16):
        base, lean = h + float(p.rng.uniform(18, 30)), float(p.rng.uniform(-6, 6))
        p.pen.poly(((x - 3, base), (x + 3, base), (x + lean + 2, base - 54), (x + lean - 2, base - 54)), (150, 104, 58))
        for dx, dy in ((-20, 6), (-16, -9), (0, -13), (16, -9), (20, 6)):
            top = (x + lean, base - 54)
            leaf = ((top[0], top[1] - 3), (top[0] + dx, top[1] + dy), (top[0], top[1] + 4))
            p.pen.poly(leaf, (34, 150, 72))
    for x in p.spots(70, 20):
        p.pen.oval(x, 120, 5, 5, (236, 70, 60))
        p.pen.oval(x, 120, 2.5, 5, (255, 255, 255))


def _hospital(p: _Place) -> None:
    h = p.horizon + 18
    p.band(0, h, p.colour(206, 236, 232))
    p.band(h - 26, h - 22, p.colour(70, 180, 170))
    p.band(h, 128, p.colour(166, 190, 200))
    for x in p.spots(84, 6):
        p.pen.rect(x - 13, 12, x + 13, 38, (255, 255, 255))
        p.pen.rect(x - 3.5, 16, x + 3.5, 34, (226, 36, 48))
        p.pen.rect(x - 9, 21.5, x + 9, 28.5, (226, 36, 48))
        bed = x + 42
        p.pen.rect(bed - 24, h - 18, bed - 21, h + 12, (120, 134, 146))
        p.pen.rect(bed + 18, h - 4, bed + 21, h + 12, (120, 134, 146))
        p.pen.rect(bed - 22, h - 6, bed + 20, h + 4, (252, 252, 252))
        p.pen.rect(bed - 6, h - 6, bed + 20, h + 4, (120, 190, 226))
        p.pen.oval(bed - 14, h - 8, 7, 4, (255, 255, 255))


def _office(p: _Place) -> None:
    h = p.horizon + 18
    p.band(0, h, p.colour(222, 214, 200))
    p.band(h, 128, p.colour(126, 92, 92))
    for x in p.spots(80, 6):
        p.pen.rect(x - 20, 8, x + 20, 48, (250, 250, 250))
        for k in range(3):
            p.pen.rect(x - 18 + k * 12.5, 10, x - 7 + k * 12.5, 46, p.colour(146, 204, 246))
        desk = x + 40
        p.pen.rect(desk - 22, h - 8, desk + 22, h - 3, (150, 98, 54))
        p.pen.rect(desk - 20, h - 3, desk - 16, h + 16, (120, 78, 44))
        p.pen.rect(desk + 16, h - 3, desk + 20, h + 16, (120, 78, 44))
        p.pen.rect(desk - 12, h - 30, desk + 12, h - 13, (40, 42, 50))
        p.pen.rect(desk - 10, h - 28, desk + 10, h - 15, (74, 150, 226))
        p.pen.rect(desk - 2, h - 13, desk + 2, h - 8, (40, 42, 50))


def _kitchen(p: _Place) -> None:
    h = p.horizon + 14
    wood = p.colour(222, 112, 62)
    p.band(0, h, p.colour(252, 240, 206))
    for y in np.arange(36, h - 4, 11):
        p.band(y, y + 0.8, (224, 206, 164))
    for x in p.spots(14, 0):
        p.pen.rect(x, 36, x + 0.8, h, (224, 206, 164))
    p.band(0, 30, wood)
    p.band(h, h + 4, (92, 96, 104))
    p.band(h + 4, 112, wood)
    p.band(112, 128, p.colour(188, 176, 160))
    for x in p.spots(34, 0):
        p.pen.rect(x, 0, x + 1.6, 30, darker(wood))
        p.pen.rect(x, h + 4, x + 1.6, 112, darker(wood))
        p.pen.rect(x + 14, 24, x + 22, 26.5, (250, 230, 190))
    for x in p.spots(66, 10):
        p.pen.rect(x - 11, h - 14, x + 11, h, (70, 76, 88))
        p.pen.rect(x - 13, h - 16, x + 13, h - 13, (150, 156, 166))
        p.pen.rect(x - 2, h - 19, x + 2, h - 16, (40, 40, 40))


def _farm(p: _Place) -> None:
    h = p.horizon
    p.sky(p.colour(130, 198, 248), p.colour(222, 240, 252))
    field = p.colour(222, 190, 74)
    p.band(h, 128, field)
    for k, y in enumerate(np.linspace(h + 14, 126, 6)):
        p.band(y, y + 2 + 0.5 * k, mix(field, (120, 90, 20), 0.45))
    for x in p.spots(92, 14):
        red = p.colour(184, 40, 38)
        p.pen.rect(x - 18, h - 26, x + 18, h + 4, red)
        p.pen.poly(((x - 22, h - 25), (x, h - 46), (x + 22, h - 25)), (118, 40, 40))
        p.pen.rect(x - 7, h - 14, x + 7, h + 4, (255, 250, 240))
        p.pen.rect(x - 5, h - 12, x + 5, h + 4, red)
    for x in p.spots(14, 0):
        p.pen.rect(x, h - 3, x + 3, h + 11, (255, 255, 255))
    p.band(h, h + 2.5, (255, 255, 255))
    p.band(h + 5.5, h + 8, (255, 255, 255))


def _snow(p: _Place) -> None:
    h = p.horizon
    p.sky(p.colour(170, 190, 222), p.colour(222, 230, 244), clouds=False)
    for x in p.spots(56, 14):
        top = float(p.rng.uniform(22, 40))
        p.pen.poly(((x - 42, h + 2), (x, top), (x + 42, h + 2)), p.colour(130, 144, 176))
        peak = ((x - 13, top + 13), (x, top), (x + 13, top + 13), (x + 5, top + 10), (x, top + 15))
        p.pen.poly(peak, (255, 255, 255))
    p.band(h, 128, (244, 248, 255))
    for x in p.spots(48, 14):
        base = h + float(p.rng.uniform(8, 16))
        p.pen.rect(x - 2.5, base - 4, x + 2.5, base + 4, (104, 74, 52))
        for k in range(3):
            w, y = 15 - 3.5 * k, base - 3 - 11 * k
            p.pen.poly(((x - w, y), (x, y - 18), (x + w, y)), p.colour(46, 112, 96))
            p.pen.poly(((x - w / 2, y - 9), (x, y - 18), (x + w / 2, y - 9)), (250, 252, 255))
    flakes = p.rng.uniform((_LEFT, 0), (_RIGHT, 128), (70, 2))
    for x, y in flakes:
        p.pen.rect(x - 1, y - 1, x + 1, y + 1, (255, 255, 255))


def _desert(p: _Place) -> None:
    h = p.horizon
    p.sky(p.colour(252, 184, 96), p.colour(255, 226, 160), clouds=False)
    p.sun((255, 246, 190))
    for x in p.spots(64, 16):
        p.pen.oval(x, h + 6, 52, float(p.rng.uniform(14, 24)), p.colour(226, 150, 80))
    p.band(h, 128, p.colour(240, 178, 100))
    for x in p.spots(52, 14):
        base, tall = h + float(p.rng.uniform(6, 18)), float(p.rng.uniform(34, 44))
        green = p.colour(58, 130, 70)
        p.pen.limb(x, base, x, base - tall, 8, green)
        p.pen.path(((x, base - 13), (x - 12, base - 13), (x - 12, base - 25)), 5.5, green)
        p.pen.path(((x, base - 20), (x + 12, base - 20), (x + 12, base - 32)), 5.5, green)


def _lake(p: _Place) -> None:
    h = p.horizon - 8
    p.sky(p.colour(110, 196, 250), p.colour(206, 236, 252))
    for x in p.spots(20, 5):
        p.pen.oval(x, h - 2, 15, float(p.rng.uniform(9, 15)), p.colour(40, 124, 84))
    p.band(h, 128, p.colour(60, 150, 214))
    p.band(h, h + 3, p.colour(34, 104, 150))
    waves = p.rng.uniform((_LEFT, h + 8), (_RIGHT, 126), (34, 2))
    for x, y in waves:
        p.pen.rect(x, y, x + 13, y + 1.6, (176, 220, 246))


_PLACES: dict[str, Callable[[_Place], None]] = {
    "park": _park,
    "street": _street,
    "beach": _beach,
    "hospital": _hospital,
    "office": _office,
    "kitchen": _kitchen,
    "farm": _farm,
    "snow": _snow,
    "desert": _desert,
    "lake": _lake,
}


def draw_background(pen: Pen, name: str, seed: int, pan: float) -> None:
    """Fill the canvas with a background.

    Args:
        pen: A fresh pen.
        name: One of the world's `BACKGROUNDS`.
        seed: Seed of the variation: colours, horizon, and positions of trees and houses.
        pan: Camera position to the right, world units.
    """
    pen.part(place(-pan, 0.0), BACKGROUND)
    _PLACES[name](_Place(pen, np.random.default_rng([seed, 1])))
