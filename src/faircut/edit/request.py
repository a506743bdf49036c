"""What one edit is asked for, as values: the settings of a run from file to files, and the request for a clip in
memory.

A request has one key, which names its inversion and its edit wherever either is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faircut.config.ranges import MAX_FRAMES, check_guidance, check_range, check_seed, check_steps
from faircut.config.reading import dump_yaml, read_yaml, short_repr
from faircut.config.texts import check_prompt, check_text, shorten
from faircut.config.values import SpatialTemporal, Supplier, check_types, from_dict, to_dict
from faircut.errors import ConfigError
from faircut.files import GENERATOR, write_text

if TYPE_CHECKING:
    from faircut.methods.base import Method

__all__ = ["DTYPES", "EditRequest", "RunSettings", "load_settings", "parse_device", "save_settings", "split_scale"]

DTYPES = ("auto", "float32", "float16", "bfloat16")

# Fields of a request that only an edit depends on, and those that change nothing but time, memory and rounding.
_OF_EDIT = {"prompt", "method", "guidance_scale", "negative_prompt", "seed"}
_INDIFFERENT = {"supplier", "memory_budget", "inversion", "reconstruction"}


@dataclass(frozen=True)
class EditRequest:
    """All that decides one edit of one clip whose frames are in memory.

    Attributes:
        source_prompt: Source prompt: what the clip shows.
        prompt: what the edit shows.
        method: an editing method; None asks for the inversion alone.
        num_inference_steps: N, of inversion and edit.
        guidance_scale: g of classifier-free guidance; 1 switches it off.
        negative_prompt: what the edit avoids: the prompt of the unconditional branch.
        seed: of everything that is drawn.
        temporal: how the frames see each other; None is as the method needs it, or else as the model is used to.
        fixed_point_steps: share of the inversion's steps, from the clip on, that are corrected by a fixed-point
            iteration, 0 to 1.
        supplier: where the source's attention comes from: ``"auto"``, ``"live"``, ``"memory"`` or ``"disk"``.
        memory_budget: bytes that recorded attention may take in ``"auto"``; None is an eighth of the free memory.
        inversion: a folder that `Inversion.save` wrote, in place of inverting the clip.
        reconstruction: whether the inversion's quality is measured, which takes about as long as inverting.
    """

    source_prompt: str
    prompt: str = ""
    method: Method | None = None
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    negative_prompt: str = ""
    seed: int = 0
    temporal: SpatialTemporal | None = None
    fixed_point_steps: float = 0.0
    supplier: Supplier = "auto"
    memory_budget: int | None = None
    inversion: str | None = None
    reconstruction: bool = False

    def __post_init__(self) -> None:
        _check_edit(self)
        if self.method is not None:
            from faircut.methods.base import check_type

            check_type(self.method)
        if self.temporal is not None and not isinstance(self.temporal, SpatialTemporal):
            raise ConfigError(
                f"temporal is {short_repr(self.temporal)}; give a SpatialTemporal, such as SpatialTemporal(('first',))"
            )

    def seen(self, usual: SpatialTemporal) -> SpatialTemporal:
        """Return how the frames see each other: as requested, else as the method needs it, else as usual.

        Args:
            usual: `VideoEditor.spatial_temporal` of the model.
        """
        return self.temporal or (self.method.temporal if self.method is not None else None) or usual

    def key(self, clip: Any, *, model: str, device: str, temporal: SpatialTemporal, **more: Any) -> str:
        """Name the edit by all that decides it; or the inversion, where there is no method.

        Where the source's attention comes from (live, memory, disk) is not in it: the result is the same but for
        rounding.

        Args:
            clip: frames or latents, 4 axes; or a digest of them, and of whatever else belongs to the clip.
            model: fingerprint of the model, its dtype, adapters, scheduler and tokenizer included.
            device: kind of device, such as ``"cpu"``: another one rounds otherwise.
            temporal: how the frames see each other, from `seen`.
            more: whatever else decides, by name.

        Returns:
            32 hexadecimal digits.
        """
        from faircut.model.fingerprint import key_of, software

        left_out = _INDIFFERENT if self.method is not None else _INDIFFERENT | _OF_EDIT
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left_out}
        if self.method is not None:
            facts["method"] = (self.method.name, self.method)
        facts |= {"clip": clip, "model": model, "device": device, "temporal": temporal}
        return key_of(**facts, more=more, software=software())


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides what one edit of one clip gives.

    Attributes:
        clip: the video file or folder of pictures.
        source_prompt: Source prompt: what the clip shows.
        prompt: Target prompt: what the edited clip should show.
        output: where the edited clip goes; what goes beside it takes its stem.
        model: ``"pocket"``, a Stable Diffusion folder or a name on the hub.
        method: ``name`` of an editing method, and its options by name.
        num_inference_steps: N.
        guidance_scale: g of classifier-free guidance.
        negative_prompt: what the unconditional branch is given.
        seed: for methods that draw noise.
        num_frames: how many frames to read; None for all.
        start: the first frame to read.
        stride: Distance between two frames that are read; 1 reads every frame.
        size: the shorter side in pixels, or (height, width); None for the clip's own.
        temporal: how the frames see each other; None is as the method needs it, or as the model is used to.
        fixed_point_steps: share of the inversion's steps, from the clip on, that are corrected by a fixed-point
            iteration.
        supplier: where the source's attention comes from: ``"auto"``, ``"live"``, ``"memory"`` or ``"disk"``.
        memory_budget: bytes that recorded attention may take in ``"auto"``.
        device: a torch device, or ``"auto"``.
        dtype: ``"float32"``, ``"float16"``, ``"bfloat16"`` or ``"auto"`` (half precision on CUDA, float32 elsewhere).
        reader: who reads what is perceived of people: ``"auto"`` (the judge, for the pocket model) or a CLIP.
        lora: LoRA files, folders or names on the hub, each with ``:scale`` or without.
        inversion: a folder that `Inversion.save` wrote; the clip is not inverted again.
        cache: whether inversions are kept and found again by content.
        reconstruction: whether the inversion's quality is measured, which takes about a quarter of the time.
        save_masks: whether the blend masks are written as a picture.
        save_attention: whether the source's cross-attention is written as a picture.
    """

    clip: str
    source_prompt: str
    prompt: str
    output: str
    model: str = "pocket"
    method: Mapping[str, Any] = field(default_factory=lambda: {"name": "fatezero"})
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    negative_prompt: str = ""
    seed: int = 0
    num_frames: int | None = None
    start: int = 0
    stride: int = 1
    size: int | tuple[int, int] | None = None
    temporal: SpatialTemporal | None = None
    fixed_point_steps: float = 0.0
    supplier: Supplier = "auto"
    memory_budget: int | None = None
    device: str = "auto"
    dtype: str = "auto"
    reader: str = "auto"
    lora: tuple[str, ...] = ()
    inversion: str | None = None
    cache: bool = True
    reconstruction: bool = True
    save_masks: bool = False
    save_attention: bool = False

    def __post_init__(self) -> None:
        _check_edit(self)
        places = ("clip", "output", "model", "device", "dtype", "reader", "supplier")
        texts = {name: getattr(self, name) for name in places} | {"inversion": self.inversion or ""}
        for name, text in (*texts.items(), *(("lora", text) for text in self.lora)):
            check_text(text, name)
        if self.num_frames is not None:
            check_range("num_frames", self.num_frames, 1, MAX_FRAMES, flag="--frames")
        check_range("start", self.start, 0, MAX_FRAMES, flag="--start")
        check_range("stride", self.stride, 1, MAX_FRAMES, flag="--stride")
        for side in () if self.size is None else (self.size,) if isinstance(self.size, int) else self.size:
            check_range("size", side, 8, 65_536, flag="--size", example="512 pixels")
        for text in self.lora:
            split_scale(text)
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; give one of {', '.join(DTYPES)}")
        if not isinstance(self.method.get("name"), str):
            raise ConfigError(f"method {dict(self.method)!r} has no name; give one, such as name: fatezero")

    def build_method(self) -> Any:
        """Build the editing method.

        Raises:
            ConfigError: If the method or one of its options does not exist.
        """
        from faircut.methods import get_method

        cls = get_method(self.method["name"])
        options = {name: value for name, value in self.method.items() if name != "name"}
        people = options.get("people") or ()
        for part in (options, *(people if isinstance(people, (list, tuple)) else ())):
            if isinstance(part, Mapping) and part.get("masks") is not None:
                raise ConfigError(f"masks of {cls.name} are arrays, which only Python can give; name words instead")
        return from_dict(cls, options, f"method {cls.name}")

    def request(self, **changes: Any) -> EditRequest:
        """Return the request for the clip, whose frames are then in memory.

        Args:
            changes: fields of the request that are to be other than here.

        Raises:
            ConfigError: If the method or one of its options does not exist.
        """
        names = {f.name for f in dataclasses.fields(EditRequest)} - {"method"}
        same = {name: getattr(self, name) for name in names}
        method = changes.pop("method") if "method" in changes else self.build_method()
        return EditRequest(**{**same, **changes}, method=method)


def _check_edit(values: EditRequest | RunSettings) -> None:
    """Check the fields that settings and requests share.

    Raises:
        ConfigError: one is out of range.
    """
    for name, text in (("source prompt", values.source_prompt), ("prompt", values.prompt)):
        check_prompt(text, f"the {name}")
    check_prompt(values.negative_prompt, "the negative prompt")
    if values.supplier not in ("auto", "live", "memory", "disk"):
        raise ConfigError(f"supplier is {values.supplier!r}; give 'auto', 'live', 'memory' or 'disk'")
    check_steps(values.num_inference_steps)
    check_guidance(values.guidance_scale)
    check_range("fixed_point_steps", values.fixed_point_steps, 0, 1, flag="--fixed-point", example="0.1 of the steps")
    check_seed(values.seed)
    if values.memory_budget is not None:
        check_range("memory_budget", values.memory_budget, 0, 2**63 - 1, flag="--memory-budget", example="4GiB")


def load_settings(path: str | Path) -> dict[str, Any]:
    """Read a saved configuration and check its types, without building it: flags may still change it.

    Args:
        path: a YAML file that a run saved, or one like it.

    Returns:
        Settings by name.

    Raises:
        ConfigError: it cannot be read, or holds a setting that does not exist or is of another type.
    """
    data = read_yaml(path, "the configuration")
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path} holds no settings; give 'name: value' lines, such as a run saves in its .run.yaml")
    if isinstance(data.get("method"), str):
        data = {**data, "method": {"name": data["method"]}}
    check_types(RunSettings, data, str(path))
    method = data.get("method", {"name": ""})
    if not isinstance(method.get("name"), str):
        raise ConfigError(f"{path}: method has no name; give one, such as name: fatezero")
    # Flags may change these two before the method is built.
    if not isinstance(method.get("base", {}), Mapping):
        raise ConfigError(f"{path}: method.base is {short_repr(method['base'])}; give a mapping of options of fatezero")
    people = method.get("people", [])
    if not isinstance(people, list) or not all(isinstance(person, Mapping) for person in people):
        raise ConfigError(f"{path}: method.people is {short_repr(people)}; give a list of source, phrase and target")
    return dict(data)


def save_settings(settings: RunSettings, path: str | Path) -> Path:
    """Write settings as YAML, whole or not at all.

    Args:
        settings: the settings.
        path: where.

    Returns:
        The path.
    """
    text = dump_yaml(to_dict(settings), allow_unicode=True, width=110)
    head = f"# {GENERATOR}. Repeat this run: faircut edit --config <this file>; flags override it.\n"
    return write_text(path, head + text)


def split_scale(text: str) -> tuple[str, float]:
    """Read a LoRA as it is given, ``PATH`` or ``PATH:scale``, as its path and its scale.

    Raises:
        ConfigError: the scale is out of range.
    """
    path, colon, scale = text.rpartition(":")
    try:
        value = float(scale) if colon else 1.0
    except ValueError:
        return text, 1.0  # The colon is a part of the path.
    check_range("the scale of a LoRA", value, -100, 100, flag=f"--lora {shorten(text)}", example="0.8")
    return (path, value) if colon else (text, 1.0)


def parse_device(device: str, dtype: str) -> tuple[Any, Any]:
    """Read a device and a dtype.

    Args:
        device: a torch device, or ``"auto"``: CUDA, MPS or the CPU, whichever is there first.
        dtype: one of `DTYPES`.

    Returns:
        The ``torch.device`` and the ``torch.dtype``.

    Raises:
        ConfigError: If the device or the dtype does not exist here.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; give one of {', '.join(DTYPES)}")
    import torch

    mps = torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"no device {device!r}; give cpu, cuda, cuda:0, mps or auto") from None
    there = {"cuda": torch.cuda.is_available(), "mps": mps, "cpu": True}.get(chosen.type, False)
    count = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if not there or (chosen.index or 0) >= count:
        have = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *(["mps"] if mps else [])])
        raise ConfigError(f"device {device!r} is not available here; there is {have}")
    if dtype == "auto":
        dtype = "float16" if chosen.type == "cuda" else "float32"
    return chosen, getattr(torch, dtype)
