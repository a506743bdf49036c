from __future__ import annotations

import pytest
import torch

from faircut.errors import PromptError
from faircut.prompts import Prompt, align, fit_article, refine_mapper, replace_mapper, token_weights


def prompt(text, tokenizer):
    return Prompt.of(text, tokenizer)


def test_words_know_their_tokens(tokenizer):
    p = prompt("a silver jeep, in xy", tokenizer)
    # "xy" is in no merge: one token a letter.
    assert [(w.text, w.tokens) for w in p.words] == [
        ("a", (1,)), ("silver", (2,)), ("jeep", (3,)), (",", (4,)), ("in", (5,)), ("xy", (6, 7)),
    ]  # fmt: skip
    assert p.length == 9
    assert len(p.ids) == 77


def test_find_takes_phrases_and_every_occurrence(tokenizer):
    p = prompt("a Silver jeep and a silver jeep", tokenizer)
    assert p.find("silver jeep") == (2, 3, *p.find("silver jeep")[2:])
    assert len(p.find("silver jeep")) == 4
    assert len(p.find("SILVER")) == 2


def test_a_word_that_is_missing_is_named_with_close_ones(tokenizer):
    with pytest.raises(PromptError, match=r"'jep' is not in the prompt .* did you mean 'jeep'"):
        prompt("a silver jeep", tokenizer).find("jep")
    with pytest.raises(PromptError, match="is not in the prompt"):
        prompt("a silver jeep", tokenizer).find("")


def test_too_many_tokens_says_where_the_model_stops_reading(tokenizer):
    with pytest.raises(PromptError, match=r"82 tokens, the model takes 77.*'jeep jeep jeep'"):
        prompt("jeep " * 80, tokenizer)
    assert prompt("jeep " * 75, tokenizer).length == 77


def test_replace_spreads_a_word_over_its_tokens_and_keeps_the_rest_aligned(tokenizer):
    # "car" is one token, "xyz" three: everything after it moves by two.
    source, target = prompt("a car in water", tokenizer), prompt("a xyz in water", tokenizer)
    mapper = replace_mapper(source, target)
    assert torch.equal(mapper.sum(1), torch.ones(77))
    assert torch.allclose(mapper[2, 2:5], torch.full((3,), 1 / 3))
    assert mapper[3, 5] == 1  # in
    assert mapper[4, 6] == 1  # water
    assert mapper[5, 7] == 1  # the end
    back = replace_mapper(target, source)
    assert torch.equal(back[2:5, 2], torch.ones(3))
    assert back[5, 3] == 1
    assert torch.equal(back.sum(1), torch.ones(77))


def test_replace_of_equal_prompts_is_the_identity(tokenizer):
    p = prompt("a silver jeep driving down a road", tokenizer)
    assert torch.equal(replace_mapper(p, p), torch.eye(77))


def test_refine_aligns_what_is_common(tokenizer):
    source, target = prompt("a jeep in the road", tokenizer), prompt("a silver jeep in road", tokenizer)
    mapper, aligned = refine_mapper(source, target)
    partner = {j: int(mapper[:, j].argmax()) for j in range(7) if aligned[j]}
    assert partner == {0: 0, 1: 1, 3: 2, 4: 3, 5: 5, 6: 6}
    assert aligned[2] == 0
    assert mapper[:, 2].sum() == 0
    assert torch.equal(mapper[7:, 7:], torch.eye(70))


@pytest.mark.parametrize(("source", "target"), [("a jeep", "a silver jeep"), ("a silver jeep", "a jeep")])
def test_padding_keeps_its_place_when_words_are_added_or_dropped(tokenizer, source, target):
    mapper, aligned = refine_mapper(prompt(source, tokenizer), prompt(target, tokenizer))
    first = prompt(target, tokenizer).length
    assert torch.equal(mapper[:, first:], torch.eye(77)[:, first:])
    assert aligned[first:].all()


def test_refine_takes_the_earliest_of_repeated_tokens(tokenizer):
    mapper, aligned = refine_mapper(prompt("a a car", tokenizer), prompt("a car", tokenizer))
    assert aligned[:4].tolist() == [1, 1, 1, 1]
    assert mapper[:, 1].argmax() == 1


def test_auto_replaces_where_it_can_and_refines_otherwise(tokenizer):
    a, b, c = (prompt(t, tokenizer) for t in ("a silver jeep", "a silver car", "a car"))
    assert align(a, b).kind == "replace"
    assert align(a, c).kind == "refine"
    assert align(a, b).changed == [("jeep", "car")]
    assert [align(a, b).change_of(w) for w in b.words] == ["kept", "kept", "replaced"]
    assert [align(a, c).change_of(w) for w in c.words] == ["kept", "added"]


def test_replace_of_unequal_lengths_names_the_words_and_the_remedy(tokenizer):
    a, b = prompt("a jeep", tokenizer), prompt("a silver jeep", tokenizer)
    with pytest.raises(PromptError, match=r"they have 2 and 3 \('nothing' -> 'silver'\); use alignment 'refine'"):
        align(a, b, "replace")


def test_factors_fall_on_the_named_words(tokenizer):
    factors = token_weights(prompt("water painting of a jeep", tokenizer), {"water painting": 4.0, "jeep": 0.5})
    assert factors[:7].tolist() == [1, 4, 4, 1, 1, 0.5, 1]


@pytest.mark.parametrize(
    ("before", "word", "fitting"),
    [
        ("a ", "engineer", "an "),
        ("beside An ", "doctor", "beside A "),
        ("the ", "engineer", "the "),
        ("a pizza ", "engineer", "a pizza "),
        ("", "engineer", ""),
    ],
)
def test_an_article_fits_the_word_that_follows(before, word, fitting):
    assert fit_article(before, word) == fitting
