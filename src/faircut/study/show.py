"""Reading the answers to a study, and what people prefer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from faircut.config.values import from_dict, to_dict
from faircut.errors import ConfigError, choices
from faircut.files import json_text, write_text
from faircut.metrics import Estimate, estimate, macro_average
from faircut.study.key import FORMAT, StudyKey, read_format

__all__ = ["Answer", "Answers", "StudyResult", "load_answers", "save_result", "summarise"]


@dataclass(frozen=True)
class Answer:
    """One choice.

    Attributes:
        question: by its name.
        left: the clip on the left, by its name in the key.
        right: the clip on the right.
        choice: the clip that was chosen, one of the two.
    """

    question: str
    left: str
    right: str
    choice: str


@dataclass(frozen=True)
class Answers:
    """What one participant answered.

    Attributes:
        study: which study.
        participant: a name that the page drew.
        answers: in the order in which they were given.
        format: version of this layout.
    """

    study: str
    participant: str
    answers: tuple[Answer, ...]
    format: int = FORMAT


@dataclass(frozen=True)
class StudyResult:
    """What people prefer.

    Attributes:
        study: which study.
        title: its title.
        participants: how many answered.
        answers: how many answers there are, over all questions.
        preference: by question and method, the share of its comparisons in which the method was chosen; 0.5 is by
            chance.
        pairs: by question and ``"A over B"``, the share in which A was chosen, of the comparisons of these two.
        left: the share of all answers that chose the left clip: near 0.5, unless people did not look.
        format: version of this layout.
    """

    study: str
    title: str
    participants: int
    answers: int
    preference: Mapping[str, Mapping[str, Estimate]]
    pairs: Mapping[str, Mapping[str, Estimate]]
    left: Estimate
    format: int = field(default=FORMAT)

    def to_json(self) -> str:
        """Return the result as JSON text; a share of nothing is null."""
        data = to_dict(self)
        for shares in (*data["preference"].values(), *data["pairs"].values(), {"left": data["left"]}):
            for found in shares.values():
                found |= {name: None for name, value in found.items() if math.isnan(value)}
        return json_text(data)


def load_answers(paths: Sequence[str | Path], key: StudyKey) -> tuple[Answers, ...]:
    """Read the answers to a study.

    Args:
        paths: the files that participants sent back.
        key: of the study.

    Raises:
        ConfigError: a file cannot be read, belongs to another study, is there twice, or holds what the page cannot have
            written.
    """
    by_participant: dict[str, tuple[str | Path, Answers]] = {}
    for path in paths:
        answers = from_dict(Answers, read_format(path, "a file of answers"), str(path))
        if answers.study != key.study:
            raise ConfigError(f"{path} answers the study {answers.study}, and the key is of {key.study}; leave it out")
        if answers.participant in by_participant:
            first = by_participant[answers.participant][0]
            raise ConfigError(f"{path} is of the participant {answers.participant}, as is {first}; give one of them")
        _check(path, answers, key)
        by_participant[answers.participant] = (path, answers)
    if not any(answers.answers for _, answers in by_participant.values()):
        raise ConfigError("there are no answers; give the files that participants sent back")
    return tuple(answers for _, answers in by_participant.values())


def _check(path: str | Path, answers: Answers, key: StudyKey) -> None:
    """Check that the page can have written these answers.

    Raises:
        ConfigError: it cannot have.
    """
    seen = set()
    for number, answer in enumerate(answers.answers):
        where = f"{path}, answer {number}"
        if answer.question not in key.questions:
            raise ConfigError(f"{where}: no question {answer.question!r}: {choices(answer.question, key.questions)}")
        for side in (answer.left, answer.right):
            if side not in key.clips:
                raise ConfigError(f"{where}: the study has no clip {side!r}; the file was changed, leave it out")
        items = {key.clips[side].item for side in (answer.left, answer.right)}
        if answer.left == answer.right or len(items) > 1:
            raise ConfigError(f"{where}: {answer.left} and {answer.right} are no pair of the study; leave the file out")
        if answer.choice not in (answer.left, answer.right):
            raise ConfigError(f"{where}: {answer.choice!r} was not one of the two clips; leave the file out")
        pair = (answer.question, frozenset((answer.left, answer.right)))
        if pair in seen:
            raise ConfigError(f"{where}: {answer.question} of the same pair is answered twice; leave the file out")
        seen.add(pair)


def summarise(answers: Sequence[Answers], key: StudyKey, seed: int = 0) -> StudyResult:
    """Find what people prefer, with 95% intervals.

    What is drawn again for the intervals is what one participant said of one item; several comparisons of a method
    within it are averaged first.

    Args:
        answers: of all participants, checked.
        key: of the study.
        seed: of the bootstrap.
    """
    methods = list(dict.fromkeys(clip.method for clip in key.clips.values()))
    duels = list(combinations(methods, 2))
    preference: dict[str, dict[str, Estimate]] = {}
    pairs: dict[str, dict[str, Estimate]] = {}
    for question in key.questions:
        said = [
            (each.participant, *_duel(answer, key))
            for each in answers
            for answer in each.answers
            if answer.question == question
        ]
        preference[question] = {
            method: _share(
                [((who, item), won == method) for who, item, won, lost in said if method in (won, lost)], seed
            )
            for method in methods
        }
        pairs[question] = {
            f"{a} over {b}": _share([((who, i), won == a) for who, i, won, lost in said if {won, lost} == {a, b}], seed)
            for a, b in duels
        }
    every = [(each.participant, answer) for each in answers for answer in each.answers]
    left = _share([((who, _duel(answer, key)[0]), answer.choice == answer.left) for who, answer in every], seed)
    return StudyResult(key.study, key.title, len(answers), len(every), preference, pairs, left)


def _duel(answer: Answer, key: StudyKey) -> tuple[int, str, str]:
    """Which item an answer is about, which method won, and which lost."""
    loser = answer.right if answer.choice == answer.left else answer.left
    won = key.clips[answer.choice]
    return won.item, won.method, key.clips[loser].method


def _share(cases: Sequence[tuple[tuple[str, int], bool]], seed: int) -> Estimate:
    """Estimate how often something was so, of cases that are first averaged by participant and item."""
    cells: dict[tuple[str, int], list[bool]] = {}
    for cell, so in cases:
        cells.setdefault(cell, []).append(so)
    return estimate([[sum(cell) / len(cell) for cell in cells.values()]], macro_average, seed=seed)


def save_result(result: StudyResult, path: str | Path) -> Path:
    """Write a result as JSON, whole or not at all.

    Args:
        result: what was found.
        path: where.

    Returns:
        The path.
    """
    return write_text(path, result.to_json() + "\n")
