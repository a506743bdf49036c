"""What is written, over what, and what must not be lost by it."""

from __future__ import annotations

import os
import shutil

import torch

from faircut.video import Video, write_video

from .corpus import SOURCE, TARGET, Case, World, edit

_CLIP = Video.from_frames(torch.zeros(2, 3, 16, 16))
_MADE = ("out.*",)
_OTHER = "not made by faircut"


def _folder(name: str, *files: str):
    """Make a folder of the user's own files."""

    def make(world: World) -> None:
        (world.folder / name).mkdir(parents=True, exist_ok=True)
        for file in files:
            world.write(f"{name}/{file}", f"the user's {file}")

    return make


def _file(name: str, content: str = "the user's"):
    return lambda world: world.write(name, content)


def _copy(source: str, target: str):
    return lambda world: shutil.copy(world.folder / source, world.folder / target)


def _all(*makers):
    def make(world: World) -> None:
        for maker in makers:
            maker(world)

    return make


def _pictures(name: str):
    """A folder of the user's own pictures, named as ours are."""
    from PIL import Image

    def make(world: World) -> None:
        (world.folder / name).mkdir(exist_ok=True)
        for index in range(3):
            Image.new("RGB", (48, 32), (60 * index, 0, 0)).save(world.folder / name / f"{index:05d}.png")

    return make


def _linked(name: str, target: str):
    return lambda world: (world.folder / name).symlink_to(target)


def _links_to(name: str):
    """A folder of links to the pictures of another one, which is not there yet."""

    def make(world: World) -> None:
        (world.folder / "links").mkdir()
        for index in range(3):
            (world.folder / "links" / f"{index:05d}.png").symlink_to(f"../{name}/{index:05d}.png")

    return make


INVERT = ("invert", "jeep.mp4", "-s", SOURCE, "--model", "{model}", "--steps", 2)
FIT = ("atlas", "fit", "jeep.mp4", "--steps", 2)
EVALUATE = ("evaluate", "frames", "--source", "jeep.mp4", "-s", SOURCE, "-p", TARGET)
SWEEP = ("sweep", "jeep.mp4", "-s", SOURCE, "-p", TARGET, "--model", "{model}", "--steps", 2, "--over",
         "cross_replace_steps=0.2,0.8")  # fmt: skip
TUNE = ("tune", "jeep.mp4", "-p", SOURCE, "--model", "{model}", "--steps", 1)
LONG = "x" * 300
SHAPES = {  # by what is wrong with an output of an edit: how it is given, what is there, what is said
    "empty": ("", None, "empty"),
    "of blanks": ("  ", None, "empty"),
    "of a zero byte": ("out\0.mp4", None, "zero byte"),
    "of no text": ("out\udcff.mp4", None, "not valid text"),
    "too long": (f"{LONG}.mp4", None, "cannot write|too long"),
    "a path that is too long": ("y/" * 3000 + "out.mp4", None, "cannot write|too long"),
    "that is right, but what goes beside it is too long": (f"{'x' * 245}.mp4", None, "cannot write|too long"),
    "the working folder": (".", None, "folder"),
    "the working folder with a slash": ("./", None, "folder"),
    "the folder above": ("..", None, "folder"),
    "the root": ("/", None, "folder"),
    "a sibling with files": ("../z", lambda world: world.write("../z/notes.txt", "mine"), _OTHER),
    "a folder with files": ("photos", _folder("photos", "a.jpg", "notes.txt"), _OTHER),
    "a folder with files and a slash": ("photos/", _folder("photos", "a.jpg"), _OTHER),
    "a folder with an empty folder": ("photos", _folder("photos/empty"), _OTHER),
    "a folder with pictures of the user": ("photos", _pictures("photos"), _OTHER),
    "a folder with a hidden file": ("photos", _folder("photos", ".git"), _OTHER),
    "a link to a folder with files": ("link", _all(_folder("photos", "a.jpg"), _linked("link", "photos")), _OTHER),
    "a folder with the clip in it": (
        "clips", _all(_folder("clips"), _copy("jeep.mp4", "clips/jeep.mp4")), f"{_OTHER}|the input"),
    "a folder named like a file": ("out.mp4", _folder("out.mp4"), "is a folder; name a file in it"),
    "a file named like a folder": ("out.mp4/", None, "ends as a folder does"),
    "a file of the user": ("out.mp4", _file("out.mp4"), _OTHER),
    "an empty file of the user": ("out.mp4", _file("out.mp4", ""), _OTHER),
    "the clip": ("jeep.mp4", None, "is the input"),
    "the clip by another path": ("./frames/../jeep.mp4", None, "is the input"),
    "the clip by a link": ("link.mp4", _linked("link.mp4", "jeep.mp4"), "is the input"),
    "the clip by a hard link": (
        "hard.mp4", lambda world: os.link(world.folder / "jeep.mp4", world.folder / "hard.mp4"), "the input"),
    "a file of the user by a way that is not there": ("missing/../out.mp4", _file("out.mp4"), "passes through missing"),
    "a folder of collected results": (
        "results", lambda world: [write_video(_CLIP, world.folder / "results" / n) for n in ("a.mp4", "b.mp4")],
        _OTHER),
    "a result under another name": (
        "kept.mp4", lambda world: write_video(_CLIP, world.folder / "out.mp4").rename(world.folder / "kept.mp4"),
        _OTHER),
    "under a file": ("jeep.mp4/out.mp4", None, "cannot write|is a file"),
    "a link that leads in a circle": ("loop.mp4", _linked("loop.mp4", "loop.mp4"), "cannot write"),
    "a pipe": ("out.mp4", lambda world: os.mkfifo(world.folder / "out.mp4"), "is a device, pipe or socket, not a file"),
    "a device": ("/dev/null", None, "folder"),
    "of an unknown kind": ("out.avi", None, "cannot write a .avi file"),
    "of an unknown kind with upper case": ("out.TXT", None, "cannot write a .TXT file"),
}  # fmt: skip
BESIDE = ("out.side_by_side.mp4", "out.report.json", "out.run.yaml")


def _as_yaml(output: str) -> str:
    return f"clip: jeep.mp4\nsource_prompt: {SOURCE}\nprompt: {TARGET}\noutput: '{output}'\nnum_inference_steps: 2\n"


CASES = [
    Case("an edit ends well", edit("-o", "out.mp4"), code=0, says=None, new=_MADE),
    Case("an edit into a new folder ends well", edit("-o", "a/b/out.mp4"), code=0, says=None, new=("a", "a/*")),
    *(Case(f"edit: the output is {name}", edit("-o", path), make or (lambda world: None), says=says)
      for name, (path, make, says) in SHAPES.items()),
    *(Case(f"edit --config: the output is {name}", ("edit", "--config", "run.yaml", "--model", "{model}"),
           _all(_file("run.yaml", _as_yaml(SHAPES[name][0])), SHAPES[name][1] or (lambda world: None)),
           says=SHAPES[name][2])
      for name in ("empty", "the working folder", "a folder with files", "the clip", "a file of the user")),
    *(Case(f"invert: the output is {name}", (*INVERT, "-o", SHAPES[name][0]), SHAPES[name][1] or (lambda world: None),
           says=SHAPES[name][2])
      for name in ("empty", "of no text", "the folder above", "a folder with files", "a folder with an empty folder",
                   "a link to a folder with files", "a folder with the clip in it")),
    *(Case(f"atlas fit: the output is {name}", (*FIT, "-o", SHAPES[name][0]), SHAPES[name][1] or (lambda world: None),
           says=SHAPES[name][2])
      for name in ("empty", "the working folder", "a folder with files", "too long", "under a file")),
    *(Case(f"tune: the output is {name}",
           ("tune", "jeep.mp4", "-p", SOURCE, "--model", "{model}", "--steps", 1, "-o", SHAPES[name][0]),
           SHAPES[name][1] or (lambda world: None), says="empty|is not a tuning|not a folder|cannot write")
      for name in ("empty", "a folder with files", "under a file", "too long", "a file of the user")),
    *(Case(f"edit: {name} is {what}", edit("-o", "out.mp4"), make(name), says=says)
      for name in BESIDE
      for what, make, says in (("a folder", _folder, "is a folder"), ("a file of the user", _file, _OTHER))),
    *(Case(f"edit: the clip is {name}", edit("-o", "a.mp4", *flags, clip=name), _copy("jeep.mp4", name),
    says="the input")
      for name, flags in (("a.side_by_side.mp4", ()), ("a.masks.png", ("--save-masks", "--blend", "jeep:car")),
                          ("a.attention.png", ("--save-attention",)))),
    Case("edit: the output is a picture of the clip's folder", edit("-o", "frames/00000.png", clip="frames"),
         says="the input"),
    Case("edit: the output would be another picture of the clip's folder",
    edit("-o", "frames/00009.png", clip="frames"),
         says="the input"),
    Case("edit: the output is the clip's folder", edit("-o", "frames", clip="frames"), says="is the input"),
    Case("edit: the output is a folder around the clip's", edit("-o", "clips", clip="clips/a"),
         lambda world: shutil.copytree(world.folder / "frames", world.folder / "clips/a"),
         says=f"{_OTHER}|the input"),
    Case("edit: the output is a folder in the clip's", edit("-o", "frames/edited", clip="frames"), says="the input"),
    Case("edit: the output is in the model", edit("-o", "model/unet/config.png", *("--model", "model")),
         lambda world: shutil.copytree(world.model, world.folder / "model"), code=2, says=""),
    Case("an edit over its own earlier result", edit("-o", "out.mp4", "--seed", 1), code=0, says=None,
         before=(edit("-o", "out.mp4"),), changed=_MADE),
    Case("an edit of an earlier result over itself", edit("-o", "out.mp4", clip="out.mp4"), says="is the input",
         before=(edit("-o", "out.mp4"),)),
    Case("the same run from its own settings", ("edit", "--config", "out.run.yaml"), code=0, says=None,
         before=(edit("-o", "out.mp4"),), changed=_MADE),
    Case("pictures over earlier pictures", edit("-o", "photos"), code=0, says=None, before=(edit("-o", "photos"),),
         changed=("photos*",)),
    *(Case(f"edit to {suffix} over its own earlier result", edit("-o", f"out{suffix}"), code=0, says=None,
           before=(edit("-o", f"out{suffix}"),), changed=_MADE)
      for suffix in (".gif", ".webp", ".webm", ".mov")),
    Case("an inversion over its own earlier result", (*INVERT, "-o", "inv"), code=0, says=None,
         before=((*INVERT, "-o", "inv"),), changed=("inv*",)),
    Case("an atlas over its own earlier result", (*FIT, "-o", "at"), code=0, says=None, before=((*FIT, "-o", "at"),),
         changed=("at*",)),
    *(Case(f"evaluate {flag} is {what}", (*EVALUATE, flag, name), make, says=says)
      for flag in ("--json", "-o")
      for what, name, make, says in (
          ("the source", "jeep.mp4", lambda world: None, "the input"),
          ("a picture of the edit", "frames/00001.png", lambda world: None, "the input"),
          ("a file of the user", "notes.txt", _file("notes.txt"), _OTHER),
          ("a folder", "frames", lambda world: None, "is a folder"),
          ("empty", "", lambda world: None, "empty"),
          ("in a file", "jeep.mp4/x.json", lambda world: None, "cannot write|is a file"),
      )),
    Case("evaluate: both outputs are one", (*EVALUATE, "--json", "x.html", "-o", "x.html"), says="written twice"),
    Case("evaluate over its own earlier result", (*EVALUATE, "--json", "x.json", "-o", "x.html"), code=0, says=None,
         before=((*EVALUATE, "--json", "x.json", "-o", "x.html"),), changed=("x.*",)),
    *(Case(f"sweep: {name} is the user's", (*SWEEP, "-o", "sweep"), _file(f"sweep/{name}"), says=_OTHER)
      for name in ("sweep.json", "sweep.html", "front-1.mp4")),
    Case("sweep: --json is the clip", (*SWEEP, "-o", "sweep", "--json", "jeep.mp4"), says="the input"),
    Case("sweep: the output is a file", (*SWEEP, "-o", "jeep.mp4"), says="is not a folder"),
    *(Case(f"{' '.join(command)}: {name} is the user's", (*command, "--n" if command == ("audit",) else "--limit", 1,
           "-o", "results"), _file(f"results/{name}"), says=_OTHER)
      for command, names in ((("audit",), ("audit.json", "report.html")),
                             (("bench", "run"), ("bench.json", "leaderboard.md", "report.html")))
      for name in names),
    Case("bench --json is the list", ("bench", "run", "list.yaml", "--json", "list.yaml"), _file("list.yaml",
         "version: 1\nname: x\nitems:\n- {name: a, kind: b, source_prompt: c, prompt: d, clip: jeep.mp4}\n"),
         says="the input"),
    Case("audit --json is the list", ("audit", "--tasks", "jeep.mp4", "--json", "jeep.mp4"), says=""),
    *(Case(f"demo: {name} is the user's", ("demo", "colour", "-o", "demo"), _file(f"demo/{name}"), says=_OTHER)
      for name in ("colour.source.mp4", "colour.mp4", "colour.report.json", "colour.side_by_side.mp4", "demo.png")),
    Case("demo: the output is a file", ("demo", "colour", "-o", "jeep.mp4"), says="is not a folder"),
    Case("demo: the output is empty", ("demo", "colour", "-o", ""), says="empty"),
    *(Case(f"tune over the user's tune.json{' --fresh' * bool(flags)}", (*TUNE, "-o", "t", *flags),
           _all(_file("t/tune.json", '{"my": "notes"}'), _file("t/model_index.json"), _file("t/unet/config.json")),
           says="is not a tuning")
      for flags in ((), ("--fresh",))),
    Case("tune: the output is the model", (*TUNE, "--model", "m", "-o", "m", "--fresh"),
         lambda world: shutil.copytree(world.model, world.folder / "m"), says="the input|is not a tuning"),
    Case("edit: the output's pictures are the clip's by links", edit("-o", "photos", clip="links"), _links_to("photos"),
         before=(edit("-o", "photos"),), says="no pictures|does not exist|no such|the input|there is no", code=2),
    Case("invert: notes that speak of faircut are in the folder", (*INVERT, "-o", "inv"),
         _file("inv/notes.md", "My notes: this clip was made by faircut 0.1.0, and is mine."), says=_OTHER),
    Case("evaluate --json over notes that speak of faircut", (*EVALUATE, "--json", "x.json"),
         _file("x.json", '{"how": "made by faircut 0.1.0"}'), says=_OTHER),
    *(Case(f"{' '.join(command[:2])}: the output is the root {root}", (*command, "-o", root), says="root|folder")
      for command in (SWEEP, TUNE, ("demo", "colour"), ("audit", "--n", 1), ("bench", "run", "--limit", 1))
      for root in ("/", "//", "/.")),
    Case("pocket sheet over a file of the user", ("pocket", "sheet", "a.png"), _file("a.png"), says=_OTHER),
    Case("pocket evaluate --json over a file of the user", ("pocket", "evaluate", "--json", "a.json"), _file("a.json"),
         says=_OTHER),
    Case("pocket train --weights over the user's files",
    ("pocket", "train", "--stage", "export", "--weights", "docs", "-o",
         "training"), _folder("docs", "thesis.tex"), says=_OTHER),
    Case("pocket train: a report of the user's", ("pocket", "train", "--stage", "draw", "-o", "t"),
    _file("t/report.json"),
         says=_OTHER),
]  # fmt: skip
