"""The fairness embedding: an interpolation between a prompt and the same prompt with a debiasing word (FAME, equation
1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from faircut.errors import PromptError
from faircut.prompts import Prompt, fit_article, split_words

__all__ = ["Debiased", "FairEmbedding", "debias", "fair_embedding", "sensitivity"]


@dataclass(frozen=True)
class Debiased:
    """A prompt and its twin, which has a debiasing word, with the correspondence of their tokens.

    Attributes:
        plain: The prompt, P.
        twin: The prompt with the debiasing word before the phrase, P_a.
        partner: j', (token,), int64: the twin's token for each token of the prompt. -1 for the last padding tokens,
            which have no partner because the twin is longer.
        slots: D, tokens of the debiasing word in the twin.
        phrase: Tokens of the phrase in the prompt.
    """

    plain: Prompt
    twin: Prompt
    partner: torch.Tensor = field(repr=False)
    slots: tuple[int, ...]
    phrase: tuple[int, ...]


def debias(prompt: Prompt, phrase: str, word: str, tokenize: Callable[[str], Prompt]) -> Debiased:
    """Insert a debiasing word right before the first occurrence of a phrase.

    A preceding article is changed to fit: "an engineer" becomes "a female engineer".

    Args:
        prompt: Prompt to debias.
        phrase: Words for the person, such as "doctor".
        word: Debiasing word, such as "female".
        tokenize: Function that tokenises a text.

    Raises:
        PromptError: If the phrase is not in the prompt.
    """
    tokens = prompt.find(phrase)
    pattern = r"\s+".join(re.escape(part) for part in phrase.split())
    match = re.search(rf"(?<!\w){pattern}(?!\w)", prompt.text, re.IGNORECASE)
    if match is None:
        raise PromptError(f"{phrase!r} is spelled differently in the prompt {prompt.text!r}; copy it from the prompt")
    before = fit_article(prompt.text[: match.start()], word)
    added, place = len(split_words(word)), len(split_words(before))
    twin = tokenize(f"{before}{word} {prompt.text[match.start() :]}")
    slots = tuple(token for w in twin.words[place : place + added] for token in w.tokens)
    partner = torch.full((len(prompt.ids),), -1, dtype=torch.int64)
    partner[0] = 0
    rest = [*twin.words[:place], *twin.words[place + added :]]
    for word_in_prompt, word_in_twin in zip(prompt.words, rest, strict=True):
        # A changed article could have another number of tokens; its last token is then repeated.
        padded = (*word_in_twin.tokens, *[word_in_twin.tokens[-1]] * len(word_in_prompt.tokens))
        for j, k in zip(word_in_prompt.tokens, padded, strict=False):
            partner[j] = k
    ends = range(prompt.length - 1, len(prompt.ids))
    for j, k in zip(ends, range(twin.length - 1, len(twin.ids)), strict=False):
        partner[j] = k
    return Debiased(prompt, twin, partner, slots, tokens)


@dataclass(frozen=True)
class FairEmbedding:
    """Keys and values that a region attends to instead of the prompt's embedding.

    Attributes:
        embedding: F, (1, key, channel).
        log_weights: Logarithm of each key's weight, (key,), added to the attention logits; 0 is full weight. Keys with
            zero weight are left out.
        source: Prompt token of each key, (key,), int64; -1 for keys of the debiasing word.
    """

    embedding: torch.Tensor
    log_weights: torch.Tensor
    source: torch.Tensor


def fair_embedding(pair: Debiased, plain: torch.Tensor, twin: torch.Tensor, alpha: float) -> FairEmbedding:
    """Mix the embeddings of a prompt and its twin: ``F[j'] = E[j] + alpha (E_a[j'] - E[j])``.

    With alpha 0 the result is exactly the prompt's embedding, with 1 exactly the twin's, and above 1 it extrapolates.
    Between 0 and 1 the keys of the debiasing word have weight alpha, and the last padding tokens, which have no
    partner, have weight 1 - alpha.

    Args:
        pair: The prompt and its twin.
        plain: E, embedding of the prompt, (1, token, channel).
        twin: E_a, embedding of the twin, (1, token, channel).
        alpha: Strength, 0 or more.

    Returns:
        The mixed embedding.
    """
    partner = pair.partner.to(plain.device)
    paired = partner >= 0
    mixed = torch.where(paired[None, :, None], plain + alpha * (twin[:, partner.clamp_min(0)] - plain), plain)
    share = min(alpha, 1.0)
    weights = torch.cat(
        [torch.where(paired, 1.0, 1.0 - share), torch.full((len(pair.slots),), share, device=plain.device)]
    )
    keys = torch.cat([mixed, twin[:, list(pair.slots)]], dim=1)
    source = torch.cat([torch.arange(len(partner)), torch.full((len(pair.slots),), -1)]).to(plain.device)
    has_weight = weights > 0
    return FairEmbedding(keys[:, has_weight], weights[has_weight].log(), source[has_weight])


def sensitivity(pair: Debiased, plain: torch.Tensor, twin: torch.Tensor) -> torch.Tensor:
    """Return how strongly the debiasing word changes each token of the prompt: ``|E_a[j'] - E[j]|``, scaled to a
    maximum of 1.

    Args:
        pair: The prompt and its twin.
        plain: E, embedding of the prompt, (1, token, channel).
        twin: E_a, embedding of the twin, (1, token, channel).

    Returns:
        Sensitivity, (token,), float32, 0 to 1; 0 for tokens without a partner.
    """
    partner = pair.partner.to(plain.device)
    change = (twin[0, partner.clamp_min(0)].float() - plain[0].float()).norm(dim=-1)
    change = torch.where(partner >= 0, change, torch.zeros_like(change))
    return change / change.max().clamp_min(1e-12)
