"""Deciding what each person of a clip is edited to: reading the source, applying a policy, looking up a strength."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import torch

from faircut.config.flags import option, read_text
from faircut.errors import ConfigError
from faircut.fairness.attributes import Attribute
from faircut.fairness.calibration import Calibration
from faircut.fairness.perception import Perceived, Reader, boxes_of, perceive
from faircut.fairness.targets import POLICIES, choose_value

__all__ = ["Decision", "Person", "Strength", "decide", "read_person", "said_of"]

Strength = float | Literal["auto"]

_UNCALIBRATED = 1.0


@dataclass(frozen=True)
class Person:
    """One person of a clip, and what the edit makes of him or her.

    Attributes:
        source: the words for the person in the source prompt, such as ``"person"``.
        phrase: the words for the person in the prompt, such as ``"doctor"``.
        target: the value to be perceived, such as ``"female"``; or a policy, such as ``"preserve"``, which `decide`
            turns into a value; None injects nothing.
        prompt: a separate prompt for this person; by default the edit's.
        alpha: strength of the debiasing for this person; by default the method's.
        masks: (frame, height, width), where the person is; by default where the source's attention to `source` is.
        shown: the value perceived in the source, where it is known; `decide` fills it in.
    """

    source: str
    phrase: str
    target: str | None = option(
        None,
        flag="--target",
        read=read_text,
        syntax="VALUE|POLICY",
        takes="a value, such as female, or a policy, such as preserve; once for everyone, or once for each person",
        cli_default="preserve",
    )
    prompt: str | None = None
    alpha: Strength | None = None
    masks: Any = field(default=None, compare=False, repr=False, metadata={"saved": False})
    shown: str | None = None


@dataclass(frozen=True)
class Decision:
    """What was decided for one person, for the report.

    Attributes:
        person: the words for the person in the prompt.
        target: the policy or value that was asked for.
        perceived: what was read in the source; None if it was not read.
        value: the value to be perceived in the edit; None where nothing is injected.
        alpha: the strength; None where nothing is injected.
        because: the reason, in a clause.
    """

    person: str
    target: str | None
    perceived: Perceived | None
    value: str | None
    alpha: float | None
    because: str


def decide(
    people: Sequence[Person],
    attribute: Attribute,
    prompt: str,
    *,
    alpha: Strength,
    frames: torch.Tensor | None,
    locate: Callable[[str], torch.Tensor],
    reader: Reader | None,
    calibration: Callable[[], Calibration | None],
    seed: int = 0,
) -> tuple[tuple[Person, ...], tuple[Decision, ...]]:
    """Turn every person's policy into a value, and ``alpha="auto"`` into a number.

    Args:
        people: of the clip.
        attribute: of which attribute the values are.
        prompt: of the edit.
        alpha: strength for people who have none of their own.
        frames: the source clip, uint8 (frame, 3, height, width); None if only its latents are at hand.
        locate: gives the masks of words of the source prompt, (frame, height, width) bool.
        reader: reads what is perceived in the source; needed for ``"preserve"``. A person who already shows the value
            asked for keeps the inversion's noise (`faircut.methods.Fame.fresh_noise`).
        calibration: finds the model's calibration, which is asked for only where it decides something.
        seed: of the draws of ``"balanced"``; person n draws with ``seed + n``.

    Returns:
        The people, each with a value or None and with a number, and the decisions.

    Raises:
        ConfigError: a policy lacks what it needs: a reader, the clip's frames, or a calibration.
    """

    @cache  # Finding it reads all weights, and few edits need it.
    def table() -> Calibration | None:
        return calibration()

    decided, decisions = [], []
    for number, person in enumerate(people):
        said = said_of(person, people, attribute, prompt)
        perceived = None
        readable = reader is not None and frames is not None
        if said is None and (person.target == "preserve" or (person.target is not None and readable)):
            perceived = read_person(person, attribute, frames=frames, locate=locate, reader=reader)
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
        strength = None
        if value is not None:
            strength = _strength(alpha if person.alpha is None else person.alpha, table, person, value)
        shown = person.shown if perceived is None else perceived.value
        decided.append(replace(person, target=value, alpha=strength, shown=shown))
        decisions.append(Decision(person.phrase, person.target, perceived, value, strength, because))
    return tuple(decided), tuple(decisions)


def said_of(person: Person, people: Sequence[Person], attribute: Attribute, prompt: str) -> str | None:
    """Return the value that a prompt says of a person; None where it leaves it open, or speaks of several people.

    Args:
        person: one of the people.
        people: of the clip.
        attribute: of which attribute.
        prompt: of the edit; a person's own prompt goes before it.

    Raises:
        ConfigError: it says several values.
    """
    if person.prompt is not None:
        return attribute.said_in(person.prompt)
    return attribute.said_in(prompt) if len(people) == 1 else None


def read_person(
    person: Person,
    attribute: Attribute,
    *,
    frames: torch.Tensor | None,
    locate: Callable[[str], torch.Tensor],
    reader: Reader | None,
) -> Perceived:
    """Read what is perceived of a person in the source clip.

    Args:
        person: whom to read, within the person's masks, or where `locate` finds the person's words.
        attribute: what to read.
        frames: the source clip, uint8 (frame, 3, height, width).
        locate: as in `decide`.
        reader: reads it.

    Raises:
        ConfigError: there is no reader, or there are no frames.
    """
    if reader is None:
        raise ConfigError(
            f"{person.phrase!r} is to keep the perceived {attribute.name}, but there is no reader; give one (--reader: "
            "a CLIP folder), or name a value"
        )
    if frames is None:
        raise ConfigError(
            "this inversion is of latents, so there are no frames to read; invert the clip, or name a value"
        )
    given = person.masks
    masks = locate(person.source) if given is None else torch.as_tensor(given) >= 0.5
    return perceive(reader(frames.float() / 255, boxes_of(masks), attribute))


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
            f"this model is not calibrated, so alpha is {_UNCALIBRATED:g}, the plain word's strength; give --alpha, or "
            "run faircut audit --calibrate",
            stacklevel=3,
        )
        return _UNCALIBRATED
    return calibration.alpha(person.phrase, value)
