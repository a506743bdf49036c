# ruff: noqa: RUF005
"""What is typed: numbers, prompts, words, options; and what reaches the terminal."""

from __future__ import annotations

import json

from .corpus import SOURCE, Case, World, edit

# Numbers --------------------------------------------------------------------------------------------------------------

_NO_NUMBERS = {
    "of another script": "\u0663",
    "a superscript": "\u00b2",
    "signed twice": "+-3",
    "with an underscore": "1_0",
    "nan": "nan",
    "infinite": "inf",
    "beyond a float": "1e999",
    "of thousands of digits": "9" * 5000,
    "in hexadecimal": "0x10",
    "empty": "",
}
_WHOLE = ("--frames", "--start", "--stride", "--steps", "--seed", "--least-channels")
_REAL = ("--guidance", "--threshold", "--fixed-point", "--fresh-noise")
_UNREADABLE = [
    Case(f"{flag} {kind}", edit(f"{flag}={text}"), says=f"{flag}.*'.* is not a (whole )?number")
    for flag in (*_WHOLE, *_REAL)
    for kind, text in _NO_NUMBERS.items()
]
_BEYOND = {
    "--frames": ("0", "-1", "1000001", "9223372036854775808"),
    "--start": ("-1", "99999999999999999"),
    "--stride": ("0", "-2", "100000000000"),
    "--steps": ("0", "-5", "1000", "1000000000"),
    "--seed": ("-1", "999999999999999999999"),
    "--least-channels": ("-1", "999999999"),
    "--guidance": ("-0.1", "1e308", "1001"),
    "--threshold": ("-0.1", "1", "2"),
    "--fixed-point": ("-0.1", "1.5", "1e300"),
    "--fresh-noise": ("-1", "1.01"),
}
_OUT_OF_RANGE = [
    Case(f"{flag} {value} is out of range", edit(f"{flag}={value}"), says=r"is -?\d|steps were asked|whole number")
    for flag, values in _BEYOND.items()
    for value in values
]

_TEXTS = {
    "--size": (
        "0", "-8", "64x", "x64", "64x64x64", "\u0663\u0662", "\u00b2", "6_4", "7", "99999999", "1e3", "big", "",
        "99999999999999999999", "64 x", "nan",
    ),
    "--attend": ("\u0663", "++1", "1_0", "midle", "", ",", "99999999", "first,,last", "1.5"),
    "--cross-replace": ("nan", "inf", "-0.1", "1.1", "0.8,0.2", "0.1,0.2,0.3", "", ",", "\u0660,\u0661", "0_1",
    "1e400"),
    "--self-replace": ("nan", "2", "0.9,0.1", "much"),
    "--latent-blend": ("nan", "0.9,0.1", "-1"),
    "--memory-budget": ("nan", "-1", "inf", "lots", "1_000", "\u0663GiB", "9e99TiB", "", "GiB"),
    "--word-replace": ("car", "car=nan", "car=2", "=0.5", "car=", "car=0.9,0.1", "zebra=0.5"),
    "--reweight": ("car", "car=nan", "car=1e308", "car=inf", "=4", "car=", "zebra=2", "car=\u0663"),
    "--lora": ("none:nan", "none:inf", "none:1e308", "none:1000", "", ":", "none:1_000"),
    "--blend": ("", ":", "::", "jeep", "jeep:", ":car", "jeep:car:road", ",:,", "3:4", "zebra:car", "jeep:zebra",
    "jeep;car"),
    "--supplier": ("", "Live", "both"),
    "--alignment": ("", "none", "REPLACE"),
    "--device": ("", "gpu", "cuda:99", "cuda:-1", "cpu:x", "meta", "cuda:\u0663", "mps:3", "xla", "cpu:0:0", "cpu:7"),
    "--dtype": ("", "int8", "float64", "Float32", "torch.float32"),
    "--method": ("", "none", "fatezero ", "fatezero,ddim", "../fatezero"),
    "--set": (
        "", "=", "x", "=1", "blend_threshold=nan", "blend_threshold=true", "blend_threshold=[", "blend_threshold=\"",
        "blend_threshold=2001-13-45", "blend_threshold=1e999", "blend_threshold={a: b}", "blend_threshold=.nan",
        "blend_threshold=!!python/name:os.system", "blend_threshold=&a [*a]", f"blend_threshold={'9' * 5000}",
        f"blend_threshold={'[' * 5000}", "reweight=5", "reweight={car: .inf}", "reweight=[1]", "blend_words=5",
        "blend_words=[]",
        "blend_words=[a, b, c]", "blend_words=[[3], [4]]", "blend_words=[[], []]", "cross_replace_steps=[0.2]",
        "cross_replace_steps=[a, b]", "cross_replace_steps=true", "latent_blend_steps=[.nan, 1]", "name=ddim",
        "blend_self_attention=5", "fresh_noise=null", "alignment=5", "word_replace_steps={car: 5}", "0=1", "name=5",
        "region_guidance=no way", "self_replace_steps=0:30", "self_replace_steps=1_0",
    ),
}  # fmt: skip
_ODD = [
    Case(f"{flag} {(value[:30] or 'nothing')!a}", edit(f"{flag}={value}"), says=".") for flag, values in _TEXTS.items()
    for value in values
]  # fmt: skip

_OPTIONS = {
    "sdedit": ("strength=0", "strength=2", "strength=nan", "strength=.nan", "strength=a", "shared_noise=3",
    "strength=1e999"),
    "blended-latent": ("words=5", "words=[]", "words=zebra", "threshold=1", "strength=0", "masks=5", "masks=[[1]]"),
    "diffedit": ("draws=0", "draws=100000000", "draws=1.5", "mask_strength=0", "threshold=1", "strength=-1"),
    "masactrl": ("steps=2", "steps=[1, 0]", "steps=a", "steps=[]"),
    "plug-and-play": ("feature_layer=nowhere", "feature_layer=5", "feature_layer=", "feature_steps=3",
    "attention_steps=nan"),
    "tokenflow": ("interval=0", "interval=-1", "interval=1e99", "interval=99999999999999999999", "interval=1.5"),
    "pix2pix-zero": (
        "guidance=-1", "guidance=.nan", "guidance=1e308", "source_sentences=[a]", "source_sentences=5",
        "source_sentences=[]", "target_sentences=a",
    ),
    "prompt-to-prompt": ("blend_threshold=5", "reweight={zebra: 2}", "latent_blend_steps=9"),
    "null-text": ("alignment=x",),
    "tune-a-video": ("x=1",),
    "ddim": ("x=1",),
}  # fmt: skip
_METHODS = [
    Case(f"{method}: {option}", edit("--method", method, "--set", option), says=".") for method,
    options in _OPTIONS.items()
    for option in options if option not in ("source_sentences=[]",)
]  # fmt: skip
_VIDEOGRAIN = [
    Case(f"videograin: {' '.join(more) or 'no regions'}", edit("--method", "videograin", *more), says=".")
    for more in (
        (), ("--blend", "jeep:car", "--set", "threshold=1"), ("--blend", "jeep:car", "--set", "self_modulation=2"),
        ("--blend", "jeep,road:car"), ("--set", "regions=5"), ("--set", "regions=[]"), ("--set", "regions=[[a]]"),
        ("--set", "regions=[[zebra, car]]"), ("--blend", "jeep:car", "--set", "masks=5"),
        ("--blend", "jeep:car", "--set", "masks=[1]"),
    )
]  # fmt: skip
_FAME = [
    Case(f"fame: {' '.join(more)[:60]}", edit("--method", "fame", *more), says=".")
    for more in (
        ("--alpha", "nan"), ("--alpha", "4"), ("--alpha", "-1"), ("--alpha", "\u0663"), ("--alpha", ""),
        ("--alpha", "1_0"),
        ("--alpha", "Auto"), ("--target", ""), ("--target", "everybody"), ("--target", "3"), ("--target", "MALE "),
        ("--target", "male", "--target", "female", "--target", "male"), ("--attribute", "age"), ("--attribute", ""),
        ("--blend", "jeep,silver:car"), ("--blend", "zebra:car"), ("--set", "people=5"), ("--set", "people=[]"),
        ("--set", "people=[5]"), ("--set", "people=[{source: a}]"), ("--set", "people=[{source: 1, phrase: 2}]"),
        ("--set", "base=5"), ("--set", "base={x: 1}"), ("--set", "eta=2"), ("--set", "temporal_decay=0"),
        ("--set", "temporal_decay=.nan"), ("--set", "region_threshold=1"), ("--set", "alpha=null"),
        ("--set", "alpha=.nan"), ("--set", "fresh_noise=2"), ("--reader", "nowhere/at/all", "--target", "preserve"),
    )
]  # fmt: skip
_NOT_FAME = [
    Case(f"{flag} is no option of fatezero", edit(flag, value), says="is for --method fame")
    for flag, value in (("--target", "male"), ("--attribute", "hair"), ("--alpha", "1"))
]

# Other commands -------------------------------------------------------------------------------------------------------

_M = ("--model", "{model}")
_S = ("-s", SOURCE, "-p", "a silver car driving down a road", *_M)
_COMMANDS: dict[str, tuple[tuple[object, ...], ...]] = {
    "tune": tuple(
        ("tune", "jeep.mp4", "-p", SOURCE, *_M, *more)
        for more in (
            ("--steps=0",), ("--steps=-1",), ("--lr=nan",), ("--lr=0",), ("--lr=2",), ("--lr=1_0",), ("--seed=-1",),
            ("--seed=99999999999999999999",), ("--validate-every=0",), ("--validation-steps=0",),
            ("--validation-steps=1000", "--validate", "a car"), ("--guidance=nan",), ("--guidance=1e308",),
            ("--validate=",), ("--validate=a" + " b" * 90,), ("--validate=" + "a" * 120_000,), ("--device=gpu",),
            ("--frames=0",), ("--size=0",), ("--validate=a\x1bb",),
        )
    ),
    "tune with a prompt": (("tune", "jeep.mp4", "-p", "", *_M), ("tune", "jeep.mp4", "-p", "a " * 100, *_M)),
    "invert": tuple(
        ("invert", "jeep.mp4", "-s", SOURCE, *_M, *more)
        for more in (("--steps=0",), ("--steps=1000",), ("--size=64x",), ("--device=gpu",), ("--dtype=x",),
        ("--lora=a:nan",))
    ),
    "sweep": tuple(
        ("sweep", "jeep.mp4", *_S, "--steps=2", *more)
        for more in (
            (), ("--over", ""), ("--over", "="), ("--over", "x=1"), ("--over", "fresh_noise="),
            ("--over", "fresh_noise=2"),
            ("--over", "fresh_noise=0,nan"), ("--over", "fresh_noise=,"), ("--over", "reweight.zebra=1,2"),
            ("--over", "reweight.car=.nan"), ("--over", "fresh_noise.x=1"), ("--over", ".=1"), ("--over", "name=ddim"),
            ("--over", "fresh_noise=0,1", "--agreement=x"), ("--over", "fresh_noise=0,1", "--consistency=warp_error"),
            ("--over", "fresh_noise=0,1", "--clip-model=nowhere"), ("--over", "fresh_noise=0,1", "--steps=1000"),
            ("--over", "fresh_noise=0,1", "--device=gpu"), ("--over", "fresh_noise=" + ",".join(["0"] * 300)),
            ("--over", "fresh_noise=0,1", "-p", ""), ("--over", "blend_words=jeep"),
        )
    ),
    "plan": tuple(("plan", "jeep.mp4", *_S, *more) for more in (("--steps=1000",), ("-p", ""), ("--frames=0",),
    ("--dtype=x",))),
    "align": tuple(("align", *_S, *more) for more in (("-p", ""), ("--blend=a:b",), ("--method=x",),
    ("-s", "a " * 100))),
    "audit": tuple(
        ("audit", *_M, *more)
        for more in (
            ("--n=0",), ("--n=-1",), ("--seed=-1",), ("--steps=0",), ("--steps=1000",), ("--guidance=nan",),
            ("--alpha=nan",),
            ("--alpha=4",), ("--alpha=\u0663",), ("--shard=0/1",), ("--shard=2/1",), ("--shard=1/\u0663",),
            ("--shard=1",),
            ("--shard=1/2/3",), ("--shard=-1/2",), ("--methods=",), ("--methods=x",), ("--policies=x",),
            ("--policies=,",),
            ("--attribute=age",), ("--benchmark=x",), ("--device=gpu",), ("--dtype=x",), ("--reader=nowhere",),
            ("--clip=nowhere",), ("--tasks=nowhere.yaml",), ("--tasks=jeep.mp4",), ("--tasks=x", "--benchmark=y"),
        )
    ),
    "bench": tuple(
        ("bench", "run", *_M, *more)
        for more in (
            ("--limit=0",), ("--limit=-1",), ("--seed=-1",), ("--steps=0",), ("--steps=1000",), ("--tuning-steps=0",),
            ("--shard=0/1",), ("--shard=\u00b9/2",), ("--methods=",), ("--methods=x",), ("--device=gpu",),
            ("--dtype=x",),
            ("--clip=nowhere",), ("nowhere",), ("jeep.mp4",),
        )
    ),
    "demo": tuple(
        ("demo", "colour", *_M, *more)
        for more in (("--steps=0",), ("--steps=1000",), ("--frames=0",), ("--frames=-1",), ("--frames=1000000",))
    ) + (("demo", "x"), ("demo", ""), ("demo", "all", "colour"), ("demo", "colour", "--model", "nowhere/x")),
    "atlas": tuple(
        ("atlas", "fit", "jeep.mp4", *more)
        for more in (
            ("--steps=0",), ("--steps=-1",), ("--seed=-1",), ("--frames=0",), ("--size=0",), ("--words=jeep",),
            ("--words=", "-s", SOURCE, *_M), ("--words=zebra", "-s", SOURCE, *_M), ("--mask=nowhere.png",),
            ("--words=jeep", "--mask=x", "-s", SOURCE, *_M), ("--words=,", "-s", SOURCE, *_M),
        )
    ) + (("atlas", "edit", "nowhere", *_S), ("atlas", "edit", "frames", *_S),
    ("atlas", "edit", "frames", *_S, "--layer=x")),
    "evaluate": tuple(
        ("evaluate", "jeep.mp4", "--source", "jeep.mp4", "-s", SOURCE, "-p", "a car", *more)
        for more in (
            ("--frames=0",), ("--start=-1",), ("--stride=0",), ("--device=gpu",), ("--clip=nowhere",), ("-p", ""),
            ("-p", "a" * 120_000), ("-p", "a\x1b[31mb"), ("-s", "\udc80"), ("--mask=nowhere",), ("--stride=2",),
        )
    ),
    "study": (
        ("study", "make", "nowhere.yaml"), ("study", "make", "nowhere.yaml", "--seed=-1"),
        ("study", "make", "jeep.mp4"),
        ("study", "show", "nowhere.json", "--key", "nowhere.json"), ("study", "show", "--key", "x"),
    ),
    "pocket": (
        ("pocket", "evaluate", "--scale=0"), ("pocket", "evaluate", "--scale=nan"),
        ("pocket", "evaluate", "--scale=1.1"),
        ("pocket", "evaluate", "--part=x"), ("pocket", "evaluate", "--steps=0"), ("pocket", "evaluate", "--steps=1000"),
        ("pocket", "evaluate", "--seed=-1"), ("pocket", "evaluate", "--device=gpu"),
        ("pocket", "evaluate", "--model=nowhere"),
        ("pocket", "train", "--minutes=nan"), ("pocket", "train", "--minutes=-1", "-o", "out"),
        ("pocket", "train", "--stage=x", "-o", "out"), ("pocket", "train", "--config=nowhere.yaml"), ("pocket", "x"),
    ),
    "anything": (
        ("edti",), ("edit", "--promt", "a"), ("edit", "-p"), ("edit", "a", "b"), ("-x",), ("edit", "--"),
        ("bench",), ("bench", "show", "nowhere"), ("bench", "show", "jeep.mp4"), ("bench", "compare", "a", "b"),
        ("\x1b[31m",),
        ("edit", "--\x1b[31m"), ("edit", "\x1b]0;x\x07.mp4", *_S), ("edit", "[red]x[/red].mp4", *_S), ("",),
        ("--version=3",),
        ("edit", "--json=3"), ("tune", "convert"), ("tune", "convert", "nowhere", "-o", "x"), ("edit", "a\nb.mp4", *_S),
        ("edit", "jeep.mp4", *_S, "--config", "nowhere"), ("edit", "\udcff.mp4", *_S), ("edit", "a\0b.mp4", *_S),
    ),
}  # fmt: skip
_OTHERS = [
    Case(f"{command} {number}: {' '.join(map(str, words[1:]))[-40:]!a}", words, says=".")
    for command, uses in _COMMANDS.items()
    for number, words in enumerate(uses)
    if words not in (("bench",),)
]

# Prompts --------------------------------------------------------------------------------------------------------------

_BAD_PROMPTS = {
    "with a lone surrogate": ("a \udc80 car", "valid text"),
    "with half an emoji": ("a \ud83d car", "valid text"),
    "with a zero byte": ("a \0 car", "zero byte"),
    "with an escape sequence": ("a \x1b[31mred\x1b[0m car", r"control character \\x1b"),
    "with a bell": ("a \x07 car", r"control character"),
    "with a C1 control": ("a \x9b31m car", r"control character"),
    "of 120 kB of one letter": ("a" * 120_000, "120,000 characters"),
    "of 120 kB of one symbol": ("\U0001f600" * 30_000, "30,000 characters"),
    "of 120 kB of words": ("car " * 30_000, "characters"),
    "of too many tokens": ("a car " * 60, "tokens"),
}
_PROMPTS = [
    Case(f"a {side} prompt {kind}", edit(**{side.replace("target", "prompt"): text}), says=said)
    for side in ("source", "target")
    for kind, (text, said) in _BAD_PROMPTS.items()
] + [
    Case(f"a negative prompt {kind}", edit("--negative-prompt", text), says=said)
    for kind, (text, said) in _BAD_PROMPTS.items()
]
_EMPTY = [
    Case(f"a target prompt of {kind}", edit(prompt=text), says="prompt.* is empty")
    for kind, text in {
        "nothing": "",
        "a space": " ",
        "a tab": "\t",
        "lines": "\n\n",
        "no-break spaces": "\u00a0\u3000",
    }.items()
]


def _keeps(text: str):
    def check(world: World, out: str) -> None:
        report = json.loads((world.folder / "out.report.json").read_text(encoding="utf-8"))
        assert report["settings"]["prompt"] == text

    return check


_GOOD_PROMPTS = {
    "numbers": "3 4", "a number": "5", "yes": "yes", "null": "null", "zero-width": "a\u200bcar\u200d",
    "of RTL": "\u200f\u05e1\u05d9 car",
    "emoji": "a \U0001f697 on a road", "lines": "a car\non a road", "markup": "[red]a car[/red] :car:",
    "quotes": "a 'car' \"x\" `y`",
    "yaml": "a: {b: [c, &d *e !!f]} # g", "html": "<script>alert(1)</script>", "combining": "a\u0301\u0302\u0303 car",
    "many spaces": "a" + " " * 3000 + "car", "percent": "100 %s %(x)s {0} {x}", "backslashes": r"C:\new\table",
    "bidi override": "a \u202e car",
}  # fmt: skip
_GOOD = [
    Case(f"a prompt of {kind} is edited to", edit("-o", "out.mp4", prompt=text), code=0, says=None, new=("out.*",),
         check=_keeps(text), slow=kind not in ("markup", "of RTL"))
    for kind, text in _GOOD_PROMPTS.items()
] + [
    Case("an empty source prompt is one", edit("-o", "out.mp4", source=""), code=0, says=None, new=("out.*",)),
    Case("a word that is a number can be blended",
    edit("-o", "out.mp4", "--blend", "3:4", source="3 cars", prompt="4 cars"),
         code=0, says=None, new=("out.*",)),
    Case("a word that is a number can be reweighted", edit("-o", "out.mp4", "--reweight", "4=2", prompt="4 cars"),
    code=0,
         says=None, new=("out.*",)),
    Case("the largest seed", edit("-o", "out.mp4", "--seed", 2**63 - 1, "--fresh-noise", 0.5), code=0, says=None,
         new=("out.*",), environment={}),
    Case("an empty negative prompt is none", edit("-o", "out.mp4", "--negative-prompt", ""), code=0, says=None,
         new=("out.*",)),
    Case("help", ("edit", "--help"), code=0, says=None),
    Case("the version", ("--version",), code=0, says=None),
    Case("half precision on a CPU", edit("-o", "out.mp4", "--dtype", "float16"), code=0, says=None, new=("out.*",)),
    Case("bfloat16 on a CPU", edit("-o", "out.mp4", "--dtype", "bfloat16"), code=0, says=None, new=("out.*",)),
]  # fmt: skip

# The terminal ---------------------------------------------------------------------------------------------------------


def _is_json(world: World, out: str) -> None:
    assert isinstance(json.loads(out), dict)
    assert out.isascii()


_TERMINALS = {
    "no colours": {"NO_COLOR": "1"},
    "a dumb terminal": {"TERM": "dumb"},
    "no terminal type": {"TERM": None},
    "one column": {"COLUMNS": "1"},
    "no columns": {"COLUMNS": "0"},
    "columns of another script": {"COLUMNS": "\u00b2"},
    "columns that are no number": {"COLUMNS": "wide", "LINES": "-3", "TERMINAL_WIDTH": "x"},
}
_SHOWN = [
    Case(f"{name}: align", ("align", *_S), code=0, says=None, environment=environment)
    for name, environment in _TERMINALS.items()
] + [
    Case("align shows a prompt's brackets as they are", ("align", "-s", "a [red]car[/red]", "-p", "a :car: [x]", *_M),
    code=0,
         says=None, check=lambda world, out: [out.index(part) for part in ("[", "red", "]", ":")]),
    Case("the report as JSON, and nothing else", edit("--json", "-o", "out.mp4", prompt="a \u202e\u00e9 car"), code=0,
    says=None,
         new=("out.*",), check=_is_json),
    Case("the alignment as JSON", ("align", *_S, "--json", "-p", "une voiture \u00e9l\u00e9gante"), code=0, says=None,
         check=_is_json),
    Case("the plan as JSON", ("plan", "jeep.mp4", *_S, "--steps", 2, "--json"), code=0, says=None, check=_is_json,
    slow=True),
    Case("a clip of a name that steers a terminal", ("edit", "\u202ea\x1b[2J.mp4", *_S), says=r"\\u202ea\\x1b\[2J"),
    Case("a clip of a name with markup", ("edit", "[bold]a[/bold].mp4", *_S), says=r"\[bold\]a\[/bold\]\.mp4"),
]  # fmt: skip

CASES = [
    *_UNREADABLE, *_OUT_OF_RANGE, *_ODD, *_METHODS, *_VIDEOGRAIN, *_FAME, *_NOT_FAME, *_OTHERS, *_PROMPTS, *_EMPTY,
    *_GOOD,
    *_SHOWN,
]  # fmt: skip
