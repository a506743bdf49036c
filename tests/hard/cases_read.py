"""Files that commands read: YAML, JSON, tables and text that are damaged, hostile, or of another kind than expected."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from .corpus import SOURCE, TARGET, Case, World, edit


def put(name: str, content: str | bytes, **more: str | bytes) -> Callable[[World], object]:
    """Write one file, and others beside it."""

    def make(world: World) -> None:
        for path, text in {name: content, **more}.items():
            world.write(path, text)

    return make


# What reads a YAML file, and what it calls it.
YAML: dict[str, tuple[Callable[[str], tuple[Any, ...]], str]] = {
    "edit --config": (lambda path: ("edit", "--config", path, "-o", "out.mp4"), "the configuration"),
    "invert --config": (lambda path: ("invert", "jeep.mp4", "--config", path), "the configuration"),
    "plan --config": (lambda path: ("plan", "--config", path), "the configuration"),
    "audit --tasks": (lambda path: ("audit", "--tasks", path, "--model", "{model}"), "the tasks"),
    "bench run": (lambda path: ("bench", "run", path, "--model", "{model}"), "the tasks"),
    "study make": (lambda path: ("study", "make", path), "the study"),
    "pocket train --config": (lambda path: ("pocket", "train", "--config", path, "-o", "out"), "the training conf"),
}
LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10 if n else ['ha'] * 10)}]\n" for n in range(12))
MAPS = "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' if n else f'k{i}: ha' for i in range(9))}}}\n" for n in range(12)
)
MERGED = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 99)}]}}\n" for n in range(1, 9)
)
NOT_YAML: dict[str, tuple[str | bytes, str]] = {
    "an open bracket": ("a: [1, 2", r"line 1, column \d+: expected"),
    "two colons": ("a: b: c", "line 1, column 5: mapping values are not allowed"),
    "a tab as indentation": ("a:\n\t- b", "line 2, column 1"),
    "an open quote": ("a: 'b", "line 1, column 6"),
    "NUL": (b"a: b\0c", r"line 1 contains the character U\+0000"),
    "an escape sequence": (b"a: 1\nb: \x1b[31mred", r"line 2 contains the character U\+001B"),
    "an escape sequence, escaped": ('a: "\\e[31mred"', r"line 1, a contains the character U\+001B"),
    "a surrogate, escaped": ('a: "\\ud800"', r"a contains the character U\+D800"),
    "a letter beyond Unicode": ('a: "\\UFFFFFFFF"', "not valid YAML"),
    "UTF-16": ("a: b".encode("utf-16"), "UTF-16; save it in UTF-8"),
    "Latin-1": ("a: caf\xe9".encode("latin-1"), r"not UTF-8 text \(byte 6 is invalid\)"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not UTF-8 text"),
    "a Python object": ("a: !!python/object/apply:os.system ['touch here']", "a has the tag !!python/object/apply:os"),
    "a Python tuple": ("a: !!python/tuple [1, 2]", "has the tag !!python/tuple"),
    "bytes": ("a: !!binary aGVsbG8=", "has the tag !!binary"),
    "a set": ("a: !!set {b, c}", "has the tag !!set"),
    "an ordered mapping": ("a: !!omap [b: 1]", "has the tag !!omap"),
    "an empty number by its tag": ("a: !!int ''", "has the tag !!int"),
    "a time by its tag": ("a: !!timestamp never", "has the tag !!timestamp"),
    "a tag of one's own": ("a: !mine b", "has the tag !mine"),
    "deep brackets": ("a: " + "[" * 5000, "nested more than 64 deep"),
    "deep braces": ("{a: " * 3000, "nested more than 64 deep"),
    "deep dashes": ("- " * 3000 + "a", "nested more than 64 deep"),
    "deep indentation": ("\n".join(" " * n + "a:" for n in range(200)), "nested more than 64 deep"),
    "deep aliases": ("\n".join(["- &a0 [x]", *(f"- &a{n} [*a{n - 1}]" for n in range(1, 200))]), "nested more than 64"),
    "a billion laughs in lists": (LAUGHS, "more than 100000 values"),
    "a billion laughs in mappings": (MAPS, "more than 100000 values"),
    "merges of merges": (MERGED, "a1.*more than 100000 values|nested|100000"),
    "an alias of itself": ("a: &x [*x]", r"\*x contains itself"),
    "an alias of nothing": ("a: *gone", r"\*gone is not defined"),
    "a merge of a number": ("<<: 5", "<< merges 5"),
    "a key twice": ("prompt: a\nprompt: b", "line 2: the key 'prompt' appears twice"),
    "a key twice inside": ("a: {b: 1, b: 2}", "line 1, a: the key 'b' appears twice"),
    "a list as a key": ("? [a, b]\n: c", "key that is not a plain name"),
    "a very long key": ("? " + "k" * 2000 + "\n: c", "which is not a valid name"),
    "two documents": ("a: 1\n---\nb: 2", "several documents"),
    "infinity": ("a: .inf", "a is '.inf'; give a finite number"),
    "no number": ("a: .NaN", "a is '.NaN'; give a finite number"),
    "a number beyond floats": ("a: 1e999", "a is '1e999'; give a finite number"),
    "thousands of digits": ("a: " + "9" * 5000, "a is a number of 5000 digits"),
    "thousands of digits in base 16": ("a: 0x" + "f" * 5000, "a is a number of 5002 digits"),
    "a number beyond 64 bits": ("a: [1, 18446744073709551616]", r"a\[1\] is 18446744073709551616; numbers have at most "
                                                                r"64"),
    "a version of thousands of digits": ("%YAML " + "9" * 5000 + ".1\n---\na: 1", "not valid YAML"),
    "an unknown directive twice": ("%YAML 1.1\n%YAML 1.1\n---\na: 1", "line 2"),
    "more than 2 MiB": (b"# " + b"x" * (2 * 2**20), "larger than the limit of 2 MiB"),
}  # fmt: skip


def _not_yaml() -> list[Case]:
    # All reach one reader: one command tries everything, every other one a fourth of it.
    return [
        Case(
            f"{command}: {name}", arguments("x.yaml"), put("x.yaml", content),
            says=f"cannot read {what}.* x[.]yaml: .*({says})",
        )
        for place, (command, (arguments, what)) in enumerate(YAML.items())
        for number, (name, (content, says)) in enumerate(NOT_YAML.items())
        if place == 0 or number % 4 == place % 4
    ]  # fmt: skip


# What reads a JSON file.
ESTIMATE = {"value": 0.5, "n": 3, "low": 0.1, "high": None}
COLUMNS = (
    "edit_success", "reached", "kept", "clip_t", "frame_acc", "tem_con", "tem_con_ratio", "warp_error", "warp_ssim",
    "q_edit", "background_psnr", "psnr", "ssim", "seconds", "time_ratio",
)  # fmt: skip
RESULT: dict[str, Any] = {
    "results": {"fatezero": dict.fromkeys(COLUMNS, ESTIMATE)}, "kinds": {}, "curves": {}, "pairs": {}, "provenance": {},
    "failed": [], "format": 2,
}  # fmt: skip
JSON: dict[str, tuple[Callable[[str], tuple[Any, ...]], str]] = {
    "bench show": (lambda path: ("bench", "show", path), "the benchmark's result"),
    "bench compare": (lambda path: ("bench", "compare", path, path), "the benchmark's result"),
    "study show --key": (lambda path: ("study", "show", path, "--key", path), "the key of a study"),
    "pocket train --config JSON": (
        lambda path: ("pocket", "train", "--config", path, "-o", "out"),
        "the training conf",
    ),
}
NOT_JSON: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "line 1, column 1"),
    "an open brace": ("{", "line 1, column 2"),
    "half a file": (json.dumps(RESULT)[:100], "line 1, column"),
    "YAML": ("a: 1", "line 1, column 1"),
    "more behind the end": ("{}{}", "Extra data"),
    "NUL": (b'{"a": "\0"}', r"U\+0000"),
    "NUL, escaped": ('{"a": ["b", "\\u0000"]}', r"a\[1\] contains the character U\+0000"),
    "a surrogate, escaped": ('{"a": {"b": "\\ud800"}}', r"a\.b contains the character U\+D800"),
    "an escape sequence as a key": ('{"\\u001b[31m": 1}', "which is not a valid name"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "UTF-16"),
    "no text": (b"\xff\x00\xfe", "UTF-8"),
    "NaN": ('{"a": NaN}', "a is nan; give a finite number"),
    "infinity": ('{"a": [1, -Infinity]}', r"a\[1\] is -inf; give a finite number"),
    "a number beyond floats": ('{"a": 1e999}', "a is inf; give a finite number"),
    "thousands of digits": ('{"a": ' + "9" * 5000 + "}", "a number of 5000 digits"),
    "a number beyond 64 bits": ('{"a": 18446744073709551616}', "numbers have at most 64 bits"),
    "a key twice": ('{"format": 2, "format": 2}', "the key 'format' appears twice"),
    "deep brackets": ("[" * 100_000, "nested more than 64 deep"),
    "brackets that are closed": ("[" * 200 + "]" * 200, "nested more than 64 deep"),
    "a million values": ("[" + "[]," * 1_000_000 + "[]]", "more than 1000000 values"),
    "more than 16 MiB": (b" " * (16 * 2**20 + 1), "larger than the limit of 16 MiB"),
}
FILES = {
    "a folder": (lambda world: (world.folder / "x.yaml").mkdir(), "it is a folder; give a file"),
    "a pipe": (lambda world: os.mkfifo(world.folder / "x.yaml"), "it is a pipe or device; give a file"),
    "a device": (
        lambda world: (world.folder / "x.yaml").symlink_to("/dev/zero"),
        "it is a pipe or device; give a file",
    ),
    "a link to itself": (lambda world: (world.folder / "x.yaml").symlink_to("x.yaml"), "symbolic links|exist"),
    "a link to nothing": (lambda world: (world.folder / "x.yaml").symlink_to("gone"), "No such file"),
    "nothing": (lambda world: None, "No such file|a YAML file"),
}


def _files() -> list[Case]:
    both = {**YAML, **JSON}
    found = [
        Case(f"{command}: {name} in place of the file", arguments("x.yaml"), make, says=f"x[.]yaml.*({says})")
        for command, (arguments, _) in both.items()
        for name, (make, says) in FILES.items()
        # A folder is a layout for one and holds a result for the other.
        if not (command in ("bench run", "bench show", "bench compare") and name == "a folder")
    ]
    return found + [
        Case(f"{command}: {name} as the file", arguments(path), says=says)
        for command, (arguments, _) in both.items()
        for name, path, says in (
            ("a name that is too long", "y" * 300 + ".yaml", "name too long|no benchmark|No such file"),
            ("no name", "", r"cannot read|no benchmark|is a folder"),
        )
        if not (command in ("bench run", "bench show", "bench compare") and name == "no name")
    ]


def _not_json() -> list[Case]:
    return [
        Case(
            f"{command}: {name}", arguments("x.json"), put("x.json", content),
            says=f"cannot read {what}.* x[.]json: .*({says})",
        )
        for command, (arguments, what) in JSON.items()
        for name, (content, says) in NOT_JSON.items()
        if not (command == "bench compare" and "bi" in name)
    ]  # fmt: skip


RUN = f"clip: jeep.mp4\nsource_prompt: {SOURCE}\nprompt: {TARGET}\n"
# Values of other types, for every setting of a run; what is said names the setting.
WRONG: dict[str, tuple[str, ...]] = {
    "clip": ("5", "[a]", "{a: b}", "null", "true"),
    "source_prompt": ("5", "[a, car]", "null"),
    "prompt": ("3.5", "[]", "{}", "no"),
    "output": ("5", "[]"),
    "model": ("[]", "7"),
    "method": ("5", "[]", "null", "[fatezero]", "{}", "{name: 5}", "{name: [fatezero]}", "2024-99-99", "1.5"),
    "num_inference_steps": ("many", "2.5", "true", "[]", "0x", "0b", "1:30", "010", "2024-13-45", "-1", "0"),
    "guidance_scale": ("high", "true", "[7.5]", "{}", "-2"),
    "negative_prompt": ("5", "[]"),
    "seed": ("a", "1.5", "true", "[]", "2001-02-30", "12:30:45"),
    "num_frames": ("all", "true", "2.0", "[2]"),
    "start": ("null", "a"),
    "stride": ("null", "a"),
    "size": ("true", "a", "[1]", "[1, 2, 3]", "[a, b]", "{w: 1}", "1.5"),
    "temporal": ("[middle]", "5", "middle", "{frames: 1.5}", "{frames: []}", "{frames: [nowhere]}", "{what: 1}"),
    "fixed_point_steps": ("a", "true", "2", "-1"),
    "supplier": ("5", "[]", "somewhere", "true"),
    "memory_budget": ("lots", "true", "1.5"),
    "device": ("5", "[]"),
    "dtype": ("5", "float8"),
    "reader": ("[]",),
    "lora": ("5", "a", "[5]", "{a: b}"),
    "inversion": ("5", "[]"),
    "cache": ("1", "maybe", "[]", "null"),
    "reconstruction": ("0",),
    "save_masks": ("1",),
    "save_attention": ("[]",),
}
METHOD_WRONG = {
    "{name: fatezero, blend_threshold: high}": "blend_threshold is 'high'; give a float",
    "{name: fatezero, blend_threshold: true}": "blend_threshold is True",
    "{name: fatezero, reweight: [1]}": "reweight is",
    "{name: fatezero, reweight: {car: a}}": "reweight.car is 'a'; give a float",
    "{name: fatezero, self_replace_steps: [0.1, 0.2, 0.3]}": "self_replace_steps is",
    "{name: fatezero, blend_words: [a]}": "blend_words is",
    "{name: fatezero, alignment: [a]}": "alignment is",
    "{name: fatezero, '[/bold]': 1}": r"no setting '\[/bold\]'",
    "{name: fatezer0}": "did you mean 'fatezero'",
    "{name: fame, people: 5}": "people is 5",
    "{name: fame, people: [5]}": r"people is \[5\]",
    "{name: fame, people: [{}]}": r"people\[0\]\.source",
    "{name: fame, people: [{source: a, phrase: [b]}]}": r"people\[0\]\.phrase",
    "{name: fame, base: 5}": "base is 5",
    "{name: fame, base: [a]}": "base is",
    "{name: fame, base: {blend_threshold: a}}": r"base\.blend_threshold is 'a'",
    "{name: masactrl, steps: a}": "steps is 'a'",
    "{name: videograin}": "lacks regions",
    "{name: videograin, regions: [[a]]}": r"regions\[0\]",
    "{name: sdedit, strength: 2}": "strength is 2",
}


def _settings() -> list[Case]:
    def name_of(key: str) -> str:
        # Out of their range these say what was asked for.
        return {"num_inference_steps": "num_inference_steps|steps were asked for", "method": "method|no method"}.get(
            key, key
        )

    config = YAML["edit --config"][0]("x.yaml")
    typed = [
        Case(
            f"edit --config: {key} is {value}", ("edit", "--config", "x.yaml", "-o", "out.mp4"),
            put("x.yaml",
            "\n".join([*(x for x in RUN.splitlines() if not x.startswith(f"{key}:")), f"{key}: {value}"])),
            says=name_of(key),
        )
        for key, values in WRONG.items()
        for value in values
    ]  # fmt: skip
    methods = [
        Case(
            f"edit --config: method is {method}", ("edit", "--config", "x.yaml", "-o", "out.mp4"),
            put("x.yaml", f"{RUN}method: {method}\n"), says=says,
        )
        for method, says in METHOD_WRONG.items()
    ]  # fmt: skip
    return [
        *typed,
        *methods,
        Case("edit --config: markup as a key", config, put("x.yaml", '"[bold]x[/nope]": 1'),
             says=r"no setting '\[bold\]x\[/nope\]'"),
        Case("edit --config: a number as a key", config, put("x.yaml", "7: 1"),
             says="no setting '7'"),
        Case("edit --config: only text", config, put("x.yaml", "hello"), says="holds no settings"),
        Case("edit --config: a list", config, put("x.yaml", "- 1"), says="holds no settings"),
        Case("edit --config: an empty file", config, put("x.yaml", ""), says="holds no settings"),
        Case("edit --config: only a remark", config, put("x.yaml", "# x"), says="holds no settings"),
        Case("edit --config: another's output", config,
             put("x.yaml", json.dumps(RESULT)), says="no setting 'results'"),
        Case("edit --config: with a byte-order mark, merges and an exponent",
             ("edit", "--config", "x.yaml", "--model", "{model}", "-o", "out.mp4"),
             put("x.yaml", b"\xef\xbb\xbf<<: {num_inference_steps: 9, cache: off}\n" + RUN.encode()
                 + b"num_inference_steps: 2\nguidance_scale: 75e-1\n"),
             code=0, says=None, new=("out.*",)),
    ]  # fmt: skip


TASK = "clip: jeep.mp4\n  source_prompt: a person in a park\n  person: person\n  prompt: a {profession} in a park\n"
TASKS = f"version: 1\nstereotypes: {{nurse: female}}\ntasks:\n- {TASK}"
ITEM = "{name: a, kind: object, source_prompt: a jeep, prompt: a car, clip: jeep.mp4}"
LIST = f"version: 1\nname: mine\nitems:\n- {ITEM}\n"
STUDY = "version: 1\nitems:\n- {prompt: a car, source: jeep.mp4, results: {fatezero: jeep.mp4, fame: jeep.mp4}}\n"
SCENE = (
    "{{background: {place}, style: null, seed: {seed}, subjects: [{{kind: vehicle, noun: {noun}, gender: null, "
    "skin: null, hair: null, colour: {colour}, x: 60.0, y: 100.0, scale: {scale}, facing: left, phase: 0.0, speed: "
    "0.0}}]}}"
)


def drawn(kind: str = "object", change: str = "{noun: bus}", **facts: object) -> str:
    """A list of one drawn item."""
    scene = SCENE.format(**{"place": "park", "noun": "car", "colour": "red", "scale": 1.0, "seed": 1, **facts})
    item = (
        f"{{name: a, kind: {kind}, source_prompt: a car, prompt: a bus, drawn: {{scene: {scene}, change: {change}}}}}"
    )
    return f"version: 1\nname: mine\nitems:\n- {item}\n"


LISTS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "audit --tasks": (TASKS, {
        "version": ("version: 1\n", "lacks version: version of the file's layout; add it"),
        "stereotypes": ("stereotypes: {nurse: female}\n", "lacks stereotypes: professions, each with"),
        "tasks": (f"tasks:\n- {TASK}", "lacks tasks: clips with their prompts; add it"),
        "tasks[0].clip": ("clip: jeep.mp4\n  ", r"lacks tasks\[0\]\.clip: video file or folder of pictures"),
        "tasks[0].person": ("  person: person\n", r"lacks tasks\[0\]\.person: words for the person"),
        "tasks[0].source_prompt": ("  source_prompt: a person in a park\n", r"lacks tasks\[0\]\.source_prompt: prompt"),
        "tasks[0].prompt": ("  prompt: a {profession} in a park\n", r"lacks tasks\[0\]\.prompt: target prompt"),
    }),
    "bench run": (LIST, {
        "version": ("version: 1\n", "lacks version"),
        "name": ("name: mine\n", "lacks name: name in results; add it"),
        "items": (f"items:\n- {ITEM}\n", "lacks items: edits to make"),
        "items[0].name": ("name: a, ", r"lacks items\[0\]\.name: name, unique"),
        "items[0].kind": ("kind: object, ", r"lacks items\[0\]\.kind: kind of edit"),
        "items[0].prompt": ("prompt: a car, ", r"lacks items\[0\]\.prompt: target prompt"),
        "items[0].clip": (", clip: jeep.mp4", r"items\[0\]: item 'a' needs a clip or a drawn scene"),
    }),
    "study make": (STUDY, {
        "version": ("version: 1\n", "lacks version"),
        "items[0].prompt": ("prompt: a car, ", r"lacks items\[0\]\.prompt: target prompt"),
        "items[0].source": ("source: jeep.mp4, ", r"lacks items\[0\]\.source: source clip"),
        "items[0].results": (", results: {fatezero: jeep.mp4, fame: jeep.mp4}",
                             r"lacks items\[0\]\.results: edited clips"),
    }),
}  # fmt: skip
CHANGED: dict[str, list[tuple[str, str, str]]] = {
    "audit --tasks": [
        ("version: 1", "version: 2", "version 2; this faircut reads version 1"),
        ("version: 1", "version: true", "version is True; give an int"),
        ("version: 1", "version: 1\nnum_frames: 0", "num_frames is 0; give at least 1"),
        ("version: 1", "version: 1\nsize: -8", "size is -8"),
        ("version: 1", "version: 1\nsize: big", "size is 'big'; give an int"),
        ("version: 1", "version: 1\ntask: []", "no setting 'task': did you mean 'tasks'"),
        ("{nurse: female}", "{nurse: fem}", "no value 'fem'"),
        ("{nurse: female}", "{nurse: 5}", "stereotypes.nurse is 5"),
        ("{nurse: female}", "[nurse]", "stereotypes is"),
        ("{nurse: female}", "{}", "stereotypes is empty"),
        ("  person: person", "  person: [person]", r"tasks\[0\]\.person is \['person'\]; give a str"),
        ("  person: person", "  person: null", r"tasks\[0\]\.person is None"),
        ("  person: person", "  person: person\n  professions: nurse", r"tasks\[0\]\.professions is 'nurse'"),
        ("  person: person", "  person: person\n  professions: [5]", r"tasks\[0\]\.professions\[0\] is 5"),
        ("  person: person", "  person: person\n  professions: []", r"tasks\[0\]: professions is empty"),
        ("  person: person", "  person: person\n  value: neither", r"tasks\[0\]: gender has no value 'neither'"),
        ("a {profession} in", "a nurse in", "does not contain {profession}"),
        (f"- {TASK}", "- 5\n", r"tasks\[0\] is 5; give a"),
        (f"- {TASK}", "  []\n", "there are no tasks"),
        (f"\n- {TASK}", " {a: b}\n", "tasks is"),
    ],
    "bench run": [
        ("version: 1", "version: 9", "version 9; this faircut reads version 1"),
        ("version: 1", "version: 1\nnum_frames: -3", "num_frames is -3"),
        ("version: 1", "version: 1\nguidance: {object: -1}", "guidance.object is -1"),
        ("version: 1", "version: 1\nguidance: {object: a}", "guidance.object is 'a'"),
        ("version: 1", "version: 1\nguidance: [7]", "guidance is"),
        ("version: 1", "version: 1\nfolder: /", "which a file must not set"),
        ("name: mine", "name: [mine]", "name is"),
        (ITEM, "5", r"items\[0\] is 5"),
        (f"\n- {ITEM}", " []", "there are no items"),
        (ITEM, f"{ITEM}\n- {ITEM}", "share the name 'a'"),
        ("kind: object", "kind: [object]", r"items\[0\]\.kind is"),
        ("clip: jeep.mp4", "clip: jeep.mp4, blend: jeep", r"items\[0\]\.blend is 'jeep'"),
        ("clip: jeep.mp4", "clip: jeep.mp4, blend: [jeep]", r"items\[0\]\.blend is"),
        ("clip: jeep.mp4", "clip: jeep.mp4, style: fine", r"items\[0\]\.style is"),
        ("clip: jeep.mp4", "clip: jeep.mp4, mask: ../mask.mp4", "outside"),
        ("clip: jeep.mp4", "clip: jeep.mp4, drawn: {}", r"lacks items\[0\]\.drawn\.scene"),
    ],
    "study make": [
        ("version: 1", "version: 3", "version 3"),
        ("version: 1", "version: 1\ntitle: [a]", "title is"),
        ("version: 1", "version: 1\nnum_frames: 0", "num_frames is 0"),
        ("version: 1", "version: 1\nsize: false", "size is False"),
        (", fame: jeep.mp4", "", r"items\[0\]: jeep.mp4 has 1 results; give two or more"),
        (", fame: jeep.mp4", ", fame: 5", r"items\[0\]\.results\.fame is 5"),
        ("{fatezero: jeep.mp4, fame: jeep.mp4}", "[jeep.mp4]", r"items\[0\]\.results is"),
    ],
}
WHERE = {"audit --tasks": "clip: jeep.mp4", "bench run": "clip: jeep.mp4", "study make": "source: jeep.mp4"}
CLIPS: dict[str, tuple[str, str]] = {
    "that leaves the folder": ("../jeep.mp4", "names the clip .*/jeep.mp4, which is outside"),
    "that leaves the folder later": ("frames/../../jeep.mp4", "which is outside"),
    "without a name": ("''", "names a clip ''"),
    "of blanks": ("'  '", "names a clip"),
    "that is not there": ("gone.mp4", "names clips that are not in .*: gone.mp4"),
    "that is absolute and not there": ("/nowhere/gone.mp4", "not in .*/nowhere/gone.mp4"),
    "of a very long name": ("y" * 300, "too long"),
    "with markup as its name": ("'[red]gone[/nope].mp4'", r"\[red\]gone\[/nope\]"),
}
DRAWN: dict[str, tuple[str, str]] = {
    "an unknown place": (drawn(place="moon"), "no background 'moon'"),
    "an unknown thing": (drawn(noun="rocket"), "no vehicle named 'rocket'"),
    "an unknown colour": (drawn(colour="mauve"), "no colour 'mauve'"),
    "no colour": (drawn(colour="null"), "has no colour"),
    "no size": (drawn(scale=0.0), "scale is 0.0"),
    "an endless size": (drawn(scale=".inf"), "finite"),
    "a seed below 0": (drawn(seed=-1), "seed is -1"),
    "a seed that is no number": (drawn(seed="one"), r"scene\.seed is 'one'"),
    "a change to nothing known": (drawn(change="{noun: rocket}"), "no vehicle named 'rocket'"),
    "a change of nothing known": (drawn(change="{wheels: six}"), "a drawn scene cannot change its 'wheels'"),
    "a change of numbers": (drawn(change="{x: '5'}"), "a drawn scene cannot change its 'x'"),
    "a change that is none": (drawn(change="[noun]"), r"drawn\.change is"),
    "an unknown kind": (drawn(kind="shape"), "cannot be of kind 'shape'"),
}


def _lists() -> list[Case]:
    found = []
    for command, (good, keys) in LISTS.items():
        arguments = YAML[command][0]
        for key, (part, says) in keys.items():
            assert part in good, part
            left = good.replace(part, "", 1)
            found.append(
                Case(f"{command}: no {key}", arguments("x.yaml"), put("x.yaml", left), says=f"x[.]yaml:? ?{says}")
            )
        for before, after, says in CHANGED[command]:
            assert before in good, before
            found.append(
                Case(f"{command}: {after!r} for {before!r}", arguments("x.yaml"),
                     put("x.yaml", good.replace(before, after, 1)), says=f"x[.]yaml.*{says}")
            )  # fmt: skip
        for name, (clip, says) in CLIPS.items():
            key, _, _ = WHERE[command].partition(":")
            found.append(
                Case(f"{command}: a clip {name}", arguments("x.yaml"),
                     put("x.yaml", good.replace(WHERE[command], f"{key}: {clip}", 1)), says=f"x[.]yaml.*{says}")
            )  # fmt: skip
        for name, content, says in (
            ("an empty file", "", "x[.]yaml is empty; give a mapping of version"),
            ("a list", "- 1", r"x[.]yaml is \[1\]; give a mapping of version"),
            ("only text", "hello", "x[.]yaml is 'hello'; give a mapping of version"),
        ):
            found.append(Case(f"{command}: {name}", arguments("x.yaml"), put("x.yaml", content), says=says))
    return found + [
        Case(f"bench run: a drawn item with {name}", YAML["bench run"][0]("x.yaml"), put("x.yaml", text), says=says)
        for name, (text, says) in DRAWN.items()
    ]


HEAD = "Video name,Our GT caption,Style Change Caption\n"
ENTRY: dict[str, Any] = {"video_id": "jeep", "prompt": "a jeep", "edit": [{"prompt": "a car"}]}
LAYOUTS: dict[str, tuple[dict[str, str | bytes], str]] = {
    "nothing": ({"b/readme.md": "hello"}, "is not a benchmark"),
    "a table of a field of 200 kB": ({"b/t.csv": HEAD + "jeep," + "x" * 200_000},
                                     "line 2: field larger than field limit"),
    "a table with NUL": ({"b/t.csv": HEAD.encode() + b"je\0ep,a,b"}, r"U\+0000"),
    "a table in UTF-16": ({"b/t.csv": HEAD.encode("utf-16")}, "UTF-16"),
    "a table in Latin-1": ({"b/t.csv": HEAD.encode() + b"jeep,caf\xe9,b"}, "UTF-8"),
    "a table with too many values": ({"b/t.csv": HEAD + "jeep,a,b,c,d\n"}, "line 2 has 5 values for 3 headings"),
    "a table of headings": ({"b/t.csv": HEAD}, "contains no edits|is not a benchmark"),
    "a table that names no edits": ({"b/t.csv": HEAD + "DAVIS:,,\n"}, "contains no edits"),
    "a table whose clip is elsewhere": ({"b/t.csv": HEAD + "/etc/hostname,a jeep,a car\n"}, "give a name inside it"),
    "a table whose clip leaves it": ({"b/t.csv": HEAD + "../jeep.mp4,a jeep,a car\n"}, "which is outside"),
    "a table whose clip has a long name": ({"b/t.csv": HEAD + "y" * 300 + ",a jeep,a car\n"}, "too long"),
    "a table whose clip is missing": ({"b/t.csv": HEAD + "jeep,a jeep,a car\n"}, "not in b: jeep"),
    "a table with a clip twice": ({"b/t.csv": HEAD + "jeep,a jeep,a car\njeep,a jeep,a bus\n"}, "share the name"),
    "a list that is no YAML": ({"b/l.yaml": "["}, "cannot read the list"),
    "a list of laughs": ({"b/l.yaml": LAUGHS}, "more than 100000 values"),
    **{
        f"a list with {name}": ({"b/l.yaml": json.dumps({"data": data})}, says)
        for name, data, says in (
            ("nothing in it", [], "contains no edits"),
            ("a number in it", [5], r"data\[0\] has no video_id \(it is 5\)"),
            ("no video_id", [{"prompt": "a", "edit": []}], r"data\[0\] has no video_id"),
            ("a video_id that is a list", [{**ENTRY, "video_id": ["a"]}], r"data\[0\]\.video_id is"),
            ("no prompt", [{k: v for k, v in ENTRY.items() if k != "prompt"}], r"data\[0\]: jeep has no prompt"),
            ("a prompt that is a list", [{**ENTRY, "prompt": ["a"]}], r"data\[0\]\.prompt is"),
            ("no edits", [{k: v for k, v in ENTRY.items() if k != "edit"}], r"data\[0\] has no edit"),
            ("edits that are none", [ENTRY, {**ENTRY, "edit": "a car"}], r"data\[1\]\.edit is 'a car'"),
            ("an edit that is text", [{**ENTRY, "edit": ["a car"]}], r"data\[0\]\.edit\[0\] has no prompt"),
            ("an edit without a prompt", [{**ENTRY, "edit": [{"a": 1}]}], r"data\[0\]\.edit\[0\] has no prompt"),
            ("an edit whose prompt is a number", [{**ENTRY, "edit": [{"prompt": 5}]}], r"edit\[0\]\.prompt is 5"),
            ("an edit whose type is a list", [{**ENTRY, "edit": [{"prompt": "a", "type": []}]}], r"edit\[0\]\.type is"),
            ("a clip elsewhere", [{**ENTRY, "video_id": "/etc/hostname"}], "give a name inside it"),
            ("a clip that leaves it", [{**ENTRY, "video_id": "../jeep.mp4"}], "which is outside"),
        )
    },
    "a clip and prompts in Latin-1": ({"b/jeep.mp4": b"x", "b/jeep.txt": b"caf\xe9\ncar"},
                                       "cannot read the prompts.*UTF-8"),
    "a clip and one prompt": ({"b/jeep.mp4": b"x", "b/jeep.txt": "a jeep\n"}, "has no target prompt"),
    "a clip and a folder of prompts": ({"b/jeep.mp4": b"x", "b/jeep.txt/a": "a"}, "it is a folder"),
}  # fmt: skip


def _layouts() -> list[Case]:
    def make(files: dict[str, str | bytes]) -> Callable[[World], object]:
        return lambda world: [world.write(name, content) for name, content in files.items()]

    found = [
        Case(f"bench run: a folder with {name}", ("bench", "run", "b", "--model", "{model}"), make(files), says=says)
        for name, (files, says) in LAYOUTS.items()
    ]

    def pipe(name: str) -> Callable[[World], object]:
        return lambda world: ((world.folder / "b").mkdir(), os.mkfifo(world.folder / "b" / name))

    return found + [
        Case(
            f"bench run: a folder with a pipe {name}",
            ("bench", "run", "b", "--model", "{model}"),
            pipe(name),
            says="pipe",
        )
        for name in ("t.csv", "l.yaml")
    ]


def result(change: Callable[[dict[str, Any]], object]) -> str:
    """A benchmark's result that was changed."""
    data = json.loads(json.dumps(RESULT))
    change(data)
    return json.dumps(data)


METHOD = ("results", "fatezero")
RESULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda d: d.update(format=9), "has format 9; this version reads 2"),
    "no format": (lambda d: d.pop("format"), "it has no key 'format'"),
    "a format that is a list": (lambda d: d.update(format=[2]), r"has format \[2\]"),
    "no results": (
        lambda d: d.pop("results"),
        "lacks results: estimates, averaged over kinds of edits, by method and metric",
    ),
    "results that are a list": (lambda d: d.update(results=[1]), r"results is \[1\]"),
    "a method that is a number": (lambda d: d["results"].update(fatezero=5), "results.fatezero is 5"),
    "a method without a metric": (lambda d: d["results"]["fatezero"].pop("clip_t"), "lacks the metric clip_t"),
    "a method with no metric": (lambda d: d["results"].update(fatezero={}), "lacks the metric"),
    "a metric that is unknown": (lambda d: d["results"]["fatezero"].update(beauty=ESTIMATE), "no metric 'beauty'"),
    "a metric that is text": (
        lambda d: d["results"]["fatezero"].update(clip_t="high"),
        "results.fatezero.clip_t is 'high'",
    ),
    "an estimate without n": (lambda d: d["results"]["fatezero"]["clip_t"].pop("n"), "lacks results.fatezero.clip_t.n"),
    "an n that is none": (lambda d: d["results"]["fatezero"]["clip_t"].update(n=None), "clip_t.n is None; give an int"),
    "an n below 0": (lambda d: d["results"]["fatezero"]["clip_t"].update(n=-1), "n below 0"),
    "a value that is text": (lambda d: d["results"]["fatezero"]["clip_t"].update(value="x"), "clip_t.value is 'x'"),
    "a value that is true": (lambda d: d["results"]["fatezero"]["clip_t"].update(value=True), "clip_t.value is True"),
    "kinds that are a list": (lambda d: d.update(kinds=[]), "kinds is"),
    "curves that are text": (lambda d: d.update(curves="x"), "curves is 'x'"),
    "pairs of half the metrics": (
        lambda d: d.update(pairs={"fame": {"clip_t": ESTIMATE}}),
        "pairs.fame lacks the metric",
    ),
    "failures that are a number": (lambda d: d.update(failed=5), "failed is 5"),
    "a failure that is a number": (lambda d: d.update(failed=[5]), r"failed\[0\] is 5"),
    "more than it should have": (lambda d: d.update({"[red]x": 1}), r"no setting '\[red\]x'"),
}
KEY_PARTS = ("title", "seed", "questions", "items", "clips", "study")


def _results() -> list[Case]:
    key = {"title": "a", "seed": 0, "questions": {"q": "?"}, "items": [{"prompt": "a", "source": "b", "hash": "c"}],
           "clips": {"k": {"item": 0, "method": "m", "path": "p", "hash": "h"}}, "study": "0" * 16,
           "format": 1}  # fmt: skip
    show = ("study", "show", "a.json", "--key", "k.json")
    return [
        *(
            Case(f"{command}: {name}", JSON[command][0]("x.json"), put("x.json", result(change)),
            says=f"x[.]json.*{says}")
            for command in ("bench show", "bench compare")
            for name, (change, says) in RESULTS.items()
        ),
        *(
            Case(f"study show: a key without {part}", show,
                 put("k.json", json.dumps({k: v for k, v in key.items() if k != part}), **{"a.json": "{}"}),
                 says=f"k[.]json lacks {part}")
            for part in KEY_PARTS
        ),
        *(
            Case(f"study show: a key with {part} {value!r}", show,
                 put("k.json", json.dumps({**key, part: value}), **{"a.json": "{}"}), says=f"k[.]json.*{says}")
            for part, value, says in (
                ("title", 5, "title is 5"), ("seed", 1.5, "seed is 1.5"), ("questions", [], "questions is"),
                ("questions", {"q": 5}, "questions.q is 5"), ("items", {}, "items is"),
                ("items", [5], r"items\[0\] is 5"),
                ("items", [{}], r"lacks items\[0\]\.prompt"), ("clips", {}, "no clips"),
                ("clips", {"k": 5}, "clips.k is 5"),
                ("clips", {"k": {**key["clips"]["k"], "item": 7}}, "clips.k.item is 7"),  # type: ignore[index]
                ("study", 5, "study is 5"), ("study", "f" * 16, "was changed"), ("format", 2, "format 1 .it has 2."),
                ("format", "1", "it has '1'"),
            )
        ),
        Case("bench show: names with markup", ("bench", "show", "x.json"),
             put("x.json", result(lambda d: d["results"].update({"[bold]m[/nope]": d["results"]["fatezero"]}))),
             code=0, says=None, environment={"COLUMNS": "300"}, check=lambda world, out: _in("[bold]m[/nope]", out)),
        Case("bench compare: names with markup", ("bench", "compare", "[red]x[/b].json", "[red]x[/b].json"),
             put("[red]x[/b].json", json.dumps(RESULT)), code=0, says=None, check=lambda world,
             out: _in("[red]x", out)),
        Case("bench show: a folder without a result", ("bench", "show", "frames"), says="bench.json: No such file"),
        Case("bench show: what is not a number is null", ("bench", "show", "x.json", "--full"),
             put("x.json", json.dumps(RESULT)), code=0, says=None, check=lambda world,
             out: _in("0.5 (0.1 to nan)", out)),
    ]  # fmt: skip


def _in(part: str, out: str) -> None:
    assert part in out, out


OPTIONS: dict[str, str] = {
    "[1, 2": "expected", "[" * 500: "deep", "!!python/object:os.system x": "tag", ".inf": "finite", "1e999": "finite",
    "9" * 5000: "5000 digits", "{a: 1, a: 2}": "twice", "&a [*a]": "itself", '"\\e[31m"': r"U\+001B", "a: b: c": "map",
    "*a": "is not defined", **dict.fromkeys(("2001-02-30", "0x", "true", "[]", "{}", "~", "1:30"), "give a float"),
}  # fmt: skip


def _values() -> list[Case]:
    return [
        *(
            Case(f"edit --set blend_threshold={value[:40]}", edit("--set", f"blend_threshold={value}"), says=says)
            for value, says in OPTIONS.items()
        ),
        *(
            Case(f"sweep --over blend_threshold={value[:40]}",
                 ("sweep", "jeep.mp4", "-s", SOURCE, "-p", TARGET, "--over", f"blend_threshold={value}"), says=says)
            for value, says in (("!!binary aa", "tag"), (".nan", "finite"), ("9" * 5000, "5000 dig"), ("[", "expected"))
        ),
        Case("edit --set of a number with an exponent", edit("--set", "blend_threshold=3e-1", "-o", "out.mp4"), code=0,
             says=None, new=("out.*",)),
    ]  # fmt: skip


SWEEP = ("sweep", "jeep.mp4", "-s", SOURCE, "-p", TARGET, "--model", "{model}", "--steps", 2, "--over",
         "cross_replace_steps=0.5", "-o", "s", "--frames", 2)  # fmt: skip
TUNE = ("tune", "jeep.mp4", "-p", SOURCE, "--model", "{model}", "--steps", 1, "-o", "t")


def after(arguments: tuple[Any, ...], damage: Callable[[World], object]) -> Callable[[World], object]:
    """Run a command, then damage what it left."""

    def make(world: World) -> None:
        from faircut.cli import main

        with pytest.raises(SystemExit) as leaving:
            main([str(argument).replace("{model}", str(world.model)) for argument in arguments])
        assert leaving.value.code == 0
        damage(world)

    return make


def record(change: Callable[[dict[str, Any]], object]) -> Callable[[World], object]:
    """Change the record of a sweep."""

    def damage(world: World) -> None:
        (path,) = (world.folder / "s" / "records").glob("*.json")
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return damage


def cut(pattern: str, share: float) -> Callable[[World], object]:
    """Cut a file off."""

    def damage(world: World) -> None:
        (path,) = world.folder.glob(pattern)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return damage


def folder_at(pattern: str) -> Callable[[World], object]:
    """Put a folder in the place of a file."""

    def damage(world: World) -> None:
        (path,) = world.folder.glob(pattern)
        path.unlink()
        path.mkdir()

    return damage


def _damaged() -> list[Case]:
    records = {
        "that was cut off": cut("s/records/*.json", 0.5),
        "that is empty": cut("s/records/*.json", 0.0),
        "of an older layout": record(lambda d: d.pop("figures")),
        "of a newer layout": record(lambda d: d.update(colour="red")),
        "of another edit": record(lambda d: d.update(key="0" * 24)),
        "with text for a figure": record(lambda d: d["figures"].update(clip_t="high")),
        "that is a folder": folder_at("s/records/*.json"),
    }
    tuning = ("checkpoint.safetensors", "tune.json", "finished.json")
    return [
        *(
            Case(f"sweep: a record {name}", SWEEP, after(SWEEP, damage), code=0, says=None, new=("s/*",),
            changed=("s/*",),
                 warns=(r"records/\w+[.]json is damaged and is made again; it is kept as \w+[.]json[.]damaged",),
                 slow=True)
            for name, damage in records.items()
        ),
        *(
            Case(f"tune: {name} of which {share:.0%} is left", TUNE, after(TUNE, cut(f"t/{name}", share)), code=0,
            says=None,
                 new=("t/*",), changed=("t/*",), slow=share > 0,
                 warns=(f"{name} is damaged and is made again; it is kept as {name}[.]damaged",))
            for name in tuning
            for share in (0.0, 0.9)
        ),
        Case("tune: another's tune.json", TUNE, put("t/tune.json", '{"melody": "la la"}'),
        says="choose another folder"),
    ]  # fmt: skip


CASES = [
    *_not_yaml(), *_not_json(), *_files(), *_settings(), *_lists(), *_layouts(), *_results(), *_values(), *_damaged(),
]  # fmt: skip
