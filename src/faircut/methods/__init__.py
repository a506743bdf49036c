"""Editing methods, each a frozen dataclass of options that turns a task into controllers, and their registry."""

from faircut.methods.base import Cost, EditRegion, EditTask, Method, Start, Watcher, get_method, method_names
from faircut.methods.blended_latent import BlendedLatent
from faircut.methods.ddim import Ddim, TuneAVideo
from faircut.methods.diffedit import DiffEdit
from faircut.methods.fame import Fame, Person
from faircut.methods.fatezero import FateZero
from faircut.methods.masactrl import MasaCtrl
from faircut.methods.pix2pix_zero import Pix2PixZero
from faircut.methods.plug_and_play import PlugAndPlay
from faircut.methods.prompt_to_prompt import NullText, PromptToPrompt, VideoP2P
from faircut.methods.sdedit import SDEdit
from faircut.methods.tokenflow import TokenFlow
from faircut.methods.videograin import VideoGrain

__all__ = [
    "BlendedLatent",
    "Cost",
    "Ddim",
    "DiffEdit",
    "EditRegion",
    "EditTask",
    "Fame",
    "FateZero",
    "MasaCtrl",
    "Method",
    "NullText",
    "Person",
    "Pix2PixZero",
    "PlugAndPlay",
    "PromptToPrompt",
    "SDEdit",
    "Start",
    "TokenFlow",
    "TuneAVideo",
    "VideoGrain",
    "VideoP2P",
    "Watcher",
    "get_method",
    "method_names",
]
