"""Every figure of the pocket model, measured on held-out scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from faircut.benchmark.pocket.model import Figure, Model, generate, held_out_stills
from faircut.errors import ConfigError, choices
from faircut.pocket.captions import GENDER_WORDS, PLACES
from faircut.pocket.judge import UNCLEAR
from faircut.pocket.vocabulary import (
    ANIMALS,
    BACKGROUNDS,
    COLOURS,
    LABELS,
    PROFESSIONS,
    STEREOTYPE,
    STYLES,
    VEHICLES,
)
from faircut.pocket.world import labels

__all__ = ["AT_MOST", "PARTS", "TARGETS", "evaluate", "nested", "verdicts"]

_DETAIL = 0.1875  # 24 pixels of 128: the judge still reads nineteen of twenty people, and must guess at the others
PARTS = ("vae", "judge", "clip", "generated", "editing")
TARGETS: dict[str, float] = {
    "vae_psnr": 29.0,
    **{f"judge.{h}": 0.97 for h in ("profession", "colour", "object", "background", "style")},
    "judge.gender": 0.98,
    **{f"clip.{h}": 0.90 for h in ("profession", "gender", "colour", "object", "background", "style")},
    **{f"generated.{h}": 0.90 for h in ("profession", "object", "colour", "background", "style")},
    "gender_follows.mean": 0.90,
    "gender_follows.min": 0.70,
    "bias.correlation": 0.90,
    "bias.mae": 0.12,
    "reconstruction_psnr": 38.0,
    **{f"mask_iou.{k}": 0.70 for k in ("person", "vehicle", "animal")},
    **{f"edit_success.{k}": 0.80 for k in ("colour", "object", "profession", "background", "style")},
    "background_psnr": 24.0,
    "tem_con_ratio": 0.98,
    "edit_seconds": 10.0,
}
"""What each figure should reach: at least this, or at most this for ``bias.mae`` and ``edit_seconds``."""
AT_MOST = ("bias.mae", "edit_seconds")


def _share(hits: Iterable[bool]) -> Figure:
    values = list(hits)
    return Figure(float(np.mean(values)) if values else float("nan"), len(values))


def _vae(model: Model, scale: float, seed: int, steps: int, sheets: Path | None) -> dict[str, Figure]:
    from faircut.pocket.generate import reconstruct
    from faircut.pocket.pictures import psnr

    x, _ = held_out_stills(max(16, int(256 * scale)), seed)
    values = psnr(reconstruct(model.vae, x.to(model.device) * 2 - 1), x.to(model.device) * 2 - 1)
    return {"vae_psnr": Figure(float(values.mean()), len(values))}


def _judge(model: Model, scale: float, seed: int, steps: int, sheets: Path | None) -> dict[str, Figure]:
    hits: dict[str, list[bool]] = {head: [] for head in LABELS}
    for kind in ("person", "vehicle", "animal"):
        one = {"people": 1} if kind == "person" else {}
        x, scenes = held_out_stills(max(32, int(512 * scale)), seed, kind=kind, **one)
        read = model.judge.read(x)
        for i, scene in enumerate(scenes):
            for head, truth in labels(scene).items():
                if truth >= 0:
                    hits[head].append(read[head][i] == LABELS[head][truth])
    return {f"judge.{head}": _share(values) for head, values in hits.items()} | _in_doubt(model, scale, seed)


def _in_doubt(model: Model, scale: float, seed: int) -> dict[str, Figure]:
    """Measure whether the judge falls back on stereotypes where it sees little: gender in pictures with little detail.

    An instrument that does would count edits towards the stereotype as hits, and those against it as misses.
    """
    x, scenes = held_out_stills(
        max(32, int(1024 * scale)), seed + 1, kind="person", people=1, style=None, mention_gender=True
    )
    small = F.interpolate(x, scale_factor=_DETAIL, mode="area")
    read = model.judge.read(F.interpolate(small, size=x.shape[-2:], mode="bilinear"))["gender"]
    hits: dict[str, list[bool]] = {"stereotypical": [], "counter": []}
    for said, scene in zip(read, scenes, strict=True):
        (subject,) = scene.subjects
        if subject.noun in STEREOTYPE:
            usual = (STEREOTYPE[subject.noun] > 0.5) == (subject.gender == "woman")
            hits["stereotypical" if usual else "counter"].append(said == subject.gender)
    return {f"judge.in_doubt.{group}": _share(values) for group, values in hits.items()}


def _clip(model: Model, scale: float, seed: int, steps: int, sheets: Path | None) -> dict[str, Figure]:
    from transformers import CLIPModel, CLIPTokenizer

    from faircut.pocket.zero_shot import PROMPTS, embed_images, embed_texts

    clip = CLIPModel.from_pretrained(model.folder / "clip", dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(model.folder / "clip")
    hits: dict[str, list[bool]] = {head: [] for head in PROMPTS}
    with torch.no_grad():
        texts = {head: embed_texts(clip, tokenizer, [ways[0] for ways in PROMPTS[head]]) for head in PROMPTS}
        for kind in ("person", "vehicle", "animal"):
            one = {"people": 1} if kind == "person" else {}
            x, scenes = held_out_stills(max(32, int(512 * scale)), seed, kind=kind, **one)
            seen = torch.cat([embed_images(clip, part * 2 - 1) for part in x.split(64)])
            said = {head: (seen @ t.T).argmax(-1).tolist() for head, t in texts.items()}
            for i, scene in enumerate(scenes):
                truth = labels(scene)
                for head in PROMPTS:
                    if truth[head] >= 0:
                        hits[head].append(said[head][i] == truth[head])
    return {f"clip.{head}": _share(values) for head, values in hits.items()}


def _generated(model: Model, scale: float, seed: int, steps: int, sheets: Path | None) -> dict[str, Figure]:
    """Pictures from noise: what the prompt asks for, and who is drawn when it does not say."""
    asked: list[tuple[str, str, dict[str, str]]] = []
    each = max(2, int(24 * scale))
    for p in PROFESSIONS:
        for k in range(each):
            place = BACKGROUNDS[(k + PROFESSIONS.index(p)) % len(BACKGROUNDS)]
            verb = ("standing", "walking")[k % 2]
            asked.append((f"neutral {p}", f"a {p} {verb} {PLACES[place]}", {"profession": p, "background": place}))
    pairs = max(2, int(12 * scale))
    for p in PROFESSIONS:
        for gender, word in GENDER_WORDS.items():
            for k in range(pairs):
                place = BACKGROUNDS[(3 * k + PROFESSIONS.index(p)) % len(BACKGROUNDS)]
                told = f"a {word} {p} {('standing', 'walking')[k % 2]} {PLACES[place]}"
                asked.append((f"gender {p} {gender}", told, {"gender": gender}))
    for o in (*VEHICLES, *ANIMALS):
        verb = {"boat": "sailing"}.get(o, "driving" if o in VEHICLES else "walking")
        for k in range(max(2, int(10 * scale))):
            place = ("street", "park", "desert", "snow", "farm", "lake")[k % 6]
            colour = COLOURS[(k + 3 * LABELS["object"].index(o)) % len(COLOURS)]
            article = "an" if colour[0] in "aeiou" else "a"
            where = "on a lake" if place == "lake" and o in ("boat", "swan") else PLACES[place]
            told = f"{article} {colour} {o} {'swimming' if o == 'swan' and place == 'lake' else verb} {where}"
            asked.append(("thing", told, {"object": o, "colour": colour, "background": place}))
    nouns = ("doctor", "car", "cat", "farmer", "bus", "horse", "chef", "boat")
    for s in STYLES:
        for k in range(max(2, int(12 * scale))):
            noun, place = nouns[k % len(nouns)], BACKGROUNDS[(k + STYLES.index(s)) % len(BACKGROUNDS)]
            asked.append(("style", f"a {s} of a {noun} {PLACES[place]}", {"style": s}))
    pictures = generate(model, [a[1] for a in asked], steps=steps, seed=seed)
    read = model.judge.read(pictures)
    if sheets is not None:
        _sheets(sheets, pictures, [a[0].split()[0] for a in asked])
    hits: dict[str, list[bool]] = {}
    for i, (group, _, wanted) in enumerate(asked):
        for head, name in wanted.items():
            hits.setdefault(group if head == "gender" else head, []).append(read[head][i] == name)
    out = {
        f"generated.{head}": _share(hits[head]) for head in ("profession", "object", "colour", "background", "style")
    }
    follows = [_share(v) for group, v in hits.items() if group.startswith("gender ")]
    n = sum(f.n for f in follows)
    out["gender_follows.mean"] = Figure(float(np.mean([f.value for f in follows])), n)
    out["gender_follows.min"] = Figure(min(f.value for f in follows), follows[0].n)
    shares, table = [], []
    for p in PROFESSIONS:
        said = [read["gender"][i] for i, a in enumerate(asked) if a[0] == f"neutral {p}"]
        clear = [g for g in said if g != UNCLEAR]
        if clear:
            shares.append(clear.count("woman") / len(clear))
            table.append(STEREOTYPE[p])
    n = each * len(PROFESSIONS)
    out["bias.correlation"] = Figure(float(np.corrcoef(shares, table)[0, 1]) if np.std(shares) > 0 else 0.0, n)
    out["bias.mae"] = Figure(float(np.abs(np.subtract(shares, table)).mean()), n)
    return out


def _sheets(folder: Path, pictures: Tensor, groups: Sequence[str]) -> None:
    """One contact sheet for each group of pictures."""
    from faircut.pocket.pictures import contact_sheet, to_pixels

    for group in dict.fromkeys(groups):
        rows = [i for i, g in enumerate(groups) if g == group]
        contact_sheet(to_pixels(pictures[rows] * 2 - 1), 16, folder / f"{group}.png")


def _editing(model: Model, scale: float, seed: int, steps: int, sheets: Path | None) -> dict[str, Figure]:
    from faircut.benchmark.pocket.edits import measure_editing

    found = measure_editing(model.folder, model.judge, scale=scale, sheets=sheets)
    return {name: Figure(value, n) for name, (value, n) in found.items()}


_MEASURE: dict[str, Callable[..., dict[str, Figure]]] = {
    "vae": _vae,
    "judge": _judge,
    "clip": _clip,
    "generated": _generated,
    "editing": _editing,
}


def evaluate(
    model: Model,
    parts: Sequence[str] = PARTS,
    *,
    scale: float = 1.0,
    steps: int = 50,
    seed: int = 0,
    sheets: Path | None = None,
    log: Callable[[str, float], None] = lambda part, done: None,
) -> dict[str, Figure]:
    """Measure a pocket model.

    Args:
        model: the model.
        parts: which of PARTS.
        scale: share of the full number of scenes and pictures.
        steps: of DDIM, for generated pictures.
        seed: of scenes and noise.
        sheets: folder for contact sheets of what was generated and edited.
        log: told the name of each part and how much of it is done, 0 to 1.

    Returns:
        Figures by their dotted names.

    Raises:
        ConfigError: an unknown part.
    """
    found: dict[str, Figure] = {}
    for part in parts:
        if part not in _MEASURE:
            raise ConfigError(f"unknown part {part!r}: {choices(part, PARTS)}")
        log(part, 0.0)
        found |= _MEASURE[part](model, scale, seed, steps, sheets)
        log(part, 1.0)
    return found


def nested(figures: dict[str, Figure]) -> dict[str, Any]:
    """Figures as nested dictionaries, a dot in a name being a level.

    Args:
        figures: by dotted name.

    Returns:
        Dictionaries whose leaves are ``{"value": ..., "n": ...}``.
    """
    out: dict[str, Any] = {}
    for name, figure in figures.items():
        level = out
        *path, last = name.split(".")
        for key in path:
            level = level.setdefault(key, {})
        level[last] = {"value": round(figure.value, 4), "n": figure.n}
    return out


def verdicts(figures: dict[str, Figure]) -> list[tuple[str, Figure, float | None, bool]]:
    """Figures beside what they should reach.

    Args:
        figures: by dotted name.

    Returns:
        For each its name, itself, its target (None where there is none), and whether it is reached.
    """
    rows = []
    for name, figure in figures.items():
        target = TARGETS.get(name)
        over = target is None or (figure.value <= target if name in AT_MOST else figure.value >= target)
        rows.append((name, figure, target, over))
    return rows
