"""The cache of inversions and folders of inversions: damaged, of others, unusable, full, in the wrong place."""

from __future__ import annotations

import functools
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from faircut.cli import main
from faircut.edit.inversion import Inversion, _digest
from faircut.files import temporary_name

from .corpus import SOURCE, Case, World, edit

RUN = edit("-o", "out.mp4", "--no-reconstruction", "--supplier", "memory")
OUT = ("out.*",)
GIVEN = (*RUN, "--inversion", "jeep.inversion")


# A cache and a folder as they should be ----------------------------------------------------------------------------


@functools.cache
def _kept(folder: Path, model: Path) -> Path:
    """Run the edit once with a cache of its own, and return that."""
    place = Path(tempfile.mkdtemp(dir=model.parent))
    before = {name: os.environ.get(name) for name in ("FAIRCUT_CACHE",)}
    os.environ["FAIRCUT_CACHE"] = str(place / "cache")
    arguments = [str(a).replace("{model}", str(model)).replace("out.mp4", str(place / "out.mp4")) for a in RUN]
    try:
        with pytest.raises(SystemExit, match="0"):
            main(arguments)
    finally:
        os.environ.update({name: value for name, value in before.items() if value is not None})
    return place / "cache"


def filled(world: World) -> Path:
    """Fill the world's cache with what the run needs, and return the entry."""
    shutil.copytree(_kept(world.model.parent, world.model), world.cache)
    (entry,) = (path for path in (world.cache / "inversions").iterdir() if path.is_dir())
    return entry


def given(world: World) -> Path:
    """Put the same inversion in the working folder, for ``--inversion``."""
    entry = filled(world)
    shutil.copytree(entry, world.folder / "jeep.inversion")
    shutil.rmtree(world.cache)
    return world.folder / "jeep.inversion"


# Damage ------------------------------------------------------------------------------------------------------------


def change(name: str, how: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change the bytes of a file of an inversion."""
    return lambda entry: (entry / name).write_bytes(how((entry / name).read_bytes()))


def flip(place: float) -> Callable[[bytes], bytes]:
    """Flip one bit, at a share of the file."""

    def flipped(data: bytes) -> bytes:
        at = min(int(place * len(data)), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]

    return flipped


def tensors(name: str, how: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """Write other tensors into a file of an inversion, and into its list, as if they had been written so."""

    def damage(entry: Path) -> None:
        from faircut.files.tensors import file_digest

        found = load_file(entry / name)
        how(found)
        save_file(found, entry / name)
        facts = json.loads((entry / "inversion.json").read_text())
        facts["files"][name] = file_digest(entry / name)
        (entry / "inversion.json").write_text(json.dumps(facts | {"digest": _digest(facts)}))

    return damage


def facts(**values: Any) -> Callable[[Path], None]:
    """Write other facts, as if they had been written so; the value ``...`` takes one away."""

    def damage(entry: Path) -> None:
        known = json.loads((entry / "inversion.json").read_text()) | values
        known = {name: value for name, value in known.items() if value is not ...}
        (entry / "inversion.json").write_text(json.dumps(known | {"digest": _digest(known)}))

    return damage


def gone(name: str) -> Callable[[Path], object]:
    """Remove a file or a folder."""
    return lambda entry: shutil.rmtree(entry / name) if (entry / name).is_dir() else (entry / name).unlink()


def folder_at(name: str) -> Callable[[Path], None]:
    """Put a folder in a file's place."""

    def damage(entry: Path) -> None:
        (entry / name).unlink()
        (entry / name).mkdir()

    return damage


def nowhere(name: str) -> Callable[[Path], None]:
    """Put a link to nothing in a file's place."""

    def damage(entry: Path) -> None:
        (entry / name).unlink()
        (entry / name).symlink_to("nowhere")

    return damage


def _latents(how: Callable[[torch.Tensor], torch.Tensor], name: str = "latents") -> Callable[[Path], None]:
    return tensors("inversion.safetensors", lambda found: found.update({name: how(found[name]).contiguous()}))


JSON, TENSORS, STEP = "inversion.json", "inversion.safetensors", "attention/step_0000.safetensors"
DAMAGE: dict[str, Callable[[Path], object]] = {
    **{
        f"{name} {what}": change(name, how)
        for name in (JSON, TENSORS, STEP)
        for what, how in {
            "cut in half": lambda data: data[: len(data) // 2],
            "empty": lambda data: b"",
            "with a bit flipped near its beginning": flip(0.02),
            "with a bit flipped in its middle": flip(0.5),
            "with its last bit flipped": flip(1.0),
            "with zeros at its end": lambda data: data + bytes(64),
            "of zeros": lambda data: bytes(len(data)),
            "of text": lambda data: b"not what was written\n" * 20,
        }.items()
    },
    **{f"{name} missing": gone(name) for name in (JSON, TENSORS, STEP, "attention")},
    **{f"{name} is a folder": folder_at(name) for name in (JSON, TENSORS, STEP)},
    **{f"{name} is a link to nothing": nowhere(name) for name in (JSON, TENSORS, STEP)},
    **{
        f"{JSON} holds {what}": change(JSON, lambda data, text=text: text)
        for what, text in {
            "no object": b"{}",
            "a list": b"[]",
            "null": b"null",
            "a number": b"1",
            "no number": b"NaN",
            "a text": b'"inversion"',
            "deep lists": b"[" * 100_000 + b"]" * 100_000,
            "deep objects": b'{"format":' * 100_000 + b"4" + b"}" * 100_000,
            "a number of 10,000 digits": b'{"format": ' + b"4" * 10_000 + b"}",
            "latin-1": '{"source_prompt": "é"}'.encode("latin-1"),
            "zeros": bytes(8),
        }.items()
    },
    **{
        f"latents {what}": _latents(how)
        for what, how in {
            "of one step less": lambda x: x[1:],
            "of one axis less": lambda x: x[:, :, :, :, 0],
            "of one frame less": lambda x: x[:, 1:],
            "of no frames": lambda x: x[:, :0],
            "of whole numbers": lambda x: x.to(torch.int32),
            "with a NaN": lambda x: x.where(torch.arange(x.numel()).reshape(x.shape) != 5, torch.nan),
            "with an infinity": lambda x: x.where(torch.arange(x.numel()).reshape(x.shape) != 5, torch.inf),
        }.items()
    },
    "frames of floats": _latents(lambda x: x.float(), "frames"),
    "frames of another size": _latents(lambda x: x[..., 1:], "frames"),
    "no latents": tensors(TENSORS, lambda found: found.pop("latents")),
    "a tensor too many": tensors(TENSORS, lambda found: found.update(more=torch.zeros(1))),
    "embeddings of one axis": tensors(TENSORS, lambda found: found.update(null_embeddings=torch.zeros(3))),
    **{
        f"{name} = {value!r}": facts(**{name: value})
        for name, values in {
            "format": (4, 6, "5", None, True, [], 4.5),
            "source_prompt": (5, None, ["a"], ...),
            "num_inference_steps": (0, -1, 3, 2.5, "2", None, True, 10**30, ...),
            "temporal": (None, [], {}, {"frames": []}, {"frames": ["other"]}, {"spacing": 1}, ...),
            "size": ([32], [32, 48, 1], [0, 48], [-32, 48], ["32", "48"], 32, None, [48, 32], ...),
            "model": (None, 7, ...),
            "fixed_point_steps": (-0.1, 1.1, float("nan"), float("inf"), "0.1", None, ...),
            "reconstruction_psnr": ("30", float("nan"), float("inf"), [30.0], ...),
            "times": ([], ["0"], ["0", "1/0", "1"], ["1", "0", "2"], ["a", "b", "c"], "0", 5, ...),
            "duration": ("0", "-1", "x", "1/0", ...),
            "source": (None, [], {}, "jeep.mp4", ...),
            "attention": (None, "true", 1, ...),
            "files": (None, [], {}, {"../../a": "b"}, {"/etc/passwd": "b"}, {"inversion.safetensors": None}, ...),
            "more": (1,),
        }.items()
        for value in values
        if (name, value) not in (("source", None), ("temporal", {}), ("files", {}))
    },
}
"""How an inversion may be damaged."""


def damaged(place: Callable[[World], Path], damage: Callable[[Path], object]) -> Callable[[World], object]:
    """Make an inversion and damage it."""
    return lambda world: damage(place(world))


def from_cache(world: World) -> bool:
    """Say whether the run found its inversion."""
    return json.loads((world.folder / "out.report.json").read_text())["inversion_from_cache"]


def made_again(world: World, out: str) -> None:
    """The entry is whole again, and nothing else is left in the cache."""
    assert not from_cache(world)
    (entry,) = entries(world)
    Inversion.load(entry, key=entry.name)
    alone(world, out)


def entries(world: World) -> list[Path]:
    """The folders in the cache that are entries."""
    found = (world.cache / "inversions").iterdir()
    return [path for path in found if path.is_dir() and not path.name.startswith(".")]


def alone(world: World, out: str) -> None:
    """No temporary names are left in the cache, and nobody else may read it."""
    for path in [*world.cache.rglob("*"), *world.home.rglob("*")]:
        assert ".partial" not in path.name, path
        assert ".old" not in path.name, path
    for root in (world.cache, world.home / ".cache" / "faircut"):
        for path in [root, *root.rglob("*")] if root.is_dir() else []:
            if path.parent != world.cache or path.name == "inversions":
                assert not stat.S_IMODE(path.lstat().st_mode) & 0o077 or root in path.parents, path
    for path in (world.cache / "inversions", world.home / ".cache" / "faircut"):
        assert not path.is_dir() or not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def not_kept(world: World, out: str) -> None:
    """The edit is there, and no cache is."""
    assert (world.folder / "out.mp4").is_file()
    assert not world.cache.exists()


def found(world: World, out: str) -> None:
    """The inversion was found in the cache."""
    assert from_cache(world)
    alone(world, out)


def private(world: World, out: str) -> None:
    """Folders are for their owner alone, and so are files."""
    for path in [world.cache / "inversions", *(world.cache / "inversions").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    alone(world, out)


# Places ------------------------------------------------------------------------------------------------------------


def wide(world: World) -> None:
    """A cache that everybody may read."""
    filled(world)
    for path in (world.cache, world.cache / "inversions"):
        path.chmod(0o777)


def of_another(world: World) -> None:
    """A cache that belongs to another user."""
    (world.cache / "inversions").mkdir(parents=True)
    os.chown(world.cache / "inversions", 12345, 12345)


def still_of_another(world: World, out: str) -> None:
    """Nothing was written to it."""
    assert not list((world.cache / "inversions").iterdir())


def others(world: World) -> None:
    """Files and folders of the user in the cache's folder."""
    filled(world)
    for name in ("inversions/notes.txt", "inversions/mine/inversion.json", "inversions/mine/picture.png", "letter.txt"):
        path = world.cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")


def others_stay(world: World, out: str) -> None:
    """They are still there."""
    for name in ("inversions/notes.txt", "inversions/mine/inversion.json", "inversions/mine/picture.png", "letter.txt"):
        assert (world.cache / name).read_text() == "mine"


def _dead(name: str) -> str:
    """The temporary name of a process that is dead."""
    return name.replace(f"-{os.getpid()}-", "-999999999-")


def left_over(world: World) -> None:
    """What a killed process leaves in a cache."""
    entry = filled(world)
    for _ in range(3):
        half = entry.with_name(_dead(temporary_name(entry).name))
        half.mkdir()
        (half / "inversion.safetensors").write_bytes(b"half")


def still_written(world: World) -> None:
    """What another living process is writing."""
    import psutil

    from faircut.files.atomic import _host

    entry = filled(world)
    parent = psutil.Process(os.getppid())
    name = f".{entry.name}.{_host()}-{parent.pid}-{int(parent.create_time())}-0123abcd.partial"
    entry.with_name(name).mkdir()


def stays(world: World, out: str) -> None:
    """It is still there."""
    assert len(list((world.cache / "inversions").glob(".*.partial"))) == 1
    assert from_cache(world)


def moved(world: World) -> None:
    """An entry under another one's name."""
    entry = filled(world)
    facts(key="0" * 32)(entry)


def entry_is_file(world: World) -> None:
    """A file has the name of the entry."""
    entry = filled(world)
    shutil.rmtree(entry)
    entry.write_text("a file")


def entry_is_link(world: World) -> None:
    """A link has the name of the entry."""
    entry = filled(world)
    entry.rename(world.cache / "elsewhere")
    entry.symlink_to(world.cache / "elsewhere")


def note(text: bytes) -> Callable[[World], object]:
    """A note beside the entry."""

    def make(world: World) -> None:
        entry = filled(world)
        entry.with_name(f"{entry.name}.note.json").write_bytes(text)

    return make


def measured(world: World, out: str) -> None:
    """The quality was measured and noted."""
    report = json.loads((world.folder / "out.report.json").read_text())
    assert 0 < report["reconstruction_psnr"] < 100
    (path,) = (world.cache / "inversions").glob("*.note.json")
    assert json.loads(path.read_text())["facts"] == {"reconstruction_psnr": report["reconstruction_psnr"]}


def emptied(world: World, out: str) -> None:
    """The limit leaves room for nothing."""
    assert not entries(world)


def cannot(value: str) -> dict[str, str | None]:
    return {"FAIRCUT_CACHE": value}


UNUSABLE: dict[str, str] = {
    "is the clip": "{folder}/jeep.mp4",
    "is beneath a file": "{folder}/jeep.mp4/cache",
    "is a device": "/dev/null",
    "cannot be made": "/proc/faircut",
    "has a name that is too long": "/tmp/" + "x" * 300,
    "has a path that is too long": "/tmp" + "/y" * 3000,
    "is a link in a circle": "{folder}/../circle",
    "is a link to a file": "{folder}/../file",
}


def links(world: World) -> None:
    """Links beside the working folder that lead nowhere good."""
    (world.folder / ".." / "circle").symlink_to("circle")
    (world.folder / ".." / "file").symlink_to(world.folder / "jeep.mp4")


OTHER_LIMITS = ("", "0", "8GiB", "1 kB", "2.5e3", "100 MB", "0b", "7TB")
WRONG_LIMITS = (
    *(
        "many",
        "-1",
        "-1GiB",
        "1.5.2GB",
        "GB",
        "4GiB GiB",
        "nan",
        "inf",
        "1e400",
        "0x10",
        "1_000",
        "\uff19GB",
        "\u0663GB",
        "4 PiB",
    ),
    *("1e", "+", "4;GB", "\x1b[31m4GB", "[red]", "9" * 5000, "8EiB"),
)
COMMANDS: dict[str, tuple[Any, ...]] = {
    "edit": RUN,
    "invert": ("invert", "jeep.mp4", "-s", SOURCE, "--model", "{model}", "--steps", 2, "-o", "inverted"),
}

CASES = [
    *(
        Case(
            f"cache: an entry with {what}",
            RUN,
            damaged(filled, how),
            0,
            None,
            ("damaged cache entry",),
            OUT,
            check=made_again,
        )
        for what, how in DAMAGE.items()
    ),
    *(
        Case(f"--inversion: a folder with {what}", GIVEN, damaged(given, how), 2, "jeep.inversion holds no readable")
        for what, how in list(DAMAGE.items())[::4]
    ),
    Case("--inversion: as it was written", GIVEN, given, 0, None, new=OUT),
    Case(
        "--inversion: with files of the user in it",
        GIVEN,
        lambda w: (given(w) / "notes.txt").write_text("a"),
        0,
        None,
        new=OUT,
    ),
    Case("--inversion: no such folder", GIVEN, says="no readable inversion"),
    Case("--inversion: empty", (*RUN, "--inversion", ""), says="inversion"),
    Case("--inversion: a file", (*RUN, "--inversion", "jeep.mp4"), says="no readable inversion"),
    Case("--inversion: a folder of pictures", (*RUN, "--inversion", "frames"), says="no readable inversion"),
    Case("--inversion: other steps", (*GIVEN, "--steps", 3), given, says="number of steps"),
    Case("--inversion: another prompt", (*GIVEN, "-s", "a jeep"), given, says="source prompt"),
    Case("--inversion: fewer frames", (*GIVEN, "--frames", 2), given, says="frame count"),
    Case("--inversion: another size", (*GIVEN, "--size", 24), given, says="size"),
    Case(
        "--inversion: other pictures of the same size",
        GIVEN,
        damaged(given, _latents(lambda x: 255 - x, "frames")),
        says="other pictures",
    ),
    Case(
        "cache: an unusable limit is not read with --inversion",
        GIVEN,
        given,
        0,
        None,
        new=OUT,
        environment={"FAIRCUT_CACHE_LIMIT": "many"},
    ),
    Case("cache: found again", RUN, filled, 0, None, new=OUT, check=found),
    Case("cache: an entry under another name", RUN, moved, 0, None, ("damaged cache entry",), OUT, check=made_again),
    Case(
        "cache: a file in the place of an entry",
        RUN,
        entry_is_file,
        0,
        None,
        ("damaged cache entry",),
        OUT,
        check=made_again,
    ),
    Case("cache: a link in the place of an entry", RUN, entry_is_link, 0, None, new=OUT),
    Case(
        "cache: an empty folder in the place of an entry",
        RUN,
        damaged(filled, lambda e: (shutil.rmtree(e), e.mkdir())),
        0,
        None,
        ("damaged cache entry",),
        OUT,
        check=made_again,
    ),
    *(
        Case(
            f"cache: a note of {what}",
            edit("-o", "out.mp4", "--supplier", "memory"),
            note(text),
            0,
            None,
            new=OUT,
            check=measured,
        )
        for what, text in {
            "nothing": b"",
            "text": b"psnr",
            "a list": b"[1]",
            "another quality": b'{"facts": {"reconstruction_psnr": 99.0}, "check": "0"}',
            "NaN": b'{"facts": {"reconstruction_psnr": NaN}}',
            "depth": b"[" * 100_000,
        }.items()
    ),
    *(
        Case(
            f"FAIRCUT_CACHE {what}",
            RUN,
            links,
            0,
            None,
            ("cache .* cannot be used",),
            OUT,
            environment=cannot(value),
            check=not_kept,
        )
        for what, value in UNUSABLE.items()
    ),
    Case("FAIRCUT_CACHE names no user", RUN, says="FAIRCUT_CACHE", environment=cannot("~no-such-user/cache")),
    Case(
        "FAIRCUT_CACHE is not valid text", RUN, says="FAIRCUT_CACHE", environment=cannot(os.fsdecode(b"/tmp/\xff\xfe"))
    ),
    *(
        Case(
            f"FAIRCUT_CACHE is {what}",
            RUN,
            code=0,
            says=None,
            new=(*OUT, "caches*"),
            check=alone,
            environment=cannot(value),
        )
        for what, value in {
            "empty": "",
            "blank": " ",
            "relative": "caches",
            "relative with dots": "./caches/../caches/",
            "home": "~/caches",
        }.items()
    ),
    *(
        Case(
            f"FAIRCUT_CACHE_LIMIT={value[:20]!r}: {command}",
            arguments,
            says="FAIRCUT_CACHE_LIMIT.*not an amount of memory",
            environment={"FAIRCUT_CACHE_LIMIT": value},
        )
        for command, arguments in COMMANDS.items()
        for value in WRONG_LIMITS[:: 1 if command == "edit" else 8]
    ),
    *(
        Case(
            f"FAIRCUT_CACHE_LIMIT={value!r}",
            RUN,
            code=0,
            says=None,
            new=OUT,
            check=alone,
            environment={"FAIRCUT_CACHE_LIMIT": value},
        )
        for value in OTHER_LIMITS
    ),
    Case(
        "a limit of nothing keeps nothing",
        RUN,
        filled,
        0,
        None,
        new=OUT,
        check=emptied,
        environment={"FAIRCUT_CACHE_LIMIT": "0"},
    ),
    Case(
        "a wrong limit does not matter without a cache",
        (*RUN, "--no-cache"),
        code=0,
        says=None,
        new=OUT,
        check=not_kept,
        environment={"FAIRCUT_CACHE_LIMIT": "many"},
    ),
    *(
        Case(
            f"HOME {what}",
            RUN,
            code=0,
            says=None,
            warns=warns,
            new=OUT,
            environment={"FAIRCUT_CACHE": None, "HOME": home},
            check=not_kept,
        )
        for what, home, warns in (
            ("is empty", "", ("no home folder",)),
            ("is relative", "here", ("no home folder",)),
            ("is a file", "{folder}/jeep.mp4", ("cannot be used",)),
            ("is a device", "/dev/null", ("cannot be used",)),
            ("cannot be made", "/proc/nobody", ("cannot be used",)),
            ("is missing", "{home}/missing", ()),
            ("is as usual", "{home}", ()),
        )
    ),
    Case(
        "the cache in the home folder is private",
        RUN,
        code=0,
        says=None,
        new=OUT,
        environment={"FAIRCUT_CACHE": None},
        check=alone,
    ),
    Case("the cache is private", RUN, code=0, says=None, new=OUT, check=private),
    Case("a cache that all may read is closed to them", RUN, wide, 0, None, new=OUT, check=found),
    Case("files of the user in the cache", RUN, others, 0, None, new=OUT, check=others_stay),
    Case(
        "files of the user in a cache of no room",
        RUN,
        others,
        0,
        None,
        new=OUT,
        check=others_stay,
        environment={"FAIRCUT_CACHE_LIMIT": "0"},
    ),
    Case("what a killed process left in the cache", RUN, left_over, 0, None, new=OUT, check=found),
    Case("what a living process is writing in the cache", RUN, still_written, 0, None, new=OUT, check=stays),
    *(
        [
            Case(
                "the cache belongs to another user",
                RUN,
                of_another,
                0,
                None,
                ("belongs to another user",),
                OUT,
                check=still_of_another,
            )
        ]
        if sys.platform != "win32" and os.geteuid() == 0
        else []
    ),
]
