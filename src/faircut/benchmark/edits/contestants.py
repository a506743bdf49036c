"""The methods of a benchmark, each with the options that its paper publishes for a kind of edit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from faircut.benchmark.edits.items import EditItem
from faircut.benchmark.names import pick
from faircut.methods import (
    BlendedLatent,
    Ddim,
    DiffEdit,
    FateZero,
    MasaCtrl,
    Method,
    NullText,
    Pix2PixZero,
    PlugAndPlay,
    PromptToPrompt,
    SDEdit,
    TokenFlow,
    TuneAVideo,
    VideoGrain,
    VideoP2P,
)
from faircut.pocket.edit_cases import fatezero_for

__all__ = ["CONTESTANTS", "Contestant", "get_contestants"]

Build = Callable[[EditItem], Method | None]


@dataclass(frozen=True)
class Contestant:
    """One way of editing the items of a benchmark.

    Attributes:
        name: what results call it.
        build: makes the method for an item; None where it cannot be asked for such an edit.
        about: what it is, in a few words.
        through: what is edited: the clip; the clip, with a model that was tuned to it; or a layer of the clip's atlas.
    """

    name: str
    build: Build
    about: str
    through: Literal["clip", "tuned", "atlas"] = "clip"


def _prompt_to_prompt(kind: type[PromptToPrompt]) -> Build:
    def build(item: EditItem) -> Method:
        # Where FateZero has other step windows than it published, because a kind of edit needs them, so has this.
        freer, published = _fatezero(item), FateZero()
        windows = {
            name: getattr(freer, name)
            for name in ("cross_replace_steps", "self_replace_steps")
            if getattr(freer, name) != getattr(published, name)
        }
        return kind(blend_words=item.blend, reweight=freer.reweight, **windows)

    return build


def _fatezero(item: EditItem) -> FateZero:
    method: FateZero = fatezero_for(item.kind, item.blend, item.style)
    return method


def _in_atlas(item: EditItem) -> Method | None:
    # The foreground is where the subject's words are; by motion alone a subject that stands still is lost.
    return None if item.blend is None else _fatezero(item)


def _videograin(item: EditItem) -> Method | None:
    # Without a subject there is no region to bind.
    return None if item.blend is None else VideoGrain((item.blend,))


def _blended_latent(item: EditItem) -> Method | None:
    # With a mask all over it would be SDEdit.
    return None if item.blend is None else BlendedLatent(item.blend[0])


CONTESTANTS: dict[str, Contestant] = {
    contestant.name: contestant
    for contestant in (
        Contestant("fatezero", _fatezero, "FateZero"),
        Contestant("ddim", lambda item: Ddim(), "DDIM inversion and guidance"),
        Contestant("sdedit", lambda item: SDEdit(shared_noise=False), "SDEdit, frame by frame"),
        Contestant("sdedit-shared", lambda item: SDEdit(), "SDEdit, with the same noise for all frames"),
        Contestant("prompt-to-prompt", _prompt_to_prompt(PromptToPrompt), "Prompt-to-Prompt, frame by frame"),
        Contestant("null-text", _prompt_to_prompt(NullText), "Prompt-to-Prompt on null-text inversion"),
        Contestant("pix2pix-zero", lambda item: Pix2PixZero(), "pix2pix-zero"),
        Contestant("plug-and-play", lambda item: PlugAndPlay(), "Plug-and-Play"),
        Contestant("masactrl", lambda item: MasaCtrl(), "MasaCtrl"),
        Contestant("diffedit", lambda item: DiffEdit(), "DiffEdit"),
        Contestant("blended-latent", _blended_latent, "Blended Latent Diffusion"),
        Contestant("tokenflow", lambda item: TokenFlow(), "TokenFlow"),
        Contestant("videograin", _videograin, "VideoGrain"),
        Contestant("tune-a-video", lambda item: TuneAVideo(), "Tune-A-Video", "tuned"),
        Contestant("fatezero-tuned", _fatezero, "FateZero on a model tuned to the clip", "tuned"),
        Contestant("atlas", _in_atlas, "FateZero on a layered atlas", "atlas"),
        Contestant("video-p2p", _prompt_to_prompt(VideoP2P), "Video-P2P"),
    )
}
"""Every way of editing by its name."""


def get_contestants(names: Sequence[str]) -> list[Contestant]:
    """Return ways of editing by their names; ``"all"`` stands for all of them.

    Raises:
        ConfigError: there is none of a name.
    """
    return pick(names, CONTESTANTS, {"all": CONTESTANTS})
