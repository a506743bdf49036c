"""One recipe of an edit: prepared once, found again, named by one key, cancelled between steps, shared by threads."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import fields, replace

import pytest
import torch

from faircut import EditRequest, RunSettings, Session, SpatialTemporal, Video, VideoEditor, run_edit, write_video
from faircut.attention.source import DiskStore, MemoryStore
from faircut.benchmark.runner import run_jobs
from faircut.benchmark.store import Store
from faircut.benchmark.sweep_points import SweepPoint
from faircut.edit.progress import CancellableProgress, Silent
from faircut.errors import Cancelled, ConfigError, ModelError, PromptError, VideoError
from faircut.fairness.calibration import Calibration
from faircut.files.cache import Cache
from faircut.methods import Ddim, Fame, FateZero, NullText, Person, PromptToPrompt, SDEdit

from .conftest import make_editor

SOURCE, TARGET = "a silver jeep driving down a road", "a silver car driving down a road"
STEPS = 3


def asked(method=None, **more) -> EditRequest:
    return EditRequest(SOURCE, TARGET, method, **{"num_inference_steps": STEPS, "supplier": "live", **more})


@pytest.fixture
def inverted(monkeypatch):
    """Counts inversions."""
    calls, invert = [], VideoEditor.invert
    monkeypatch.setattr(VideoEditor, "invert", lambda *a, **k: calls.append(k) or invert(*a, **k))
    return calls


class Sees:
    """A reader that reads the same in every frame."""

    def __init__(self, value="female", name="one"):
        self.value, self.name = value, name

    def __call__(self, frames, boxes, attribute):
        return [self.value] * len(frames)

    def fingerprint(self, professions):
        return self.name


# Results --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("supplier", ["live", "memory", "disk"])
def test_a_session_gives_what_the_editor_gives(editor, clip, supplier, tmp_path):
    method = FateZero(blend_words=("jeep", "car"), fresh_noise=0.5)
    inversion = editor.invert(
        clip, SOURCE, num_inference_steps=STEPS, supplier=supplier, attention_folder=tmp_path
    )  # fmt: skip
    noise = torch.Generator().manual_seed(5)
    direct = editor.edit(inversion, TARGET, method, guidance_scale=3.0, negative_prompt="a dog", generator=noise)
    request = asked(method, guidance_scale=3.0, negative_prompt="a dog", seed=5, supplier=supplier)
    session = Session(editor)
    result = session.edit(session.prepare(request, Video.from_frames(clip)))
    assert torch.equal(result.latents, direct.latents)
    assert torch.equal(result.video.frames, direct.video.frames)
    assert result.report | {"seconds": 0} == direct.report | {"seconds": 0}


def test_null_text_is_optimised_for_the_edits_guidance(editor, clip):
    method = NullText()
    inversion = editor.invert(clip, SOURCE, num_inference_steps=STEPS, temporal=method.temporal, supplier="live")
    direct = editor.edit(editor.optimise_null_text(inversion, guidance_scale=4.0), TARGET, method, guidance_scale=4.0)
    session = Session(editor)
    prepared = session.prepare(asked(method, guidance_scale=4.0), clip)
    assert torch.equal(session.edit(prepared, output_type="latent").latents, direct.latents)
    assert set(prepared.seconds) == {"invert", "cache", "null-text"}


def test_people_are_decided(editor, clip):
    method = Fame((Person("jeep", "car", "preserve"),), alpha=1.5)
    prepared = Session(editor, reader=Sees()).prepare(asked(method), clip)
    (person,) = prepared.method.people
    assert (person.target, person.shown, prepared.decisions[0].value) == ("female", "female", "female")
    assert prepared.request.method is method
    assert "people" in prepared.seconds


def test_a_request_without_a_method_is_an_inversion(editor, clip):
    prepared = Session(editor).prepare(EditRequest(SOURCE, num_inference_steps=STEPS, reconstruction=True), clip)
    assert torch.equal(prepared.inversion.latents, editor.invert(clip, SOURCE, num_inference_steps=STEPS).latents)
    assert prepared.inversion.reconstruction_psnr is not None
    assert set(prepared.seconds) == {"invert", "reconstruct", "cache"}


def test_seconds_are_of_the_clock_that_is_given(editor, clip):
    ticks = iter(range(100))
    prepared = Session(editor, clock=lambda: float(next(ticks))).prepare(asked(NullText()), clip)
    assert prepared.seconds == {"invert": 1.0, "cache": 1.0, "null-text": 1.0}


# What is wrong is said first ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (asked(NullText(), guidance_scale=1.0), ConfigError, "guidance other than 1"),
        (asked(NullText(), negative_prompt="a dog"), ConfigError, "no negative prompt"),
        (asked(PromptToPrompt(), temporal=SpatialTemporal(("first",))), ConfigError, "prompt-to-prompt needs frames"),
        (asked(FateZero(blend_words=("jeep", "dog"))), PromptError, "'dog' is not in the prompt"),
        (asked(Fame((Person("jeep", "car", "preserve"),))), ConfigError, "needs a reader"),
        (replace(asked(Ddim()), prompt="a car " * 100), PromptError, "tokens"),
    ],
)
def test_nothing_is_inverted_for_an_edit_that_cannot_be_made(editor, clip, inverted, request_, error, says):
    with pytest.raises(error, match=says):
        Session(editor).prepare(request_, clip)
    assert not inverted


def test_what_is_no_clip_is_said(editor):
    for clip in (torch.zeros(3, 8, 8), torch.zeros(2, 5, 8, 8), torch.zeros(0, 3, 8, 8)):
        with pytest.raises(VideoError, match="give frames"):
            Session(editor).prepare(asked(), clip)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"guidance_scale": -1.0}, "guidance_scale"),
        ({"fixed_point_steps": 2.0}, "fixed_point_steps is 2"),
        ({"seed": -1}, "seed"),
        ({"supplier": "tape"}, "supplier is 'tape'"),
        ({"memory_budget": -1}, "memory_budget"),
    ],
)
def test_a_request_is_checked(options, says):
    with pytest.raises(ConfigError, match=says):
        asked(**options)


# Warm -----------------------------------------------------------------------------------------------------------------


def test_methods_share_the_inversions_of_a_clip(editor, clip, inverted):
    session = Session(editor)
    found = [
        session.prepare(asked(method), clip).from_cache
        for method in (Ddim(), PromptToPrompt(), FateZero(), SDEdit(), PromptToPrompt(cross_replace_steps=0.2))
    ]
    assert found == [False, False, True, True, True]
    assert len(inverted) == 2
    assert not session.prepare(asked(Ddim()), clip * 0.5).from_cache
    assert not session.prepare(asked(Ddim()), clip).from_cache
    session.close()
    assert not session.prepare(asked(Ddim()), clip).from_cache


def test_a_found_inversion_has_the_times_of_the_clip_at_hand(editor, clip):
    session, video = Session(editor), Video.from_frames(clip, 5)
    assert session.prepare(asked(Ddim()), video).inversion.times == video.times
    assert session.prepare(asked(Ddim()), clip).inversion.times is None
    other = Video.from_frames(clip, 7)
    prepared = session.prepare(asked(Ddim()), other)
    assert prepared.from_cache
    assert session.edit(prepared).video.times == other.times


def test_never_two_records_of_attention(editor, clip):
    session = Session(editor)
    first = session.prepare(asked(FateZero(), supplier="memory"), clip)
    record = weakref.ref(first.inversion.attention)
    # Of the same clip, attended otherwise, and computed anew.
    assert session.prepare(asked(PromptToPrompt(), supplier="live"), clip).inversion.attention is None
    assert session.prepare(asked(FateZero(), supplier="auto"), clip).inversion.attention is record()
    assert session.prepare(asked(FateZero(), supplier="live"), clip).inversion.attention is None
    assert session.prepare(asked(FateZero(), supplier="disk"), clip).inversion.attention is record()
    del first
    seen, invert = [], VideoEditor.invert

    def watched(*a, **k):
        gc.collect()
        seen.append(record() is None)
        return invert(*a, **k)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoEditor, "invert", watched)
        second = session.prepare(asked(PromptToPrompt(), supplier="memory"), clip)
    assert seen == [True]
    assert isinstance(second.inversion.attention, MemoryStore)


def test_attention_on_disk_goes_with_its_inversion(editor, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    session = Session(editor)
    prepared = session.prepare(asked(FateZero(), supplier="disk"), clip)
    assert isinstance(prepared.inversion.attention, DiskStore)
    folder = prepared.inversion.attention.folder
    assert folder.parent == tmp_path
    session.edit(prepared)
    session.close()
    assert folder.is_dir()
    del prepared
    gc.collect()
    assert not list(tmp_path.iterdir())
    with pytest.raises(Cancelled):
        session.prepare(asked(FateZero(), supplier="disk"), clip, progress=Stops(1))
    assert not list(tmp_path.iterdir())


def test_the_cache_on_disk_is_used_and_pruned(editor, clip, inverted, tmp_path):
    cache = Cache(tmp_path / "cache")
    made = Session(editor, cache=cache).prepare(asked(FateZero(), reconstruction=True), clip)
    found = Session(editor, cache=cache).prepare(asked(Ddim(), reconstruction=True), clip)
    assert (made.from_cache, found.from_cache, len(inverted)) == (False, True, 1)
    assert torch.equal(found.inversion.latents, made.inversion.latents)
    assert found.inversion.reconstruction_psnr == made.inversion.reconstruction_psnr
    assert "reconstruct" not in found.seconds
    recorded = Session(editor, cache=cache).prepare(asked(Ddim(), supplier="memory"), clip)
    assert not recorded.from_cache
    small = Cache(tmp_path / "cache", limit=1)
    Session(editor, cache=small).prepare(asked(FateZero()), clip)
    assert not [path for path in small.folder.iterdir() if path.is_dir()]


def test_null_text_is_optimised_once_for_many_edits(editor, clip, monkeypatch):
    calls, optimise = [], VideoEditor.optimise_null_text
    monkeypatch.setattr(VideoEditor, "optimise_null_text", lambda *a, **k: calls.append(k) or optimise(*a, **k))
    session = Session(editor)
    first, second = (session.prepare(asked(NullText(cross_replace_steps=x)), clip) for x in (0.2, 0.8))
    assert len(calls) == 1
    assert torch.equal(first.inversion.null_embeddings, second.inversion.null_embeddings)
    session.prepare(asked(NullText(), guidance_scale=3.0), clip)
    assert len(calls) == 2


def test_a_model_that_was_changed_is_not_taken_for_the_old_one(clip):
    editor = make_editor()
    session = Session(editor)
    prepared = session.prepare(asked(Ddim()), clip)
    with torch.no_grad():
        next(editor.unet.parameters()).add_(0.01)
    with pytest.raises(ModelError, match="made with another model"):
        session.edit(prepared)
    with pytest.raises(ModelError, match="was changed while a session used it"):
        session.prepare(asked(Ddim()), clip * 0.5)
    session.close()
    session.edit(session.prepare(asked(Ddim()), clip))


# A saved inversion ----------------------------------------------------------------------------------------------------


def test_a_saved_inversion_is_checked(editor, clip, inverted, tmp_path):
    session = Session(editor)
    folder = str(session.prepare(asked(), clip).inversion.save(tmp_path / "inversion"))
    plain = session.edit(session.prepare(asked(FateZero()), clip))
    given = session.prepare(asked(FateZero(), inversion=folder), clip)
    assert not given.from_cache
    assert torch.equal(session.edit(given).latents, plain.latents)
    assert session.prepare(asked(FateZero(), inversion=folder), given.inversion.latents[0]).method == FateZero()
    assert len(inverted) == 1
    for request, clip_, says in (
        (asked(PromptToPrompt(), inversion=folder), clip, "temporal setting"),
        (asked(inversion=folder, num_inference_steps=4), clip, "number of steps"),
        (replace(asked(inversion=folder), source_prompt="a jeep"), clip, "source prompt"),
        (asked(inversion=folder), clip[:2], "frame count"),
        (asked(inversion=folder), clip[..., :16], "size"),
        (asked(inversion=folder), -clip, "other pictures"),
        (asked(inversion=folder), given.inversion.latents[0] + 1, "other pictures"),
        (asked(inversion=str(tmp_path)), clip, "no readable inversion"),
    ):
        with pytest.raises(ConfigError, match=says):
            session.prepare(request, clip_)


# The key --------------------------------------------------------------------------------------------------------------

OTHER = {
    "source_prompt": "a jeep", "prompt": "a car", "method": FateZero(blend_threshold=0.31), "num_inference_steps": 4,
    "guidance_scale": 7.4, "negative_prompt": "blurred", "seed": 1, "temporal": SpatialTemporal((0,)),
    "fixed_point_steps": 0.1,
}  # fmt: skip
INDIFFERENT = {"supplier": "memory", "memory_budget": 5, "reconstruction": True}
OF_EDIT = ("prompt", "guidance_scale", "negative_prompt", "seed")


def test_every_field_of_a_request_is_in_its_key_or_changes_no_result(editor, clip, tmp_path):
    session, request = Session(editor), asked(FateZero())
    assert set(OTHER) | set(INDIFFERENT) | {"inversion"} == {f.name for f in fields(EditRequest)}
    key = session.key(request, clip)
    changed = [session.key(replace(request, **{name: value}), clip) for name, value in OTHER.items()]
    changed += [
        session.key(request, clip + 1e-6),
        session.key(request, "digest of a clip"),
        session.key(request, clip, measured_by="another"),
        session.key(replace(request, method=Ddim()), clip),
        session.key(replace(request, method=None), clip),
    ]
    assert len({key, *changed}) == 1 + len(changed)
    for name, value in INDIFFERENT.items():
        assert session.key(replace(request, **{name: value}), clip) == key
    for same in (clip.clone(), Video.from_frames(clip)):
        assert session.key(replace(request, num_inference_steps=3, temporal=editor.spatial_temporal), same) == key
    alone = session.key(replace(request, method=None), clip)
    for name in OF_EDIT:
        assert session.key(replace(request, method=None, **{name: OTHER[name]}), clip) == alone
    session.prepare(asked(), clip).inversion.save(tmp_path / "inversion")
    assert session.key(replace(request, inversion=str(tmp_path / "inversion")), clip) != key
    with pytest.raises(ConfigError, match="no readable inversion"):
        session.key(replace(request, inversion=str(tmp_path / "nothing")), clip)


def test_models_devices_and_versions_have_keys_of_their_own(clip, monkeypatch):
    request = asked(FateZero())
    shared = {"model": "m", "device": "cpu", "temporal": SpatialTemporal()}
    keys = [request.key(clip, **shared)]
    keys += [request.key(clip, **shared | change) for change in ({"model": "n"}, {"device": "cuda"}, {"more": 1})]
    monkeypatch.setattr("faircut.model.fingerprint.software", lambda: {"faircut": "0"})
    keys.append(request.key(clip, **shared))
    assert len(set(keys)) == len(keys)


def test_who_decides_about_people_is_in_the_key(editor, clip, monkeypatch):
    named = asked(Fame((Person("jeep", "car", "male"),), alpha=1.5))
    policy = asked(Fame((Person("jeep", "car", "preserve"),), alpha="auto"))
    sessions = [Session(editor, reader=reader) for reader in (None, Sees(name="one"), Sees(name="two"))]
    assert len({session.key(named, clip) for session in sessions}) == 3
    tables = [None, *(Calibration("gender", "m", "w", {}, {"female": x, "male": x}) for x in (1.0, 2.0))]
    keys = set()
    for table in tables:
        monkeypatch.setattr("faircut.edit.session.find_calibration", lambda *_, table=table: table)
        keys |= {session.key(policy, clip) for session in sessions[1:]}
    assert len(keys) == 6
    monkeypatch.setattr("faircut.edit.session.find_calibration", lambda *_: pytest.fail("read for nothing"))
    sessions[0].key(named, clip)
    with pytest.raises(ConfigError, match="has no fingerprint"):
        Session(editor, reader=lambda *_: []).key(named, clip)


def test_settings_make_a_request():
    settings = RunSettings(
        "clip.mp4", SOURCE, TARGET, "out.mp4", method={"name": "fatezero", "blend_words": [["jeep"], ["car"]]}, seed=3,
        temporal=SpatialTemporal((0,)), inversion="folder", memory_budget=7, negative_prompt="a dog",
    )  # fmt: skip
    request = settings.request()
    assert request.method == FateZero(blend_words=(("jeep",), ("car",)))
    for field in fields(EditRequest):
        if field.name != "method":
            assert getattr(request, field.name) == getattr(settings, field.name)
    assert settings.request(method=None, seed=4) == replace(request, method=None, seed=4)


# Cancelling and threads -----------------------------------------------------------------------------------------------


class Stops:
    """Cancels in the given step, counted over all stages."""

    def __init__(self, step, of=None):
        self.inner, self.left, self.of = CancellableProgress(), step, of

    def stage(self, name, total=None):
        from contextlib import contextmanager

        @contextmanager
        def opened():
            with self.inner.stage(name, total) as advance:

                def counted():
                    self.left -= self.of in (None, name)
                    if self.left <= 0:
                        self.inner.cancel()
                    advance()

                yield counted

        return opened()


@pytest.mark.parametrize("stage", ["Inverting", "Reconstructing", "Optimising", "Editing"])
def test_a_run_is_cancelled_between_two_steps(editor, clip, stage):
    session, request = Session(editor), asked(NullText(), reconstruction=True)
    processors = dict(editor.unet.attn_processors)

    def run(progress):
        return session.edit(session.prepare(request, clip, progress=progress), progress=progress)

    progress = Stops(2, stage)
    with pytest.raises(Cancelled, match="cancelled"):
        run(progress)
    assert progress.left == 0  # Not one step more.
    assert editor.unet.attn_processors == processors
    assert all(parameter.requires_grad for parameter in editor.unet.parameters())
    with pytest.raises(Cancelled):
        run(progress)
    assert torch.equal(run(Silent()).latents, run(None).latents)


def test_a_token_is_tripped_by_another_thread(editor, clip):
    session, token, started = Session(editor), CancellableProgress(), threading.Event()

    class Slow(Silent):
        def stage(self, name, total=None):
            from contextlib import nullcontext

            return nullcontext(lambda: (started.set(), token._cancelled.wait(20)))

    token._progress = Slow()
    caught = []

    def work():
        try:
            session.prepare(asked(Ddim()), clip, progress=token)
        except Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(20)
    assert not token.cancelled
    token.cancel()
    thread.join(20)
    assert caught
    session.edit(session.prepare(asked(Ddim()), clip))


def test_a_benchmark_does_not_take_cancelling_for_a_failure(tmp_path):
    class Job:
        title = "job"

        def key(self):
            raise Cancelled("the run was cancelled")

    with pytest.raises(Cancelled):
        list(run_jobs([Job()], Store(tmp_path, SweepPoint), "", lambda: None))


def test_threads_share_a_session(editor, clip):
    requests = [
        asked(method, guidance_scale=scale)
        for scale in (2.0, 7.5)
        for method in (FateZero(blend_words=("jeep", "car")), NullText(), SDEdit(), FateZero(fresh_noise=0.3))
    ]
    session = Session(editor)
    alone = [session.edit(session.prepare(request, clip)).latents for request in requests]
    session.close()
    together: dict[int, torch.Tensor] = {}

    def work(numbers):
        for number in numbers:
            together[number] = session.edit(session.prepare(requests[number], clip)).latents
            session.key(requests[number], clip)

    threads = [threading.Thread(target=work, args=(range(k, len(requests), 4),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == len(requests)
    for number, latents in enumerate(alone):
        assert torch.equal(together[number], latents)


# Runs -----------------------------------------------------------------------------------------------------------------


def test_runs_share_a_session_of_their_model(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRCUT_CACHE", str(tmp_path / "cache"))
    make_editor().save_pretrained(tmp_path / "model")
    write_video(Video.from_frames(clip, 5), tmp_path / "clip.mp4")
    settings = RunSettings(
        str(tmp_path / "clip.mp4"), SOURCE, TARGET, str(tmp_path / "one.mp4"), model=str(tmp_path / "model"),
        num_inference_steps=STEPS, device="cpu",
    )  # fmt: skip
    session, loads = Session.load(settings.model, device="cpu"), []
    monkeypatch.setattr(VideoEditor, "from_pretrained", lambda *a, **k: loads.append(a))
    reports = [
        run_edit(replace(settings, method={"name": name}, output=str(tmp_path / f"{name}.mp4")), session=session)
        for name in ("ddim", "fatezero")
    ]
    assert not loads
    assert [report.inversion_from_cache for report in reports] == [False, True]
    assert set(reports[0].seconds) == {"read", "invert", "reconstruct", "cache", "edit", "write"}
    assert (tmp_path / "fatezero.report.json").is_file()
    for other in (replace(settings, model="pocket"), replace(settings, lora=("a.safetensors",))):
        with pytest.raises(ConfigError, match="load another session"):
            run_edit(other, session=session)


# Wrong types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"method": "fatezero"}, r"the method is 'fatezero'; give an instance: FateZero\(\)"),
        ({"method": "nothing"}, "the method is 'nothing'; give an instance of a class"),
        ({"method": FateZero}, r"give an instance: FateZero\(\)"),
        ({"temporal": "first"}, "temporal is 'first'; give a SpatialTemporal"),
    ],
)
def test_a_request_of_wrong_types_is_refused_at_once(fields, says):
    with pytest.raises(ConfigError, match=says):
        EditRequest(SOURCE, TARGET, **fields)


@pytest.mark.parametrize("clip", [None, "clip.mp4", torch.zeros(2, 3, 16, 16).numpy()])
def test_a_clip_that_is_not_a_tensor_is_refused(editor, clip):
    with pytest.raises(VideoError, match=f"a clip of type {type(clip).__name__} was given"):
        Session(editor).prepare(asked(), clip)


def test_a_clip_with_nan_is_refused_for_what_it_is(editor, clip):
    frames = clip.frames.clone() if isinstance(clip, Video) else clip.clone()
    frames[0, 0, 0, 0] = float("nan")
    with pytest.raises(VideoError, match="NaN"):
        Session(editor).prepare(asked(), frames)


def test_what_was_not_prepared_is_not_edited(editor, clip):
    session = Session(editor)
    with pytest.raises(ConfigError, match="a EditRequest cannot be edited"):
        session.edit(asked(Ddim()))
    prepared = session.prepare(asked(Ddim()), clip)
    with pytest.raises(ConfigError, match="watch holds 42"):
        session.edit(prepared, watch=[42])
    with pytest.raises(ConfigError, match="the method is 'ddim'"):
        editor.edit(prepared.inversion, TARGET, "ddim")
