"""Record what faircut gives on fixed inputs, and compare two such records bit for bit.

    python benchmarks/same_results.py record before.json
    python benchmarks/same_results.py compare before.json after.json

records before and after a change that must not change results, such as a move of code. The faircut that is measured is
the one on PYTHONPATH; only its public names and its command line are used, so that one script serves both sides.
Records are comparable on one machine with the same versions of everything else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import tiny_sd
import torch
from PIL import Image, ImageSequence
from safetensors.torch import load_file

import faircut
from faircut import SpatialTemporal, VideoEditor, read_video
from faircut.methods import (
    BlendedLatent,
    Ddim,
    DiffEdit,
    Fame,
    FateZero,
    MasaCtrl,
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
    method_names,
)

Entry = tuple[str, Callable[[], Any]]

# Times, places, versions and keys differ from run to run, or with every change of the code.
LEFT_OUT = {
    "environment", "fingerprint", "generator", "gpu_bytes", "hash", "instruments", "key",
    "outputs", "path", "peak_memory", "preparing", "rss_bytes", "seconds", "time_ratio",
}  # fmt: skip

CAR = ("a red car driving on a street", "a blue car driving on a street")
CHEF = ("a chef walking in a park", "a firefighter walking in a park")
PAIR = ("a chef and a nurse walking in a park", "a firefighter and a doctor walking in a park")


# Digests --------------------------------------------------------------------------------------------------------------


def digest(tensor: torch.Tensor) -> str:
    """Name a tensor by its shape and the bytes of its numbers as float32."""
    tensor = tensor.detach().to("cpu", torch.float32).contiguous()
    return f"{tuple(tensor.shape)} {hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:32]}"


def digest_pixels(path: Path) -> Any:
    """Name pictures by their pixels: those of a picture file, of its frames, or of the files of a folder."""
    if path.is_dir():
        return {file.name: digest_pixels(file) for file in sorted(path.glob("*.png"))}
    with Image.open(path) as picture:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
    return digest(torch.from_numpy(np.stack(frames)))


def digest_tensors(path: Path) -> dict[str, str]:
    """Name every tensor of a safetensors file."""
    return {name: digest(tensor) for name, tensor in sorted(load_file(path).items())}


def figures(value: Any) -> Any:
    """Return a value of a report without what differs from run to run."""
    if isinstance(value, Mapping):
        return {name: figures(part) for name, part in value.items() if name not in LEFT_OUT}
    return [figures(part) for part in value] if isinstance(value, list) else value


def numbers(value: Any) -> list[float]:
    """Return every number of a value in ascending order, wherever in the value it stands."""
    if isinstance(value, (Mapping, list)):
        parts = value.values() if isinstance(value, Mapping) else value
        return sorted(number for part in parts for number in numbers(part))
    return [float(value)] if isinstance(value, (int, float)) else []


# Edits from Python ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One edit of a clip.

    Attributes:
        method: the method; None is none.
        clip: the name of the clip.
        prompts: of the source and of the edit.
        invert: options of `VideoEditor.invert`.
        edit: options of `VideoEditor.edit`.
        null_text: options of `VideoEditor.optimise_null_text`; None does not call it.
        seed: of the generator; None gives the edit none.
    """

    method: Any = None
    clip: str = "car"
    prompts: tuple[str, str] = CAR
    invert: Mapping[str, Any] = field(default_factory=dict)
    edit: Mapping[str, Any] = field(default_factory=dict)
    null_text: Mapping[str, Any] | None = None
    seed: int | None = 0


def left_half(frames: int, height: int, width: int) -> torch.Tensor:
    """Return masks, (frame, height, width), that are on in the left half."""
    mask = torch.zeros(frames, height, width)
    mask[..., : width // 2] = 1
    return mask


def cases() -> dict[str, Case]:
    """Return the edits by name."""
    words = ("car", "car")
    one = Person("chef", "firefighter", "female")
    two = (Person("chef", "firefighter", "female"), Person("nurse", "doctor", "male"))
    left = left_half(4, 96, 192)
    masked = (replace(two[0], masks=left), replace(two[1], masks=1 - left))
    frames_apart = {"temporal": SpatialTemporal((0,), clip_norm=False)}
    first = {"temporal": SpatialTemporal(("first",))}
    fatezero = FateZero(blend_words=words)
    chef, pair = Case(clip="chef", prompts=CHEF), Case(clip="pair", prompts=PAIR)
    return {
        "fatezero": Case(FateZero()),
        "fatezero words": Case(fatezero),
        "fatezero words, live": Case(fatezero, invert={"supplier": "live"}),
        "fatezero words, disk": Case(fatezero, invert={"supplier": "disk"}),
        "fatezero words, fixed point": Case(fatezero, invert={"fixed_point_steps": 0.5}),
        "fatezero words, latent blend": Case(replace(fatezero, latent_blend_steps=(0.2, 1.0))),
        "fatezero words, region guidance": Case(replace(fatezero, region_guidance=True, blend_threshold=0.5)),
        "fatezero words, fresh noise": Case(replace(fatezero, fresh_noise=0.6)),
        "fatezero fresh noise everywhere": Case(FateZero(fresh_noise=0.3), seed=5),
        "fatezero words, whole self-attention": Case(replace(fatezero, blend_self_attention=False)),
        "fatezero reweight": Case(FateZero(reweight={"blue": 4.0}, word_replace_steps={"blue": 0.2})),
        "fatezero windows": Case(FateZero(cross_replace_steps=(0.2, 0.7), self_replace_steps=(0.1, 0.5))),
        "fatezero refine": Case(
            FateZero(alignment="refine", blend_words=("red car", "shiny blue car")),
            prompts=(CAR[0], "a shiny blue car driving on a snowy street"),
        ),
        "fatezero replace": Case(FateZero(alignment="replace")),
        "fatezero words, live, all": Case(
            replace(fatezero, latent_blend_steps=0.8, region_guidance=True, fresh_noise=0.4, reweight={"blue": 2.0}),
            invert={"supplier": "live", "fixed_point_steps": 0.2},
            edit={"negative_prompt": "a red car"},
        ),
        "fatezero no guidance": Case(fatezero, edit={"guidance_scale": 1.0}),
        "fatezero negative prompt": Case(fatezero, edit={"negative_prompt": "a green car", "guidance_scale": 4.0}),
        "fatezero odd size": Case(fatezero, clip="odd"),
        "fatezero odd size, live": Case(fatezero, clip="odd", invert={"supplier": "live"}),
        "fatezero one frame": Case(fatezero, clip="single"),
        "fatezero latents": Case(fatezero, clip="latents"),
        "fatezero 6 frames, own and middle": Case(
            fatezero, clip="long", invert={"temporal": SpatialTemporal((0, "middle"))}
        ),
        "fatezero 6 frames, neighbours": Case(
            fatezero, clip="long", invert={"temporal": SpatialTemporal((-1, 1, "last")), "supplier": "live"}
        ),
        "fatezero first and previous": Case(fatezero, invert={"temporal": SpatialTemporal(("first", -1))}),
        "fatezero least channels": Case(
            fatezero, invert={"temporal": SpatialTemporal((0, "first"), least_channels=64, clip_norm=False)}
        ),
        "fatezero VAE sample": Case(fatezero, invert={"generator": 3}),
        "no method": Case(None),
        "ddim": Case(Ddim()),
        "ddim frames apart": Case(Ddim(), invert=frames_apart),
        "tune-a-video": Case(TuneAVideo(), invert={"temporal": SpatialTemporal(("first", -1))}),
        "prompt-to-prompt": Case(PromptToPrompt(), invert=frames_apart),
        "prompt-to-prompt words, live": Case(
            PromptToPrompt(blend_words=words, reweight={"blue": 3.0}), invert={**frames_apart, "supplier": "live"}
        ),
        "null-text": Case(NullText(), invert=frames_apart, null_text={"inner_steps": 2}),
        "null-text shared": Case(NullText(), invert=frames_apart, null_text={"inner_steps": 2, "shared": True}),
        "video-p2p": Case(VideoP2P(blend_words=words), invert=first),
        "pix2pix-zero": Case(Pix2PixZero()),
        "pix2pix-zero sentences": Case(
            Pix2PixZero(source_sentences=("a red car", "a car"), target_sentences=("a blue car",), guidance=0.2)
        ),
        "plug-and-play": Case(PlugAndPlay()),
        "masactrl": Case(MasaCtrl()),
        "masactrl live": Case(MasaCtrl(steps=(0.3, 0.9)), invert={"supplier": "live"}),
        "diffedit": Case(DiffEdit(draws=3)),
        "blended-latent": Case(BlendedLatent(words="car")),
        "blended-latent masks": Case(BlendedLatent(masks=left_half(4, 96, 96), strength=0.5), seed=2),
        "sdedit": Case(SDEdit()),
        "sdedit noise for each frame": Case(SDEdit(strength=0.4, shared_noise=False), seed=7),
        "tokenflow": Case(TokenFlow(interval=2), clip="long"),
        "videograin": Case(VideoGrain(regions=(("car", "car"), ("street", "street")))),
        "videograin masks": replace(
            pair, method=VideoGrain(regions=(("chef", "firefighter"), ("nurse", "doctor")), masks=(left, None))
        ),
        "fame": replace(chef, method=Fame(people=(one,), alpha=1.0)),
        "fame weak": replace(chef, method=Fame(people=(replace(one, alpha=0.4, shown="female"),))),
        "fame no target": replace(chef, method=Fame(people=(replace(one, target=None),))),
        "fame not bound": replace(chef, method=Fame(people=(one,), region_bound=False, alpha=1.5)),
        "fame hair": replace(chef, method=Fame(people=(replace(one, target="blonde"),), attribute="hair")),
        "fame modulations": replace(
            chef, method=Fame(people=(one,), temporal_modulation=0.3, cross_modulation=1.0, temporal_decay=1.5)
        ),
        "fame two people": replace(pair, method=Fame(people=two, alpha=1.0)),
        "fame two people, masks": replace(pair, method=Fame(people=masked, alpha=0.8)),
        "fame two people, modulations, live": replace(
            pair,
            method=Fame(people=two, temporal_modulation=0.2, cross_modulation=0.7, eta=0.2),
            invert={"supplier": "live", "temporal": SpatialTemporal((0, "middle"))},
        ),
    }


class Editing:
    """Edits cases with one model, and inverts each clip once for all cases that need the same inversion."""

    def __init__(self, editor: VideoEditor, clips: Mapping[str, torch.Tensor], folder: Path, steps: int = 6) -> None:
        editor.set_progress_bar_config(disable=True)
        self.editor, self.clips, self.folder, self.steps = editor, clips, folder, steps
        self.inversions: dict[str, Any] = {}

    def invert(self, case: Case) -> Any:
        """Invert the clip of a case as it asks."""
        name = repr((case.clip, case.prompts[0], case.invert, case.null_text))
        if name not in self.inversions:
            options = {"supplier": "memory", "num_inference_steps": self.steps, **case.invert}
            if options["supplier"] == "disk":
                options["attention_folder"] = tempfile.mkdtemp(dir=self.folder)
            if "generator" in options:
                options["generator"] = torch.Generator().manual_seed(options["generator"])
            inversion = self.editor.invert(self.clips[case.clip], case.prompts[0], **options)
            if case.null_text is not None:
                inversion = self.editor.optimise_null_text(inversion, **case.null_text)
            self.inversions[name] = inversion
        return self.inversions[name]

    def edit(self, case: Case) -> dict[str, Any]:
        """Edit as a case asks, and name what comes of every step."""
        inversion = self.invert(case)
        every = hashlib.sha256()

        def step_end(editor: Any, index: int, timestep: int, tensors: Mapping[str, torch.Tensor]) -> None:
            every.update(f"{index} {timestep} {digest(tensors['latents'])}".encode())

        result = self.editor.edit(
            inversion,
            case.prompts[1],
            case.method,
            output_type="latent",
            generator=None if case.seed is None else torch.Generator().manual_seed(case.seed),
            callback_on_step_end=step_end,
            **case.edit,
        )
        null = inversion.null_embeddings
        return {
            "inversion": digest(inversion.latents),
            "stored_bytes": inversion.stored_bytes,
            "null_text": None if null is None else digest(null),
            "steps": every.hexdigest()[:32],
            "latents": digest(result.latents),
        }

    def other(self) -> Iterator[Entry]:
        """Yield what `VideoEditor` does besides."""
        base, odd = Case(), Case(clip="odd")

        def video() -> str:
            result = self.editor.edit(self.invert(odd), CAR[1], FateZero(blend_words=("car", "car")))
            return digest(result.video.frames)

        def reconstruct() -> Any:
            latents, inversion = self.editor.reconstruct(self.invert(base))
            return {"latents": digest(latents), "psnr": inversion.reconstruction_psnr}

        def report() -> Any:
            method = FateZero(blend_words=("car", "car"))
            return figures({**self.editor.edit(self.invert(base), CAR[1], method).report, "model": None})

        yield "video", video
        yield "reconstruct", reconstruct
        yield "report", report
        yield "locate", lambda: digest(self.editor.locate(self.invert(base), "red car"))
        yield "locate odd size", lambda: digest(self.editor.locate(self.invert(odd), ["car", "street"], threshold=0.5))


def python_entries(demo: Path, folder: Path) -> Iterator[Entry]:
    """Yield the edits from Python, of the pocket model and of untrained ones like Stable Diffusion 1.x and 2.x.

    Args:
        demo: the folder that ``faircut demo`` wrote.
        folder: an empty folder.
    """

    def read(name: str, **options: Any) -> torch.Tensor:
        return read_video(demo / f"{name}.source.mp4", **options).frames

    car, chef = read("colour", num_frames=4, size=96), read("profession", num_frames=4, size=96)
    clips = {
        "car": car,
        "odd": read("colour", num_frames=3, size=100)[..., :75, :90],
        "single": car[:1],
        "long": read("colour", num_frames=6, size=64),
        "latents": tiny_sd.clip_latents(3, 12).repeat(1, 2, 1, 1),
        "chef": chef,
        "pair": torch.cat([chef, chef.flip(-1)], -1),
    }
    editing = Editing(VideoEditor.from_pretrained("pocket"), clips, folder)
    for name, case in cases().items():
        yield f"python/{name}", partial(editing.edit, case)
    for name, entry in editing.other():
        yield f"python/{name}", entry
    yield "python/methods", method_names
    rounded = Editing(VideoEditor.from_pretrained("pocket", dtype=torch.bfloat16), clips, folder, 3)
    yield "python/bfloat16", lambda: rounded.edit(Case(FateZero(blend_words=("car", "car")), clip="long"))
    yield from untrained_entries(folder)


def untrained_entries(folder: Path) -> Iterator[Entry]:
    """Yield edits of untrained models with four levels, as Stable Diffusion has them."""
    clips = {"clip": tiny_sd.clip_latents(3, 24)}
    prompts = ("a silver jeep driving down a curvy road", "a silver car driving down a curvy road")
    word = FateZero(blend_words=("jeep", "car"), latent_blend_steps=0.7)
    two = {"temporal": SpatialTemporal((0, "middle"), least_channels=64)}
    people = (Person("jeep", "car", "female"),)
    edits = {
        "fatezero": Case(word, "clip", prompts),
        "fatezero live": Case(word, "clip", prompts, {"supplier": "live", **two}),
        "plug-and-play": Case(PlugAndPlay(), "clip", prompts),
        "masactrl": Case(MasaCtrl(), "clip", prompts, two),
        "tokenflow": Case(TokenFlow(interval=2), "clip", prompts),
        "videograin": Case(VideoGrain(regions=(("jeep", "car"),)), "clip", prompts),
        "pix2pix-zero": Case(Pix2PixZero(), "clip", prompts),
        "sdedit": Case(SDEdit(), "clip", prompts),
        "diffedit": Case(DiffEdit(draws=2), "clip", prompts),
        "fame": Case(Fame(people=people, cross_modulation=0.5, temporal_modulation=0.5), "clip", prompts),
    }
    kinds = {
        "epsilon": {},
        "v_prediction": {"prediction_type": "v_prediction"},
        "other levels": {"set_alpha_to_one": True, "steps_offset": 0, "beta_end": 0.02},
        "trailing": {"timestep_spacing": "trailing", "beta_schedule": "linear"},
    }
    for kind, config in kinds.items():
        parts = tiny_sd.components(folder / f"tokenizer_{kind}")
        parts["scheduler"] = type(parts["scheduler"])(**{**tiny_sd.SCHEDULER, **config})
        editing = Editing(VideoEditor(**parts), clips, folder, 5)
        names = list(edits) if kind == "epsilon" else ["fatezero live", "sdedit", "pix2pix-zero", "diffedit"]
        for name in names:
            yield f"untrained/{kind}/{name}", partial(editing.edit, edits[name])


# The command line -----------------------------------------------------------------------------------------------------


def run(*arguments: str | Path, folder: Path) -> str:
    """Run a command of faircut with a cache of its own, on one thread.

    Args:
        arguments: what follows ``faircut``.
        folder: where it runs.

    Returns:
        What it printed.

    Raises:
        RuntimeError: it failed.
    """
    package = str(Path(faircut.__file__).parents[1])
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        environment = {
            **os.environ, "FAIRCUT_CACHE": cache, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])]),
        }  # fmt: skip
        command = [sys.executable, "-m", "faircut", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"faircut {' '.join(map(str, arguments))}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def edit_report(path: Path) -> dict[str, Any]:
    """Return what a report of an edit says of its result."""
    report = figures(json.loads(path.read_text()))
    settings = {k: v for k, v in report["settings"].items() if k not in ("clip", "output", "inversion")}
    return {**report, "settings": settings, "warnings": len(report["warnings"])}


def command_edits(demo: Path) -> dict[str, list[str | Path]]:
    """Return the flags of edits by name."""
    car: list[str | Path] = [demo / "colour.source.mp4", "-s", CAR[0], "-p", CAR[1], "--steps", "4", "--frames", "4"]
    chef: list[str | Path] = [demo / "profession.source.mp4", "-s", CHEF[0], "-p", CHEF[1], "--steps", "4"]
    chef += ["--frames", "4", "--blend", "chef:firefighter", "--size", "96"]
    small = ["--size", "64", "--no-reconstruction"]
    return {
        "fatezero": [*car, "--blend", "car:car", "--save-masks", "--save-attention"],
        "many flags": [
            *car, "--blend", "car:car", "--size", "100x76", "--start", "1", "--stride", "2", "--frames", "2",
            "--fixed-point", "0.25", "--supplier", "disk", "--attend", "0,middle", "--negative-prompt", "a red car",
            "--guidance", "5", "--latent-blend", "0.8", "--fresh-noise", "0.3", "--word-replace", "blue=0.2",
            "--self-replace", "0.2,0.7", "--reweight", "blue=2", "--threshold", "0.4", "--seed", "3",
        ],
        "frames apart, live": [*car, *small, "--supplier", "live", "--per-frame-norm", "--attend", "0"],
        "prompt-to-prompt": [*car, *small, "--method", "prompt-to-prompt", "--reweight", "blue=2"],
        "null-text": [*car, *small, "--method", "null-text", "--steps", "3"],
        "masactrl": [*car, *small, "--method", "masactrl"],
        "sdedit": [*car, *small, "--method", "sdedit", "--set", "strength=0.5", "--seed", "3"],
        "fame preserve": [*chef, "--method", "fame"],
        "fame female": [*chef, "--method", "fame", "--target", "female", "--alpha", "1.5", "--save-masks"],
    }  # fmt: skip


def command_edit(folder: Path, arguments: list[str | Path]) -> dict[str, Any]:
    """Edit a clip by the command line into pictures, and name all that is written."""
    folder.mkdir()
    run("edit", *arguments, "-o", "out", folder=folder)
    return edited(folder)


def edited(folder: Path) -> dict[str, Any]:
    """Name what an edit wrote to a folder as ``out``."""
    pictures = {name: folder / f"out.{name}.png" for name in ("masks", "attention")}
    return {
        "frames": digest_pixels(folder / "out"),
        "side_by_side": digest(read_video(folder / "out.side_by_side.mp4").frames),
        "report": edit_report(folder / "out.report.json"),
        **{name: digest_pixels(path) for name, path in pictures.items() if path.exists()},
    }


def measured(folder: Path, arguments: list[str | Path], parts: tuple[str, ...]) -> dict[str, Any]:
    """Run a command that measures many edits, and return its figures.

    Args:
        folder: a new folder.
        arguments: the command without ``-o`` and ``--json``.
        parts: which entries of the figures are compared.
    """
    folder.mkdir()
    run(*arguments, "-o", "out", "--json", "figures.json", folder=folder)
    report = figures(json.loads((folder / "figures.json").read_text()))
    files = sorted((folder / "out").rglob("*"))
    records = [
        figures(json.loads(path.read_text()))
        for path in files
        if path.parent.name == "records" and path.suffix == ".json"
    ]
    return {
        **{part: report[part] for part in parts},
        "numbers of the records": numbers(records),
        "pictures": sorted(digest_pixels(path) for path in files if path.suffix == ".webp"),
    }


def command_entries(demo: Path, folder: Path) -> Iterator[Entry]:
    """Yield what commands write.

    Args:
        demo: the folder that ``faircut demo`` wrote.
        folder: an empty folder.
    """
    edits = command_edits(demo)

    @cache
    def edit(name: str) -> dict[str, Any]:
        return command_edit(folder / name, edits[name])

    for name in edits:
        yield f"edit/{name}", partial(edit, name)
    clip = demo / "colour.source.mp4"
    prompts = ["-s", CAR[0], "-p", CAR[1]]

    def again() -> Any:
        edit("fatezero")
        new = folder / "again"
        new.mkdir()
        run("edit", "--config", folder / "fatezero" / "out.run.yaml", "--guidance", "3", "-o", "out", folder=new)
        return edited(new)

    @cache
    def invert() -> Any:
        options = [clip, "-s", CAR[0], "--steps", "4", "--frames", "4"]
        facts = json.loads(run("invert", *options, "--supplier", "memory", "-o", "inversion", "--json", folder=folder))
        kept = folder / "inversion"
        return {
            "facts": figures(facts),
            "tensors": digest_tensors(kept / "inversion.safetensors"),
            "attention": {path.name: digest_tensors(path) for path in sorted((kept / "attention").iterdir())},
        }

    def from_inversion() -> Any:
        invert()
        options = [*edits["fatezero"][:-2], "--supplier", "memory", "--inversion", folder / "inversion"]
        return command_edit(folder / "from_inversion", options)

    def align(*arguments: str) -> Any:
        return json.loads(run("align", *arguments, "--json", folder=folder))

    def evaluate() -> Any:
        edit("fatezero")
        options = [folder / "fatezero" / "out", "--source", clip, *prompts, "--frames", "4", "--json", "-"]
        report = figures(json.loads(run("evaluate", *options, folder=folder)))
        return {"measures": report["measures"], "warnings": len(report.get("warnings", ()))}

    def plan() -> Any:
        options = [clip, *prompts, "--blend", "car:car", "--steps", "4", "--frames", "4", "--json"]
        report = json.loads(run("plan", *options, folder=folder))
        disk = [mode["disk_bytes"] for mode in report["modes"]]
        return {"footprint": report["footprint"], "disk_bytes": disk, "size": [report["height"], report["width"]]}

    @cache
    def atlas() -> Any:
        options = ["--words", "car", "-s", CAR[0], "--steps", "10", "--frames", "4", "--json"]
        facts = json.loads(run("atlas", "fit", clip, *options, "-o", "atlas", folder=folder))
        return {"facts": figures(facts), "tensors": digest_tensors(folder / "atlas" / "atlas.safetensors")}

    def atlas_edit() -> Any:
        atlas()
        run("atlas", "edit", "atlas", "-s", "a red car", "-p", "a blue car", "--steps", "4", "-o", "ae", folder=folder)
        report = figures(json.loads((folder / "ae.report.json").read_text()))
        return {
            "frames": digest_pixels(folder / "ae"),
            "atlas": digest_pixels(folder / "ae.atlas.png"),
            "figures": {name: report[name] for name in ("atlas", "layer", "method", "temporal") if name in report},
        }

    @cache
    def tune() -> Any:
        facts = run("tune", clip, "-p", CAR[0], "--steps", "2", "--frames", "4", "-o", "tuned", "--json", folder=folder)
        return {
            "facts": figures(json.loads(facts)),
            "weights": hash_of(digest_tensors(folder / "tuned/unet/diffusion_pytorch_model.safetensors")),
            "temporal": hash_of(digest_tensors(folder / "tuned/temporal/temporal.safetensors")),
        }

    def tuned_edit() -> Any:
        tune()
        options = [clip, *prompts, "--model", folder / "tuned", "--steps", "3", "--frames", "4", "--size", "64"]
        result = command_edit(folder / "tuned_edit", [*options, "--method", "tune-a-video"])
        return {**result, "report": result["report"]["reconstruction_psnr"]}

    yield "edit/saved settings and a flag", again
    yield "invert", invert
    yield "edit/from an inversion", from_inversion
    yield "align/fatezero", partial(align, *prompts, "--blend", "red car:car")
    yield "align/refine", partial(align, "-s", CAR[0], "-p", "a shiny blue car on a street", "--alignment", "refine")
    yield "align/fame", partial(align, "-s", CHEF[0], "-p", CHEF[1], "--method", "fame", "--blend", "chef:firefighter")
    yield "align/prompt-to-prompt", partial(align, *prompts, "--method", "prompt-to-prompt", "--blend", "car:car")
    yield "evaluate", evaluate
    yield "plan", plan
    yield "atlas/fit", atlas
    yield "atlas/edit", atlas_edit
    yield "tune", tune
    yield "edit/tuned model", tuned_edit
    sweep = ["sweep", clip, *prompts, "--blend", "car:car", "--steps", "3", "--frames", "4"]
    sweep += ["--over", "cross_replace_steps=0.2,0.8", "--over", "reweight.blue=1,4"]
    yield "sweep", partial(measured, folder / "sweep", sweep, ("points", "source"))
    audit = ["audit", "--n", "2", "--steps", "3", "--policies", "balanced,preserve"]
    yield "audit", partial(measured, folder / "audit", audit, ("results", "professions", "failed"))
    bench = ["bench", "run", "pocket-edit", "--limit", "3", "--steps", "3"]
    bench += ["--methods", "fatezero,prompt-to-prompt,masactrl"]
    yield "bench", partial(measured, folder / "bench", bench, ("results", "kinds", "curves", "pairs", "failed"))


def hash_of(value: Any) -> str:
    """Name a value that is too long to be kept."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


# Record and compare ---------------------------------------------------------------------------------------------------


def processor_seconds() -> float:
    """Return the processor time of this process and of the commands that it ran."""
    return sum(os.times()[:4])


def record(output: Path, only: tuple[str, ...]) -> int:
    """Record all entries whose names begin with one of some texts; return how many could not be made."""
    torch.set_num_threads(1)
    started, entries, failed = processor_seconds(), {}, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("python", "command"):
            (folder / part).mkdir()
        reports = json.loads(
            run("demo", "colour", "profession", "-o", "demo", "--steps", "2", "--frames", "6", "--json", folder=folder)
        )
        demo = folder / "demo"

        def drawn() -> Any:
            clips = {n: digest(read_video(demo / f"{n}.source.mp4").frames) for n in ("colour", "profession")}
            return {"clips": clips, "figures": [figures(report["figures"]) for report in reports]}

        def everything() -> Iterator[Entry]:
            yield "demo", drawn
            yield from python_entries(demo, folder / "python")
            yield from command_entries(demo, folder / "command")

        for entry, make in everything():
            if not entry.startswith(only):
                continue
            begun = processor_seconds()
            try:
                # Through JSON, so that what is compared is what was written.
                entries[entry] = json.loads(json.dumps(make()))
            except Exception as error:
                traceback.print_exc()
                entries[entry] = {"error": type(error).__name__}
                failed += 1
            print(f"{processor_seconds() - begun:6.1f} s  {entry}", flush=True)
            about = {"torch": torch.__version__, "seconds": processor_seconds() - started}
            output.write_text(json.dumps({"about": about, "entries": entries}, indent=1) + "\n")
    print(f"{len(entries)} entries in {processor_seconds() - started:.0f} s of processor time, {failed} of them errors")
    return failed


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parts of a value that hold no others, each with its place."""
    if isinstance(value, (dict, list)) and value:
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for name, part in parts:
            yield from leaves(part, f"{place}.{name}" if place else str(name))
    else:
        yield place, value


def differences(first: Any, second: Any, left_out: set[str]) -> list[str]:
    """Return a line for every part in which two values differ, except parts under one of some names."""
    a, b = dict(leaves(first)), dict(leaves(second))
    lines = []
    for place in sorted(place for place in a.keys() | b.keys() if left_out.isdisjoint(place.split("."))):
        if place not in a or place not in b or a[place] != b[place]:
            sides = [json.dumps(side[place]) if place in side else "nothing" for side in (a, b)]
            lines.append(f"{place}: {sides[0]} -> {sides[1]}")
    return lines


def compare(first: Path, second: Path, only: tuple[str, ...], left_out: set[str], whole: bool) -> int:
    """Print a line for each entry that differs; return how many do."""
    records = [json.loads(path.read_text()) for path in (first, second)]
    versions = [record["about"]["torch"] for record in records]
    if versions[0] != versions[1]:
        print(f"made by torch {versions[0]} and {versions[1]}: results may differ for that alone")
    a, b = ({name: value for name, value in record["entries"].items() if name.startswith(only)} for record in records)
    names, count = list(dict.fromkeys([*a, *b])), 0
    for name in names:
        if name not in a or name not in b:
            lines = [f"only in {first if name in a else second}"]
        else:
            lines = differences(a[name], b[name], left_out)
        if not lines:
            continue
        count += 1
        for line in lines if whole else lines[:1]:
            print(f"{name}: {line}" + (f" (and {len(lines) - 1} more)" if len(lines) > 1 and not whole else ""))
    print(f"{len(names)} entries, {count} differ")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="write the results of the faircut on PYTHONPATH")
    recording.add_argument("output", type=Path)
    comparing = commands.add_parser("compare", help="compare two records; exit 1 if they differ")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    comparing.add_argument(
        "--all", action="store_true", help="print every part that differs, not the first of an entry"
    )
    comparing.add_argument(
        "--leave-out", action="append", default=[], metavar="NAME",
        help="a part of entries that was changed on purpose, such as alignment; repeatable",
    )  # fmt: skip
    for command in (recording, comparing):
        command.add_argument(
            "--only", action="append", help="only entries whose names begin so, such as python/fame; repeatable"
        )
    options = parser.parse_args()
    only = tuple(options.only or [""])
    if options.command == "record":
        sys.exit(1 if record(options.output, only) else 0)
    sys.exit(1 if compare(options.first, options.second, only, set(options.leave_out), options.all) else 0)


if __name__ == "__main__":
    main()
