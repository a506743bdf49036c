"""The contestants of a benchmark: methods with the options that their papers publish for each kind of edit."""

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
    """A method that edits the items of a benchmark.

    Attributes:
        name: Name in results.
        build: Function that makes the method for an item. Returns None if the method cannot make such an edit.
        about: Description in a few words.
        through: What is edited: the clip, the clip with a model fine-tuned on it, or a layer of the clip's atlas.
    """

    name: str
    build: Build
    about: str
    through: Literal["clip", "tuned", "atlas"] = "clip"


def _prompt_to_prompt(kind: type[PromptToPrompt]) -> Build:
    def build(item: EditItem) -> Method:
        # If a kind of edit needs other step windows than FateZero's published ones, they are used here too.
        adapted, published = _fatezero(item), FateZero()
        windows = {
            name: getattr(adapted, name)
            for name in ("cross_replace_steps", "self_replace_steps")
            if getattr(adapted, name) != getattr(published, name)
        }
        return kind(blend_words=item.blend, reweight=adapted.reweight, **windows)

    return build


def _fatezero(item: EditItem) -> FateZero:
    method: FateZero = fatezero_for(item.kind, item.blend, item.style)
    return method


def _in_atlas(item: EditItem) -> Method | None:
    # The foreground is located by the subject's words, because motion alone misses a subject that stands still.
    return None if item.blend is None else _fatezero(item)


def _videograin(item: EditItem) -> Method | None:
    # Without a subject there is no region.
    return None if item.blend is None else VideoGrain((item.blend,))


def _blended_latent(item: EditItem) -> Method | None:
    # With a mask of the whole frame, the method would be SDEdit.
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
"""All contestants by name."""


def get_contestants(names: Sequence[str]) -> list[Contestant]:
    """Return contestants by their names; ``"all"`` stands for all of them.

    Raises:
        ConfigError: If there is no contestant of a name.
    """
    return pick(names, CONTESTANTS, {"all": CONTESTANTS})
