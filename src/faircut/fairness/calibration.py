"""How strong the debiasing must be: a table per model, found by search and stored with where it comes from."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faircut.config.reading import read_json, set_aside
from faircut.config.values import from_dict, to_dict
from faircut.errors import ConfigError
from faircut.fairness.attributes import Attribute
from faircut.files import atomic_path
from faircut.files.cache import cache_folder, private_folder

__all__ = [
    "Calibration",
    "Point",
    "best_alpha",
    "calibration_folder",
    "calibration_name",
    "find_calibration",
    "keep_calibration",
    "load_calibration",
    "save_calibration",
]

SHIPPED = Path(__file__).parent / "calibrations"


@dataclass(frozen=True)
class Point:
    """What was measured at one strength.

    Attributes:
        alpha: the strength.
        hit_rate: share of edits in which the value was perceived.
        profession_success: share in which the profession was.
        n: how many edits.
    """

    alpha: float
    hit_rate: float
    profession_success: float
    n: int


@dataclass(frozen=True)
class Calibration:
    """The strengths of a model.

    Attributes:
        attribute: of which attribute.
        model: what the model is called.
        weights: its fingerprint, whatever the precision it runs in.
        alphas: per profession and value the strength.
        default: per value the strength for a profession that was not measured.
        priors: per profession how often the model renders each value when nothing is said.
        curves: per profession and value what was measured.
        settings: how it was measured.
    """

    attribute: str
    model: str
    weights: str
    alphas: Mapping[str, Mapping[str, float]]
    default: Mapping[str, float]
    priors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, tuple[Point, ...]]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def alpha(self, profession: str, value: str) -> float:
        """Return the strength for a profession and a value; the default of the value where it was not measured."""
        return self.alphas.get(profession.lower(), {}).get(value, self.default[value])

    def prior(self, profession: str) -> Mapping[str, float] | None:
        """Return how often the model renders each value for a profession; None if it was not measured."""
        return self.priors.get(profession.lower())


def best_alpha(points: tuple[Point, ...], *, wanted: float = 0.95, loss: float = 0.03) -> float:
    """Choose the smallest strength above 0 that reaches the wanted hit rate without losing the profession.

    A stronger one must win more than one edit over every weaker one that keeps the profession as well: one is no evidence.

    Args:
        points: what was measured; at 0, where nothing is asked for, only to know how often the profession succeeds.
        wanted: hit rate.
        loss: how far profession success may fall below that at the smallest strength measured.

    Returns:
        That strength; where none qualifies, the one with the most edits that hit with the profession kept, the smallest of
        equal ones.
    """
    first, *rest = sorted(points, key=lambda point: point.alpha)
    asked = [point for point in (first, *rest) if point.alpha > 0]

    kept = [point for point in asked if point.profession_success >= first.profession_success - loss]
    for point in kept:
        if point.hit_rate >= wanted:
            as_good = (p for p in kept if round((point.hit_rate - p.hit_rate) * p.n) <= 1)
            return min(p.alpha for p in as_good)
    # min of both: a strength that hits without the profession is as bad as one that keeps it without a hit.
    return min(asked, key=lambda p: (-round(min(p.hit_rate, p.profession_success), 6), p.alpha)).alpha


def save_calibration(calibration: Calibration, path: str | Path) -> Path:
    """Write a calibration as JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(to_dict(calibration), indent=1) + "\n", encoding="utf-8")
    return Path(path)


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        data = read_json(path, "the calibration")
    except ConfigError as error:
        raise ConfigError(f"{error}; faircut audit --calibrate writes one") from None
    found = from_dict(Calibration, data, f"calibration {path}")
    for profession, strengths in (("default", found.default), *found.alphas.items()):
        for value, alpha in strengths.items():
            if value not in found.default or alpha < 0:
                raise ConfigError(
                    f"calibration {path}: the strength of {value!r} is {alpha} for {profession!r}, not 0 or more"
                )
    return found


def calibration_folder() -> Path | None:
    """Return where calibrations of this user are kept, beside the inversions; None if there is no home folder.

    Raises:
        ConfigError: ``$FAIRCUT_CACHE`` is no path.
    """
    inversions = cache_folder()
    return None if inversions is None else inversions.parent / "calibrations"


def keep_calibration(calibration: Calibration, attribute: Attribute) -> None:
    """Keep a calibration for this user, readable by nobody else; if it cannot be, that is a warning.

    Args:
        calibration: it.
        attribute: of which attribute.
    """
    folder = calibration_folder()
    if folder is None:
        warnings.warn(
            "there is no home folder, so the calibration is not kept; name a place in FAIRCUT_CACHE", stacklevel=2
        )
        return
    try:
        path = private_folder(folder) / calibration_name(attribute, calibration.weights)
        save_calibration(calibration, path).chmod(0o600)
    except OSError as error:
        warnings.warn(
            f"the calibration is not kept, as {folder} cannot be written ({error.strerror or error}); it is used for this "
            "run alone",
            stacklevel=2,
        )


def calibration_name(attribute: Attribute, weights: str) -> str:
    """Return the file name of a calibration.

    Args:
        attribute: of which attribute.
        weights: fingerprint of the model's, whatever the precision it runs in.
    """
    return f"{attribute.name}-{weights[:16]}.json"


def find_calibration(editor: Any, attribute: Attribute) -> Calibration | None:
    """Return the stored calibration of a model: the user's own, or the one that ships with faircut.

    A damaged one is set aside.

    Args:
        editor: a VideoEditor.
        attribute: of which attribute.
    """
    name = calibration_name(attribute, editor.weights_fingerprint)
    for folder in (calibration_folder(), SHIPPED):
        if folder is not None and os.path.lexists(folder / name):
            try:
                return load_calibration(folder / name)
            except ConfigError as error:
                set_aside(folder / name, error)
    return None
