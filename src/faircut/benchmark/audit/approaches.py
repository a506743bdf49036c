"""The approaches that an audit compares: FateZero, FateZero with the value's word in the prompt, FAME and variants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from faircut.benchmark.audit.cases import Case
from faircut.benchmark.names import pick
from faircut.fairness.attributes import Attribute
from faircut.fairness.calibration import Calibration
from faircut.fairness.embedding import debias
from faircut.methods import Fame, FateZero, Person
from faircut.methods.fame import BASE
from faircut.prompts import Prompt

__all__ = ["ABLATION", "APPROACHES", "Approach", "Ask", "get_approaches"]

_STRUCTURE: dict[str, Any] = {"cross_replace_steps": 0.4, "self_replace_steps": 0.6}


@dataclass(frozen=True)
class Ask:
    """A request for the person who is edited.

    Attributes:
        value: Requested value; None for no value.
        shown: Value that is perceived in the source; None if unclear.
        alpha: Calibrated strength.
        attribute: Attribute of the value.
    """

    value: str | None
    shown: str | None = None
    alpha: float = 1.0
    attribute: str = "gender"


Build = Callable[[Case, Ask], Any]


@dataclass(frozen=True)
class Approach:
    """A named way to edit a case.

    Attributes:
        name: Name in results.
        build: Function that makes the method: ``(case, request) -> method``.
        asks: Whether a value can be requested. If not, one edit serves every request.
        says: Whether the value's word is put into the prompt.
    """

    name: str
    build: Build
    asks: bool = True
    says: bool = False

    def prompt(self, case: Case, value: str | None, attribute: Attribute, tokenize: Callable[[str], Prompt]) -> str:
        """Return the target prompt of the edit."""
        if not self.says or value is None:
            return case.prompt
        return debias(tokenize(case.prompt), case.profession, attribute.value(value).word, tokenize).twin.text

    def alpha(self, case: Case, value: str | None, calibration: Calibration | None) -> float:
        """Return the strength for a case and a value."""
        return 1.0 if value is None or calibration is None else calibration.alpha(case.profession, value)


def _fatezero(case: Case, ask: Ask) -> FateZero:
    return FateZero(blend_words=(case.source, case.profession), latent_blend_steps=1.0, **_STRUCTURE)


def _unblended(case: Case, ask: Ask) -> FateZero:
    return FateZero(blend_words=(case.source, case.profession), **_STRUCTURE)


def _fresh(case: Case, ask: Ask) -> FateZero:
    return replace(_fatezero(case, ask), fresh_noise=Fame.fresh_noise)


def _published(case: Case, ask: Ask) -> FateZero:
    return FateZero(blend_words=(case.source, case.profession), latent_blend_steps=1.0)


@dataclass(frozen=True)
class _Fame:
    """A builder of FAME with changed options. A changed ``alpha`` overrides the calibrated strength."""

    changes: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, case: Case, ask: Ask) -> Fame:
        people = (Person(case.source, case.profession, ask.value, shown=ask.shown),)
        return Fame(people, attribute=ask.attribute, **{"alpha": ask.alpha, **self.changes})


_TEMPORAL, _CROSS = {"temporal_modulation": 0.3}, {"cross_modulation": 1.0}

ABLATION: dict[str, Approach] = {
    approach.name: approach
    for approach in (
        Approach("fatezero-unblended", _unblended, asks=False),
        Approach("fatezero-fresh", _fresh, asks=False),
        Approach("fatezero-fresh+word", _fresh, says=True),
        Approach("fatezero-published+word", _published, says=True),
        Approach("fatezero-unblended+word", _unblended, says=True),
        Approach("fame:modulation-only", _Fame({"alpha": 0.0, **_TEMPORAL, **_CROSS})),
        Approach("fame:temporal-only", _Fame({"alpha": 0.0, **_TEMPORAL})),
        Approach("fame:cross-only", _Fame({"alpha": 0.0, **_CROSS})),
        Approach("fame:modulated", _Fame({**_TEMPORAL, **_CROSS})),
        Approach("fame:temporal", _Fame(_TEMPORAL)),
        Approach("fame:cross", _Fame(_CROSS)),
        Approach("fame:cross-eta-0", _Fame({"eta": 0.0, **_CROSS})),
        Approach("fame:inverted-noise", _Fame({"fresh_noise": 0.0})),
        Approach("fame:guided-everywhere", _Fame({"base": replace(BASE, region_guidance=False)})),
        Approach("fame:unbound", _Fame({"region_bound": False})),
        Approach("fame:alpha-1", _Fame({"alpha": 1.0})),
        Approach("fame:unblended", _Fame({"base": replace(BASE, latent_blend_steps=None)})),
        Approach("fame:replace", _Fame({"base": replace(BASE, alignment="auto")})),
    )
}
"""Variants of FAME and FateZero.

FAME with its attention modulations, which are off by default: both, each of them, and modulation without the debiasing
word (as in VideoGrain); and FAME without other parts. FateZero without latent blending, with fresh noise, and with the
step windows of its published configurations, 0.8 and 0.8, which keep the source's silhouette longer.
"""

APPROACHES: dict[str, Approach] = {
    approach.name: approach
    for approach in (
        Approach("fatezero", _fatezero, asks=False),
        Approach("fatezero+word", _fatezero, says=True),
        Approach("fame", _Fame()),
        *ABLATION.values(),
    )
}
"""All approaches by name."""


def get_approaches(names: list[str]) -> list[Approach]:
    """Return approaches by their names; ``"ablation"`` stands for all of `ABLATION`.

    Raises:
        ConfigError: If there is no approach of a name.
    """
    return pick(names, APPROACHES, {"ablation": ABLATION})
