"""Deciding what becomes of the people of a clip: reading what is perceived, applying a policy, looking up a strength."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from faircut.edit.editor import VideoEditor
from faircut.edit.inversion import Inversion
from faircut.errors import ConfigError
from faircut.fairness.attributes import Attribute, get_attribute
from faircut.fairness.calibration import Calibration, find_calibration
from faircut.fairness.perception import Perceived, Reader, boxes_of, perceive
from faircut.fairness.targets import POLICIES, choose_value
from faircut.methods.fame import Fame, Person
from faircut.model.checkpoints import judge_folder

__all__ = ["Decision", "decide", "load_reader", "read_person"]

_UNCALIBRATED = 1.0


@dataclass(frozen=True)
class Decision:
    """What was decided for one person, for the report.

    Attributes:
        person: the words for the person in the prompt.
        target: the policy or value that was asked for.
        perceived: what is seen in the source; None if nobody looked.
        value: what the person shall be seen as; None where nothing is injected.
        alpha: the strength; None where nothing is injected.
        because: why, in a clause.
    """

    person: str
    target: str | None
    perceived: Perceived | None
    value: str | None
    alpha: float | None
    because: str


def decide(
    editor: VideoEditor,
    inversion: Inversion,
    prompt: str,
    method: Fame,
    *,
    reader: Reader | None = None,
    calibration: Calibration | None = None,
    seed: int = 0,
) -> tuple[Fame, tuple[Decision, ...]]:
    """Turn the policies of a FAME edit into values, and ``alpha="auto"`` into numbers.

    Args:
        editor: the model.
        inversion: of the clip.
        prompt: of the edit.
        method: whose people are to be decided.
        reader: reads what is perceived in the source; needed for ``"preserve"``. Who shows already what is asked for keeps
            the inversion's noise (`Fame.fresh_noise`).
        calibration: the model's; by default the one that is stored for it.
        seed: of the draws of ``"balanced"``; each person has a draw of its own.

    Returns:
        The method with a value or None for every person, and the decisions.

    Raises:
        ConfigError: a policy lacks what it needs: a reader, the clip's frames, or a calibration.
    """
    attribute = get_attribute(method.attribute)

    @cache  # Finding it reads all weights, and few edits need it.
    def table() -> Calibration | None:
        return calibration or find_calibration(editor, attribute)

    people, decisions = [], []
    for number, person in enumerate(method.people):
        text = prompt if person.prompt is None else person.prompt
        said = attribute.said_in(text) if len(method.people) == 1 or person.prompt is not None else None
        perceived = None
        can = reader is not None and inversion.frames is not None
        if said is None and (person.target == "preserve" or (person.target is not None and can)):
            perceived = read_person(editor, inversion, person, attribute, reader)
        value, because = None, "nothing was asked for"
        if said is not None:
            because = f"the prompt says {said!r}"
        elif person.target is not None:
            prior = _prior(table(), person) if person.target == "minority" else None
            value = choose_value(
                attribute,
                person.target,
                prompt=person.phrase,
                perceived=None if perceived is None else perceived.value,
                prior=prior,
                seed=seed + number,
            )
            because = _because(person.target, perceived)
        alpha = None
        if value is not None:
            alpha = _strength(method.alpha_of(person), table, person, value)
        shown = person.shown if perceived is None else perceived.value
        people.append(replace(person, target=value, alpha=alpha, shown=shown))
        decisions.append(Decision(person.phrase, person.target, perceived, value, alpha, because))
    return replace(method, people=tuple(people)), tuple(decisions)


def read_person(
    editor: VideoEditor, inversion: Inversion, person: Person, attribute: Attribute, reader: Reader | None
) -> Perceived:
    """Read what is perceived of a person in the source clip.

    Args:
        editor: the model.
        inversion: of the clip, with its frames.
        person: whom to read; where he or she is comes from the masks or from the source's attention.
        attribute: what to read.
        reader: reads it.

    Raises:
        ConfigError: there is no reader, or the inversion holds no frames.
    """
    if reader is None:
        raise ConfigError(
            f"{person.phrase!r} is to keep the perceived {attribute.name}, and nobody reads it; give a reader (--reader: a "
            "CLIP folder), or name a value"
        )
    if inversion.frames is None:
        raise ConfigError(
            "this inversion is of latents, so there are no frames to read; invert the clip, or name a value"
        )
    given = person.masks
    masks = editor.locate(inversion, person.source) if given is None else torch.as_tensor(given) >= 0.5
    return perceive(reader(inversion.frames.float() / 255, boxes_of(masks), attribute))


def load_reader(name: str, model: str | Path) -> Reader | None:
    """Load what reads the perceived attributes.

    Args:
        name: a CLIP's folder or name; or ``"auto"``, which is the judge that comes with a pocket model, and else nobody.
        model: of the edit.

    Returns:
        The reader; None for nobody.

    Raises:
        ModelError: there is no CLIP at that place.
    """
    if name == "auto":
        folder = judge_folder(model)
        if folder is None:
            return None
        from faircut.pocket.judge import load_judge
        from faircut.pocket.reader import PocketReader

        return PocketReader(load_judge(folder))
    from faircut.fairness.readers import ClipReader
    from faircut.model.scorer import load_clip_scorer

    return ClipReader(load_clip_scorer(name))


def _because(target: str, perceived: Perceived | None) -> str:
    if perceived is not None and perceived.value is None:
        return "the source is unclear, so nothing is injected"
    if perceived is not None:
        return f"the source is read as {perceived.value!r} in {perceived.stability:.0%} of its frames"
    return f"policy {target!r}" if target in POLICIES else "it was asked for"


def _prior(calibration: Calibration | None, person: Person) -> Mapping[str, float] | None:
    return None if calibration is None else calibration.prior(person.phrase)


def _strength(alpha: Any, table: Callable[[], Calibration | None], person: Person, value: str) -> float:
    if alpha != "auto":
        return float(alpha)
    calibration = table()
    if calibration is None:
        warnings.warn(
            f"this model is not calibrated, so alpha is {_UNCALIBRATED:g}, the plain word's strength; give --alpha, or run "
            "faircut audit --calibrate",
            stacklevel=3,
        )
        return _UNCALIBRATED
    return calibration.alpha(person.phrase, value)
