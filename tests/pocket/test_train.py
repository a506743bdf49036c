"""Training of the pocket model: settings, resuming bit for bit, losses that fall, parts that ship."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from faircut.attention.controller import Where
from faircut.errors import ConfigError, ModelError
from faircut.fairness.perception import crop_to_boxes
from faircut.model.backbone import backbone_of
from faircut.pocket.attention_maps import CrossAttentionMaps, one_evaluation
from faircut.pocket.captions import caption, span_tokens, words
from faircut.pocket.generate import reconstruct
from faircut.pocket.judge import Judge, load_judge, save_judge
from faircut.pocket.scenes import sample_scene
from faircut.pocket.train import TrainConfig, load_config, train
from faircut.pocket.train.clip import ClipStage
from faircut.pocket.train.config import config_from_dict
from faircut.pocket.train.data import HEADS, Stills, draw_stills, scene_from_json, scene_to_json
from faircut.pocket.train.denoiser import (
    ATTRIBUTE_ATTENTION,
    NOUN_ATTENTION,
    DenoiserStage,
    TrainingMaps,
    build_unet,
    localisation_loss,
)
from faircut.pocket.train.judge import JudgeStage, even_chances
from faircut.pocket.train.loop import fit, step_rng
from faircut.pocket.train.state import Flat, load_weights
from faircut.pocket.train.tokenizer import build_tokenizer
from faircut.pocket.train.vae import VaeStage, bake_scale, build_vae
from faircut.pocket.vocabulary import LABELS

TINY = {
    "run": {"processes": 1, "log_every": 2, "precision": "fp32"},
    "data": {"stills": 32, "held_out": 16, "shard": 16, "workers": 1},
    "vae": {"channels": [8, 16, 16], "crop": 32, "optim": {"batch": 4, "warmup": 1, "lr": 3e-3}},
    "judge": {"channels": [8, 8, 16, 16, 16], "optim": {"batch": 16, "warmup": 1}},
    "clip": {"width": 32, "layers": 1, "text_layers": 1, "embed": 32, "optim": {"batch": 16, "warmup": 1}},
    "denoiser": {
        "channels": [8, 16, 16, 16],
        "text_width": 32,
        "text_layers": 1,
        "optim": {"batch": 4, "warmup": 1, "lr": 2e-3},
    },
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    return config_from_dict(TINY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, config):
    """Stills, tokenizer, an untrained autoencoder and latents that look like some."""
    root = tmp_path_factory.mktemp("train")
    for split in ("train", "held_out"):
        draw_stills(root / "data", split, config.data)
    build_tokenizer(words(), root / "tokenizer")
    build_vae(config.vae).save_pretrained(root / "vae")
    stills = Stills(root / "data", "train", config.data)
    rng = np.random.default_rng(0)
    for shard in range(stills.shards):
        stills.write_latents(shard, rng.standard_normal((16, config.vae.latent_channels, 32, 32)).astype(np.float16))
    return root


def _steps(config: TrainConfig, stage: str, steps: int) -> TrainConfig:
    block = getattr(config, stage)
    return dataclasses.replace(
        config, **{stage: dataclasses.replace(block, optim=dataclasses.replace(block.optim, steps=steps))}
    )


class TestConfig:
    def test_unknown_setting_is_an_error_with_the_close_name(self):
        with pytest.raises(ConfigError, match="did you mean 'batch'"):
            config_from_dict({"vae": {"optim": {"bach": 3}}})

    def test_wrong_type_is_an_error(self):
        with pytest.raises(ConfigError, match=r"denoiser\.heads must be of type int"):
            config_from_dict({"denoiser": {"heads": "four"}})

    def test_a_block_keeps_its_own_defaults(self):
        assert config_from_dict({"clip": {"optim": {"lr": 1}}}).clip.optim.batch == TrainConfig().clip.optim.batch

    def test_file(self, tmp_path):
        (tmp_path / "c.yaml").write_text("denoiser: {channels: [32, 64], attention: [false, true]}\n")
        assert load_config(tmp_path / "c.yaml").denoiser.channels == (32, 64)
        with pytest.raises(ConfigError, match="cannot read"):
            load_config(tmp_path / "none.yaml")

    def test_unknown_stage(self, tmp_path):
        with pytest.raises(ConfigError, match="did you mean 'judge'"):
            train(TrainConfig(), ["juge"], output=tmp_path)


class TestData:
    def test_scenes_survive_json(self):
        rng = np.random.default_rng(0)
        for _ in range(20):
            scene = sample_scene(rng)
            assert scene_from_json(scene_to_json(scene)) == scene

    def test_drawing_is_deterministic_and_resumes(self, folder, config, tmp_path):
        draw_stills(tmp_path, "train", dataclasses.replace(config.data, stills=16))
        draw_stills(tmp_path, "train", config.data)
        again, first = Stills(tmp_path, "train", config.data), Stills(folder / "data", "train", config.data)
        np.testing.assert_array_equal(again.images(range(32)), first.images(range(32)))
        np.testing.assert_array_equal(again.labels, first.labels)

    def test_boxes_and_masks_agree(self, folder, config):
        stills = Stills(folder / "data", "train", config.data)
        for masks, boxes in zip(stills.masks, stills.boxes, strict=True):
            ys, xs = np.nonzero(masks[0])
            assert boxes[0][0] // 8 <= xs.min()
            assert boxes[0][3] > ys.max() * 8

    def test_missing_shards_are_named(self, tmp_path, config):
        with pytest.raises(ConfigError, match="stage 'draw'"):
            Stills(tmp_path, "train", config.data)


class TestTokenizer:
    def test_nouns_are_found_in_captions(self, tmp_path):
        tokenizer = build_tokenizer(words(), tmp_path)
        rng = np.random.default_rng(1)
        for _ in range(50):
            written = caption(sample_scene(rng), rng)
            batch = tokenizer(written.text, return_offsets_mapping=True)
            for start, end in written.subjects:
                found = span_tokens(batch["offset_mapping"], (start, end))
                assert tokenizer.decode([batch["input_ids"][i] for i in found]) == written.text[start:end]

    def test_pads_to_77_with_the_end(self, tmp_path):
        tokenizer = build_tokenizer(words(), tmp_path)
        ids = tokenizer("a doctor", padding="max_length").input_ids
        assert len(ids) == 77
        assert ids[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id


class TestLocalisation:
    def test_enough_attention_inside_costs_nothing(self):
        masks = torch.zeros(1, 2, 16, 16)
        masks[0, 0, 4:8, 4:8] = 1
        tokens = torch.zeros(1, 2, 2, 77)
        tokens[0, 0, 0, [3, 4]] = 1  # a noun of two tokens
        tokens[0, 0, 1, 2] = 1
        maps = torch.zeros(1, 256, 77)
        maps[0, :, 3] = masks[0, 0].flatten() * NOUN_ATTENTION
        maps[0, :, 2] = masks[0, 0].flatten() * ATTRIBUTE_ATTENTION
        maps[0, :, 0] = 1 - maps[0, :, 2] - maps[0, :, 3]
        loss, share = localisation_loss([maps], tokens, masks)
        assert loss.item() == pytest.approx(0)
        assert share.item() == pytest.approx(1)

    @pytest.mark.parametrize(("kind", "goal"), [(0, NOUN_ATTENTION), (1, ATTRIBUTE_ATTENTION)])
    def test_even_attention_costs_what_the_formula_says(self, kind, goal):
        masks = torch.zeros(1, 2, 16, 16)
        masks[0, 0, :8] = 1
        tokens = torch.zeros(1, 2, 2, 77)
        tokens[0, 0, kind, 5] = 1
        loss, share = localisation_loss([torch.full((1, 256, 77), 1 / 77)], tokens, masks)
        assert share.item() == pytest.approx(0.5 * (kind == 0))  # the share told is that of the nouns
        assert loss.item() == pytest.approx(0.25 + 0.5 * (1 - 1 / 77 / goal) ** 2, rel=1e-4)


def test_the_text_encoder_learns_at_its_own_rate(folder, config, tmp_path):
    config = _steps(config, "denoiser", 1)
    before = DenoiserStage(config, folder).model.state_dict()
    stage = fit(lambda: DenoiserStage(config, folder), dataclasses.replace(config.run, processes=1), tmp_path)
    # Adam's first step is the rate, whatever the gradient.
    params = load_file(tmp_path / "checkpoint.safetensors")["params"]
    flat = Flat(stage.model)
    moved = {"text": 0.0, "unet": 0.0}
    for name, part in zip(flat.names, flat.slices, strict=True):
        change = (params[part] - before[name].flatten()).abs().max().item()
        moved[name.split(".")[0]] = max(moved[name.split(".")[0]], change)
    assert moved["unet"] == pytest.approx(config.denoiser.optim.lr, rel=0.01)
    assert moved["text"] == pytest.approx(moved["unet"] * config.denoiser.text_rate, rel=0.01)


def test_stretches_of_one_rate_are_joined():
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 3), "b": torch.nn.Linear(1, 1), "c": torch.nn.Linear(1, 2)})
    assert Flat(model).groups({"b.": 0.5}) == [(slice(0, 9), 1.0), (slice(9, 11), 0.5), (slice(11, 15), 1.0)]
    assert Flat(model).groups({}) == [(slice(0, 15), 1.0)]


def _evaluate(unet, recorder, latents, text):
    with backbone_of(unet).install([recorder], frames=1, clip_norm=False) as control:
        control.begin(one_evaluation(latents))
        return unet(latents, torch.tensor([3, 700]), text).sample


def test_localising_does_not_reach_the_text_by_the_shortest_way(config):
    torch.manual_seed(0)
    unet = build_unet(config.denoiser, 4)
    recorder = TrainingMaps(unet, Where())
    latents, text = torch.randn(2, 4, 32, 32), torch.randn(2, 5, 32, requires_grad=True)
    recorder.text = text
    out = _evaluate(unet, recorder, latents, text)
    first = recorder.maps[0]
    torch.testing.assert_close(first.sum(-1), torch.ones(2, 256))
    attn = next(m for name, m in unet.named_modules() if name.endswith("attn2"))
    wanted = (attn.to_q.weight, attn.to_k.weight, text)
    query, key, read = torch.autograd.grad(first[..., 0].sum(), wanted, retain_graph=True, allow_unused=True)
    assert query.abs().max() > 0
    assert key.abs().max() > 0
    assert read is None
    assert torch.autograd.grad(out.sum(), text)[0].abs().max() > 0


def test_training_sees_the_maps_that_the_unet_attends_with(config):
    torch.manual_seed(0)
    unet = build_unet(config.denoiser, 4)
    watched, trained = CrossAttentionMaps(), TrainingMaps(unet, Where())
    latents, trained.text = torch.randn(2, 4, 32, 32), torch.randn(2, 5, 32)
    with torch.no_grad():
        outs = [_evaluate(unet, recorder, latents, trained.text) for recorder in (watched, trained)]
        plain = unet(latents, torch.tensor([3, 700]), trained.text).sample
    assert [tuple(m.shape) for m in watched.maps] == [(2, n, 5) for n in (256, 64, 16, 64, 64, 256, 256)]
    for a, b in zip(watched.maps, trained.maps, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(*outs)
    torch.testing.assert_close(outs[0], plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vae", "judge", "clip", "denoiser"])
def test_a_few_real_steps_lower_the_loss(name, folder, config):
    make = {
        "vae": lambda: VaeStage(config, folder / "data"),
        "judge": lambda: JudgeStage(config, folder / "data"),
        "clip": lambda: ClipStage(config, folder),
        "denoiser": lambda: DenoiserStage(config, folder),
    }[name]
    stage = make()
    adam = torch.optim.AdamW(stage.model.parameters(), lr=3e-3)

    def measure() -> float:
        with torch.no_grad():
            return sum(float(stage.loss(1000 + k, 0, 1)[0]) for k in range(3)) / 3

    before = measure()
    for step in range(12):
        loss, _ = stage.loss(step, 0, 1)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert measure() < before


class TestResume:
    def test_goes_on_bit_for_bit(self, folder, config, tmp_path):
        def run(where, steps):
            c = _steps(config, "denoiser", steps)
            # The rate falls at the end of the steps asked for: it must not, for a run that will be resumed.
            optim = dataclasses.replace(c.denoiser.optim, decay=0.0)
            c = dataclasses.replace(c, denoiser=dataclasses.replace(c.denoiser, optim=optim))
            stage = fit(lambda: _quiet(DenoiserStage(c, folder)), c.run, tmp_path / where)
            return Flat(stage.model).params.clone()

        straight = run("a", 4)
        run("b", 2)
        resumed = run("b", 4)
        assert torch.equal(straight, resumed)
        steps = [json.loads(line)["step"] for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()]
        assert max(steps) == 4

    def test_a_stop_keeps_the_step_and_hands_the_signals_back(self, folder, config, tmp_path):
        before = signal.getsignal(signal.SIGTERM)
        stage = _quiet(VaeStage(config, folder / "data"))
        work = stage.loss

        def loss(step, rank, world):
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return work(step, rank, world)

        stage.loss = loss
        with pytest.raises(KeyboardInterrupt):
            fit(lambda: stage, config.run, tmp_path)
        assert load_weights(_quiet(VaeStage(config, folder / "data")), tmp_path)["step"] == 3
        assert signal.getsignal(signal.SIGTERM) is before

    def test_checkpoint_of_another_size_is_refused(self, folder, config, tmp_path):
        c = _steps(config, "vae", 1)
        fit(lambda: _quiet(VaeStage(c, folder / "data")), c.run, tmp_path)
        other = config_from_dict({**TINY, "vae": {**TINY["vae"], "channels": [8, 8, 16]}})
        with pytest.raises(ModelError, match="another size"):
            fit(lambda: _quiet(VaeStage(other, folder / "data")), c.run, tmp_path)

    def test_random_numbers_follow_from_step_and_process_only(self):
        a, b = step_rng(0, "vae", 5, 1).random(), step_rng(0, "vae", 5, 1).random()
        assert a == b != step_rng(0, "vae", 5, 0).random() != step_rng(0, "vae", 6, 1).random()


def _quiet(stage):
    stage.preview = lambda path: {}
    return stage


class TestResidentData:
    """What a GPU does: all data on the device."""

    def test_pictures_give_the_same_crops(self, folder, config):
        stage = VaeStage(config, folder / "data")
        read, _ = stage.loss(0, 0, 1)
        stage.images = torch.from_numpy(stage.stills.all_images())
        resident, _ = stage.loss(0, 0, 1)
        assert torch.equal(read, resident)

    def test_latents_give_a_loss_of_the_same_size(self, folder, config):
        stage = DenoiserStage(config, folder)
        read, _ = stage.loss(0, 0, 1)
        stage.latents = torch.from_numpy(stage.stills.all_latents())
        resident, _ = stage.loss(0, 0, 1)
        torch.testing.assert_close(read, resident, atol=0.3, rtol=0.1)  # another generator draws the noise


class TestVae:
    def test_the_decoder_alone_leaves_the_encoder_as_it_is(self, folder, config):
        stage = VaeStage(config, folder / "data", folder, decoder_only=True)
        assert stage.name == "decoder"
        loss, _ = stage.loss(0, 0, 1)
        loss.backward()
        assert all(p.grad is None for p in stage.model.encoder.parameters())
        assert stage.model.post_quant_conv.weight.grad is not None

    def test_baking_changes_the_latents_and_not_the_pictures(self):
        torch.manual_seed(0)
        vae = build_vae(config_from_dict(TINY).vae).eval()
        x = torch.rand(4, 3, 32, 32) * 2 - 1
        before = reconstruct(vae, x)
        logvar = vae.encode(x).latent_dist.logvar
        std = vae.encode(x).latent_dist.mean.std((0, 2, 3))
        bake_scale(vae, x)
        posterior = vae.encode(x).latent_dist
        torch.testing.assert_close(reconstruct(vae, x), before, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(posterior.mean.mean((0, 2, 3)), torch.zeros(len(std)), atol=1e-4, rtol=0)
        torch.testing.assert_close(posterior.mean.std((0, 2, 3)), torch.ones(len(std)), atol=1e-3, rtol=0)
        expected = logvar - 2 * std.log()[None, :, None, None]
        torch.testing.assert_close(posterior.logvar, expected, atol=1e-4, rtol=1e-4)


class TestJudge:
    def test_survives_saving(self, tmp_path):
        torch.manual_seed(0)
        judge = Judge(LABELS, (8, 8, 16, 16, 16)).eval()
        save_judge(judge, tmp_path)
        x = torch.rand(2, 3, 64, 64)
        a, b = judge.probabilities(x), load_judge(tmp_path).probabilities(x)
        for head in LABELS:
            assert a[head].shape == (2, len(LABELS[head]) + 1)
            torch.testing.assert_close(a[head], b[head], atol=1e-2, rtol=0)
        assert set(judge.read(x)["gender"]) <= {"woman", "man", "unclear"}

    def test_learns_every_profession_with_both_genders_equally_often(self):
        # Subjects of nine stills, two each: (kind, profession, gender); -1 is nobody, and a car has neither.
        engineer, nurse, woman, man = 2, 1, 0, 1
        people = [(engineer, man)] * 3 + [(engineer, woman)] + [(nurse, woman)] * 4 + [(-1, -1)]
        labels = np.full((len(people), 2, len(HEADS)), -1)
        at = [HEADS.index("profession"), HEADS.index("gender")]
        labels[:, 0, at] = people
        weights = even_chances(labels)
        # Three men weigh as much as one woman, four engineers as much as before; without a man nobody weighs more.
        np.testing.assert_allclose(weights, [2 / 3] * 3 + [2] + [0.5] * 4 + [1])
        labels[0, 1, at] = nurse, man
        np.testing.assert_allclose(even_chances(labels)[0], (2 / 3 + 2.5) / 2)

    def test_missing_judge_is_an_error(self, tmp_path):
        with pytest.raises(ModelError, match="no judge"):
            load_judge(tmp_path)

    def test_a_box_is_cut_out_and_enlarged(self):
        x = torch.zeros(1, 3, 128, 128)
        x[:, :, 32:64, 64:96] = 1
        cut = crop_to_boxes(x, torch.tensor([[64, 32, 96, 64]]), 128, margin=0.0)
        assert cut.shape == (1, 3, 128, 128)
        assert cut.mean() > 0.97
