"""What becomes of every word between two prompts, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faircut.methods.base import EditRegion, Method
from faircut.prompts import Alignment, Prompt, Word, align

__all__ = ["AlignedWord", "AlignmentTable", "TableRegion", "align_table"]


@dataclass(frozen=True)
class AlignedWord:
    """One row: a word of the source, of the target, or of both.

    Attributes:
        source: the word in the source prompt; None where it is added.
        target: the word in the target prompt; None where it is dropped.
        fate: ``"kept"``, ``"replaced"``, ``"added"`` or ``"dropped"``.
        source_tokens: positions of its tokens in the source sequence.
        target_tokens: positions of its tokens in the target sequence.
        region: number of the region that the word belongs to, from 0; None for none.
    """

    source: str | None
    target: str | None
    fate: str
    source_tokens: tuple[int, ...] = ()
    target_tokens: tuple[int, ...] = ()
    region: int | None = None


@dataclass(frozen=True)
class TableRegion:
    """A region that the edit is bound to; see `faircut.methods.base.EditRegion`.

    Attributes:
        source: words of the source prompt that name what is there.
        target: words of the target prompt that name what it becomes.
        made_of: ``"words"``, ``"masks"`` or ``"predictions"``.
        threshold: share of the highest value in a frame from which a position belongs to the region; None for masks.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    made_of: str
    threshold: float | None

    @classmethod
    def of(cls, region: EditRegion) -> TableRegion:
        """Take what can be shown of a region."""
        threshold = None if region.made_of == "masks" else region.threshold
        return cls(region.source, region.target, region.made_of, threshold)


@dataclass(frozen=True)
class AlignmentTable:
    """What a method makes of the words of two prompts.

    Attributes:
        kind: ``"replace"`` or ``"refine"``; ``"none"`` where the method does not align prompts, so that the rows only
            compare them.
        words: the rows.
        regions: the regions that the edit is bound to; none edits everywhere.
        tokens: (source, target) tokens in use, start and end included.
        limit: tokens that the model takes.
    """

    kind: str
    words: tuple[AlignedWord, ...]
    regions: tuple[TableRegion, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    limit: int = 77


def align_table(source: Prompt, target: Prompt, method: Method) -> AlignmentTable:
    """Say what becomes of every word.

    Args:
        source: the source prompt.
        target: the target prompt.
        method: an editing method; says how it aligns them, and which words name its regions.

    Returns:
        The table.

    Raises:
        PromptError: the prompts cannot be aligned as asked, or a region's word is not in its prompt.
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
    """Pair the words of both prompts, in the order of the target's, dropped ones where they stood."""
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
