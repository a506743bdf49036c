"""Measuring any edit of any clip, whoever made it: a typed result with a figure and a curve per metric."""

from faircut.evaluate.measure import KINDS, Kind, Measure, measure_edit
from faircut.evaluate.run import Evaluation, EvaluationSettings, run_evaluation, save_evaluation

__all__ = [
    "KINDS",
    "Evaluation",
    "EvaluationSettings",
    "Kind",
    "Measure",
    "measure_edit",
    "run_evaluation",
    "save_evaluation",
]
