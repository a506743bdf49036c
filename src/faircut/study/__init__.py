"""The papers' user study: one page asks which of two edits people prefer, blind and in random order."""

from faircut.study.key import KeyClip, KeyItem, StudyKey, load_key
from faircut.study.make import QUESTIONS, StudyFile, StudyItem, load_study, make_study
from faircut.study.show import Answer, Answers, StudyResult, load_answers, save_result, summarise

__all__ = [
    "QUESTIONS",
    "Answer",
    "Answers",
    "KeyClip",
    "KeyItem",
    "StudyFile",
    "StudyItem",
    "StudyKey",
    "StudyResult",
    "load_answers",
    "load_key",
    "load_study",
    "make_study",
    "save_result",
    "summarise",
]
