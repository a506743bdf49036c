"""Tokenise and encode prompts, find words in them, and align the words of two prompts."""

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
    """Return the words and punctuation marks of a text as matches, in order."""
    return list(_WORD.finditer(text))


@dataclass(frozen=True)
class Word:
    """A word or punctuation mark of a prompt.

    Attributes:
        text: Word as written in the prompt.
        tokens: Positions of the word's tokens in the text encoder's input.
    """

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """A tokenised prompt.

    Attributes:
        text: Text of the prompt.
        ids: Token ids, padded to the text encoder's length.
        length: Number of tokens without padding, including the start and end tokens.
        words: Words in order, each with its tokens.
    """

    text: str
    ids: tuple[int, ...]
    length: int
    words: tuple[Word, ...]

    @classmethod
    def of(cls, text: str, tokenizer: Any) -> Prompt:
        """Tokenise a prompt.

        Args:
            text: Text of the prompt, which may be empty.
            tokenizer: A fast ``CLIPTokenizer``.

        Raises:
            PromptError: If the prompt has more tokens than the text encoder reads, or contains control characters.
            ModelError: If the tokenizer does not report where tokens are in the text, or how many the model reads.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"{type(tokenizer).__name__} does not report where tokens stand in the text; load the model with "
                "transformers' fast tokenizer"
            )
        # Checked before tokenising, because a text of many thousand characters takes the tokenizer very long.
        check_prompt(text)
        limit = tokenizer.model_max_length
        if not isinstance(limit, int) or not 2 <= limit <= 100_000:
            raise ModelError(
                f"the tokenizer does not say how many tokens the model takes ({limit:g}); download it again"
            )
        encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        words = [(m.group(), m.start(), m.end()) for m in split_words(text)]
        tokens_of_words: list[list[int]] = [[] for _ in words]
        for position, (start, stop) in enumerate(offsets):
            for tokens, (_, word_start, word_stop) in zip(tokens_of_words, words, strict=True):
                if start < stop and word_start <= start < word_stop:
                    tokens.append(position)
        pairs = list(zip(words, tokens_of_words, strict=True))
        if len(ids) > limit:
            visible_words = [word[0] for word, tokens in pairs if tokens and tokens[-1] < limit - 1]
            raise PromptError(
                f"the prompt has {len(ids)} tokens, the model takes {limit} with start and end; shorten it: the model "
                f"would not see anything after {' '.join(visible_words[-3:])!r}"
            )
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        ids = [*ids, *[padding] * (limit - len(ids))]
        length = len(encoded["input_ids"])
        return cls(text, tuple(ids), length, tuple(Word(word[0], tuple(tokens)) for word, tokens in pairs))

    @cached_property
    def _lower(self) -> tuple[str, ...]:
        return tuple(word.text.lower() for word in self.words)

    def find(self, phrase: str) -> tuple[int, ...]:
        """Return the tokens of every occurrence of a word or phrase, ignoring case.

        Raises:
            PromptError: If the phrase does not occur. The message names similar words.
        """
        tokens = self._tokens(phrase)
        if not tokens:
            raise PromptError(f"{phrase!r} is not in the prompt {self.text!r}: {choices(phrase, set(self._lower))}")
        return tokens

    def holds(self, phrase: str) -> bool:
        """Return whether a word or phrase occurs, ignoring case."""
        return bool(self._tokens(phrase))

    def tokens_of(self, words: str | Sequence[str]) -> tuple[int, ...]:
        """Return the tokens of one word or phrase, or of several in the given order.

        Raises:
            PromptError: If one of them does not occur.
        """
        return tuple(token for phrase in phrases(words) for token in self.find(phrase))

    def _tokens(self, phrase: str) -> tuple[int, ...]:
        """Return the tokens of every occurrence of a phrase, or an empty tuple."""
        words = [m.group().lower() for m in split_words(phrase)]
        tokens: list[int] = []
        for i in range(len(self._lower) - len(words) + 1):
            if words and list(self._lower[i : i + len(words)]) == words:
                tokens += [token for word in self.words[i : i + len(words)] for token in word.tokens]
        return tuple(dict.fromkeys(tokens))


@torch.no_grad()
def encode(prompt: Prompt, text_encoder: Any, device: torch.device) -> torch.Tensor:
    """Encode a prompt.

    Args:
        prompt: Tokenised prompt.
        text_encoder: A ``CLIPTextModel``.
        device: Device on which the text encoder runs. With offloading its weights may be elsewhere.

    Returns:
        Embedding of the prompt, (1, token, channel), in the text encoder's dtype.
    """
    ids = torch.tensor([prompt.ids], device=device)
    mask = None
    if getattr(text_encoder.config, "use_attention_mask", False):
        mask = (torch.arange(len(prompt.ids), device=device) < prompt.length)[None]
    return text_encoder(ids, attention_mask=mask)[0]


@dataclass(frozen=True)
class Alignment:
    """How the tokens of a target prompt correspond to those of a source prompt.

    Attributes:
        source: Source prompt.
        target: Target prompt.
        kind: ``"replace"`` or ``"refine"``.
        mapper: Weights, (source token, target token). The cross-attention map of a target token is the sum of the
            source tokens' maps with these weights.
        aligned: (target token,), 1 for a target token that takes the source's attention, 0 for one that keeps its own.
    """

    source: Prompt
    target: Prompt
    kind: Literal["replace", "refine"]
    mapper: torch.Tensor = field(repr=False)
    aligned: torch.Tensor = field(repr=False)

    @property
    def changed(self) -> list[tuple[str, str]]:
        """The differences between the prompts as pairs of (source words, target words)."""
        return _differences(self.source, self.target)

    def change_of(self, word: Word) -> str:
        """Return what happens to a word of the target prompt: ``"kept"``, ``"replaced"`` or ``"added"``."""
        if not word.tokens or not bool(self.aligned[list(word.tokens)].all()):
            return "added"
        if self.kind == "refine":
            return "kept"
        weights = self.mapper[:, list(word.tokens)]
        sources = {w.text.lower() for w in self.source.words for token in w.tokens if weights[token].any()}
        return "kept" if sources == {word.text.lower()} else "replaced"


def align(source: Prompt, target: Prompt, kind: Literal["auto", "replace", "refine"] = "auto") -> Alignment:
    """Align two prompts (Prompt-to-Prompt, arXiv 2208.01626, section 3).

    Args:
        source: Source prompt: what the clip shows.
        target: Target prompt: what the edited clip should show.
        kind: ``"replace"`` exchanges words one for one, and ``"refine"`` adds or drops words. ``"auto"`` replaces if
            the prompts have equally many words, and refines otherwise.

    Raises:
        PromptError: If ``kind`` is ``"replace"`` but the prompts do not have equally many words, or is unknown.
    """
    equal = len(source.words) == len(target.words)
    if kind == "auto":
        kind = "replace" if equal else "refine"
    if kind == "replace" and not equal:
        changes = "; ".join(f"{a or 'nothing'!r} -> {b or 'nothing'!r}" for a, b in _differences(source, target))
        raise PromptError(
            f"Replace needs two prompts with equally many words, but they have {len(source.words)} and "
            f"{len(target.words)} ({changes}); use alignment 'refine', or change the number of words"
        )
    if kind == "replace":
        mapper = replace_mapper(source, target)
        return Alignment(source, target, kind, mapper, torch.ones(mapper.shape[1]))
    if kind == "refine":
        return Alignment(source, target, kind, *refine_mapper(source, target))
    raise PromptError(f"alignment is {kind!r}: {choices(kind, ('auto', 'replace', 'refine'))}")


def replace_mapper(source: Prompt, target: Prompt) -> torch.Tensor:
    """Build the mapper of Replace: the identity, except that each source token of a changed word is spread evenly.

    A changed word's source tokens map to all target tokens of the word that replaces it. Unlike in FateZero's code,
    words after one whose number of tokens changes stay aligned.

    Args:
        source: Source prompt.
        target: Target prompt with equally many words.

    Returns:
        Mapper, (source token, target token), float32. Every row sums to 1.
    """
    size = len(source.ids)
    mapper = torch.zeros(size, size)
    i = j = 0
    for a, b in zip(source.words, target.words, strict=True):
        if not a.tokens or not b.tokens:
            continue
        # Tokens before the word that are not part of a word, such as the start token.
        while i < a.tokens[0] and j < b.tokens[0]:
            mapper[i, j] = 1.0
            i, j = i + 1, j + 1
        if a.text.lower() == b.text.lower() or len(a.tokens) == len(b.tokens):
            mapper[list(a.tokens), list(b.tokens)] = 1.0
        else:
            mapper[a.tokens[0] : a.tokens[-1] + 1, b.tokens[0] : b.tokens[-1] + 1] = 1.0 / len(b.tokens)
        i, j = a.tokens[-1] + 1, b.tokens[-1] + 1
    # The end token and the padding. If the source has more padding than the target, the rest maps to the last position.
    for row in range(i, size):
        mapper[row, min(row - i + j, size - 1)] = 1.0
    return mapper


def refine_mapper(source: Prompt, target: Prompt) -> tuple[torch.Tensor, torch.Tensor]:
    """Build the mapper of Refine by a global sequence alignment of the tokens (match +1, mismatch -1, gap 0).

    Args:
        source: Source prompt.
        target: Target prompt.

    Returns:
        Mapper, (source token, target token), and (target token,) with 1 for each target token that has a source token,
        both float32. Padding keeps its position, as in Prompt-to-Prompt.
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
        # At equal scores a gap is preferred to a match, so that the first one of repeated tokens is taken.
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
    """Build the attention factors of Reweight.

    Args:
        prompt: Target prompt.
        weights: Factors by word or phrase.

    Returns:
        Factor of each token, (token,), float32; 1 for words without a factor.

    Raises:
        PromptError: If a word is not in the prompt.
    """
    factors = torch.ones(len(prompt.ids))
    for phrase, factor in weights.items():
        factors[list(prompt.find(phrase))] = float(factor)
    return factors


def _differences(source: Prompt, target: Prompt) -> list[tuple[str, str]]:
    """Return the differences between two prompts as pairs of (source words, target words)."""
    a, b = [w.text for w in source.words], [w.text for w in target.words]
    matcher = SequenceMatcher(None, [w.lower() for w in a], [w.lower() for w in b], autojunk=False)
    return [(" ".join(a[i:j]), " ".join(b[k:m])) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal"]


def replaced_phrases(source: str, target: str) -> list[tuple[str, str]]:
    """Return the phrases that the target prompt replaces, without articles.

    Args:
        source: Source prompt, such as ``"a person walking in a park"``.
        target: Target prompt, such as ``"an engineer walking in a park"``.

    Returns:
        Pairs of replaced phrase and new phrase in order, such as ``("person", "engineer")``.
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
    """Change an article at the end of a text to fit the next word, as in "an engineer" but "a female engineer".

    Args:
        before: Text up to the word.
        word: Next word.

    Returns:
        The text with a fitting article, or unchanged if it does not end with an article.
    """
    article = re.search(r"(?<!\w)(an?)(\s+)$", before, re.IGNORECASE)
    if article is None:
        return before
    fitting = article[1][0] + ("n" if word[0].lower() in "aeiou" else "")
    return before[: article.start()] + fitting + article[2]


def phrases(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return one phrase, or several, as a tuple of phrases."""
    return (value,) if isinstance(value, str) else tuple(value)
