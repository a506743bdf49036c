"""Prompts as words and tokens: encoding them, finding words in them, aligning two of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, Literal

import torch

from faircut.config.texts import check_prompt
from faircut.errors import ModelError, PromptError, choices

__all__ = [
    "Alignment",
    "Prompt",
    "Word",
    "align",
    "encode",
    "fit_article",
    "refine_mapper",
    "replace_mapper",
    "split_words",
    "token_weights",
]

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")


def split_words(text: str) -> list[re.Match[str]]:
    """Find the words and punctuation marks of a text, in order."""
    return list(_WORD.finditer(text))


@dataclass(frozen=True)
class Word:
    """One word, or one punctuation mark, of a prompt.

    Attributes:
        text: as it stands in the prompt.
        tokens: positions of its tokens in the sequence that the text encoder sees.
    """

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """A tokenised prompt.

    Attributes:
        text: the prompt.
        ids: token ids, padded to the encoder's length.
        length: tokens that are not padding, start and end included.
        words: its words in order, each with its tokens.
    """

    text: str
    ids: tuple[int, ...]
    length: int
    words: tuple[Word, ...]

    @classmethod
    def of(cls, text: str, tokenizer: Any) -> Prompt:
        """Tokenise a prompt.

        Args:
            text: the prompt; may be empty.
            tokenizer: a fast ``CLIPTokenizer``.

        Raises:
            PromptError: it has more tokens than the text encoder takes, or characters that no prompt has.
            ModelError: the tokenizer cannot tell where its tokens stand in the text.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"{type(tokenizer).__name__} does not report where tokens stand in the text; load the model with "
                "transformers' fast tokenizer"
            )
        # Before the tokenizer sees it: one of many thousand characters keeps it busy for very long.
        check_prompt(text)
        limit = tokenizer.model_max_length
        if not isinstance(limit, int) or not 2 <= limit <= 100_000:
            raise ModelError(
                f"the tokenizer does not say how many tokens the model takes ({limit:g}); download it again"
            )
        encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        words = [(m.group(), m.start(), m.end()) for m in split_words(text)]
        owned: list[list[int]] = [[] for _ in words]
        for position, (start, stop) in enumerate(offsets):
            for tokens, (_, word_start, word_stop) in zip(owned, words, strict=True):
                if start < stop and word_start <= start < word_stop:
                    tokens.append(position)
        if len(ids) > limit:
            kept = [w[0] for w, tokens in zip(words, owned, strict=True) if tokens and tokens[-1] < limit - 1]
            raise PromptError(
                f"the prompt has {len(ids)} tokens, the model takes {limit} with start and end; shorten it: the model "
                f"would not see anything after {' '.join(kept[-3:])!r}"
            )
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        ids = [*ids, *[padding] * (limit - len(ids))]
        length = len(encoded["input_ids"])
        pairs = zip(words, owned, strict=True)
        return cls(text, tuple(ids), length, tuple(Word(w[0], tuple(tokens)) for w, tokens in pairs))

    @cached_property
    def _lower(self) -> tuple[str, ...]:
        return tuple(word.text.lower() for word in self.words)

    def find(self, phrase: str) -> tuple[int, ...]:
        """Return the tokens of every occurrence of a word or phrase, whatever its case.

        Raises:
            PromptError: it does not occur; the message names close words.
        """
        tokens = self._tokens(phrase)
        if not tokens:
            raise PromptError(f"{phrase!r} is not in the prompt {self.text!r}: {choices(phrase, set(self._lower))}")
        return tokens

    def holds(self, phrase: str) -> bool:
        """Whether a word or phrase occurs, as `find` looks for it."""
        return bool(self._tokens(phrase))

    def tokens_of(self, words: str | Sequence[str]) -> tuple[int, ...]:
        """Return the tokens of one word or phrase, or of several in the order given.

        Raises:
            PromptError: one of them does not occur.
        """
        return tuple(token for phrase in phrases(words) for token in self.find(phrase))

    def _tokens(self, phrase: str) -> tuple[int, ...]:
        """Return the tokens of every occurrence of a phrase; none if there is none."""
        wanted = [m.group().lower() for m in split_words(phrase)]
        tokens: list[int] = []
        for i in range(len(self._lower) - len(wanted) + 1):
            if wanted and list(self._lower[i : i + len(wanted)]) == wanted:
                tokens += [token for word in self.words[i : i + len(wanted)] for token in word.tokens]
        return tuple(dict.fromkeys(tokens))


@torch.no_grad()
def encode(prompt: Prompt, text_encoder: Any, device: torch.device) -> torch.Tensor:
    """Encode a prompt.

    Args:
        prompt: the tokenised prompt.
        text_encoder: a ``CLIPTextModel``.
        device: where it runs; with offloading that is not where it rests.

    Returns:
        Its embedding, (1, token, channel), in the encoder's dtype.
    """
    ids = torch.tensor([prompt.ids], device=device)
    mask = None
    if getattr(text_encoder.config, "use_attention_mask", False):
        mask = (torch.arange(len(prompt.ids), device=device) < prompt.length)[None]
    return text_encoder(ids, attention_mask=mask)[0]


@dataclass(frozen=True)
class Alignment:
    """How the tokens of a target prompt come from those of a source prompt.

    Attributes:
        source: the source prompt.
        target: the target prompt.
        kind: ``"replace"`` or ``"refine"``.
        mapper: (source token, target token); a target column is the source columns weighted by it.
        aligned: (target token,), 1 where a target token takes the source's attention, 0 where it keeps its own.
    """

    source: Prompt
    target: Prompt
    kind: Literal["replace", "refine"]
    mapper: torch.Tensor = field(repr=False)
    aligned: torch.Tensor = field(repr=False)

    @property
    def changed(self) -> list[tuple[str, str]]:
        """The places where the prompts differ, as (source words, target words)."""
        return _differences(self.source, self.target)

    def fate(self, word: Word) -> str:
        """Say what becomes of a target word: ``"kept"``, ``"replaced"`` or ``"added"``."""
        if not word.tokens or not bool(self.aligned[list(word.tokens)].all()):
            return "added"
        if self.kind == "refine":
            return "kept"
        own = {w.text.lower() for w in self.source.words for t in w.tokens if self.mapper[t, list(word.tokens)].any()}
        return "kept" if own == {word.text.lower()} else "replaced"


def align(source: Prompt, target: Prompt, kind: Literal["auto", "replace", "refine"] = "auto") -> Alignment:
    """Align two prompts (Prompt-to-Prompt, arXiv 2208.01626, section 3).

    Args:
        source: what is in the clip.
        target: what shall be in it.
        kind: ``"replace"`` exchanges words one for one, ``"refine"`` adds or drops words; ``"auto"`` replaces where the
            prompts have as many words, and refines otherwise.

    Raises:
        PromptError: replace was asked for, but the prompts do not have as many words.
    """
    equal = len(source.words) == len(target.words)
    if kind == "auto":
        kind = "replace" if equal else "refine"
    if kind == "replace" and not equal:
        places = "; ".join(f"{a or 'nothing'!r} -> {b or 'nothing'!r}" for a, b in _differences(source, target))
        raise PromptError(
            f"Replace needs as many words in both prompts, but they have {len(source.words)} and {len(target.words)} "
            f"({places}); use alignment 'refine', or write the prompts with as many words"
        )
    if kind == "replace":
        mapper = replace_mapper(source, target)
        return Alignment(source, target, kind, mapper, torch.ones(mapper.shape[1]))
    if kind == "refine":
        return Alignment(source, target, kind, *refine_mapper(source, target))
    raise PromptError(f"no alignment {kind!r}: {choices(kind, ('auto', 'replace', 'refine'))}")


def replace_mapper(source: Prompt, target: Prompt) -> torch.Tensor:
    """Build R of Replace: identity off the changed words, whose source tokens spread evenly over their target tokens.

    Unlike in FateZero's reference, words after a change of token count stay aligned.

    Args:
        source: the source prompt.
        target: the target prompt, of as many words.

    Returns:
        (source token, target token), float32; every row sums to 1.
    """
    size = len(source.ids)
    mapper = torch.zeros(size, size)
    i = j = 0
    for a, b in zip(source.words, target.words, strict=True):
        if not a.tokens or not b.tokens:
            continue
        # Tokens before the word that belong to no word: the start token.
        while i < a.tokens[0] and j < b.tokens[0]:
            mapper[i, j] = 1.0
            i, j = i + 1, j + 1
        if a.text.lower() == b.text.lower() or len(a.tokens) == len(b.tokens):
            mapper[list(a.tokens), list(b.tokens)] = 1.0
        else:
            mapper[a.tokens[0] : a.tokens[-1] + 1, b.tokens[0] : b.tokens[-1] + 1] = 1.0 / len(b.tokens)
        i, j = a.tokens[-1] + 1, b.tokens[-1] + 1
    # The end token and the padding; where the source has more of it than the target, the rest joins the last one.
    for row in range(i, size):
        mapper[row, min(row - i + j, size - 1)] = 1.0
    return mapper


def refine_mapper(source: Prompt, target: Prompt) -> tuple[torch.Tensor, torch.Tensor]:
    """Build the mapper of Refine by global alignment of the tokens (match +1, mismatch -1, gap 0).

    Args:
        source: the source prompt.
        target: the target prompt.

    Returns:
        (source token, target token) and (target token,), float32: the mapper, and 1 where a target token has a partner.
        Padding keeps its place, as in Prompt-to-Prompt.
    """
    size = len(source.ids)
    x, y = source.ids[: source.length], target.ids[: target.length]
    score = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            match = score[i - 1][j - 1] + (1 if x[i - 1] == y[j - 1] else -1)
            score[i][j] = max(score[i][j - 1], score[i - 1][j], match)
    mapper, aligned = torch.zeros(size, size), torch.zeros(size)
    i, j = len(x), len(y)
    while i and j:
        # Of equal scores a gap wins over a match, so of repeated tokens the earliest is taken.
        if score[i][j] == score[i][j - 1]:
            j -= 1
        elif score[i][j] == score[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            mapper[i, j] = aligned[j] = 1.0
    padding = torch.arange(len(y), size)
    mapper[padding, padding] = aligned[padding] = 1.0
    return mapper, aligned


def token_weights(prompt: Prompt, weights: Mapping[str, float]) -> torch.Tensor:
    """Build the factors of Reweight.

    Args:
        prompt: the target prompt.
        weights: factor by word or phrase.

    Returns:
        (token,), float32: the factor of each token, 1 where none is named.

    Raises:
        PromptError: a word is not in the prompt.
    """
    factors = torch.ones(len(prompt.ids))
    for phrase, factor in weights.items():
        factors[list(prompt.find(phrase))] = float(factor)
    return factors


def _differences(source: Prompt, target: Prompt) -> list[tuple[str, str]]:
    """Return (source words, target words) of every place where two prompts differ."""
    a, b = [w.text for w in source.words], [w.text for w in target.words]
    matcher = SequenceMatcher(None, [w.lower() for w in a], [w.lower() for w in b], autojunk=False)
    return [(" ".join(a[i:j]), " ".join(b[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def replaced_phrases(source: str, target: str) -> list[tuple[str, str]]:
    """Find what one prompt says in place of another, without the articles.

    Args:
        source: such as ``"a person walking in a park"``.
        target: such as ``"an engineer walking in a park"``.

    Returns:
        Pairs of phrases in order, such as ``("person", "engineer")``.
    """
    before, after = ([m.group() for m in split_words(text)] for text in (source, target))
    lowered = [[word.lower() for word in words] for words in (before, after)]
    pairs = []
    for tag, a, b, c, d in SequenceMatcher(None, lowered[0], lowered[1], autojunk=False).get_opcodes():
        if tag == "replace":
            old, new = (
                " ".join(word for word in part if word.lower() not in ("a", "an", "the"))
                for part in (before[a:b], after[c:d])
            )
            if old and new:
                pairs.append((old, new))
    return pairs


def fit_article(before: str, word: str) -> str:
    """Make an article at the end of a text fit the word that follows: "an engineer", but "a female engineer".

    Args:
        before: the text before the word, up to it.
        word: what follows.

    Returns:
        The text; as it was if it ends with no article.
    """
    article = re.search(r"(?<!\w)(an?)(\s+)$", before, re.IGNORECASE)
    if article is None:
        return before
    fitting = article[1][0] + ("n" if word[0].lower() in "aeiou" else "")
    return before[: article.start()] + fitting + article[2]


def phrases(value: str | Sequence[str]) -> tuple[str, ...]:
    """Read one phrase or several."""
    return (value,) if isinstance(value, str) else tuple(value)
