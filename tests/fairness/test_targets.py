"""Which value is asked for."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faircut.errors import ConfigError
from faircut.fairness import GENDER, HAIR, allocate, choose_value, get_attribute


@given(n=st.integers(0, 200), seed=st.integers(0, 50))
def test_balanced_is_exact(n, seed):
    counts = Counter(allocate(GENDER.names, n, seed=seed))
    assert sum(counts.values()) == n
    assert abs(counts["female"] - counts["male"]) == n % 2
    assert allocate(GENDER.names, n, seed=seed) == allocate(GENDER.names, n, seed=seed)


@given(
    n=st.integers(0, 100),
    weights=st.lists(st.floats(0, 10), min_size=5, max_size=5).filter(lambda w: sum(w) > 1e-3),
)
def test_any_distribution_is_met_to_less_than_one(n, weights):
    shares = dict(zip(HAIR.names, weights, strict=True))
    counts = Counter(allocate(HAIR.names, n, shares=shares))
    for name, weight in shares.items():
        assert abs(counts[name] - n * weight / sum(weights)) < 1 + 1e-6
        assert weight > 0 or counts[name] == 0


def test_the_odd_one_and_the_order_are_drawn():
    assert {Counter(allocate(GENDER.names, 3, seed=s))["female"] for s in range(20)} == {1, 2}
    assert len({tuple(allocate(GENDER.names, 6, seed=s)) for s in range(20)}) > 5


@pytest.mark.parametrize(
    ("shares", "said"),
    [({"femal": 1.0}, "did you mean 'female'"), ({"female": -1.0}, "0 or more"), ({"female": 0.0}, "all shares are 0")],
)
def test_wrong_shares_are_refused(shares, said):
    with pytest.raises(ConfigError, match=said):
        allocate(GENDER.names, 4, shares=shares)


def choose(target, prompt="a doctor in a park", **more):
    return choose_value(GENDER, target, prompt=prompt, **more)


def test_preserve_keeps_what_is_seen_and_abstains_where_nothing_is():
    assert choose("preserve", perceived="female") == "female"
    assert choose("preserve", perceived=None) is None


def test_a_named_value_is_that_value():
    assert choose("male", perceived="female") == "male"


def test_words_in_the_prompt_win():
    for target in ("balanced", "preserve", "male"):
        assert choose(target, prompt="a woman who is a doctor", perceived="male") is None


def test_balanced_draws_both_for_single_edits():
    assert {choose("balanced", seed=s) for s in range(20)} == {"female", "male"}


def test_minority_is_what_the_model_renders_less():
    assert choose("minority", prior={"female": 0.1, "male": 0.9}) == "female"
    assert choose("minority", prior={"female": 0.8, "male": 0.2}) == "male"
    with pytest.raises(ConfigError, match="calibrate"):
        choose("minority")


def test_unknown_targets_and_attributes_name_the_close_ones():
    with pytest.raises(ConfigError, match="did you mean 'balanced'"):
        choose("balance")
    with pytest.raises(ConfigError, match="did you mean 'hair'"):
        get_attribute("hairs")


def test_a_prompt_that_says_two_values_is_refused():
    with pytest.raises(ConfigError, match="female and male at once"):
        GENDER.said_in("a man and a woman")
    assert GENDER.said_in("a human doctor in a womanless manor") is None
    assert GENDER.said_in("A Lady engineer") == "female"
