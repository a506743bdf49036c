"""A fixed list of edits of drawn clips, with enough of each kind for statistics, and FateZero's options for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from faircut.pocket.captions import caption
from faircut.pocket.scenes import sample_scene
from faircut.pocket.vocabulary import (
    ANIMALS,
    BACKGROUNDS,
    COLOURLESS,
    COLOURS,
    PROFESSIONS,
    STYLES,
    VEHICLES,
    Scene,
)

__all__ = [
    "GUIDANCE",
    "KINDS",
    "LOCAL",
    "EditCase",
    "edit_cases",
    "fatezero_for",
    "make_case",
    "method_for",
    "with_subject",
]

KINDS: dict[str, int] = {"colour": 14, "object": 14, "profession": 14, "background": 12, "style": 12}
"""Kinds of edits, with the number of each in the fixed list."""
LOCAL = ("colour", "object", "profession")
_SEED = 20
_OUTDOORS = tuple(b for b in BACKGROUNDS if b not in ("hospital", "office", "kitchen", "lake"))
GUIDANCE = {"colour": 5.0, "object": 4.0, "profession": 4.0, "background": 4.0, "style": 4.5}
"""Guidance scales for edits with the pocket model, whose colours saturate at 7.5."""
_STYLE_WEIGHT = 1.5


@dataclasses.dataclass(frozen=True)
class EditCase:
    """One edit of the fixed list.

    Attributes:
        kind: One of `KINDS`.
        source: Scene of the source clip.
        target: Scene that the edited clip should show.
        source_prompt: Caption of the source.
        prompt: Caption of the target.
        blend_words: (source noun, target noun), or None for an edit of the whole frame.
    """

    kind: str
    source: Scene
    target: Scene
    source_prompt: str
    prompt: str
    blend_words: tuple[str, str] | None


def make_case(kind: str, source: Scene, target: Scene) -> EditCase:
    """Return the edit of one drawn scene to another.

    Args:
        kind: One of `KINDS`.
        source: Scene of the source clip.
        target: Scene that differs from the source in one attribute.

    Returns:
        The case, with the canonical captions as prompts.
    """
    a, b = caption(source), caption(target)
    nouns = tuple(c.text[slice(*c.subjects[0])] for c in (a, b))
    blend = (nouns[0], nouns[1]) if kind in LOCAL else None
    return EditCase(kind, source, target, a.text, b.text, blend)


def with_subject(scene: Scene, **changes: Any) -> Scene:
    """Return a copy of a scene with its only subject changed.

    Args:
        scene: A scene with one subject.
        changes: New values of the subject's fields.

    Returns:
        The changed copy.
    """
    return dataclasses.replace(scene, subjects=(dataclasses.replace(scene.subjects[0], **changes),))


def edit_cases() -> list[EditCase]:
    """Return the fixed list of edits, all on held-out scenes.

    Returns:
        The cases, kind by kind.
    """
    rng = np.random.default_rng(_SEED)
    things = (*VEHICLES, *ANIMALS)
    cases = []

    def scene(**forced: Any) -> Scene:
        return sample_scene(rng, split="held_out", style=None, **forced)

    def add(kind: str, source: Scene, target: Scene) -> None:
        cases.append(make_case(kind, source, target))

    for i in range(KINDS["colour"]):
        noun, before, after = things[i % len(things)], COLOURS[i % len(COLOURS)], COLOURS[(3 * i + 2) % len(COLOURS)]
        after = COLOURS[(3 * i + 3) % len(COLOURS)] if after == before else after
        source = scene(noun=noun, background=_OUTDOORS[i % len(_OUTDOORS)], colour=before, mention_colour=True)
        add("colour", source, with_subject(source, colour=after))
    for i in range(KINDS["object"]):
        group = (VEHICLES[:4], ANIMALS)[i % 2]  # cars to trucks, because trains and boats need rails and water
        noun, other = group[(i // 2) % len(group)], group[(i // 2 + 1 + i // 8) % len(group)]
        place = _OUTDOORS[(i + 1) % len(_OUTDOORS)]
        source = scene(noun=noun, background=place, colour=COLOURS[(i + 2) % len(COLOURS)], mention_colour=True)
        add("object", source, with_subject(source, noun=other))
    for i in range(KINDS["profession"]):
        noun, other = PROFESSIONS[i % 12], PROFESSIONS[(i + 5) % 12]
        gender = ("woman", "man")[i % 2]
        source = scene(
            noun=noun, people=1, background=BACKGROUNDS[i % 10], gender=gender, mention_gender=True, mention_hair=False
        )
        add("profession", source, with_subject(source, noun=other))
    for i in range(KINDS["background"]):
        before, after = BACKGROUNDS[i % 10], BACKGROUNDS[(i + 3) % 10]
        if i % 2:
            noun = PROFESSIONS[(5 * i) % 12]
            forced: dict[str, Any] = {"people": 1, "mention_gender": True, "mention_hair": False}
        else:
            noun, forced = things[(i // 2) % len(things)], {"mention_colour": True}
            before, after = _OUTDOORS[i % len(_OUTDOORS)], _OUTDOORS[(i + 1 + i // 6) % len(_OUTDOORS)]
        source = scene(noun=noun, background=before, **forced)
        add("background", source, dataclasses.replace(source, background=after))
    for i in range(KINDS["style"]):
        style = STYLES[i % len(STYLES)]
        if i % 2:
            forced = {"noun": PROFESSIONS[(7 * i) % 12], "people": 1, "mention_gender": True, "mention_hair": False}
        else:
            mention = style not in COLOURLESS
            forced = {"noun": things[(5 * i) % len(things)], "mention_colour": mention}
        source = scene(background=_OUTDOORS[i % len(_OUTDOORS)], **forced)
        add("style", source, dataclasses.replace(source, style=style))
    return cases


def method_for(case: EditCase) -> Any:
    """Return FateZero with the options for an edit.

    Args:
        case: The edit.

    Returns:
        The method.
    """
    return fatezero_for(case.kind, case.blend_words, str(case.target.style).split() if case.kind == "style" else ())


def fatezero_for(kind: str, blend_words: Any, style_words: Sequence[str] = ()) -> Any:
    """Return FateZero with the options for a kind of edit.

    Args:
        kind: One of `KINDS`; any other kind is edited like a colour.
        blend_words: (source words, target words) of the subject; None to edit the whole frame.
        style_words: Words of the target prompt that describe the style of the whole frame.

    Returns:
        The method.
    """
    from faircut.methods import FateZero

    local: dict[str, Any] = {}
    if blend_words is not None:
        local = {"blend_words": blend_words, "latent_blend_steps": 1.0}
    if kind == "object":
        # The shape changes, so the region needs freedom for a new structure, and must not be wider than necessary.
        return FateZero(cross_replace_steps=0.2, self_replace_steps=0.3, blend_threshold=0.5, **local)
    if kind == "profession":
        return FateZero(cross_replace_steps=0.4, self_replace_steps=0.6, blend_self_attention=False, **local)
    if kind == "background":
        return FateZero(cross_replace_steps=0.5, self_replace_steps=0.3, **local)
    if kind == "style":
        # The words of the style must outweigh the words of the content.
        reweight = dict.fromkeys(style_words, _STYLE_WEIGHT)
        return FateZero(cross_replace_steps=0.4, self_replace_steps=0.4, reweight=reweight, **local)
    # The shape stays, as with professions, so new self-attention would only redraw the surroundings.
    return FateZero(blend_self_attention=False, **local)
