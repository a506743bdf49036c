"""One-shot tuning: a text-to-image model learns one clip (Tune-A-Video, Wu et al., ICCV 2023, arXiv 2212.11565)."""

from __future__ import annotations

from faircut.tune.convert import convert
from faircut.tune.settings import TuneSettings
from faircut.tune.train import Tuned, tune

__all__ = ["TuneSettings", "Tuned", "convert", "tune"]
