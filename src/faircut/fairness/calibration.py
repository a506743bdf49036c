"""Calibrated strengths of the debiasing: one table per model, found by a search and stored with the measurements behind
it.
"""

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
    """Measurements at one strength.

    Attributes:
        alpha: Strength.
        hit_rate: Share of the edits in which the requested value was perceived.
        profession_success: Share of the edits in which the requested profession was perceived.
        n: Number of edits.
    """

    alpha: float
    hit_rate: float
    profession_success: float
    n: int


@dataclass(frozen=True)
class Calibration:
    """The calibrated strengths of a model for one attribute.

    Attributes:
        attribute: Name of the attribute.
        model: Name of the model.
        weights: Fingerprint of the model's weights, independent of the precision in which it runs.
        alphas: Strength by profession and value.
        default: Strength by value, for professions that were not measured.
        priors: By profession, how often the model renders each value when the prompt leaves it open.
        curves: Measurements by profession and value.
        settings: Settings of the measurement.
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
        """Return the strength for a profession and a value, or the default if the profession was not measured."""
        return self.alphas.get(profession.lower(), {}).get(value, self.default[value])

    def prior(self, profession: str) -> Mapping[str, float] | None:
        """Return how often the model renders each value for a profession, or None if that was not measured."""
        return self.priors.get(profession.lower())


def best_alpha(points: tuple[Point, ...], *, wanted: float = 0.95, loss: float = 0.03) -> float:
    """Return the smallest strength above 0 that reaches the wanted hit rate without losing the profession.

    A stronger one is chosen only if it wins more than one edit over every weaker one that keeps the profession as well,
    because a single edit is no evidence.

    Args:
        points: Measurements. One at strength 0, where no value is requested, only tells how often the profession
            succeeds.
        wanted: Hit rate to reach, 0 to 1.
        loss: How far the profession's success may fall below its value at the smallest measured strength, 0 to 1.

    Returns:
        The strength. If none reaches the hit rate, the smallest one with the most edits that show the value and keep
        the profession.
    """
    first, *rest = sorted(points, key=lambda point: point.alpha)
    candidates = [point for point in (first, *rest) if point.alpha > 0]

    keeping = [point for point in candidates if point.profession_success >= first.profession_success - loss]
    for point in keeping:
        if point.hit_rate >= wanted:
            as_good = (p for p in keeping if round((point.hit_rate - p.hit_rate) * p.n) <= 1)
            return min(p.alpha for p in as_good)
    # The minimum of both rates, because showing the value without the profession is as bad as the reverse.
    return min(candidates, key=lambda p: (-round(min(p.hit_rate, p.profession_success), 6), p.alpha)).alpha


def save_calibration(calibration: Calibration, path: str | Path) -> Path:
    """Write a calibration as a JSON file, completely or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(to_dict(calibration), indent=1) + "\n", encoding="utf-8")
    return Path(path)


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration.

    Raises:
        ConfigError: If the file cannot be read, or a strength is negative or belongs to an unknown value.
    """
    try:
        data = read_json(path, "the calibration")
    except ConfigError as error:
        raise ConfigError(f"{error}; faircut audit --calibrate writes one") from None
    calibration = from_dict(Calibration, data, f"calibration {path}")
    for profession, strengths in (("default", calibration.default), *calibration.alphas.items()):
        for value, alpha in strengths.items():
            if value not in calibration.default or alpha < 0:
                raise ConfigError(
                    f"calibration {path}: the strength of {value!r} is {alpha} for {profession!r}, not 0 or more"
                )
    return calibration


def calibration_folder() -> Path | None:
    """Return the folder of the user's calibrations, beside the cached inversions, or None if there is no home folder.

    Raises:
        ConfigError: If ``$FAIRCUT_CACHE`` is not a valid path.
    """
    inversions = cache_folder()
    return None if inversions is None else inversions.parent / "calibrations"


def keep_calibration(calibration: Calibration, attribute: Attribute) -> None:
    """Store a calibration for this user, readable by nobody else. If that fails, only warn.

    Args:
        calibration: Calibration to store.
        attribute: Attribute of the calibration.
    """
    folder = calibration_folder()
    if folder is None:
        warnings.warn(
            "there is no home folder, so the calibration is not stored; set FAIRCUT_CACHE to a folder", stacklevel=2
        )
        return
    try:
        path = private_folder(folder) / calibration_name(attribute, calibration.weights)
        save_calibration(calibration, path).chmod(0o600)
    except OSError as error:
        warnings.warn(
            f"the calibration is not stored because {folder} cannot be written ({error.strerror or error}); it is used "
            "for this run only",
            stacklevel=2,
        )


def calibration_name(attribute: Attribute, weights: str) -> str:
    """Return the file name of a calibration.

    Args:
        attribute: Attribute of the calibration.
        weights: Fingerprint of the model's weights, independent of the precision in which it runs.
    """
    return f"{attribute.name}-{weights[:16]}.json"


def find_calibration(editor: Any, attribute: Attribute) -> Calibration | None:
    """Return the stored calibration of a model: the user's own one, or one that ships with faircut.

    A damaged file is renamed, with a warning.

    Args:
        editor: `VideoEditor` with the model.
        attribute: Attribute of the calibration.

    Returns:
        The calibration, or None if there is none.
    """
    name = calibration_name(attribute, editor.weights_fingerprint)
    for folder in (calibration_folder(), SHIPPED):
        if folder is not None and os.path.lexists(folder / name):
            try:
                return load_calibration(folder / name)
            except ConfigError as error:
                set_aside(folder / name, error)
    return None
