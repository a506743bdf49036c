"""A table of how a method treats each word of the source and target prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faircut.methods.base import EditRegion, Method
from faircut.prompts import Alignment, Prompt, Word, align

__all__ = ["AlignedWord", "AlignmentTable", "TableRegion", "align_table"]


@dataclass(frozen=True)
class AlignedWord:
    """A row of the table: a word of the source prompt, of the target prompt, or of both.

    Attributes:
        source: Word in the source prompt, or None if the word is added.
        target: Word in the target prompt, or None if the word is dropped.
        fate: Change of the word: ``"kept"``, ``"replaced"``, ``"added"`` or ``"dropped"``.
        source_tokens: Positions of its tokens in the source prompt's tokens.
        target_tokens: Positions of its tokens in the target prompt's tokens.
        region: Number of the region that the word belongs to, from 0. None if it belongs to none.
    """

    source: str | None
    target: str | None
    fate: str
    source_tokens: tuple[int, ...] = ()
    target_tokens: tuple[int, ...] = ()
    region: int | None = None


@dataclass(frozen=True)
class TableRegion:
    """A region that the edit is restricted to, as described in `faircut.methods.base.EditRegion`.

    Attributes:
        source: Words of the source prompt for what is in the region.
        target: Words of the target prompt for what replaces it.
        made_of: ``"words"``, ``"masks"`` or ``"predictions"``.
        threshold: Share of the highest value in a frame from which a position belongs to the region. None for masks.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    made_of: str
    threshold: float | None

    @classmethod
    def of(cls, region: EditRegion) -> TableRegion:
        """Return the row of the table for a region of the method."""
        threshold = None if region.made_of == "masks" else region.threshold
        return cls(region.source, region.target, region.made_of, threshold)


@dataclass(frozen=True)
class AlignmentTable:
    """How a method treats the words of two prompts.

    Attributes:
        kind: ``"replace"`` or ``"refine"``. ``"none"`` if the method does not align prompts; the rows then only compare
            them.
        words: Rows of the table.
        regions: Regions that the edit is restricted to. If empty, the edit applies everywhere.
        tokens: Number of tokens in the source and in the target prompt, including the start and end tokens.
        limit: Number of tokens that the model reads.
    """

    kind: str
    words: tuple[AlignedWord, ...]
    regions: tuple[TableRegion, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    limit: int = 77


def align_table(source: Prompt, target: Prompt, method: Method) -> AlignmentTable:
    """Return a table of how a method treats each word of two prompts.

    Args:
        source: Source prompt.
        target: Target prompt.
        method: Editing method, which decides the alignment and the words of its regions.

    Returns:
        The table.

    Raises:
        PromptError: If the prompts cannot be aligned as requested, or a word of a region is not in its prompt.
    """
    alignment = method.align(source, target)
    regions = method.edit_regions(source, target)

    def region_of(a: Word | None, b: Word | None) -> int | None:
        tokens = (() if a is None else a.tokens, () if b is None else b.tokens)
        for number, region in enumerate(regions):
            if set(region.source_tokens) & set(tokens[0]) or set(region.target_tokens) & set(tokens[1]):
                return number
        return None

    rows = [
        AlignedWord(
            None if a is None else a.text,
            None if b is None else b.text,
            fate,
            () if a is None else a.tokens,
            () if b is None else b.tokens,
            region_of(a, b),
        )
        for a, b, fate in _pairs(alignment or align(source, target))
    ]
    return AlignmentTable(
        "none" if alignment is None else alignment.kind,
        tuple(rows),
        tuple(map(TableRegion.of, regions)),
        (source.length, target.length),
        len(source.ids),
    )


def _pairs(alignment: Alignment) -> Sequence[tuple[Word | None, Word | None, str]]:
    """Pair the words of both prompts in the order of the target prompt, with dropped words at their old positions."""
    source, target = alignment.source.words, alignment.target.words
    if alignment.kind == "replace":
        return [(a, b, alignment.change_of(b)) for a, b in zip(source, target, strict=True)]
    owner: Mapping[int, int] = {token: i for i, word in enumerate(source) for token in word.tokens}
    pairs: list[tuple[Word | None, Word | None, str]] = []
    done = 0
    for word in target:
        fate = alignment.change_of(word)
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
