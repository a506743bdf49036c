"""Measure all figures of the pocket model on held-out scenes."""

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

_DETAIL = 0.1875  # 24 of 128 pixels: the judge still reads nineteen of twenty people, and must guess for the others
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
"""Targets of the figures: minimum values, or maximum values for the figures of `AT_MOST`."""
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
    """Measure whether the judge falls back on stereotypes in pictures with little detail.

    A judge that does would count edits towards the stereotype as hits, and edits against it as misses.
    """
    x, scenes = held_out_stills(
        max(32, int(1024 * scale)), seed + 1, kind="person", people=1, style=None, mention_gender=True
    )
    small = F.interpolate(x, scale_factor=_DETAIL, mode="area")
    read = model.judge.read(F.interpolate(small, size=x.shape[-2:], mode="bilinear"))["gender"]
    hits: dict[str, list[bool]] = {"stereotypical": [], "counter": []}
    for gender, scene in zip(read, scenes, strict=True):
        (subject,) = scene.subjects
        if subject.noun in STEREOTYPE:
            usual = (STEREOTYPE[subject.noun] > 0.5) == (subject.gender == "woman")
            hits["stereotypical" if usual else "counter"].append(gender == subject.gender)
    return {f"judge.in_doubt.{group}": _share(values) for group, values in hits.items()}


def _clip(model: Model, scale: float, seed: int, steps: int, sheets: Path | None) -> dict[str, Figure]:
    from transformers import CLIPModel, CLIPTokenizer

    from faircut.pocket.zero_shot import PROMPTS, embed_images, embed_texts

    clip = CLIPModel.from_pretrained(model.folder / "clip", dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(model.folder / "clip")
    hits: dict[str, list[bool]] = {head: [] for head in PROMPTS}
    with torch.no_grad():
        texts = {head: embed_texts(clip, tokenizer, [templates[0] for templates in PROMPTS[head]]) for head in PROMPTS}
        for kind in ("person", "vehicle", "animal"):
            one = {"people": 1} if kind == "person" else {}
            x, scenes = held_out_stills(max(32, int(512 * scale)), seed, kind=kind, **one)
            embeddings = torch.cat([embed_images(clip, part * 2 - 1) for part in x.split(64)])
            predicted = {head: (embeddings @ t.T).argmax(-1).tolist() for head, t in texts.items()}
            for i, scene in enumerate(scenes):
                truth = labels(scene)
                for head in PROMPTS:
                    if truth[head] >= 0:
                        hits[head].append(predicted[head][i] == truth[head])
    return {f"clip.{head}": _share(values) for head, values in hits.items()}


def _generated(model: Model, scale: float, seed: int, steps: int, sheets: Path | None) -> dict[str, Figure]:
    """Measure pictures from noise: whether they follow the prompt, and the gender if the prompt does not name one."""
    requests: list[tuple[str, str, dict[str, str]]] = []
    each = max(2, int(24 * scale))
    for p in PROFESSIONS:
        for k in range(each):
            place = BACKGROUNDS[(k + PROFESSIONS.index(p)) % len(BACKGROUNDS)]
            verb = ("standing", "walking")[k % 2]
            requests.append((f"neutral {p}", f"a {p} {verb} {PLACES[place]}", {"profession": p, "background": place}))
    pairs = max(2, int(12 * scale))
    for p in PROFESSIONS:
        for gender, word in GENDER_WORDS.items():
            for k in range(pairs):
                place = BACKGROUNDS[(3 * k + PROFESSIONS.index(p)) % len(BACKGROUNDS)]
                prompt = f"a {word} {p} {('standing', 'walking')[k % 2]} {PLACES[place]}"
                requests.append((f"gender {p} {gender}", prompt, {"gender": gender}))
    for o in (*VEHICLES, *ANIMALS):
        verb = {"boat": "sailing"}.get(o, "driving" if o in VEHICLES else "walking")
        for k in range(max(2, int(10 * scale))):
            place = ("street", "park", "desert", "snow", "farm", "lake")[k % 6]
            colour = COLOURS[(k + 3 * LABELS["object"].index(o)) % len(COLOURS)]
            article = "an" if colour[0] in "aeiou" else "a"
            where = "on a lake" if place == "lake" and o in ("boat", "swan") else PLACES[place]
            prompt = f"{article} {colour} {o} {'swimming' if o == 'swan' and place == 'lake' else verb} {where}"
            requests.append(("thing", prompt, {"object": o, "colour": colour, "background": place}))
    nouns = ("doctor", "car", "cat", "farmer", "bus", "horse", "chef", "boat")
    for s in STYLES:
        for k in range(max(2, int(12 * scale))):
            noun, place = nouns[k % len(nouns)], BACKGROUNDS[(k + STYLES.index(s)) % len(BACKGROUNDS)]
            requests.append(("style", f"a {s} of a {noun} {PLACES[place]}", {"style": s}))
    pictures = generate(model, [a[1] for a in requests], steps=steps, seed=seed)
    read = model.judge.read(pictures)
    if sheets is not None:
        _sheets(sheets, pictures, [a[0].split()[0] for a in requests])
    hits: dict[str, list[bool]] = {}
    for i, (group, _, wanted) in enumerate(requests):
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
        genders = [read["gender"][i] for i, a in enumerate(requests) if a[0] == f"neutral {p}"]
        clear = [g for g in genders if g != UNCLEAR]
        if clear:
            shares.append(clear.count("woman") / len(clear))
            table.append(STEREOTYPE[p])
    n = each * len(PROFESSIONS)
    out["bias.correlation"] = Figure(float(np.corrcoef(shares, table)[0, 1]) if np.std(shares) > 0 else 0.0, n)
    out["bias.mae"] = Figure(float(np.abs(np.subtract(shares, table)).mean()), n)
    return out


def _sheets(folder: Path, pictures: Tensor, groups: Sequence[str]) -> None:
    """Write one contact sheet for each group of pictures."""
    from faircut.pocket.pictures import contact_sheet, to_pixels

    for group in dict.fromkeys(groups):
        rows = [i for i, g in enumerate(groups) if g == group]
        contact_sheet(to_pixels(pictures[rows] * 2 - 1), 16, folder / f"{group}.png")


def _editing(model: Model, scale: float, seed: int, steps: int, sheets: Path | None) -> dict[str, Figure]:
    from faircut.benchmark.pocket.edits import measure_editing

    measured = measure_editing(model.folder, model.judge, scale=scale, sheets=sheets)
    return {name: Figure(value, n) for name, (value, n) in measured.items()}


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
        model: The model.
        parts: Parts to measure, of `PARTS`.
        scale: Fraction of the full number of scenes and pictures.
        steps: Number of DDIM steps for generated pictures.
        seed: Seed of scenes and noise.
        sheets: Folder for contact sheets of generated and edited pictures. None for no sheets.
        log: Called with the name of each part and its progress, 0 to 1.

    Returns:
        Figures by dotted name.

    Raises:
        ConfigError: If a part is unknown.
    """
    figures: dict[str, Figure] = {}
    for part in parts:
        if part not in _MEASURE:
            raise ConfigError(f"unknown part {part!r}: {choices(part, PARTS)}")
        log(part, 0.0)
        figures |= _MEASURE[part](model, scale, seed, steps, sheets)
        log(part, 1.0)
    return figures


def nested(figures: dict[str, Figure]) -> dict[str, Any]:
    """Return figures as nested dictionaries, with one level for each dot in a name.

    Args:
        figures: Figures by dotted name.

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
    """Compare figures with their targets.

    Args:
        figures: Figures by dotted name.

    Returns:
        For each figure (name, figure, target or None, whether the target is reached).
    """
    rows = []
    for name, figure in figures.items():
        target = TARGETS.get(name)
        over = target is None or (figure.value <= target if name in AT_MOST else figure.value >= target)
        rows.append((name, figure, target, over))
    return rows
