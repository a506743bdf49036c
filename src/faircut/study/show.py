"""Read the answers to a study, and estimate what people prefer."""

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
    """One choice between two clips.

    Attributes:
        question: Name of the question.
        left: Name of the left clip in the key.
        right: Name of the right clip in the key.
        choice: Name of the selected clip, one of the two.
    """

    question: str
    left: str
    right: str
    choice: str


@dataclass(frozen=True)
class Answers:
    """The answers of one participant.

    Attributes:
        study: Name of the study.
        participant: Name that the page drew at random.
        answers: Answers in the order in which they were given.
        format: Version of the file's layout.
    """

    study: str
    participant: str
    answers: tuple[Answer, ...]
    format: int = FORMAT


@dataclass(frozen=True)
class StudyResult:
    """The result of a study.

    Attributes:
        study: Name of the study.
        title: Title of the study.
        participants: Number of participants.
        answers: Number of answers, over all questions.
        preference: Share of a method's comparisons in which the method was selected, by question and method; 0.5 is
            chance.
        pairs: Share of the comparisons of A and B in which A was selected, by question and ``"A over B"``.
        left: Share of all answers that selected the left clip; near 0.5, unless people did not look.
        format: Version of the file's layout.
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
        """Return the result as JSON text. A share without answers is null."""
        data = to_dict(self)
        for shares in (*data["preference"].values(), *data["pairs"].values(), {"left": data["left"]}):
            for share in shares.values():
                share |= {name: None for name, value in share.items() if math.isnan(value)}
        return json_text(data)


def load_answers(paths: Sequence[str | Path], key: StudyKey) -> tuple[Answers, ...]:
    """Read the answers to a study.

    Args:
        paths: Answer files that participants sent back.
        key: Key of the study.

    Returns:
        The answers, participant by participant.

    Raises:
        ConfigError: If a file cannot be read, belongs to another study, repeats a participant, or contains what the
            page cannot have written.
    """
    by_participant: dict[str, tuple[str | Path, Answers]] = {}
    for path in paths:
        answers = from_dict(Answers, read_format(path, "a file of answers"), str(path))
        if answers.study != key.study:
            raise ConfigError(f"{path} answers the study {answers.study}, but the key is for {key.study}; leave it out")
        if answers.participant in by_participant:
            first = by_participant[answers.participant][0]
            raise ConfigError(
                f"{path} and {first} are both from the participant {answers.participant}; give one of them"
            )
        _check(path, answers, key)
        by_participant[answers.participant] = (path, answers)
    if not any(answers.answers for _, answers in by_participant.values()):
        raise ConfigError("there are no answers; give the files that participants sent back")
    return tuple(answers for _, answers in by_participant.values())


def _check(path: str | Path, answers: Answers, key: StudyKey) -> None:
    """Check that the page can have written these answers.

    Raises:
        ConfigError: If a question, a clip or a pair is not in the key, or a pair is answered twice.
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
            raise ConfigError(
                f"{where}: {answer.left} and {answer.right} are not a pair of the study; leave the file out"
            )
        if answer.choice not in (answer.left, answer.right):
            raise ConfigError(f"{where}: {answer.choice!r} was not one of the two clips; leave the file out")
        pair = (answer.question, frozenset((answer.left, answer.right)))
        if pair in seen:
            raise ConfigError(f"{where}: {answer.question} is answered twice for the same pair; leave the file out")
        seen.add(pair)


def summarise(answers: Sequence[Answers], key: StudyKey, seed: int = 0) -> StudyResult:
    """Estimate what people prefer, with 95% intervals.

    The bootstrap draws cells, which are the answers of one participant about one item. Several comparisons of a method
    in one cell are averaged first.

    Args:
        answers: Checked answers of all participants.
        key: Key of the study.
        seed: Seed of the bootstrap.
    """
    methods = list(dict.fromkeys(clip.method for clip in key.clips.values()))
    method_pairs = list(combinations(methods, 2))
    preference: dict[str, dict[str, Estimate]] = {}
    pairs: dict[str, dict[str, Estimate]] = {}
    for question in key.questions:
        duels_won = [
            (submission.participant, *_duel(answer, key))
            for submission in answers
            for answer in submission.answers
            if answer.question == question
        ]
        preference[question] = {
            method: _share(
                [((who, item), won == method) for who, item, won, lost in duels_won if method in (won, lost)], seed
            )
            for method in methods
        }
        pairs[question] = {
            f"{a} over {b}": _share(
                [((who, i), won == a) for who, i, won, lost in duels_won if {won, lost} == {a, b}], seed
            )
            for a, b in method_pairs
        }
    all_answers = [(submission.participant, answer) for submission in answers for answer in submission.answers]
    left = _share([((who, _duel(answer, key)[0]), answer.choice == answer.left) for who, answer in all_answers], seed)
    return StudyResult(key.study, key.title, len(answers), len(all_answers), preference, pairs, left)


def _duel(answer: Answer, key: StudyKey) -> tuple[int, str, str]:
    """Return the item of an answer, the method that won, and the method that lost."""
    loser = answer.right if answer.choice == answer.left else answer.left
    won = key.clips[answer.choice]
    return won.item, won.method, key.clips[loser].method


def _share(cases: Sequence[tuple[tuple[str, int], bool]], seed: int) -> Estimate:
    """Estimate the share of true outcomes, averaged within each participant and item first."""
    cells: dict[tuple[str, int], list[bool]] = {}
    for cell, outcome in cases:
        cells.setdefault(cell, []).append(outcome)
    return estimate([[sum(cell) / len(cell) for cell in cells.values()]], macro_average, seed=seed)


def save_result(result: StudyResult, path: str | Path) -> Path:
    """Write a result as JSON in one atomic step.

    Args:
        result: The result to write.
        path: Path of the file.

    Returns:
        Path of the file.
    """
    return write_text(path, result.to_json() + "\n")
