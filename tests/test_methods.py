"""Every editing method on tiny real components: what it must do exactly, and what it must leave alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from faircut import SpatialTemporal
from faircut.attention.context import BatchLayout, Step
from faircut.attention.controller import Controller
from faircut.config.values import from_dict, to_dict
from faircut.controllers.features import TokenPropagation, nearest_tokens
from faircut.controllers.guidance import MapKeeper, RegionGuidance
from faircut.controllers.latents import FreshNoise
from faircut.controllers.regions import FixedRegion
from faircut.edit.footprint import Shadow
from faircut.edit.inversion import Inversion
from faircut.errors import AttentionError, ConfigError, PromptError, VideoError
from faircut.fairness.attributes import get_attribute
from faircut.methods import (
    BlendedLatent,
    Ddim,
    DiffEdit,
    Fame,
    FateZero,
    MasaCtrl,
    Method,
    NullText,
    Person,
    Pix2PixZero,
    PlugAndPlay,
    PromptToPrompt,
    SDEdit,
    TokenFlow,
    TuneAVideo,
    VideoGrain,
    VideoP2P,
    Watcher,
    get_method,
    method_names,
)
from faircut.methods.sdedit import first_step
from faircut.model.noise_path import add_noise
from faircut.report.alignment import align_table
from faircut.report.pictures import MapCapture, draw_masks

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"
STEPS = 4
HALF = torch.zeros(3, 32, 32)
HALF[:, :, :16] = 1
METHODS = {
    "ddim": Ddim(),
    "tune-a-video": TuneAVideo(),
    "sdedit": SDEdit(0.75),
    "prompt-to-prompt": PromptToPrompt(blend_words=("jeep", "car")),
    "null-text": NullText(),
    "video-p2p": VideoP2P(reweight={"car": 2.0}),
    "pix2pix-zero": Pix2PixZero(),
    "plug-and-play": PlugAndPlay(feature_layer="up_blocks.1.resnets.1"),
    "tokenflow": TokenFlow(interval=2),
    "diffedit": DiffEdit(draws=2),
    "blended-latent": BlendedLatent("jeep"),
    "videograin": VideoGrain((("jeep", "car"), ("road", "road"))),
    "masactrl": MasaCtrl(),
    "fatezero": FateZero(blend_words=("jeep", "car")),
}
EVERY = {
    **METHODS,
    "fame": Fame((Person("jeep", "car", "female"), Person("road", "road"))),
    "blended-latent, masks": BlendedLatent(masks=HALF),
    "videograin, masks": VideoGrain((("jeep", "car"), ("road", "road")), masks=(HALF, 1 - HALF)),
    "fatezero, everywhere": FateZero(),
}


def edit(editor, inversion, method, prompt=TARGET, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return editor.edit(inversion, prompt, method, output_type="latent", generator=generator, **options).latents


def inverted(editor, clip, method, steps=STEPS):
    inversion = editor.invert(clip, SOURCE, num_inference_steps=steps, temporal=method.temporal, supplier="live")
    return editor.optimise_null_text(inversion, inner_steps=1) if method.null_text else inversion


@pytest.fixture
def inversion(editor, clip):
    return editor.invert(clip, SOURCE, num_inference_steps=STEPS, supplier="live")


class Spy(Controller):
    """Notes what happens to the latents and the batch."""

    branches = None

    def __init__(self):
        self.began, self.layouts = {}, []

    def on_latents(self, index, latents):
        self.began[index] = latents.clone()
        return latents

    def on_step_begin(self, step):
        self.layouts.append(step.layout.branches)


def watch(method, *controllers):
    """The same method with more controllers behind its own."""

    class Watching(type(method)):
        def controllers(self, task):
            return [*super().controllers(task), *controllers]

    return Watching(**{name: getattr(method, name) for name in to_dict(method)})


def test_every_method_is_here():
    assert set(METHODS) | {"fame"} == set(method_names())


@pytest.mark.parametrize("name", METHODS)
def test_a_method_edits_and_can_be_repeated(editor, clip, name):
    method = METHODS[name]
    inversion = inverted(editor, clip, method)
    result = editor.edit(inversion, TARGET, method, generator=torch.Generator().manual_seed(0))
    assert result.video.frames.shape == clip.shape
    assert torch.equal(result.latents, edit(editor, inversion, method))
    same = torch.equal(result.latents, edit(editor, inversion, replace_temporal(Ddim(), method)))
    assert same == (name in ("ddim", "tune-a-video"))
    assert json.loads(json.dumps(result.report))["method"]["name"] == name
    assert from_dict(get_method(name), to_dict(method)) == method


def replace_temporal(method, other):
    class Same(type(method)):
        temporal = other.temporal

    return Same()


def test_ddim_is_no_method_at_all(editor, inversion):
    assert torch.equal(edit(editor, inversion, Ddim()), edit(editor, inversion, None))


# SDEdit ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("strength", "steps", "first"), [(1.0, 50, 0), (0.6, 50, 20), (0.5, 4, 2), (0.01, 50, 49)])
def test_strength_is_a_share_of_the_steps(strength, steps, first):
    assert first_step(strength, steps) == first


def test_sdedit_begins_with_the_noised_clip(editor, inversion):
    spy = Spy()
    edit(editor, inversion, watch(SDEdit(0.5), spy))
    assert list(spy.began) == [2, 3]
    start, clean = spy.began[2], inversion.latents[0]
    a = editor.scheduler.alphas_cumprod[editor_timesteps(editor)[2]]
    noise = (start - a.sqrt() * clean) / (1 - a).sqrt()
    assert torch.allclose(noise[0], noise[2], atol=1e-4)
    assert abs(float(noise.std()) - 1) < 0.15
    torch.testing.assert_close(start, add_noise(clean, noise, a))
    other = Spy()
    edit(editor, inversion, watch(SDEdit(0.5), other), seed=1)
    assert not torch.allclose(other.began[2], start, atol=0.1)
    apart = Spy()
    edit(editor, inversion, watch(SDEdit(0.5, shared_noise=False), apart))
    own = (apart.began[2] - a.sqrt() * clean) / (1 - a).sqrt()
    assert torch.allclose(own[0], noise[0], atol=1e-4)
    assert not torch.allclose(own[0], own[2], atol=0.1)


def editor_timesteps(editor):
    from faircut.model.noise_path import DDIMPath

    return DDIMPath.of(editor.scheduler.config, STEPS).timesteps


# Prompt-to-Prompt -----------------------------------------------------------------------------------------------------


def test_prompt_to_prompt_takes_the_attention_of_the_edits_own_noise_level(editor, clip):
    whole = {"cross_replace_steps": 1.0, "self_replace_steps": 1.0}
    method = PromptToPrompt(**whole)
    inversion = inverted(editor, clip, method, steps=1)
    # In its first step the edit's latents are the source's, so that under the same prompt nothing changes.
    plain = edit(editor, inversion, replace_temporal(Ddim(), method), SOURCE)
    torch.testing.assert_close(edit(editor, inversion, method, SOURCE), plain, atol=1e-5, rtol=1e-4)
    inverting = edit(editor, inversion, FateZero(**whole), SOURCE)
    assert not torch.allclose(inverting, plain, atol=1e-3)


def test_prompt_to_prompt_is_frame_by_frame(editor, clip):
    method = PromptToPrompt()
    together = edit(editor, inverted(editor, clip, method), method)
    alone = edit(editor, inverted(editor, clip[1:2], method), method)
    assert float((together[1:2] - alone).abs().max() / alone.abs().max()) < 5e-4


def test_an_inversion_of_another_kind_is_refused(editor, inversion):
    with pytest.raises(ConfigError, match=r"prompt-to-prompt needs an inversion whose frames attend to \(0,\)"):
        edit(editor, inversion, PromptToPrompt())


def test_null_text_gives_the_clip_back_under_guidance(editor, clip):
    inversion = editor.invert(clip, SOURCE, num_inference_steps=STEPS, temporal=NullText.temporal, supplier="live")
    plain = replace_temporal(Ddim(), NullText())
    without = edit(editor, inversion, plain, SOURCE, guidance_scale=5.0)

    class Bare(Method):
        null_text = True

    found = editor.optimise_null_text(inversion, guidance_scale=5.0, inner_steps=15)
    assert found.null_embeddings.shape == (STEPS, 3, 77, 16)
    wanted = inversion.latents[0]
    error = (edit(editor, found, Bare(), SOURCE, guidance_scale=5.0) - wanted).square().mean()
    assert error < 0.5 * (without - wanted).square().mean()
    assert editor.optimise_null_text(inversion, inner_steps=1, shared=True).null_embeddings.shape == (STEPS, 1, 77, 16)


def test_null_text_is_kept_with_the_inversion(editor, clip, tmp_path):
    inversion = inverted(editor, clip, NullText())
    again = Inversion.load(inversion.save(tmp_path / "kept"))
    assert torch.equal(again.null_embeddings, inversion.null_embeddings)
    assert torch.equal(edit(editor, again, NullText()), edit(editor, inversion, NullText()))
    with pytest.raises(ConfigError, match="optimise_null_text"):
        edit(editor, replace(inversion, null_embeddings=None), NullText())
    with pytest.raises(ConfigError, match="negative prompt"):
        edit(editor, inversion, NullText(), negative_prompt="a road")
    with pytest.raises(ConfigError, match="nothing to optimise"):
        editor.optimise_null_text(inversion, guidance_scale=1.0)


# pix2pix-zero ---------------------------------------------------------------------------------------------------------


def test_pix2pix_zero_without_guidance_is_ddim_along_the_direction(editor, inversion):
    plain = edit(editor, inversion, Ddim())
    torch.testing.assert_close(edit(editor, inversion, Pix2PixZero(guidance=0.0)), plain, atol=1e-4, rtol=1e-3)
    nowhere = Pix2PixZero(("a car",), ("a car",), guidance=0.0)
    torch.testing.assert_close(edit(editor, inversion, nowhere), edit(editor, inversion, Ddim(), SOURCE))
    with pytest.raises(ConfigError, match="both, or neither"):
        Pix2PixZero(source_sentences=("a car",))


def test_guidance_brings_the_attention_nearer_to_the_sources(editor, inversion):
    losses = []

    class Measured(Pix2PixZero):
        def controllers(self, task):
            (guidance,) = super().controllers(task)

            def loss(index, z):
                keeper = MapKeeper()
                task.predict(z, index, guidance.embedding, [keeper])
                pairs = ((keeper.maps[layer.name], task.source_attention.probs(layer)) for layer in guidance.layers)
                return sum(float((a - b).square().sum()) for a, b in pairs)

            class Before(Spy):
                def on_latents(self, index, latents):
                    losses.append(loss(index, latents))
                    return latents

            return [Before(), guidance, Before()]

    edit(editor, inversion, Measured(guidance=2e-5))
    before, after = losses[::2], losses[1::2]
    assert len(before) == STEPS
    assert all(b < a for a, b in zip(before, after, strict=True))


def test_no_gradient_stays_behind(editor, inversion):
    edit(editor, inversion, Pix2PixZero())
    assert all(p.grad is None and p.requires_grad for p in editor.unet.parameters())


# Plug-and-Play and TokenFlow ------------------------------------------------------------------------------------------


def test_the_source_is_denoised_beside_the_edit(editor, inversion):
    spy = Spy()
    edit(editor, inversion, watch(PlugAndPlay(), spy))
    assert set(spy.layouts) == {("reference", "uncond", "cond")}


class Look(Controller):
    """Keeps what a submodule returns, after the controllers before it."""

    branches = None
    features = ("up_blocks.1.resnets.1",)

    def __init__(self):
        self.seen = {}

    def on_features(self, step, name, output):
        self.seen[step.index] = {branch: output[step.layout.slice(branch)].clone() for branch in step.layout.branches}
        return output


def test_features_are_the_sources_in_their_steps(editor, inversion):
    look = Look()
    edit(editor, inversion, watch(PlugAndPlay(feature_steps=0.5, attention_steps=0.0), look))
    for index, seen in look.seen.items():
        for branch in ("uncond", "cond"):
            assert torch.equal(seen[branch], seen["reference"]) == (index < 2)


def test_plug_and_play_without_steps_is_ddim(editor, inversion):
    nothing = PlugAndPlay(feature_steps=0.0, attention_steps=0.0)
    torch.testing.assert_close(edit(editor, inversion, nothing), edit(editor, inversion, Ddim()), atol=1e-5, rtol=1e-4)
    attention = edit(editor, inversion, replace(nothing, attention_steps=1.0))
    assert not torch.allclose(attention, edit(editor, inversion, nothing), atol=1e-3)
    with pytest.raises(AttentionError, match=r"no submodule 'up_blocks.9'.*up_blocks\.1\.resnets\.0"):
        edit(editor, inversion, PlugAndPlay(feature_layer="up_blocks.9"))


def test_the_nearest_token_is_found_by_angle():
    keys = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]])
    tokens = torch.tensor([[[5.0, 1.0], [-0.1, 0.0], [0.2, 0.3]]])
    assert nearest_tokens(tokens, keys).tolist() == [[0, 2, 1]]


def test_tokens_are_carried_from_both_keyframes(editor):
    """Five frames with keyframes 1 and 3; tokens of frame i are one-hot at a place that moves by one each frame."""
    from faircut.attention.context import AttentionContext, BatchLayout, Step
    from faircut.attention.controller import QKV

    frames, cells = 5, 6
    layer = next(layer for layer in editor.layers.values() if layer.kind == "self")
    layout = BatchLayout(("reference", "cond"), frames)
    context = AttentionContext(layer, Step("denoise", 0, 1, 500, layout, (1, 1)), layout)
    marks = torch.stack([torch.roll(torch.eye(cells), i, dims=0) for i in range(frames)])[:, None]
    carrier = TokenPropagation([[1, 3]], frames)
    values = torch.arange(frames).float().mul(10)[:, None, None, None] + marks.argmax(-1, keepdim=True)
    edited = values.expand(-1, -1, -1, cells).clone()
    # Queries so far apart that every keyframe's token attends to itself alone.
    own = torch.eye(frames * cells).view(frames, 1, cells, -1) * 1e3
    qkv = QKV(*(torch.cat([x, x]) for x in (own, own, edited)))
    carrier.on_qkv(context, qkv)
    _, output = carrier.on_output(context, torch.cat([marks, torch.zeros_like(marks)]))
    got = output[frames:, 0, :, 0]
    mark = marks[:, 0].argmax(-1).float()
    for frame, base in ((0, 10.0), (1, 10.0), (3, 30.0), (4, 30.0)):
        assert torch.allclose(got[frame], base + mark[frame]), frame
    half = float(torch.sigmoid(torch.tensor(0.5)))
    assert torch.allclose(got[2], 10 + 20 * half + mark[2])


def test_a_still_clip_stays_still(editor, clip):
    still = clip[:1].expand(4, -1, -1, -1)
    inversion = editor.invert(still, SOURCE, num_inference_steps=2, supplier="live")
    out = edit(editor, inversion, TokenFlow(interval=2))
    assert torch.allclose(out[0], out[3], atol=1e-4)


# DiffEdit and Blended Latent Diffusion --------------------------------------------------------------------------------


def test_diffedit_keeps_what_the_prompts_agree_on(editor, inversion):
    torch.testing.assert_close(edit(editor, inversion, DiffEdit(draws=1), SOURCE), inversion.latents[0])
    spy = Spy()
    out = edit(editor, inversion, watch(DiffEdit(strength=0.5, draws=2), spy))
    assert torch.equal(spy.began[2], inversion.latents[2])
    changed = (out - inversion.latents[0]).abs().amax(1) > 0
    assert 0.01 < changed.float().mean() < 0.9


def test_blending_leaves_the_clip_outside_the_mask(editor, inversion):
    out = edit(editor, inversion, BlendedLatent(masks=HALF))
    grid = inversion.latents.shape[-1]
    inside = torch.nn.functional.adaptive_avg_pool2d(HALF[:, None], inversion.latents.shape[-2:])[:, 0] >= 0.5
    clip = inversion.latents[0]
    assert torch.equal(out.movedim(1, -1)[~inside], clip.movedim(1, -1)[~inside])
    assert not torch.allclose(out.movedim(1, -1)[inside], clip.movedim(1, -1)[inside], atol=0.1)
    assert 0 < int(inside[0, 0].sum()) < grid
    with pytest.raises(ConfigError, match="needs to know where"):
        BlendedLatent()
    with pytest.raises(VideoError, match="clip's 3 frames"):
        edit(editor, inversion, BlendedLatent(masks=HALF[:2]))
    with pytest.raises(PromptError, match="'bus' is not in the prompt"):
        edit(editor, inversion, BlendedLatent("bus"))


# VideoGrain -----------------------------------------------------------------------------------------------------------


def test_videograin_without_strength_is_ddim(editor, inversion):
    nothing = VideoGrain((("jeep", "car"),), self_modulation=0.0, cross_modulation=0.0, attention_steps=0.0)
    plain = edit(editor, inversion, Ddim())
    torch.testing.assert_close(edit(editor, inversion, nothing), plain, atol=1e-5, rtol=1e-4)
    for part in ("self_modulation", "cross_modulation", "attention_steps"):
        assert not torch.allclose(edit(editor, inversion, replace(nothing, **{part: 1.0})), plain, atol=1e-4), part


def test_videograin_names_its_mistakes(editor, inversion):
    with pytest.raises(ConfigError, match="needs regions"):
        VideoGrain(())
    with pytest.raises(ConfigError, match="1 masks for 2 regions"):
        VideoGrain((("jeep", "car"), ("road", "road")), masks=(HALF,))
    with pytest.raises(PromptError, match="'bus' is not in the prompt"):
        edit(editor, inversion, VideoGrain((("jeep", "bus"),)))
    masked = VideoGrain((("jeep", "car"),), masks=(HALF,), attention_steps=0.0)
    other = replace(masked, masks=(1 - HALF,))
    assert not torch.allclose(edit(editor, inversion, masked), edit(editor, inversion, other), atol=1e-4)


# FateZero's fresh noise -----------------------------------------------------------------------------------------------


def test_fresh_noise_is_mixed_once_in_its_region_at_the_same_variance():
    z, noise = torch.randn(2, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    left = torch.zeros(3, 64, 64)
    left[:, :, :32] = 1
    mixed = FreshNoise(FixedRegion(left), noise, 0.8).on_latents(0, z)
    assert torch.equal(mixed[..., 32:], z[..., 32:])
    torch.testing.assert_close(mixed[..., :32], 0.6 * z[..., :32] + 0.8 * noise[..., :32])
    assert float(mixed.std()) == pytest.approx(1.0, abs=0.01)
    torch.testing.assert_close(FreshNoise(None, noise, 1.0).on_latents(0, z), noise)
    assert FreshNoise(None, noise, 1.0).on_latents(1, z) is z


def test_fatezero_forgets_the_source_only_where_it_edits(editor, inversion):
    plain = FateZero(blend_words=("jeep", "car"), latent_blend_steps=1.0)
    fresh = replace(plain, fresh_noise=0.8)
    first, again, other = (edit(editor, inversion, fresh, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    source = inversion.latents[0].float()
    assert not torch.allclose(first, other, atol=1e-3)
    assert (first == source).all(1).any(), "what is put back is not noised"
    assert not torch.allclose(first, edit(editor, inversion, plain), atol=1e-3)
    with pytest.raises(ConfigError, match=r"fresh_noise is 1\.5; give a share"):
        FateZero(fresh_noise=1.5)


# FateZero's region guidance -------------------------------------------------------------------------------------------


def test_guidance_is_taken_away_outside_a_region():
    step = Step("denoise", 0, 1, 1, BatchLayout(("uncond", "cond"), 3), (16, 16))
    scale = RegionGuidance(FixedRegion(HALF)).on_guidance(step, torch.tensor(7.5))
    assert scale.shape == (3, 1, 16, 16)
    assert (scale[..., :8] == 7.5).all()
    assert (scale[..., 8:] == 1.0).all()


def test_fatezero_is_guided_only_where_it_edits(editor, inversion):
    def after_first_step(method, guidance):
        seen = []
        edit(
            editor,
            inversion,
            method,
            guidance_scale=guidance,
            callback_on_step_end=lambda pipe, k, t, given: seen.append(given["latents"].clone()) or {},
        )
        return seen[0]

    plain = FateZero(blend_words=("jeep", "car"))
    guided, unguided = after_first_step(plain, 7.5), after_first_step(plain, 1.0)
    bound = after_first_step(replace(plain, region_guidance=True), 7.5)
    like_guided, like_unguided = (torch.isclose(bound, x, atol=1e-5, rtol=1e-4).all(1) for x in (guided, unguided))
    assert (like_guided | like_unguided).all()
    assert like_guided.any()
    assert like_unguided.any()
    with pytest.raises(ConfigError, match="region_guidance needs blend_words"):
        edit(editor, inversion, FateZero(region_guidance=True))
    with pytest.raises(ConfigError, match="latent_blend_steps needs blend_words"):
        edit(editor, inversion, FateZero(latent_blend_steps=0.0))


# MasaCtrl -------------------------------------------------------------------------------------------------------------


def test_masactrl_under_the_source_prompt_gives_the_source(editor, inversion):
    never = edit(editor, inversion, MasaCtrl(0.0))
    torch.testing.assert_close(never, edit(editor, inversion, Ddim()), atol=1e-5, rtol=1e-4)
    # Where the edit's latents are the source's, exchanging keys and values changes nothing.
    same = edit(editor, inversion, MasaCtrl((0.0, 0.25)), SOURCE, guidance_scale=1.0)
    plain = edit(editor, inversion, Ddim(), SOURCE, guidance_scale=1.0)
    torch.testing.assert_close(same, plain, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(edit(editor, inversion, MasaCtrl(1.0)), never, atol=1e-3)


def test_the_frames_attend_as_the_method_says():
    assert TuneAVideo.temporal == SpatialTemporal(("first", -1))
    assert PromptToPrompt.temporal == NullText.temporal == SpatialTemporal((0,), clip_norm=False)
    assert VideoP2P.temporal == SpatialTemporal(("first",))


# What a method says of itself ----------------------------------------------------------------------------------------


class Maps(Watcher):
    """Looks at the source's attention in every step."""

    def __init__(self):
        self.sums = []

    def uses_source(self, index):
        return True

    def on_source(self, index, source):
        assert source.index == index
        self.sums.append(float(source.probs(self.layer).sum()))

    def attach(self, task, method, controllers, first):
        self.layer = next(layer for layer in task.layers if layer.kind == "cross" and layer.coarse)


@pytest.mark.parametrize("name", EVERY)
def test_watching_changes_nothing(editor, clip, name):
    method = EVERY[name]
    inversion = inverted(editor, clip, method)
    maps, capture = Maps(), MapCapture()
    assert torch.equal(edit(editor, inversion, method, watch=[maps, capture]), edit(editor, inversion, method))
    assert 1 <= len(maps.sums) <= STEPS
    regions = method.edit_regions(editor.tokenize(SOURCE), editor.tokenize(TARGET))
    assert bool(capture.masks) == bool(regions)
    for mask in capture.masks.values():
        assert mask.shape == (len(regions), 3, *inversion.latents.shape[-2:])
        assert mask.dtype == torch.bool
        assert 0 < int(mask.sum()) < mask.numel()


@pytest.mark.parametrize("name", EVERY)
def test_a_method_says_where_it_edits(editor, name):
    method, (source, target) = EVERY[name], map(editor.tokenize, (SOURCE, TARGET))
    regions = method.edit_regions(source, target)
    assert len(regions) >= (method.region_use in ("needed", "computed"))
    assert not regions or method.region_use != "none"
    table = align_table(source, target, method)
    for number, region in enumerate(regions):
        assert 0 <= region.threshold < 1
        assert (region.made_of == "masks") == (region.masks is not None)
        named = {word.source for word in table.words if word.region == number}
        assert set(region.source) <= named
    alignment = method.align(source, target)
    assert table.kind == ("none" if alignment is None else alignment.kind)
    if any(region.made_of == "words" for region in regions):
        with pytest.raises(PromptError, match="'jeep' is not in the prompt"):
            method.check(editor.tokenize("a silver bus driving down a road"), target)


def test_the_masks_of_several_regions_are_drawn_in_colours():
    frames, masks = torch.zeros(2, 3, 32, 32), torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    masks[0, :, :4], masks[1, :, 4:6] = True, True
    pixels = [
        np.asarray(draw_masks(frames, {0: part}, ("jeep", "road"))).reshape(-1, 3).astype(int)
        for part in (masks[:1], masks)
    ]
    spread = [part.max(1) - part.min(1) for part in pixels]
    assert spread[0].max() == 0, "one region is not tinted"
    assert len({tuple(colour // 64) for colour in pixels[1][spread[1] > 60]}) >= 2


# What an edit costs ---------------------------------------------------------------------------------------------------


class Counted:
    """Counts evaluations of the UNet by what they are for, in clips of one branch."""

    def __init__(self, editor, frames):
        self.forward, self.gradient, self.frames = 0, 0, frames
        self.hook = editor.unet.register_forward_pre_hook(self.note, with_kwargs=True)

    def note(self, module, arguments, named):
        inputs = (arguments[0], named["encoder_hidden_states"])
        if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
            self.gradient += len(arguments[0]) // self.frames
        else:
            self.forward += len(arguments[0]) // self.frames

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.hook.remove()


@pytest.mark.parametrize("name", EVERY)
def test_an_edit_costs_what_the_method_says(editor, clip, name):
    """Every evaluation of a real edit, live, is one that `cost` counted on an edit without data."""
    method = EVERY[name]
    inversion = editor.invert(clip, SOURCE, num_inference_steps=STEPS, temporal=method.temporal, supplier="live")
    prompts = editor.tokenize(SOURCE), editor.tokenize(TARGET)
    grid = tuple(inversion.latents.shape[-2:])
    task = Shadow(editor.unet, editor.vae).task(3, grid, STEPS, inversion.temporal, prompts, editor.tokenize)
    method = method.costliest(prompts[1])
    cost = method.cost(task, method.controllers(task))
    assert 0 <= cost.first < STEPS
    assert set(cost.source_steps) <= set(range(cost.first, STEPS))
    with Counted(editor, 3) as counted:
        if method.null_text:
            inversion = editor.optimise_null_text(inversion)
        edit(editor, inversion, method)
    branches = 3 if cost.reference else 2
    assert counted.forward == (STEPS - cost.first) * branches + len(cost.source_steps) + cost.evaluations
    assert counted.gradient == cost.gradients


def test_what_is_decided_with_the_clip_is_planned_as_decided(editor):
    target = editor.tokenize("a doctor walking")
    people = (Person("person", "doctor", "preserve"), Person("dog", "dog"), Person("man", "man", "male", alpha=0.5))
    planned = Fame(people, alpha="auto").costliest(target).people
    assert [person.target for person in planned] == [get_attribute("gender").names[0], None, "male"]
    assert [person.alpha for person in planned] == [1.0, 1.0, 0.5]
    said = Fame((Person("person", "doctor", "balanced", prompt="a female doctor"),)).costliest(target)
    assert said.people[0].target is None
    assert not said.undecided
