"""Measure edits made with any tool. The result is a dataclass with a figure and a curve for each metric."""

from faircut.evaluate.measure import Measure, measure_edit, metrics_of
from faircut.evaluate.run import Evaluation, EvaluationSettings, run_evaluation, save_evaluation

__all__ = [
    "Evaluation",
    "EvaluationSettings",
    "Measure",
    "measure_edit",
    "metrics_of",
    "run_evaluation",
    "save_evaluation",
]
