"""Captions tell the truth, point at their nouns and keep their length when one noun is swapped for another."""

import dataclasses

import numpy as np
import pytest

from faircut.pocket.captions import GENDER_WORDS, HAIR_WORDS, caption, caption_corpus, neutral_caption, words
from faircut.pocket.world import PROFESSIONS, STYLES, sample_scene


def _scene(seed=0, **forced):
    return sample_scene(np.random.default_rng(seed), **({"style": None} | forced))


def test_canonical_captions_read_as_documented():
    quiet = {"mention_gender": False, "mention_hair": False, "walking": True, "people": 1, "background": "park"}
    assert caption(_scene(noun="doctor", **quiet)).text == "a doctor walking in a park"
    assert caption(_scene(noun="engineer", **quiet)).text == "an engineer walking in a park"
    told = quiet | {"mention_gender": True, "gender": "woman"}
    assert caption(_scene(noun="doctor", **told)).text == "a female doctor walking in a park"
    assert caption(_scene(noun="person", mention_colour=False, **told)).text == "a woman walking in a park"
    full = told | {"mention_hair": True, "hair": "blonde"}
    assert caption(_scene(noun="doctor", **full)).text == "a blonde female doctor walking in a park"
    car = _scene(noun="car", colour="red", background="street", mention_colour=True)
    assert caption(car).text == "a red car driving on a street"
    assert caption(dataclasses.replace(car, style="pencil sketch")).text == (
        "a pencil sketch of a red car driving on a street"
    )
    boat = _scene(noun="boat", colour="red", background="lake", mention_colour=True)
    assert caption(boat).text == "a red boat sailing on a lake"
    rabbit = _scene(noun="rabbit", colour="blue", background="snow", mention_colour=True)
    assert caption(rabbit).text == "a blue rabbit in the snow"


def test_two_people_are_named_from_left_to_right():
    scene = _scene(people=2, noun="doctor", mention_gender=False, mention_hair=False, background="park")
    right = dataclasses.replace(
        scene.subjects[1], noun="nurse", gender="man", colour=None, mentions=frozenset({"gender"})
    )
    found = caption(dataclasses.replace(scene, subjects=(scene.subjects[0], right)))
    assert found.text == "a doctor and a male nurse in a park"
    assert [found.text[a:b] for a, b in found.subjects] == ["doctor", "nurse"]


def test_spans_cover_the_nouns_in_every_paraphrase():
    rng = np.random.default_rng(1)
    for _ in range(1500):
        scene = sample_scene(rng)
        found = caption(scene, rng)
        assert len(found.subjects) == len(scene.subjects)
        ends = [0]
        for (start, end), subject in zip(found.subjects, scene.subjects, strict=True):
            assert found.text[start:end] in {subject.noun, subject.gender}
            assert found.text[start - 1] == " "
            assert start > ends[-1]
            ends.append(end)
        for spans, subject in zip(found.attributes, scene.subjects, strict=True):
            said = {found.text[start:end] for start, end in spans}
            allowed = {subject.colour, HAIR_WORDS.get(subject.hair), GENDER_WORDS.get(subject.gender)}
            assert said <= allowed
            assert len(said) >= len(subject.mentions) - 1  # "a woman" says the gender with the noun
            assert len(said) == len(spans)


def test_attributes_point_at_the_words_of_their_own_subject():
    scene = sample_scene(np.random.default_rng(3), people=2, style=None)
    left = dataclasses.replace(
        scene.subjects[0],
        noun="person",
        gender="woman",
        hair="red",
        colour="red",
        mentions=frozenset({"hair", "colour"}),
    )
    right = dataclasses.replace(
        scene.subjects[1],
        noun="doctor",
        gender="man",
        hair="black",
        colour=None,
        mentions=frozenset({"gender", "hair"}),
    )
    found = caption(dataclasses.replace(scene, subjects=(left, right), background="park"))
    assert found.text.startswith("a redhead person in red and a blackhaired male doctor")
    assert [[(a, found.text[a:b]) for a, b in spans] for spans in found.attributes] == [
        [(2, "redhead"), (20, "red")],
        [(30, "blackhaired"), (42, "male")],
    ]


def test_a_caption_names_what_is_mentioned_and_nothing_else():
    rng = np.random.default_rng(2)
    for _ in range(1500):
        scene = sample_scene(rng, people=1)
        person = scene.subjects[0]
        said = set(caption(scene, rng).text.replace(",", "").split())
        female, male = said & {"woman", "female"}, said & {"man", "male"}
        assert bool(female) == ("gender" in person.mentions and person.gender == "woman")
        assert bool(male) == ("gender" in person.mentions and person.gender == "man")
        hair = {HAIR_WORDS[person.hair]} if "hair" in person.mentions else set()
        assert said & set(HAIR_WORDS.values()) == hair
        assert ("standing" in said) <= (person.speed == 0)
        assert ("walking" in said) <= (person.speed > 0)
        assert scene.background in said


def test_no_colour_is_named_where_none_is_seen():
    rng = np.random.default_rng(3)
    for _ in range(200):
        scene = sample_scene(rng, style="sepia photo")
        assert all(subject.mentions <= {"gender"} for subject in scene.subjects)


def test_the_neutral_caption_has_no_gender_and_no_hair():
    rng = np.random.default_rng(4)
    for _ in range(500):
        said = set(neutral_caption(sample_scene(rng, kind="person", mention_gender=True)).text.split())
        assert not said & {"woman", "man", *GENDER_WORDS.values(), *HAIR_WORDS.values()}


@pytest.mark.parametrize("seed", range(4))
def test_swapping_one_profession_keeps_the_number_of_words(seed):
    scene = _scene(seed, noun="person", people=1, mention_colour=False, mention_gender=False)
    lengths = set()
    for noun in ("person", *PROFESSIONS):
        other = dataclasses.replace(scene, subjects=(dataclasses.replace(scene.subjects[0], noun=noun),))
        text = caption(other, np.random.default_rng(seed)).text
        lengths.add(len(text.replace("police officer", "officer").split()))
    assert len(lengths) == 1


def test_every_style_takes_the_same_number_of_words():
    scene = _scene(noun="car")
    assert len({len(caption(dataclasses.replace(scene, style=style)).text.split()) for style in STYLES}) == 1


def test_the_vocabulary_holds_every_word_of_a_large_corpus():
    vocabulary = words()
    assert vocabulary == sorted(set(vocabulary))
    assert 200 <= len(vocabulary) <= 320
    assert all(word.isalpha() and word.islower() for word in vocabulary)
    texts = list(caption_corpus(6000, seed=5))
    assert len(texts) == 6000
    said = {word for text in texts for word in text.replace(",", "").split()}
    assert said <= set(vocabulary)
    assert {"female", "blonde", "officer", "sketch", "rabbit", "beside"} <= said


def test_a_corpus_follows_from_its_seed():
    assert list(caption_corpus(20, 1)) == list(caption_corpus(20, 1)) != list(caption_corpus(20, 2))
