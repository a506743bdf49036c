"""Captions of the drawn world: templates that always describe a scene correctly, and their words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .world import ANIMALS, BACKGROUNDS, COLOURS, GENDERS, PROFESSIONS, STYLES, VEHICLES, Scene, Subject, sample_scene

PLACES: dict[str, str] = {
    "park": "in a park",
    "street": "on a street",
    "beach": "on a beach",
    "hospital": "in a hospital",
    "office": "in an office",
    "kitchen": "in a kitchen",
    "farm": "on a farm",
    "snow": "in the snow",
    "desert": "in a desert",
    "lake": "by a lake",
}
HAIR_WORDS: dict[str, str] = {
    "black": "blackhaired",
    "brown": "brunette",
    "blonde": "blonde",
    "red": "redhead",
    "grey": "greyhaired",
}
"""The one adjective for each hair colour: "a blonde doctor"."""
GENDER_WORDS: dict[str, str] = {"woman": "female", "man": "male"}
"""The adjective for each gender: "a female doctor"."""
_AFLOAT = ("boat", "swan")


@dataclass(frozen=True)
class Caption:
    """A caption.

    Attributes:
        text: Lower-case words.
        subjects: For each subject, left to right, the [start, end) characters of its noun in `text`.
        attributes: For each subject, the [start, end) characters of each word for its gender, hair or colour that is
            not the noun itself.
    """

    text: str
    subjects: tuple[tuple[int, int], ...]
    attributes: tuple[tuple[tuple[int, int], ...], ...]


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _phrase(subject: Subject, gender: bool, hair: bool, noun_form: bool) -> tuple[str, str, list[str]]:
    """Return noun phrase, noun and attributes, such as ("a blonde female doctor", "doctor", ["blonde", "female"])."""
    words = []
    noun, after = subject.noun, ""
    if subject.kind == "person":
        if hair and "hair" in subject.mentions and subject.hair is not None:
            words.append(HAIR_WORDS[subject.hair])
        if gender and "gender" in subject.mentions and subject.gender is not None:
            if noun == "person" and noun_form:
                noun = subject.gender
            else:
                words.append(GENDER_WORDS[subject.gender])
        if "colour" in subject.mentions:
            after = f" in {subject.colour}"
    elif "colour" in subject.mentions:
        words.append(str(subject.colour))
    attributes = [*words, str(subject.colour)] if after else words
    return _article(" ".join([*words, noun])) + after, noun, attributes


def _verb(subject: Subject, afloat: bool) -> str:
    if subject.kind == "vehicle":
        return "sailing" if subject.noun == "boat" else "driving"
    if subject.kind == "animal":
        return "swimming" if afloat else "walking"
    return "walking" if subject.speed > 0 else "standing"


def _write(scene: Scene, rng: np.random.Generator | None, gender: bool, hair: bool) -> Caption:
    def either(n: int) -> int:
        return 0 if rng is None else int(rng.integers(n))

    first = scene.subjects[0]
    afloat = scene.background == "lake" and first.noun in _AFLOAT
    place = "on a lake" if afloat else PLACES[scene.background]
    verb = _verb(first, afloat)
    phrases = [_phrase(s, gender, hair, noun_form=either(2) == 0) for s in scene.subjects]

    if len(phrases) == 2:
        pieces: tuple[str, ...] = (
            ("", " and ", f" {place}"),
            ("", " and ", f" {verb} {place}"),
            ("", " next to ", f" {place}"),
            ("", " beside ", f" {place}"),
        )[either(4)]
    else:
        # The first is the canonical one. Exchanging one noun for another keeps the number of words.
        tails = [f" {verb} {place}", f" {place}", f" is {verb} {place}", f" {verb} {place}"]
        if first.kind == "animal":
            tails[0], tails[1] = tails[1], tails[0]
        pieces = ("", tails[either(4)])
    before, after = "", ""
    if scene.style is not None:
        if either(4) < 3:
            before = f"a {scene.style} of "
        else:
            after = f", {scene.style}"
    elif either(6) == 5:
        before = "a colour photo of "

    text, nouns, attributes = before, [], []
    for piece, (phrase, noun, words) in zip(pieces, phrases, strict=False):
        text += piece
        # Spaces around both, so that "man" does not match in "woman". The last match, because "red" is in "redhead".
        starts = {word: len(text) + f" {phrase} ".rindex(f" {word} ") for word in (noun, *words)}
        nouns.append((starts[noun], starts[noun] + len(noun)))
        attributes.append(tuple((starts[word], starts[word] + len(word)) for word in words))
        text += phrase
    return Caption(text + pieces[-1] + after, tuple(nouns), tuple(attributes))


def caption(scene: Scene, rng: np.random.Generator | None = None) -> Caption:
    """Return a caption of a scene that names the attributes in the subjects' `mentions`.

    Args:
        scene: The scene.
        rng: Random generator that selects among paraphrases. None gives the canonical caption.

    Returns:
        The caption.
    """
    return _write(scene, rng, gender=True, hair=True)


def neutral_caption(scene: Scene) -> Caption:
    """Return the canonical caption without gender and hair, such as the source prompt of a fair edit.

    Args:
        scene: The scene.

    Returns:
        The caption.
    """
    return _write(scene, None, gender=False, hair=False)


_EXTRA_WORDS = """
    about above adult afternoon against air all alone along an animal animals art artist asian at autumn away
    background big bike bird black boy bright brother building by calm camera cartoon child city clean clear
    clip close clothes cloud coat cold colourful dark daughter day detailed door down drawing dress driver
    during eating evening face family far fast father field film flower forest friend from front full garden
    gentle girl glasses golden grass hair hand happy hat he her high him his holding hot house human image
    indoors infant into is it jacket jumping kind lady large light little long looking man men modern moon
    morning mother mountain moving near new nice night no of old one open outdoors outside over painting parent
    people pet photograph picture player portrait pretty quiet rain real river road room running sad scene sea
    senior she shirt short silver simple singing sister sitting sky slow small smiling soft son spring stars
    stone student style summer sun sunny sunset tall the their them then they thin this through to town tree
    trees two uniform up vehicle very video view walk warm water wearing while wild wind winter with without
    woman women wooden work worker working world yard young
"""


def words() -> list[str]:
    """Return every word that a caption can contain, and everyday words, for training a tokenizer.

    Returns:
        Sorted lower-case words.
    """
    phrases = [*BACKGROUNDS, *PROFESSIONS, *COLOURS, *VEHICLES, *ANIMALS, *STYLES, *GENDERS]
    phrases += [*PLACES.values(), *HAIR_WORDS.values(), *GENDER_WORDS.values(), _EXTRA_WORDS]
    phrases.append("a an and beside colour driving is next of on person photo sailing standing swimming to walking")
    return sorted({word for phrase in phrases for word in phrase.split()})


def caption_corpus(n: int, seed: int) -> Iterator[str]:
    """Yield captions of random training scenes.

    Args:
        n: Number of captions.
        seed: Seed of the scenes and the paraphrases.

    Yields:
        Caption texts.
    """
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield caption(sample_scene(rng), rng).text


def span_tokens(offsets: Sequence[Sequence[int]], span: tuple[int, int]) -> list[int]:
    """Return the tokens of a span of a text.

    Args:
        offsets: [start, end) characters of every token; empty ranges for special tokens.
        span: [start, end) characters of the span.

    Returns:
        Positions of the tokens that overlap the span.
    """
    return [i for i, (start, end) in enumerate(offsets) if end > start and start < span[1] and end > span[0]]
