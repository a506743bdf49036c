"""The editor from clip to clip, on tiny real components."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from diffusers import DDIMScheduler
from peft import LoraConfig

from faircut import EditRequest, Session, SpatialTemporal, Video, VideoEditor
from faircut.attention.controller import Controller, Where
from faircut.edit.inversion import Inversion
from faircut.edit.memory import recorded_bytes
from faircut.errors import (
    AttentionError,
    ConfigError,
    ModelError,
    NumericalError,
    OutOfMemoryError,
    PromptError,
    ReconstructionWarning,
    VideoError,
)
from faircut.files.cache import Cache
from faircut.methods import FateZero, Method
from tests.conftest import SCHEDULER, make_editor

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"
METHOD = FateZero(
    blend_words=("jeep", "car"), latent_blend_steps=(0.0, 0.8), self_replace_steps=0.6, reweight={"car": 2.0}
)


def edited(editor, inversion, prompt=TARGET, method=METHOD, **kwargs):
    return editor.edit(inversion, prompt, method, output_type="latent", **kwargs).latents


def close(a, b, tolerance=2e-4):
    return float((a - b).abs().max() / b.abs().max()) < tolerance


@pytest.fixture
def inversion(editor, clip):
    return editor.invert(clip, SOURCE, num_inference_steps=4, supplier="live")


def test_a_clip_comes_back_with_its_size_its_times_and_changed(editor, clip):
    times = (Fraction(0), Fraction(1, 10), Fraction(1, 4))
    video = Video(frames=clip, times=times, duration=Fraction(1, 2))
    inversion = editor.invert(video, SOURCE, num_inference_steps=4)
    result = editor.edit(inversion, TARGET, METHOD)
    assert result.video.frames.shape == clip.shape
    assert result.video.frames.abs().max() <= 1
    assert (result.video.times, result.video.duration) == (times, Fraction(1, 2))
    plain = editor.edit(inversion, TARGET, None)
    assert not torch.allclose(plain.video.frames, result.video.frames)
    json.dumps(result.report)
    assert result.report["method"]["name"] == "fatezero"


def test_the_same_seed_gives_the_same_result(editor, clip, inversion):
    assert torch.equal(edited(editor, inversion), edited(editor, inversion))
    a, b, c = (
        editor.invert(clip, SOURCE, num_inference_steps=2, generator=torch.Generator().manual_seed(seed)).latents
        for seed in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("temporal", [SpatialTemporal(), SpatialTemporal((-1, "first"), 16, False)])
@pytest.mark.parametrize("method", [METHOD, FateZero(self_replace_steps=(0.2, 0.8), cross_replace_steps=0.5), None])
def test_suppliers_agree(editor, clip, tmp_path, temporal, method):
    options = {"num_inference_steps": 5, "temporal": temporal, "fixed_point_steps": 0.4}
    memory = editor.invert(clip, SOURCE, supplier="memory", **options)
    disk = editor.invert(clip, SOURCE, supplier="disk", attention_folder=tmp_path, **options)
    live = editor.invert(clip, SOURCE, supplier="live", **options)
    assert torch.equal(memory.latents, live.latents)
    expected = edited(editor, live, method=method)
    assert close(edited(editor, memory, method=method), expected)
    assert torch.equal(edited(editor, disk, method=method), edited(editor, memory, method=method))


def test_recording_takes_exactly_the_predicted_bytes(editor, clip):
    inversion = editor.invert(clip, SOURCE, num_inference_steps=3, supplier="memory")
    predicted = recorded_bytes(editor.layers.values(), (16, 17), 3, 3, 77, 4)
    assert inversion.attention.nbytes == predicted == editor.recorded_bytes(clip, 3)
    assert inversion.stored_bytes == predicted + inversion.latents.nbytes


def test_the_budget_chooses_the_supplier(editor, clip):
    needed = editor.recorded_bytes(clip, 2)
    fits = editor.invert(clip, SOURCE, num_inference_steps=2, memory_budget=needed)
    too_much = editor.invert(clip, SOURCE, num_inference_steps=2, memory_budget=needed - 1)
    assert fits.attention is not None
    assert too_much.attention is None


def test_the_source_is_not_run_after_the_last_step_that_fuses(editor, inversion):
    calls = []
    handle = editor.unet.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    try:
        edited(editor, inversion, method=FateZero(cross_replace_steps=0.3, self_replace_steps=0.5))
    finally:
        handle.remove()
    # Two steps with the source's pass of 3 frames before the edit's of 2 x 3; then the edit alone.
    assert calls == [3, 6, 3, 6, 6, 6]


def calm_editor(**overrides):
    """An editor whose noise prediction hardly depends on the latents: DDIM inversion assumes that it changes little."""
    editor = make_editor(**overrides)
    with torch.no_grad():
        editor.unet.conv_out.weight.mul_(0.02)
    return editor


def test_same_prompt_without_guidance_reconstructs(clip):
    editor = calm_editor()
    psnr = []
    for steps in (5, 30):
        inversion = editor.invert(clip, SOURCE, num_inference_steps=steps)
        latents, measured = editor.reconstruct(inversion)
        psnr.append(measured.reconstruction_psnr)
    assert psnr[0] + 6 < psnr[1] > 33
    assert close(latents, inversion.latents[0], 0.1)
    # FateZero between equal prompts, without guidance, is the same DDIM.
    assert close(edited(editor, inversion, SOURCE, FateZero(), guidance_scale=1.0), inversion.latents[0], 0.1)


def test_a_bad_reconstruction_is_said_with_its_figure(editor, clip):
    inversion = editor.invert(clip, SOURCE, num_inference_steps=2)
    spoilt = replace(inversion, latents=inversion.latents + 3 * torch.randn_like(inversion.latents))
    with pytest.warns(ReconstructionWarning, match=r"at -?\d+\.\d dB only"):
        editor.reconstruct(spoilt)


def test_latents_in_latents_out(editor, clip, inversion):
    latents = inversion.latents[0]
    again = editor.invert(latents, SOURCE, num_inference_steps=4, supplier="live")
    assert torch.equal(again.latents, inversion.latents)
    assert again.size == (32, 34)  # whole latents
    assert again.frames is None


def test_one_frame_is_a_clip(editor, clip):
    inversion = editor.invert(clip[:1], SOURCE, num_inference_steps=3)
    assert editor.edit(inversion, TARGET, METHOD).video.frames.shape == (1, 3, 31, 33)


def test_without_blending_words_matter_everywhere_with_it_only_in_the_region(editor, inversion):
    region = FateZero(blend_words=("jeep", "car"), blend_threshold=0.9, latent_blend_steps=1.0)
    latents = edited(editor, inversion, method=region)
    kept = (latents == inversion.latents[0]).all(dim=1)
    assert kept.any(dim=(1, 2)).all()
    assert not kept.all()
    assert not (edited(editor, inversion, method=FateZero()) == inversion.latents[0]).all(dim=1).any()


def test_guidance_of_one_runs_no_unconditional_branch(editor, inversion):
    sizes = []
    handle = editor.unet.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    try:
        edited(editor, inversion, method=None, guidance_scale=1.0)
    finally:
        handle.remove()
    assert set(sizes) == {3}


def test_negative_prompt_and_guidance_have_their_say(editor, inversion):
    base = edited(editor, inversion)
    assert not torch.allclose(base, edited(editor, inversion, negative_prompt="water"))
    assert not torch.allclose(base, edited(editor, inversion, guidance_scale=3.0))


def test_callbacks_see_every_step_and_may_change_the_latents(editor, clip):
    seen = []

    def note(pipe, index, timestep, tensors):
        assert pipe is editor
        seen.append((index, timestep))

    inversion = editor.invert(clip, SOURCE, num_inference_steps=3, callback_on_step_end=note)
    assert seen == [(0, 1), (1, 334), (2, 667)]
    seen.clear()
    edited(editor, inversion, callback_on_step_end=note)
    assert seen == [(0, 667), (1, 334), (2, 1)]
    zero = edited(editor, inversion, callback_on_step_end=lambda p, i, t, x: {"latents": x["latents"] * 0})
    assert not zero.any()


def test_an_inversion_survives_its_folder(editor, clip, tmp_path):
    for supplier in ("live", "memory"):
        video = Video.from_frames(clip, "30000/1001")
        inversion = editor.invert(video, SOURCE, num_inference_steps=3, supplier=supplier)
        assert inversion.times[1] == Fraction(1001, 30000)
        again = Inversion.load(inversion.save(tmp_path / supplier))
        assert torch.equal(again.latents, inversion.latents)
        assert torch.equal(again.frames, inversion.frames)
        assert replace(again, latents=None, frames=None, attention=None) == replace(
            inversion, latents=None, frames=None, attention=None
        )
        assert torch.equal(edited(editor, again), edited(editor, inversion))


def test_a_damaged_inversion_is_refused(inversion, tmp_path):
    folder = inversion.save(tmp_path / "a")
    data = (folder / "inversion.safetensors").read_bytes()
    (folder / "inversion.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match="no readable inversion"):
        Inversion.load(folder)
    with pytest.raises(ConfigError, match="no readable inversion"):
        Inversion.load(tmp_path)


def _cached(editor, folder, frames, prompt, **options):
    """Inverts a clip in a session of its own, which shares nothing but the cache on disk."""
    request = EditRequest(prompt, **{"num_inference_steps": 2, "supplier": "live", **options})
    return Session(editor, cache=Cache(folder)).prepare(request, frames).inversion


def test_the_cache_knows_an_inversion_by_everything_it_depends_on(editor, clip, tmp_path, monkeypatch):
    def invert(frames=clip, prompt=SOURCE, **options):
        return _cached(editor, tmp_path, frames, prompt, **options)

    first = invert()
    calls = []
    handle = editor.unet.register_forward_pre_hook(lambda module, args: calls.append(1))
    try:
        assert torch.equal(invert().latents, first.latents)
        assert not calls
        for change in (
            {"frames": clip * 0.99}, {"prompt": "a jeep"}, {"num_inference_steps": 3},
            {"temporal": SpatialTemporal((0,))}, {"supplier": "memory"}, {"fixed_point_steps": 0.5},
        ):  # fmt: skip
            calls.clear()
            invert(**change)
            assert calls, change
    finally:
        handle.remove()


def test_a_damaged_cache_entry_is_made_again(editor, clip, tmp_path):
    first = _cached(editor, tmp_path, clip, SOURCE)
    (entry,) = tmp_path.iterdir()
    (entry / "inversion.json").write_text("{")
    assert torch.equal(_cached(editor, tmp_path, clip, SOURCE).latents, first.latents)
    assert torch.equal(Inversion.load(entry).latents, first.latents)


def test_lora_changes_the_edit_and_the_fingerprint(clip):
    editor = make_editor()
    inversion = editor.invert(clip, SOURCE, num_inference_steps=2)
    before, plain = editor.fingerprint, edited(editor, inversion)
    torch.manual_seed(3)
    editor.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v", "conv1"], init_lora_weights=False), "style")
    assert editor.fingerprint != before
    with pytest.raises(ModelError, match="made with another model"):
        edited(editor, inversion)
    with_lora = edited(editor, editor.invert(clip, SOURCE, num_inference_steps=2))
    assert not torch.allclose(with_lora, plain)
    editor.unet.delete_adapters("style")
    assert torch.allclose(edited(editor, editor.invert(clip, SOURCE, num_inference_steps=2)), plain, atol=1e-5)


def test_half_precision_stays_close(clip):
    # Without a mask: a position at its threshold may fall on either side.
    method = FateZero(self_replace_steps=0.6, reweight={"car": 2.0})
    editor = calm_editor()
    exact = edited(editor, editor.invert(clip, SOURCE, num_inference_steps=3, supplier="memory"), method=method)
    editor.to(dtype=torch.bfloat16)
    inversion = editor.invert(clip, SOURCE, num_inference_steps=3, supplier="memory")
    assert inversion.latents.dtype == torch.float16
    assert inversion.attention.nbytes * 2 == recorded_bytes(editor.layers.values(), (16, 17), 3, 3, 77, 4)
    assert (edited(editor, inversion, method=method) - exact).abs().mean() < 0.15 * exact.abs().mean()


def test_a_folder_goes_round(editor, clip, tmp_path):
    editor.save_pretrained(tmp_path / "model")
    again = VideoEditor.from_pretrained(tmp_path / "model")
    again.set_progress_bar_config(disable=True)
    assert again.fingerprint == editor.fingerprint
    inversion = editor.invert(clip, SOURCE, num_inference_steps=2)
    assert torch.equal(edited(again, inversion), edited(editor, inversion))


def test_sd2_predicts_velocity_and_reconstructs(clip):
    editor = calm_editor(use_linear_projection=True)
    # Not register_to_config: what was a default before stays one in a scheduler that is made of the configuration.
    editor.scheduler = DDIMScheduler(**SCHEDULER, prediction_type="v_prediction")
    psnr = []
    for steps in (5, 25):
        inversion = editor.invert(clip, SOURCE, num_inference_steps=steps)
        psnr.append(editor.reconstruct(inversion)[1].reconstruction_psnr)
    assert psnr[0] + 3 < psnr[1]
    assert torch.isfinite(edited(editor, inversion)).all()


# What goes wrong is said ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "prompt", "message"),
    [
        (FateZero(blend_words=("truck", "car")), TARGET, "'truck' is not in the prompt"),
        (FateZero(blend_words=("jeep", "truck")), TARGET, "'truck' is not in the prompt"),
        (FateZero(reweight={"water": 2.0}), TARGET, "'water' is not in the prompt"),
        (FateZero(word_replace_steps={"water": 0.2}), TARGET, "'water' is not in the prompt"),
        (FateZero(alignment="replace"), "a car", "use alignment 'refine'"),
        (FateZero(), "car " * 90, "tokens, the model takes 77"),
    ],
)
def test_wrong_prompts_are_refused_before_the_unet_runs(editor, inversion, method, prompt, message):
    calls = []
    handle = editor.unet.register_forward_pre_hook(lambda module, args: calls.append(1))
    with pytest.raises(PromptError, match=message):
        editor.edit(inversion, prompt, method)
    handle.remove()
    assert not calls


def test_clips_that_cannot_be_used(editor):
    with pytest.raises(VideoError, match=r"3 x 40 are too small .* at least 4 x 4"):
        editor.invert(torch.zeros(2, 3, 40, 3), SOURCE)
    with pytest.raises(VideoError, match=r"shape \(2, 5, 8, 8\) was given"):
        editor.invert(torch.zeros(2, 5, 8, 8), SOURCE)
    with pytest.raises(VideoError, match=r"shape \(0, 3, 8, 8\)"):
        editor.invert(torch.zeros(0, 3, 8, 8), SOURCE)


def test_nan_latents_name_the_step(editor, clip, inversion):
    with pytest.raises(NumericalError, match="after inversion step 3"):
        editor.invert(clip * 1e38, SOURCE, num_inference_steps=4)

    def spoil(pipe, index, timestep, tensors):
        return {"latents": tensors["latents"] * (float("inf") if index == 2 else 1)}

    with pytest.raises(NumericalError, match="after denoising step 2"):
        edited(editor, inversion, callback_on_step_end=spoil)


def test_settings_that_do_not_exist(editor, clip, inversion):
    with pytest.raises(ConfigError, match="supplier is 'ram'"):
        editor.invert(clip, SOURCE, supplier="ram")
    with pytest.raises(ConfigError, match=r"fixed_point_steps is 1.5; give a share"):
        editor.invert(clip, SOURCE, fixed_point_steps=1.5)
    with pytest.raises(ConfigError, match="existing attention_folder"):
        editor.invert(clip, SOURCE, supplier="disk")
    with pytest.raises(ConfigError, match="output_type is 'pil'"):
        editor.edit(inversion, TARGET, output_type="pil")


def test_running_out_of_memory_says_what_would_fit(editor, clip):
    class Greedy(Controller):
        where = Where()

        def on_qkv(self, context, qkv):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    class Greediest(Method):
        name = "greedy"

        def controllers(self, task):
            return [Greedy()]

    inversion = editor.invert(clip, SOURCE, num_inference_steps=2)
    with pytest.raises(OutOfMemoryError, match="out of memory with 3 frames of 33 x 31"):
        editor.edit(inversion, TARGET, Greediest())


def test_folders_that_are_no_model(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        VideoEditor.from_pretrained(tmp_path / "nothing")
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(ModelError, match=r"no model_index.json \(it contains readme.txt\)"):
        VideoEditor.from_pretrained(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", "unet": [1, 2]}))
    with pytest.raises(ModelError, match=r"vae, text_encoder, tokenizer, scheduler, unet missing"):
        VideoEditor.from_pretrained(tmp_path)


def test_a_processor_replaced_during_the_run_is_noticed(editor, clip):
    from diffusers.models.attention_processor import AttnProcessor2_0

    class Vandal(Controller):
        where = Where(phases=("invert",))
        branches = None

    inversion = editor.invert(clip, SOURCE, num_inference_steps=2, supplier="live")
    layer = editor.unet.up_blocks[0].attentions[0].transformer_blocks[0].attn1

    def vandalise(pipe, index, timestep, tensors):
        layer.set_processor(AttnProcessor2_0())

    with pytest.raises(AttentionError, match=r"up_blocks\.0"):
        edited(editor, inversion, callback_on_step_end=vandalise)
