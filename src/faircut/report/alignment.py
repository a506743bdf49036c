"""What becomes of every word between two prompts, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faircut.prompts import Alignment, Prompt, Word, align, phrases

__all__ = ["AlignedWord", "AlignmentTable", "align_table"]


@dataclass(frozen=True)
class AlignedWord:
    """One row: a word of the source, of the target, or of both.

    Attributes:
        source: the word in the source prompt; None where it is added.
        target: the word in the target prompt; None where it is dropped.
        fate: ``"kept"``, ``"replaced"``, ``"added"`` or ``"dropped"``.
        source_tokens: positions of its tokens in the source sequence.
        target_tokens: positions of its tokens in the target sequence.
        blend: whether the blend mask is made of this word.
    """

    source: str | None
    target: str | None
    fate: str
    source_tokens: tuple[int, ...] = ()
    target_tokens: tuple[int, ...] = ()
    blend: bool = False


@dataclass(frozen=True)
class AlignmentTable:
    """The alignment of two prompts.

    Attributes:
        kind: ``"replace"`` or ``"refine"``.
        words: the rows.
        blend_source: words of the source prompt that the mask is made of.
        blend_target: words of the target prompt that latent blending adds to it.
        tokens: (source, target) tokens in use, start and end included.
        limit: tokens that the model takes.
    """

    kind: str
    words: tuple[AlignedWord, ...]
    blend_source: tuple[str, ...] = ()
    blend_target: tuple[str, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    limit: int = 77


def align_table(source: Prompt, target: Prompt, method: Any) -> AlignmentTable:
    """Say what becomes of every word.

    Args:
        source: the source prompt.
        target: the target prompt.
        method: an editing method; its ``alignment`` and ``blend_words`` are looked at, if it has them.

    Returns:
        The table.

    Raises:
        PromptError: the prompts cannot be aligned as asked, or a blend word is not in its prompt.
    """
    alignment = align(source, target, getattr(method, "alignment", "auto"))
    pair = getattr(method, "blend_words", None) or ((), ())
    blend = [phrases(side) for side in pair]
    masked = [
        {token for word in words for token in prompt.find(word)}
        for prompt, words in zip((source, target), blend, strict=True)
    ]
    rows = [
        AlignedWord(
            None if a is None else a.text,
            None if b is None else b.text,
            fate,
            () if a is None else a.tokens,
            () if b is None else b.tokens,
            bool((a and masked[0].intersection(a.tokens)) or (b and masked[1].intersection(b.tokens))),
        )
        for a, b, fate in _pairs(alignment)
    ]
    return AlignmentTable(
        alignment.kind, tuple(rows), blend[0], blend[1], (source.length, target.length), len(source.ids)
    )


def _pairs(alignment: Alignment) -> Sequence[tuple[Word | None, Word | None, str]]:
    """Pair the words of both prompts, in the order of the target's, dropped ones where they stood."""
    source, target = alignment.source.words, alignment.target.words
    if alignment.kind == "replace":
        return [(a, b, alignment.fate(b)) for a, b in zip(source, target, strict=True)]
    owner: Mapping[int, int] = {token: i for i, word in enumerate(source) for token in word.tokens}
    pairs: list[tuple[Word | None, Word | None, str]] = []
    done = 0
    for word in target:
        fate = alignment.fate(word)
        partner = None
        if fate != "added":
            tokens = alignment.mapper[:, word.tokens[0]].nonzero().flatten().tolist()
            partner = next((owner[token] for token in tokens if token in owner), None)
        if partner is None:
            pairs.append((None, word, "added"))
            continue
        pairs += [(a, None, "dropped") for a in source[done:partner]]
        done = max(done, partner + 1)
        pairs.append((source[partner], word, fate))
    return [*pairs, *((a, None, "dropped") for a in source[done:])]
