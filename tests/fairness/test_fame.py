"""FAME on tiny real components: what it is at its end points, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from faircut.errors import ConfigError, PromptError, VideoError
from faircut.methods import Fame, FateZero, Person
from faircut.methods.regions import modulated_layers
from tests.conftest import make_editor
from tests.test_methods import Spy, watch

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"
BASE = FateZero(blend_words=("jeep", "car"), latent_blend_steps=0.8, cross_replace_steps=0.5, self_replace_steps=0.5)
PERSON = Person("jeep", "car", "female")
FAME = Fame((PERSON,), base=BASE, fresh_noise=0.0, temporal_modulation=0.3, cross_modulation=1.0)
PLAIN = replace(FAME, alpha=0.0, temporal_modulation=0.0, cross_modulation=0.0)


@pytest.fixture(scope="module")
def editor():
    return make_editor()


@pytest.fixture(scope="module", params=["live", "memory"])
def inversion(editor, request):
    frames = torch.full((3, 3, 32, 32), -0.5)
    for i in range(3):
        frames[i, 0, 8:20, 5 + 4 * i : 17 + 4 * i] = 0.8
    return editor.invert(frames, SOURCE, num_inference_steps=4, supplier=request.param)


def edit(editor, inversion, method, prompt=TARGET):
    noise = torch.Generator().manual_seed(0)
    return editor.edit(inversion, prompt, method, output_type="latent", generator=noise).latents


def test_without_any_of_its_parts_it_is_fatezero(editor, inversion):
    assert torch.equal(edit(editor, inversion, PLAIN), edit(editor, inversion, BASE))


@pytest.mark.parametrize(
    "part",
    [{"alpha": 1.0}, {"alpha": 0.5}, {"alpha": 1.7}, {"temporal_modulation": 0.3}, {"cross_modulation": 1.0}],
)
def test_every_part_does_something_alone(editor, inversion, part):
    out = edit(editor, inversion, replace(PLAIN, **part))
    assert out.isfinite().all()
    assert not torch.allclose(out, edit(editor, inversion, BASE), atol=1e-4)


def test_the_dial_is_steady_at_its_ends(editor, inversion):
    at = {a: edit(editor, inversion, replace(PLAIN, alpha=a)) for a in (0.0, 1e-5, 1 - 1e-5, 1.0)}
    torch.testing.assert_close(at[1e-5], at[0.0], atol=2e-3, rtol=0)
    torch.testing.assert_close(at[1 - 1e-5], at[1.0], atol=2e-3, rtol=0)
    assert (at[1.0] - at[0.0]).abs().max() > 0.05


def test_noise_is_fresh_for_those_who_are_to_be_seen_as_they_are_not(editor, inversion):
    def made(alpha=1.0, share=0.8, **person):
        return edit(
            editor, inversion, replace(PLAIN, people=(replace(PERSON, **person),), alpha=alpha, fresh_noise=share)
        )

    inverted = made(share=0.0)
    assert torch.equal(made(shown="female"), inverted)
    assert not torch.allclose(made(), inverted, atol=1e-3)
    assert torch.equal(made(shown="male"), made())
    # With the dial the noise goes, too.
    torch.testing.assert_close(made(alpha=1e-5), edit(editor, inversion, BASE), atol=1e-2, rtol=0)
    assert torch.equal(made(alpha=0.0), edit(editor, inversion, BASE))
    assert torch.equal(made(target=None), edit(editor, inversion, BASE))


def test_noise_is_fresh_only_where_the_person_is(editor, inversion):
    left = torch.zeros(3, 32, 32)
    left[:, :, :16] = 1
    spy = Spy()
    method = replace(PLAIN, people=(replace(PERSON, masks=left),), alpha=1.0, fresh_noise=1.0)
    edit(editor, inversion, watch(method, spy))
    begun, source = spy.began[0], inversion.latents[-1].float()
    half = begun.shape[-1] // 2
    assert torch.equal(begun[..., half:], source[..., half:])
    assert not torch.allclose(begun[..., :half], source[..., :half], atol=0.1)


def test_everywhere_and_without_fusion_the_full_dial_is_the_plain_word(editor, inversion):
    nothing = FateZero(cross_replace_steps=0.0, self_replace_steps=0.0)
    bound = replace(PLAIN, alpha=1.0, base=replace(nothing, blend_words=("jeep", "car")), region_bound=False)
    word = edit(editor, inversion, nothing, "a silver female car driving down a road")
    torch.testing.assert_close(edit(editor, inversion, bound), word, atol=1e-4, rtol=1e-4)


def test_two_people_with_a_region_and_a_value_each(editor, inversion):
    left, right = torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)
    left[:, :, :16], right[:, :, 16:] = 1, 1
    a, b = Person("jeep", "car", "female", masks=left), Person("road", "road", "male", masks=right)
    both = edit(editor, inversion, replace(PLAIN, people=(a, b), alpha=1.0))
    one = edit(editor, inversion, replace(PLAIN, people=(a, replace(b, target=None)), alpha=1.0))
    other = edit(editor, inversion, replace(PLAIN, people=(a, replace(b, target="female")), alpha=1.0))
    assert not torch.allclose(both, one, atol=1e-4)
    assert not torch.allclose(both, other, atol=1e-4)


def test_a_prompt_of_ones_own_is_used(editor, inversion):
    alone = Person("jeep", "bus", prompt="a silver bus driving down a road")
    out = edit(editor, inversion, replace(PLAIN, people=(alone,)))
    assert not torch.allclose(out, edit(editor, inversion, BASE), atol=1e-4)


def test_the_fatezero_beneath_edits_the_people(editor):
    made = Fame((PERSON, Person("road", "road"))).fatezero
    assert made.blend_words == (("jeep", "road"), ("car", "road"))
    assert made.latent_blend_steps == 1.0
    assert made.region_guidance


def test_words_reach_further_than_what_is_drawn_anew(editor, inversion):
    told = replace(PLAIN, alpha=1.0, base=replace(BASE, blend_threshold=0.6))
    wide, narrow = (edit(editor, inversion, replace(told, region_threshold=t)) for t in (0.3, 0.95))
    assert not torch.allclose(wide, narrow, atol=1e-4)
    same = edit(editor, inversion, replace(told, region_threshold=0.3, base=replace(BASE, blend_threshold=0.3)))
    assert not torch.allclose(wide, same, atol=1e-4)


def test_mistakes_are_named(editor, inversion):
    with pytest.raises(ConfigError, match="needs people"):
        Fame(())
    with pytest.raises(ConfigError, match="did you mean 'female'"):
        Fame((Person("jeep", "car", "femal"),))
    with pytest.raises(ConfigError, match="alpha is 4"):
        Fame((PERSON,), alpha=4.0)
    with pytest.raises(ConfigError, match=r"region_threshold is 1\.5"):
        Fame((PERSON,), region_threshold=1.5)
    with pytest.raises(PromptError, match="'buss' is not in the prompt"):
        edit(editor, inversion, Fame((Person("jeep", "buss", "female"),), base=BASE))
    with pytest.raises(ConfigError, match="already says 'male'"):
        edit(editor, inversion, FAME, "a silver male car driving down a road")
    with pytest.raises(VideoError, match="clip's 3 frames"):
        edit(editor, inversion, Fame((replace(PERSON, masks=torch.ones(2, 8, 8)),), base=BASE))


def test_what_does_nothing_is_off_by_default():
    assert Fame((PERSON,)).temporal_modulation == Fame((PERSON,)).cross_modulation == 0.0


def test_small_grids_are_not_modulated_alone():
    assert modulated_layers((64, 64), "self").coarse is True
    assert modulated_layers((32, 32), "cross").coarse is True
    assert modulated_layers((16, 16), "cross").coarse is None
