"""One-shot tuning on tiny real components: it learns, goes on where it stopped, and leaves a model that everything
loads."""

from __future__ import annotations

import copy
import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from torch.nn import functional as F

from faircut import SpatialTemporal, Video, VideoEditor
from faircut.attention.context import BatchLayout, Step
from faircut.controllers.spatial_temporal import SpatialTemporalAttention
from faircut.edit.footprint import Shadow, footprint
from faircut.errors import ConfigError, DamagedFileWarning, ModelError, NumericalError, OutOfMemoryError, PromptError
from faircut.methods import FateZero, TuneAVideo
from faircut.model.backbone import backbone_of
from faircut.model.temporal import FrameAttention, attach_temporal, has_temporal, temporal_state
from faircut.tune import TuneSettings, convert, tune
from faircut.tune.settings import default_rate

from .conftest import SCHEDULER, make_editor, make_unet

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"
METHOD = FateZero(blend_words=("jeep", "car"), latent_blend_steps=(0.0, 0.8), self_replace_steps=0.6)
QUICK = TuneSettings(steps=4, learning_rate=1e-2)


@pytest.fixture
def video(clip):
    return Video.from_frames(clip, 8)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """An editor, its folder and its clip, after some steps."""
    frames = torch.full((3, 3, 31, 33), -0.5)
    frames[:, 0, 8:20, 5:17] = 0.8
    editor, folder = make_editor(), tmp_path_factory.mktemp("tuned") / "model"
    tune(editor, Video.from_frames(frames, 8), SOURCE, QUICK, folder)
    return editor, folder, frames


def shaken(editor):
    """Give an editor temporal layers that matter."""
    attach_temporal(editor.unet)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in temporal_state(editor.unet).items():
            if ".to_out." in name:
                parameter.copy_(torch.randn_like(parameter) * 0.5)
    return editor


def edited(editor, clip, prompt=TARGET, method=METHOD, supplier="live", **options):
    inversion = editor.invert(clip, SOURCE, num_inference_steps=4, supplier=supplier, **options)
    return editor.edit(inversion, prompt, method, output_type="latent").latents


def weights(editor):
    return {name: parameter.clone() for name, parameter in editor.unet.named_parameters()}


# Temporal layers ------------------------------------------------------------------------------------------------------


def test_new_temporal_layers_change_nothing(editor, clip):
    expected = edited(editor, clip)
    other = make_editor()
    before = other.fingerprint
    attach_temporal(other.unet)
    blocks = [name for name, part in other.unet.named_modules() if isinstance(part, FrameAttention)]
    assert len(blocks) == len(other.layers) // 2
    assert torch.equal(edited(other, clip, temporal=editor.spatial_temporal), expected)
    assert other.spatial_temporal == TuneAVideo.temporal
    assert other.fingerprint != before
    assert other.layers == editor.layers


def test_frames_see_each_other_and_not_the_other_branch():
    layer = FrameAttention(8, 8, 2)
    with torch.no_grad():
        layer.to_out[0].weight.normal_()
    layer.frames = 3
    x = torch.randn(6, 5, 8)
    expected = layer(x)
    for entry, seen in ((1, {0, 1, 2}), (4, {3, 4, 5})):
        changed = x.clone()
        changed[entry, 2] += 1
        differs = (layer(changed) - expected).abs().amax(-1) > 1e-6
        assert {int(i) for i in differs.any(1).nonzero()} == seen
        assert {int(i) for i in differs.any(0).nonzero()} == {2}


def test_a_picture_is_a_clip_of_one_frame(clip):
    editor = shaken(make_editor())
    assert torch.isfinite(edited(editor, clip[:1])).all()
    apart = torch.cat([edited(editor, frame[None]) for frame in clip])
    assert not torch.allclose(edited(editor, clip), apart, atol=1e-3)
    # Diffusers' own pipeline says nothing about frames: its batch is of single pictures.
    parts = {name: part for name, part in editor.components.items() if name != "image_encoder"}
    pipeline = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 2, "height": 32, "width": 32, "output_type": "np"}
    both = pipeline(["a jeep", "a car"], latents=(z := torch.randn(2, 4, 16, 16)), **options).images
    assert abs(both[1] - pipeline("a car", latents=z[1:], **options).images[0]).max() < 1e-4


@pytest.mark.parametrize("temporal", [TuneAVideo.temporal, SpatialTemporal()])
def test_suppliers_agree_on_a_tuned_model(clip, tmp_path, temporal):
    editor = shaken(make_editor())
    live, memory = (edited(editor, clip, supplier=supplier, temporal=temporal) for supplier in ("live", "memory"))
    disk = edited(editor, clip, supplier="disk", temporal=temporal, attention_folder=tmp_path)
    assert torch.equal(memory, disk)
    assert float((live - memory).abs().max() / memory.abs().max()) < 2e-4
    assert not torch.allclose(live, edited(make_editor(), clip, temporal=temporal), atol=1e-2)


def test_dtype_copies_and_adapters_reach_the_layers(clip):
    editor = shaken(make_editor())
    copied = copy.deepcopy(editor.unet)
    assert has_temporal(copied)
    copies, layers = temporal_state(copied), temporal_state(editor.unet)
    assert all(torch.equal(copies[name], tensor) for name, tensor in layers.items())
    editor.to(torch.bfloat16)
    assert {t.dtype for t in temporal_state(editor.unet).values()} == {torch.bfloat16}
    editor.to(torch.float32)
    editor.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_out.0"], init_lora_weights=False))
    assert torch.isfinite(edited(editor, clip)).all()


def test_the_footprint_counts_the_layers(clip):
    editor = make_editor()
    plain = footprint(Shadow(editor.unet, editor.vae), 8, (64, 64), 1, SpatialTemporal())
    attach_temporal(editor.unet)
    with_layers = footprint(Shadow(editor.unet, editor.vae), 8, (64, 64), 1, SpatialTemporal())
    assert with_layers.edit >= plain.edit
    assert has_temporal(Shadow(editor.unet, editor.vae).unet)


# Saving and loading ---------------------------------------------------------------------------------------------------


def test_the_result_loads_everywhere(tuned, tmp_path):
    editor, folder, frames = tuned
    again = VideoEditor.from_pretrained(folder)
    again.set_progress_bar_config(disable=True)
    assert again.fingerprint == editor.fingerprint != make_editor().fingerprint
    assert torch.equal(edited(again, frames), edited(editor, frames))
    assert not torch.allclose(edited(again, frames), edited(make_editor(), frames), atol=1e-3)
    plain = StableDiffusionPipeline.from_pretrained(folder)
    assert not has_temporal(plain.unet)
    assert {name for name in plain.unet.state_dict() if "_temp." in name} == set()
    own = editor.unet.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in plain.unet.state_dict().items())


def test_saving_again_keeps_the_layers_and_a_plain_model_leaves_none(tuned, tmp_path):
    editor, folder, _ = tuned
    VideoEditor.from_pretrained(folder).save_pretrained(tmp_path / "again")
    assert VideoEditor.from_pretrained(tmp_path / "again").fingerprint == editor.fingerprint
    assert has_temporal(editor.unet)
    make_editor().save_pretrained(tmp_path / "again")
    assert not has_temporal(VideoEditor.from_pretrained(tmp_path / "again").unet)
    with pytest.raises(ModelError, match="upload the folder"):
        editor.save_pretrained(tmp_path / "pushed", push_to_hub=True)


def test_layers_of_another_model_are_refused(tuned, tmp_path):
    _, folder, _ = tuned
    make_editor(block_out_channels=(8, 16, 16)).save_pretrained(tmp_path / "other")
    os.symlink(folder / "temporal", tmp_path / "other" / "temporal")
    with pytest.raises(ModelError, match="another UNet"):
        VideoEditor.from_pretrained(tmp_path / "other")
    (tmp_path / "other" / "temporal").unlink()
    (tmp_path / "other" / "temporal").mkdir()
    with pytest.raises(ModelError, match="no readable temporal layers"):
        VideoEditor.from_pretrained(tmp_path / "other")


# Tuning ---------------------------------------------------------------------------------------------------------------


def test_the_loss_falls_and_only_what_is_trainable_moves(video, tmp_path):
    editor = make_editor()
    # Nothing may be learnt of a new layer's norm, as published; the rest of it learns once its output is not zero.
    before = weights(editor)
    lines = []
    settings = TuneSettings(steps=60, learning_rate=2e-2)
    tune(editor, video, SOURCE, settings, tmp_path, log=lambda stage, line: lines.append((stage, line)))
    losses = [line["loss"] for _, line in lines if "loss" in line]
    assert losses[-1] < 0.9 * losses[0], losses
    moved = {name for name, p in weights(editor).items() if name in before and not torch.equal(p, before[name])}
    assert moved == {name for name in before if name.endswith(("attn1.to_q.weight", "attn2.to_q.weight"))}
    state = temporal_state(editor.unet)
    assert all(tensor.abs().max() > 0 for name, tensor in state.items() if ".to_out." in name)
    assert all(torch.equal(t, torch.ones_like(t)) for name, t in state.items() if name.endswith("norm_temp.weight"))
    assert [stage for stage, _ in lines][-1] == "Writing"
    assert all(parameter.requires_grad for name, parameter in editor.unet.named_parameters() if name in before)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])["step"] == 20


def test_it_goes_on_bit_for_bit(video, tmp_path):
    straight = make_editor()
    tune(straight, video, SOURCE, QUICK, tmp_path / "straight")

    def stop(stage, line):
        if line.get("done") == 0.5:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        tune(make_editor(), video, SOURCE, QUICK, tmp_path / "stopped", log=stop)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "stopped" / "model_index.json").exists()
    resumed = make_editor()
    steps = []
    result = tune(resumed, video, SOURCE, QUICK, tmp_path / "stopped", log=lambda stage, line: steps.append(line))
    assert result.step == 4
    assert len([line for line in steps if "done" in line]) == 2
    ours = weights(resumed)
    assert all(torch.equal(p, ours[name]) for name, p in weights(straight).items())
    assert resumed.fingerprint == VideoEditor.from_pretrained(tmp_path / "stopped").fingerprint


def test_a_kill_loses_what_came_after_the_checkpoint_and_nothing_else(video, tmp_path):
    straight = make_editor()
    tune(straight, video, SOURCE, QUICK, tmp_path / "straight")

    class Killed(BaseException):
        pass

    def die(stage, line):
        if line.get("done") == 0.75:
            raise Killed

    settings = replace(QUICK, checkpoint_every=0.0)
    with pytest.raises(Killed):
        tune(make_editor(), video, SOURCE, settings, tmp_path / "killed", log=die)
    resumed = make_editor()
    tune(resumed, video, SOURCE, settings, tmp_path / "killed")
    ours = weights(resumed)
    assert all(torch.equal(p, ours[name]) for name, p in weights(straight).items())


def test_more_steps_go_on_and_fewer_are_refused(video, tmp_path):
    tune(make_editor(), video, SOURCE, replace(QUICK, steps=2), tmp_path)
    first = VideoEditor.from_pretrained(tmp_path).fingerprint
    again = tune(make_editor(), video, SOURCE, replace(QUICK, steps=2), tmp_path)
    assert (again.step, again.loss) == (2, None)
    longer = make_editor()
    tune(longer, video, SOURCE, QUICK, tmp_path)
    assert VideoEditor.from_pretrained(tmp_path).fingerprint == longer.fingerprint != first
    with pytest.raises(ConfigError, match="already has 4 steps"):
        tune(make_editor(), video, SOURCE, replace(QUICK, steps=2), tmp_path)
    straight = make_editor()
    tune(straight, video, SOURCE, QUICK, tmp_path / "straight")
    assert straight.fingerprint == longer.fingerprint


@pytest.mark.parametrize("options", [{"gradient_checkpointing": True}, {"precision": "bfloat16"}])
def test_other_ways_to_compute_give_nearly_the_same(tuned, video, tmp_path, options):
    editor, other = make_editor(), make_editor()
    losses = [
        tune(e, video, SOURCE, replace(QUICK, **more), tmp_path / str(i)).loss
        for i, (e, more) in enumerate(((editor, {}), (other, options)))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert not other.unet.is_gradient_checkpointing
    assert {p.dtype for p in other.unet.parameters()} == {torch.float32}


def test_validation_clips(video, tmp_path):
    settings = replace(QUICK, validation_prompts=(TARGET, "a jeep"), validate_every=2, validation_steps=1)
    editor = make_editor()
    result = tune(editor, video, SOURCE, settings, tmp_path)
    assert [path.name for path in result.validations] == ["step-2.mp4", "step-4.mp4"]
    assert all(path.is_file() for path in result.validations)
    plain = make_editor()
    tune(plain, video, SOURCE, QUICK, tmp_path / "plain")
    assert plain.fingerprint == editor.fingerprint


def test_without_temporal_layers(video, tmp_path):
    editor = make_editor()
    tune(editor, video, SOURCE, replace(QUICK, temporal_layers=False), tmp_path)
    assert not has_temporal(editor.unet)
    assert not (tmp_path / "temporal").exists()
    again = VideoEditor.from_pretrained(tmp_path)
    assert again.fingerprint == editor.fingerprint != make_editor().fingerprint


def test_velocities_are_learnt_as_velocities(video, tmp_path):
    editor = make_editor()
    editor.scheduler = DDIMScheduler(**SCHEDULER, prediction_type="v_prediction")
    with torch.no_grad():
        for parameter in (editor.unet.conv_out.weight, editor.unet.conv_out.bias):
            parameter.zero_()
    settings = TuneSettings(steps=1, learning_rate=1e-6)
    loss = tune(editor, video, SOURCE, settings, tmp_path).loss
    noise = make_editor()
    noise.unet.load_state_dict({k: v for k, v in editor.unet.state_dict().items() if "_temp." not in k})
    other = tune(noise, video, SOURCE, settings, tmp_path / "noise").loss
    assert other == pytest.approx(1.0, rel=0.1)  # The mean square of the noise.
    assert loss != pytest.approx(other, rel=1e-3)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"validate_every": 0}, "validate_every is 0"),
        ({"checkpoint_every": -1.0}, "checkpoint_every is -1.0"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"trainable": ()}, "trainable is ()"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ConfigError) as error:
        TuneSettings(**options)
    assert message in str(error.value)


def test_what_cannot_be_tuned_is_refused_before_time_is_spent(video, tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean .attn1[.]to_q"):
        tune(make_editor(), video, SOURCE, TuneSettings(trainable=("attn1.to_qq",)), tmp_path / "a")
    with pytest.raises(ModelError, match="bfloat16; load it with"):
        tune(make_editor().to(torch.bfloat16), video, SOURCE, QUICK, tmp_path / "b")
    adapted = make_editor()
    adapted.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with pytest.raises(ModelError, match="unload"):
        tune(adapted, video, SOURCE, QUICK, tmp_path / "c")
    with pytest.raises(PromptError):
        tune(make_editor(), video, SOURCE, replace(QUICK, validation_prompts=("jeep " * 100,)), tmp_path / "d")
    assert not any((tmp_path / name).exists() for name in "bcd")


def test_tunings_are_not_mixed(video, tmp_path):
    first = replace(QUICK, steps=1)
    tune(make_editor(), video, SOURCE, first, tmp_path / "model")
    other = Video.from_frames(-video.frames, 8)
    for what, arguments in {
        "another clip": (make_editor(), other, SOURCE, first),
        "another prompt": (make_editor(), video, TARGET, first),
        "another model": (make_editor(in_channels=4, layers_per_block=2), video, SOURCE, first),
        "another learning_rate": (make_editor(), video, SOURCE, replace(first, learning_rate=1e-3)),
    }.items():
        with pytest.raises(ConfigError, match=what):
            tune(*arguments, tmp_path / "model")
    tune(make_editor(), other, SOURCE, first, tmp_path / "model", fresh=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for fresh in (False, True):
        with pytest.raises(ConfigError, match="is not a tuning"):
            tune(make_editor(), video, SOURCE, first, tmp_path / "mine", fresh=fresh)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "tune.json", "finished.json"])
def test_damaged_files_are_set_aside_and_made_again(video, tmp_path, name):
    short = replace(QUICK, steps=2)
    tune(make_editor(), video, SOURCE, short, tmp_path)
    damaged = tmp_path / name
    good = damaged.read_bytes()
    damaged.write_bytes(good[: len(good) // 2])
    again = make_editor()
    with pytest.warns(DamagedFileWarning, match=f"{name} is damaged and is made again; it is kept as {name}.damaged"):
        done = tune(again, video, SOURCE, short, tmp_path)
    assert done.step == 2
    assert (tmp_path / f"{name}.damaged").read_bytes() == good[: len(good) // 2]
    assert (tmp_path / "checkpoint.safetensors.damaged").exists() == (name != "finished.json")
    assert json.loads((tmp_path / "finished.json").read_text())["step"] == 2
    fresh = make_editor()
    tune(fresh, video, SOURCE, short, tmp_path.parent / f"{tmp_path.name}-fresh")
    for ours, theirs in zip(again.unet.parameters(), fresh.unet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_numbers_and_memory_that_run_out(video, tmp_path, monkeypatch):
    editor = make_editor()
    with torch.no_grad():
        editor.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(NumericalError, match="no longer finite at step 0"):
        tune(editor, video, SOURCE, QUICK, tmp_path / "nan")
    monkeypatch.setattr(
        "faircut.tune.train.backbone_of", lambda *a, **k: (_ for _ in ()).throw(torch.OutOfMemoryError("no"))
    )
    with pytest.raises(OutOfMemoryError, match="gradient_checkpointing"):
        tune(make_editor(), video, SOURCE, QUICK, tmp_path / "full")


def test_the_default_rate_is_the_published_one_for_wide_models(pocket_editor):
    assert default_rate(make_unet(block_out_channels=(8, 16, 1280))) == 3e-5
    assert default_rate(pocket_editor.unet) > 3e-5


# Published checkpoints ------------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path):
    """A checkpoint with the names and files of a published one, random temporal layers included."""
    folder = tmp_path / "published"
    editor = make_editor()
    editor.save_pretrained(folder, safe_serialization=False)
    state = editor.unet.state_dict()
    torch.manual_seed(2)
    for name in [name for name in state if name.endswith(".norm3.weight")]:
        block, width = name.removesuffix(".norm3.weight"), len(state[name])
        for part in ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"):
            state[f"{block}.attn_temp.{part}"] = torch.randn(width, width) / width**0.5
        for part in ("attn_temp.to_out.0.bias", "norm_temp.weight", "norm_temp.bias"):
            state[f"{block}.{part}"] = torch.randn(width)
    torch.save(state, folder / "unet" / "diffusion_pytorch_model.bin")
    config = json.loads((folder / "unet" / "config.json").read_text())
    config |= {"_class_name": "UNet3DConditionModel", "_diffusers_version": "0.11.1"}
    config["mid_block_type"] = "UNetMidBlock3DCrossAttn"
    for blocks in ("down_block_types", "up_block_types"):
        config[blocks] = [name.replace("2D", "3D") for name in config[blocks]]
    (folder / "unet" / "config.json").write_text(json.dumps(config))
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_class_name": "TuneAVideoPipeline", "unet": ["tuneavideo.models.unet", "UNet3DConditionModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder, state


def published_block(state, name, x, text, frames, heads):
    """The published block, written down straight: (b f) d c through sparse-causal, cross- and temporal attention."""
    w = {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}

    def norm(part, y):
        return F.layer_norm(y, y.shape[-1:], w[f"{part}.weight"], w[f"{part}.bias"])

    def attend(part, q, k, v):
        q, k, v = (
            (y @ w[f"{part}.{to}.weight"].T).unflatten(-1, (heads, -1)).transpose(1, 2)
            for y, to in ((q, "to_q"), (k, "to_k"), (v, "to_v"))
        )
        probs = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        return (probs @ v).transpose(1, 2).flatten(2) @ w[f"{part}.to_out.0.weight"].T + w[f"{part}.to_out.0.bias"]

    y = norm("norm1", x)
    batch = x.shape[0] // frames
    seen = y.unflatten(0, (batch, frames))
    before = torch.cat([seen[:, :1], seen[:, :-1]], dim=1)
    seen = torch.cat([seen[:, :1].expand_as(seen), before], dim=2).flatten(0, 1)
    x = x + attend("attn1", y, seen, seen)
    x = x + attend("attn2", norm("norm2", x), text, text)
    up, gate = (norm("norm3", x) @ w["ff.net.0.proj.weight"].T + w["ff.net.0.proj.bias"]).chunk(2, dim=-1)
    x = x + (up * F.gelu(gate)) @ w["ff.net.2.weight"].T + w["ff.net.2.bias"]
    x = x.unflatten(0, (batch, frames)).transpose(1, 2).flatten(0, 1)  # (b f) d c -> (b d) f c
    y = norm("norm_temp", x)
    x = x + attend("attn_temp", y, y, y)
    return x.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)  # (b d) f c -> (b f) d c


def test_published_checkpoints_convert_and_compute_the_same(published, tmp_path):
    folder, state = published
    convert(folder, tmp_path / "model")
    editor = VideoEditor.from_pretrained(tmp_path / "model")
    ours = editor.unet.state_dict()
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in state.items())
    assert type(editor.unet).__name__ == "UNet2DConditionModel"
    assert not list((tmp_path / "model").rglob("*.bin"))

    frames, unet, calls = 3, editor.unet, {}
    for name, part in unet.named_modules():
        if type(part).__name__ == "BasicTransformerBlock":
            part.register_forward_hook(lambda part, args, output, name=name: calls.update({name: (args[0], output)}))
    z, text = torch.randn(2 * frames, 4, 16, 12), torch.randn(2 * frames, 77, 16)
    sees = SpatialTemporalAttention(TuneAVideo.temporal, frames)
    with torch.no_grad(), backbone_of(unet).install([sees], frames=frames) as control:
        control.begin(Step("denoise", 0, 1, 500, BatchLayout(("uncond", "cond"), frames), (16, 12)))
        unet(z, torch.tensor(500), encoder_hidden_states=text)
    assert len(calls) == len(unet.attn_processors) // 2
    for name, (x, output) in calls.items():
        heads = unet.get_submodule(f"{name}.attn1").heads
        expected = published_block(state, name, x, text, frames, heads)
        assert torch.allclose(output, expected, atol=1e-4, rtol=1e-4), name


def test_what_is_no_published_checkpoint_is_refused(published, tmp_path):
    folder, state = published
    with pytest.raises(ConfigError, match="already exists"):
        convert(folder, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.bin"

    def refused(match):
        with pytest.raises(ModelError, match=match):
            convert(folder, tmp_path / "model")
        assert not (tmp_path / "model").exists()

    torch.save({**state, "down_blocks.0.motion_modules.0.proj.weight": torch.zeros(1)}, weights)
    refused("motion_modules.0.proj.weight, is unknown")
    torch.save({name: tensor for name, tensor in state.items() if ".attn_temp." not in name}, weights)
    refused("is missing")
    torch.save({"state": Video}, weights)  # A pickle of code.
    refused("cannot be read as plain weights")
    weights.unlink()
    refused("has neither")
    config = folder / "unet" / "config.json"
    known = json.loads(config.read_text())
    config.write_text(json.dumps({**known, "use_motion_module": True}))
    refused("'use_motion_module'")
    config.write_text(json.dumps({**known, "_class_name": "UNet2DConditionModel"}))
    refused("load it without conversion")
