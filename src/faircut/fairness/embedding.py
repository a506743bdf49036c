"""The fairness embedding: a dial between a prompt and the same prompt with a debiasing word (FAME, our equation 1)."""

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
    """A prompt and its debiased twin, token by token.

    Attributes:
        plain: P, the prompt.
        twin: P_a, the prompt with the debiasing word before the phrase.
        partner: (token,), int64: j', the twin's token for each of the prompt's; -1 for the last paddings, which have none.
        slots: D, the debiasing word's tokens in the twin.
        phrase: the phrase's tokens in the prompt.
    """

    plain: Prompt
    twin: Prompt
    partner: torch.Tensor = field(repr=False)
    slots: tuple[int, ...]
    phrase: tuple[int, ...]


def debias(prompt: Prompt, phrase: str, word: str, tokenize: Callable[[str], Prompt]) -> Debiased:
    """Put a debiasing word right before the first occurrence of a phrase.

    An article before it follows the new sound: "an engineer" becomes "a female engineer".

    Args:
        prompt: the prompt.
        phrase: names the person, such as "doctor".
        word: such as "female".
        tokenize: makes a Prompt of a text.

    Raises:
        PromptError: the phrase is not in the prompt.
    """
    tokens = prompt.find(phrase)
    wanted = r"\s+".join(re.escape(part) for part in phrase.split())
    match = re.search(rf"(?<!\w){wanted}(?!\w)", prompt.text, re.IGNORECASE)
    if match is None:
        raise PromptError(f"{phrase!r} is in the prompt {prompt.text!r} only in pieces; write it as it stands there")
    before = fit_article(prompt.text[: match.start()], word)
    added, place = len(split_words(word)), len(split_words(before))
    twin = tokenize(f"{before}{word} {prompt.text[match.start() :]}")
    slots = tuple(token for w in twin.words[place : place + added] for token in w.tokens)
    partner = torch.full((len(prompt.ids),), -1, dtype=torch.int64)
    partner[0] = 0
    rest = [*twin.words[:place], *twin.words[place + added :]]
    for own, other in zip(prompt.words, rest, strict=True):
        # An article may change, and with it, in theory, its number of tokens.
        for j, k in zip(own.tokens, (*other.tokens, *[other.tokens[-1]] * len(own.tokens)), strict=False):
            partner[j] = k
    ends = range(prompt.length - 1, len(prompt.ids))
    for j, k in zip(ends, range(twin.length - 1, len(twin.ids)), strict=False):
        partner[j] = k
    return Debiased(prompt, twin, partner, slots, tokens)


@dataclass(frozen=True)
class FairEmbedding:
    """What a region attends to in place of the prompt's embedding.

    Attributes:
        embedding: F, (1, key, channel).
        log_weights: (key,), added to the keys' logits; 0 is a whole weight. Keys without weight are left out altogether.
        source: (key,), int64: the prompt's token of each key, -1 for the debiasing word's.
    """

    embedding: torch.Tensor
    log_weights: torch.Tensor
    source: torch.Tensor


def fair_embedding(pair: Debiased, plain: torch.Tensor, twin: torch.Tensor, alpha: float) -> FairEmbedding:
    """Mix the embeddings of a prompt and of its debiased twin: ``F[j'] = E[j] + alpha (E_a[j'] - E[j])``.

    At 0 it is exactly the prompt's, at 1 exactly the twin's; above it extrapolates. In between the debiasing word's keys
    have weight alpha, and the last paddings, which have no partner, weight 1 - alpha.

    Args:
        pair: the prompt and its twin.
        plain: E, (1, token, channel).
        twin: E_a, the same shape.
        alpha: 0 or more.

    Returns:
        The mixture.
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
    kept = weights > 0
    return FairEmbedding(keys[:, kept], weights[kept].log(), source[kept])


def sensitivity(pair: Debiased, plain: torch.Tensor, twin: torch.Tensor) -> torch.Tensor:
    """How much each token of the prompt feels the debiasing word: ``|E_a[j'] - E[j]|``, scaled to a maximum of 1.

    Args:
        pair: the prompt and its twin.
        plain: E, (1, token, channel).
        twin: E_a, the same shape.

    Returns:
        (token,), float32, 0 to 1; 0 where there is no partner.
    """
    partner = pair.partner.to(plain.device)
    change = (twin[0, partner.clamp_min(0)].float() - plain[0].float()).norm(dim=-1)
    change = torch.where(partner >= 0, change, torch.zeros_like(change))
    return change / change.max().clamp_min(1e-12)
