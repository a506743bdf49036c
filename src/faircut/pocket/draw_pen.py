"""The pen of the drawn world, which fills polygons on a supersampled canvas and records the part of each pixel.

All drawing code uses world units: the picture is 128 x 128 units, x to the right, y down, at any size in pixels. Every
shape belongs to a *part*, a rigid piece with an affine (a leg, a wheel, the background). The canvas stores the part
index of each pixel in a fourth channel, so that masks and optical flow follow from the geometry of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

WORLD = 128.0
SUPERSAMPLE = 3
BACKGROUND = -1

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

_SHIFT = 4  # number of fractional bits in the fixed-point polygon corners that OpenCV takes
_ANGLES = np.arange(20) * (2 * np.pi / 20)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours.

    Args:
        first: RGB, 0..255.
        second: RGB, 0..255.
        share: Share of the second colour, 0 to 1.

    Returns:
        RGB, 0..255.
    """
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def darker(colour: Colour, share: float = 0.3) -> Colour:
    """Mix a colour with a share of black."""
    return mix(colour, (0, 0, 0), share)


def lighter(colour: Colour, share: float = 0.4) -> Colour:
    """Mix a colour with a share of white."""
    return mix(colour, (255, 255, 255), share)


def place(x: float, y: float, scale: float = 1.0, flip: bool = False) -> np.ndarray:
    """Return the affine that moves the origin of a drawing to (x, y).

    Args:
        x: Position to the right, world units.
        y: Position down, world units.
        scale: Size factor.
        flip: Whether to mirror left and right.

    Returns:
        (3, 3) float64 matrix on column vectors (x, y, 1).
    """
    return np.array([[-scale if flip else scale, 0.0, x], [0.0, scale, y], [0.0, 0.0, 1.0]])


def turn(x: float, y: float, degrees: float) -> np.ndarray:
    """Return the affine that rotates a drawing clockwise around its point (x, y), as a (3, 3) float64 matrix."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0.0, 0.0, 1.0]])


class Pen:
    """A pen that draws filled shapes on a square canvas of `size * SUPERSAMPLE` pixels.

    Args:
        size: Height and width of the finished picture in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        side = size * SUPERSAMPLE
        self.canvas = np.zeros((side, side, 4), np.uint8)
        self.affines: list[np.ndarray] = []
        self.owners: list[int] = []
        self._zoom = side / WORLD
        self._linear = np.eye(2)
        self._offset = np.zeros(2)

    def part(self, affine: np.ndarray, owner: int) -> None:
        """Start a part, to which all following shapes belong.

        Args:
            affine: (3, 3) matrix from the coordinates of the part to world units.
            owner: Index of the subject that the part belongs to, or `BACKGROUND`.
        """
        self.affines.append(affine)
        self.owners.append(owner)
        # Fixed-point canvas coordinates; pixel centres are at half units, hence the -0.5.
        self._linear = affine[:2, :2].T * (self._zoom * 2**_SHIFT)
        self._offset = (affine[:2, 2] * self._zoom - 0.5) * 2**_SHIFT + 0.5

    def poly(self, points: Points | np.ndarray, colour: Colour) -> None:
        """Fill a polygon given by its corners in the part's coordinates."""
        corners = np.floor(np.asarray(points, np.float64) @ self._linear + self._offset).astype(np.int32)
        ident = len(self.affines) - 1
        cv2.fillPoly(self.canvas, [corners], (*colour, ident), cv2.LINE_8, _SHIFT)

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a rectangle from its upper left to its lower right corner."""
        self.poly(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, degrees: float = 0.0) -> None:
        """Fill an ellipse with centre (x, y) and radii rx, ry, rotated clockwise by `degrees`."""
        points = _CIRCLE * (rx, ry)
        if degrees:
            c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            points = points @ np.array([[c, s], [-s, c]])
        self.poly(np.add(points, (x, y)), colour)

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float, colour: Colour) -> None:
        """Fill a thick straight stroke with flat ends."""
        length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-6)
        dx, dy = (y1 - y0) / length * width / 2, (x0 - x1) / length * width / 2
        self.poly(((x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy)), colour)

    def limb(self, x0: float, y0: float, x1: float, y1: float, width: float, colour: Colour) -> None:
        """Fill a thick stroke with round ends."""
        self.line(x0, y0, x1, y1, width, colour)
        self.oval(x0, y0, width / 2, width / 2, colour)
        self.oval(x1, y1, width / 2, width / 2, colour)

    def path(self, points: Points, width: float, colour: Colour) -> None:
        """Fill a thick stroke with round joints through several points."""
        for (x0, y0), (x1, y1) in pairwise(points):
            self.limb(x0, y0, x1, y1, width, colour)

    def gradient(self, top: Colour, bottom: Colour, until: float) -> None:
        """Fill the canvas from the top down to y = `until`, in world units, with a vertical gradient of two colours."""
        rows = round(until * self._zoom)
        blend = np.linspace(0.0, 1.0, max(rows, 1))[:, None]
        column = np.array(top) * (1 - blend) + np.array(bottom) * blend
        self.canvas[:rows, :, :3] = np.round(column).astype(np.uint8)[:, None]

    def picture(self) -> np.ndarray:
        """Return the picture: (size, size, 3) uint8 RGB, with a thin dark outline around the parts of subjects."""
        ids = np.ascontiguousarray(self.canvas[..., 3])
        image = cv2.resize(self.canvas, (self.size, self.size), interpolation=cv2.INTER_AREA)[..., :3]
        if len(self.affines) < 2:
            return np.ascontiguousarray(image)
        edges = cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, _CROSS)
        _, edges = cv2.threshold(edges, 0, 150, cv2.THRESH_BINARY)
        shade = 255 - cv2.resize(edges, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return cv2.multiply(np.ascontiguousarray(image), cv2.merge([shade] * 3), scale=1 / 255)

    def masks(self, subjects: int) -> np.ndarray:
        """Return the mask of each subject: (subjects, size, size) bool, True where it covers over half of a pixel."""
        ids = np.ascontiguousarray(self.canvas[..., 3])
        result = np.zeros((subjects, self.size, self.size), bool)
        for subject in range(subjects):
            table = np.zeros(256, np.uint8)
            table[: len(self.owners)] = np.where(np.array(self.owners) == subject, 255, 0)
            covered = cv2.resize(cv2.LUT(ids, table), (self.size, self.size), interpolation=cv2.INTER_AREA)
            result[subject] = covered > 127
        return result

    def part_map(self) -> np.ndarray:
        """Return the part that is visible at the centre of each pixel: (size, size) uint8 index into `affines`."""
        middle = SUPERSAMPLE // 2
        return self.canvas[middle::SUPERSAMPLE, middle::SUPERSAMPLE, 3].copy()


_CROSS = np.ones((3, 3), np.uint8)
