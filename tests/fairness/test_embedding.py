"""The dial between a prompt and its debiased twin."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from faircut.errors import PromptError
from faircut.fairness.embedding import debias, fair_embedding, sensitivity
from faircut.prompts import Prompt
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()


def prompt(text):
    return Prompt.of(text, TOKENIZER)


def pair(text="a silver car driving down a road", phrase="car", word="red"):
    return debias(prompt(text), phrase, word, prompt)


def embeddings(of, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, len(of.plain.ids), 12, generator=generator) for _ in range(2)]


def attend(keys, weights, seed=1):
    query = torch.randn(5, keys.shape[-1], generator=torch.Generator().manual_seed(seed))
    return F.softmax(query @ keys[0].T + weights, dim=-1) @ keys[0]


def test_the_word_stands_before_the_phrase_and_tokens_keep_their_partners():
    found = pair()
    assert found.twin.text == "a silver red car driving down a road"
    assert [found.twin.ids[i] for i in found.slots] == TOKENIZER("red").input_ids[1:-1]
    assert found.phrase == found.plain.find("car")
    for j in range(found.plain.length):
        assert found.twin.ids[found.partner[j]] == found.plain.ids[j]
    lost = int((found.partner < 0).sum())
    assert lost == len(found.slots)
    assert (found.partner[-lost:] == -1).all()
    assert set(found.partner.tolist()) | set(found.slots) == {-1, *range(77)}


def test_articles_follow_the_new_sound():
    assert pair("an orange car", "orange car", "red").twin.text == "a red orange car"
    assert pair("a car", "car", "old").twin.text == "an old car"
    assert pair("the car", "car", "old").twin.text == "the old car"


def test_only_whole_words_are_the_phrase():
    assert pair("a carpet and a car", "car", "red").twin.text == "a carpet and a red car"
    with pytest.raises(PromptError, match="'bus' is not in the prompt"):
        pair(phrase="bus")


def test_at_zero_it_is_the_prompt_exactly():
    found = pair()
    plain, twin = embeddings(found)
    fair = fair_embedding(found, plain, twin, 0.0)
    assert torch.equal(fair.embedding, plain)
    assert not fair.log_weights.any()
    assert fair.source.tolist() == list(range(77))


def test_at_one_it_is_the_twin_exactly():
    found = pair()
    plain, twin = embeddings(found)
    fair = fair_embedding(found, plain, twin, 1.0)
    assert fair.embedding.shape == twin.shape
    assert not fair.log_weights.any()
    torch.testing.assert_close(attend(fair.embedding, fair.log_weights), attend(twin, 0.0))


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_the_end_points_are_met_without_a_jump(end):
    found = pair()
    plain, twin = embeddings(found)
    near = fair_embedding(found, plain, twin, abs(end - 1e-5))
    at = fair_embedding(found, plain, twin, end)
    a, b = (attend(f.embedding, f.log_weights) for f in (near, at))
    torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


@given(alpha=st.floats(0, 3), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_nothing_is_ever_infinite(alpha, seed):
    found = pair()
    fair = fair_embedding(found, *embeddings(found, seed), alpha)
    assert fair.embedding.isfinite().all()
    assert fair.log_weights.isfinite().all()
    assert (fair.log_weights <= 0).all()


def test_sensitivity_is_the_scaled_change():
    found = pair()
    plain, twin = embeddings(found)
    felt = sensitivity(found, plain, twin)
    j = found.phrase[0]
    change = (twin[0, found.partner[j]] - plain[0, j]).norm()
    most = max((twin[0, k] - plain[0, i]).norm() for i, k in enumerate(found.partner.tolist()) if k >= 0)
    assert felt[j].item() == pytest.approx((change / most).item())
    assert felt.max() == 1
    assert not felt[found.partner < 0].any()
