"""What a method is: options on the outside, controllers on the inside."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import torch

from faircut.attention.context import Layer
from faircut.attention.controller import Controller
from faircut.attention.source import RecordedSource
from faircut.config.texts import shorten
from faircut.config.values import SpatialTemporal, to_dict
from faircut.errors import ConfigError, choices
from faircut.fairness.attributes import Attribute
from faircut.fairness.calibration import Calibration
from faircut.fairness.perception import Reader
from faircut.model.backbone import Backbone
from faircut.model.noise_path import NoisePath
from faircut.prompts import Alignment, Prompt, phrases

__all__ = [
    "ENTRY_POINTS",
    "NULL_TEXT_STEPS",
    "Cost",
    "EditRegion",
    "EditSession",
    "EditTask",
    "Method",
    "Predict",
    "Preparation",
    "RegionUse",
    "SourceInversion",
    "Start",
    "TextAccess",
    "Watcher",
    "check_type",
    "describe",
    "get_method",
    "load_plugins",
    "method_names",
    "register",
]

# Steps of gradient descent, at most, for each step of the sampler (Mokady et al., 2023).
NULL_TEXT_STEPS = 10

RegionUse = Literal["none", "optional", "needed", "computed"]


class TextAccess(Protocol):
    """What a method may ask of the model about text.

    Sequences are padded to `token_limit`. The padding is encoded with the prompt and takes attention like any other
    token, as CLIP's does in Stable Diffusion: alignments give it partners, and controllers do not mask it.
    """

    @property
    def token_limit(self) -> int:
        """Tokens of every sequence, start, end and padding included."""

    def tokenize(self, text: str) -> Prompt:
        """Tokenise a prompt."""

    def embed(self, prompt: Prompt) -> torch.Tensor:
        """Encode a prompt, (1, token, channel)."""

    def project(self, layer: Layer, embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (key, value) of a cross-attention layer for an embedding, (1, head, token, dim) each."""


class Predict(Protocol):
    """Evaluates the network once, beside the run of the sampler."""

    def __call__(
        self, z: torch.Tensor, index: int, embedding: torch.Tensor, controllers: Sequence[Controller] = ()
    ) -> torch.Tensor:
        """Predict the noise of a clip at step ``index`` as branch ``"cond"``; gradients flow where they are enabled.

        Args:
            z: (frame, channel, height, width).
            index: the step.
            embedding: (1 or frame, token, channel).
            controllers: attached for this evaluation alone.
        """


@dataclass(frozen=True)
class EditTask:
    """What a method is asked to do, and with what.

    Attributes:
        source: the source prompt.
        target: the target prompt.
        noise_path: the timesteps and noise levels.
        trajectory: (step + 1, frame, channel, height, width), the latents of the inversion, the clip first.
        layers: the network's attention layers.
        source_attention: supplies the source's attention at every step.
        text: the model's way with text, for methods with prompts of their own.
        predict: evaluates the network, for methods that look before they edit or follow a gradient.
        temporal: how the frames see each other.
        generator: for methods that draw noise.
        feature_layer: name of the submodule whose features the network offers for injection; None if it offers none.
    """

    source: Prompt
    target: Prompt
    noise_path: NoisePath
    trajectory: torch.Tensor
    layers: Sequence[Layer]
    source_attention: RecordedSource
    text: TextAccess
    predict: Predict
    temporal: SpatialTemporal
    generator: torch.Generator | None = None
    feature_layer: str | None = None

    @property
    def steps(self) -> int:
        """N, the number of denoising steps."""
        return len(self.noise_path)

    @property
    def frames(self) -> int:
        """Frames of the clip."""
        return self.trajectory.shape[1]

    def source_latents(self, index: int) -> torch.Tensor:
        """Return the source's latents that step ``index`` begins with, (frame, channel, height, width); N is the
        clip."""
        return self.trajectory[self.steps - index]

    @cached_property
    def noise(self) -> torch.Tensor:
        """Noise for a clip, drawn once for the whole edit; see `draw_noise`."""
        return self.draw_noise()

    def draw_noise(self, *, shared: bool = True) -> torch.Tensor:
        """Draw noise for a clip, (frame, channel, height, width): the same for every frame, or every frame its own."""
        shape = (1 if shared else self.frames, *self.trajectory.shape[2:])
        noise = torch.randn(shape, generator=self.generator, dtype=torch.float32)
        return noise.to(self.trajectory.device).expand(self.frames, -1, -1, -1)

    @property
    def latent_grid(self) -> tuple[int, int]:
        """(height, width) of the latents."""
        height, width = self.trajectory[0].shape[-2:]
        return height, width


@dataclass(frozen=True)
class Start:
    """Where the denoising of an edit begins.

    Attributes:
        latents: (frame, channel, height, width), at the noise level that step ``index`` begins with.
        index: the step; 0 is the noisiest.
    """

    latents: torch.Tensor
    index: int = 0


@dataclass(frozen=True)
class EditRegion:
    """A region of the clip that an edit is bound to, and what says where it is.

    Attributes:
        source: words of the source prompt that name what is there.
        target: words of the target prompt that name what it becomes.
        source_tokens: positions of the source words' tokens.
        target_tokens: positions of the target words' tokens.
        threshold: share of the highest value in a frame from which a position belongs to the region, 0 to 1.
        made_of: ``"words"``, the source's cross-attention to `source_tokens`; ``"masks"``, those given as `masks`; or
            ``"predictions"``, which the method compares before its first step.
        masks: (frame, height, width), 0 to 1, at any size; None unless the region is made of masks.
    """

    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    source_tokens: tuple[int, ...] = ()
    target_tokens: tuple[int, ...] = ()
    threshold: float = 0.3
    made_of: Literal["words", "masks", "predictions"] = "words"
    masks: Any = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        source: Prompt,
        source_words: str | Sequence[str],
        threshold: float,
        target: Prompt | None = None,
        target_words: str | Sequence[str] = (),
        masks: Any = None,
    ) -> EditRegion:
        """Look up the words of a region in their prompts.

        Args:
            source: the source prompt.
            source_words: a word or phrase of it, or several that make one region together.
            threshold: where the region begins.
            target: the target prompt; needed with `target_words`.
            target_words: likewise of the target prompt.
            masks: (frame, height, width), which take the place of the source's attention; None for none.

        Raises:
            PromptError: a word is not in its prompt.
        """
        target_tokens = () if target is None else target.tokens_of(target_words)
        return cls(
            phrases(source_words),
            phrases(target_words),
            source.tokens_of(source_words),
            target_tokens,
            threshold,
            "words" if masks is None else "masks",
            masks,
        )


@dataclass(frozen=True)
class Cost:
    """What an edit evaluates, besides the guided prediction of every step.

    An evaluation is one of the network for one branch of the whole clip.

    Attributes:
        first: the step that denoising begins with.
        source_steps: the steps in which the source's attention is used.
        level: at which latents it is computed: recorded attention serves at ``"inversion"`` only, and at
            ``"denoising"`` every step of it is computed again.
        reference: whether every step evaluates one more branch, the source.
        evaluations: how many more there are, before the first step and beside the others.
        gradients: how many of another kind there are, each with a backward pass; at most.
    """

    first: int
    source_steps: tuple[int, ...]
    level: Literal["inversion", "denoising"] = "inversion"
    reference: bool = False
    evaluations: int = 0
    gradients: int = 0


class Watcher(Controller):
    """A controller that observes an edit and changes nothing; it is attached after the method's own controllers.

    Stages that it overrides return what they are given. `on_scores` and `on_probs` make attention explicit, which
    changes results in their last bits; `on_source` does not.
    """

    branches = ()

    def attach(self, task: EditTask, method: Method, controllers: Sequence[Controller], first: int) -> None:
        """Learn what will be watched, before the first step.

        Args:
            task: the edit.
            method: the editing method.
            controllers: those of the method.
            first: the step that denoising begins with.
        """

    def on_source(self, index: int, source: RecordedSource) -> None:
        """Look at the source's attention of a step that has ended; called where `uses_source` holds.

        Args:
            index: the denoising step.
            source: the source's attention, at that step.
        """


class SourceInversion(Protocol):
    """What a method may see of the inversion that it edits; a `faircut.Inversion`."""

    @property
    def source_prompt(self) -> str:
        """What is in the clip."""

    @property
    def frames(self) -> torch.Tensor | None:
        """The clip, uint8 (frame, 3, height, width); None when latents were inverted."""

    @property
    def null_embeddings(self) -> torch.Tensor | None:
        """(step, 1 or frame, token, channel), the unconditional embeddings of a null-text inversion; None without
        one."""


class EditSession(Protocol):
    """What a method may ask for while its edit is prepared (`Method.prepare`)."""

    @property
    def prompt(self) -> str:
        """The prompt of the edit."""

    @property
    def guidance_scale(self) -> float:
        """g of classifier-free guidance."""

    @property
    def seed(self) -> int:
        """The seed of everything that is drawn."""

    @property
    def reader(self) -> Reader | None:
        """Reads what is perceived of people; None if there is no reader."""

    def calibration(self, attribute: Attribute) -> Calibration | None:
        """Return the model's calibration for an attribute; None if it has none."""

    def tokenize(self, text: str) -> Prompt:
        """Tokenise a prompt."""

    def locate(self, inversion: Any, words: str | Sequence[str]) -> torch.Tensor:
        """Find words of the source prompt in the clip, (frame, height, width) bool, on the CPU, in the clip's
        pixels."""

    def optimise_null_text(self, inversion: Any, *, inner_steps: int = NULL_TEXT_STEPS, shared: bool = False) -> Any:
        """Return the inversion with null-text embeddings for the edit's guidance, see
        `VideoEditor.optimise_null_text`."""

    def stage(self, name: str, label: str, total: int | None = None) -> AbstractContextManager[Callable[[], None]]:
        """Open a stage of the preparation.

        Args:
            name: under which the report keeps its seconds.
            label: what is shown to people meanwhile.
            total: its number of steps; None if it is unknown.

        Returns:
            A context manager that gives a function to call after each step.
        """


@dataclass(frozen=True)
class Preparation:
    """What preparing an edit gives.

    Attributes:
        method: the method with everything decided.
        inversion: what it edits.
        decisions: what was decided for each person; empty for methods that decide nothing.
    """

    method: Method
    inversion: Any
    decisions: tuple[Any, ...] = ()


class Method:
    """An editing method: a frozen dataclass of options, which says how to begin and what acts on attention meanwhile.

    Attributes:
        name: in the registry.
        title: what it is called in tables.
        paper: authors, venue and number in arXiv.
        temporal: how the frames must see each other, from the inversion on; None is as the user chooses.
        source_level: at which latents the source's attention is computed: ``"inversion"``, one level cleaner than the
            edit's, as FateZero captures it; or ``"denoising"``, the edit's own, as a source branch in the batch would.
        reference: whether the source is denoised beside the edit, as a branch ``"reference"`` at the head of the batch.
        null_text: whether the unconditional branch takes the inversion's optimised embeddings.
        region_use: whether edits are bound to regions: ``"none"``, they never are; ``"optional"``, where words or masks
            are given; ``"needed"``, words or masks must be given; ``"computed"``, the method finds the region by
            itself.
        reads_people: whether a classifier reads the people of the source first; it is then loaded before the model.
    """

    name: ClassVar[str] = "ddim"
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    temporal: ClassVar[SpatialTemporal | None] = None
    source_level: ClassVar[Literal["inversion", "denoising"]] = "inversion"
    reference: ClassVar[bool] = False
    null_text: ClassVar[bool] = False
    region_use: ClassVar[RegionUse] = "none"
    reads_people: ClassVar[bool] = False

    @classmethod
    def flags(cls) -> dict[str, str]:
        """Return the options that have flags of the command line: option by flag, as fields made by `option` name
        them."""
        return {f.metadata["flag"]: f.name for f in _options(cls) if "flag" in f.metadata}

    @classmethod
    def from_flags(
        cls, typed: Mapping[str, Sequence[str]], options: Mapping[str, Any], prompts: tuple[str, str]
    ) -> dict[str, Any]:
        """Put what flags say over options that are there.

        Args:
            typed: by flag, what was typed, a text for every time it was given.
            options: by name, such as a saved run's.
            prompts: source and target, empty where there is none.

        Returns:
            The options by name.

        Raises:
            ConfigError: the method has no such flag, or a text cannot be read.
        """
        fields = {f.metadata["flag"]: f for f in _options(cls) if "flag" in f.metadata}
        for flag in typed:
            if flag not in cls.flags():
                names = ", ".join(sorted(f.name for f in _options(cls)))
                having = " or ".join(name for name in method_names() if flag in _METHODS[name].flags())
                options_clause = f", whose options are {names}" if names else ": it has no options"
                raise ConfigError(
                    f"{flag} is not an option of {cls.name}{options_clause}"
                    + (f"; {flag} is for --method {having}" if having else "")
                )
        read = {fields[flag].name: fields[flag].metadata["read"](texts, flag) for flag, texts in typed.items()}
        return {**options, **read}

    def edit_regions(self, source: Prompt, target: Prompt) -> tuple[EditRegion, ...]:
        """Return the regions that the edit is bound to, one for each thing that is edited; none edits everywhere.

        Args:
            source: the source prompt.
            target: the target prompt.

        Raises:
            PromptError: a word of a region is not in its prompt.
        """
        return ()

    def align(self, source: Prompt, target: Prompt) -> Alignment | None:
        """Align the prompts as the method does; None for methods that have no use for an alignment.

        Args:
            source: the source prompt.
            target: the target prompt.

        Raises:
            PromptError: they cannot be aligned as the options ask.
        """
        return None

    def check(self, source: Prompt, target: Prompt) -> None:
        """Say what is wrong with the prompts or options, before any time is spent.

        Args:
            source: the source prompt.
            target: the target prompt.

        Raises:
            PromptError: a word is missing, or the prompts do not fit the options.
        """
        self.align(source, target)
        self.edit_regions(source, target)

    def check_model(self, backbone: Backbone) -> None:
        """Say what the network lacks that the options name, before a clip is inverted.

        Args:
            backbone: the adapter of the network.

        Raises:
            AttentionError: it lacks something.
        """

    def check_reader(self, reader: Reader | None, prompt: str) -> None:
        """Say that a reader is missing, before a model is loaded.

        Args:
            reader: reads what is perceived of people; None if there is no reader.
            prompt: of the edit.

        Raises:
            ConfigError: the options need one, and there is none.
        """

    def decided_by(self, session: EditSession) -> Mapping[str, Any]:
        """Return what decides the edit beside the request, the clip and the model, by name; it becomes part of the
        key."""
        return {}

    def prepare(self, session: EditSession, inversion: SourceInversion) -> Preparation:
        """Do what the edit needs once for its clip, such as deciding options or optimising embeddings.

        Args:
            session: what may be asked for.
            inversion: of the clip.

        Returns:
            The method and the inversion that are edited; by default both as they are.
        """
        return Preparation(self, inversion)

    def first_step(self, steps: int) -> int:
        """Return the step that denoising begins with, of N; by default the noisiest."""
        return 0

    def start(self, task: EditTask) -> Start:
        """Return what denoising begins with; by default the inversion's latents at `first_step`."""
        k = self.first_step(task.steps)
        return Start(task.source_latents(k), k)

    def embedding(self, task: EditTask) -> torch.Tensor:
        """Return what the edit is conditioned on, (1, token, channel); by default the target prompt's embedding."""
        return task.text.embed(task.target)

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Return what is attached to attention while denoising, in the order in which stages run."""
        return ()

    def costliest(self, target: Prompt) -> Any:
        """Return the method as plans count it: what is decided only with the clip at hand is decided the costly way.

        Args:
            target: the target prompt.
        """
        return self

    def cost(self, task: EditTask, controllers: Sequence[Controller]) -> Cost:
        """Return what an edit evaluates.

        A method that evaluates the network itself, through ``task.predict``, adds that to what this returns.

        Args:
            task: the edit.
            controllers: those that the method built for it.
        """
        first = self.first_step(task.steps)
        used = tuple(k for k in range(first, task.steps) if any(c.uses_source(k) for c in controllers))
        cost = Cost(first, used, self.source_level, self.reference)
        if self.null_text:
            # In every step: the source's prediction, the descent, and the guided step with what it found.
            return replace(cost, evaluations=2 * task.steps, gradients=NULL_TEXT_STEPS * task.steps)
        return cost


def check_type(method: object) -> None:
    """Check that an object is an editing method.

    Args:
        method: Object to check.

    Raises:
        ConfigError: If it is the name or the class of a method, or something else.
    """
    if isinstance(method, Method):
        return
    hint = "give an instance of a class of faircut.methods, such as FateZero()"
    if isinstance(method, type) and issubclass(method, Method):
        hint = f"give an instance: {method.__name__}(), with its options in the parentheses"
    elif isinstance(method, str) and method in method_names():
        hint = f"give an instance: {_METHODS[method].__name__}() from faircut.methods"
    raise ConfigError(f"the method is {shorten(repr(method))}; {hint}")


def describe(method: Method) -> dict[str, Any]:
    """Return a method's name and options, as reports have them."""
    return {"name": method.name, **to_dict(method)} if is_dataclass(method) else {"name": method.name}


def _options(cls: type) -> tuple[Field[Any], ...]:
    return fields(cls) if is_dataclass(cls) else ()


# Packages name their method classes here: ``my-method = "my_package.my_module:MyMethod"``.
ENTRY_POINTS = "faircut.methods"

_METHODS: dict[str, type[Method]] = {}
_PLUGINS_LOADED: list[bool] = []

M = TypeVar("M", bound="type[Method]")


def register(cls: M) -> M:
    """Enter a method class under its ``name``.

    Raises:
        ConfigError: another class has the name.
    """
    other = _METHODS.get(cls.name)
    if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ConfigError(
            f"{cls.__module__}.{cls.__qualname__} calls itself {cls.name!r}, which is {other.__module__}."
            f"{other.__qualname__}; give it another name, or remove its package"
        )
    _METHODS[cls.name] = cls
    return cls


def load_plugins() -> None:
    """Register the methods that other packages name in the entry point group ``faircut.methods``, once a process.

    Raises:
        ConfigError: one of them takes a name that is taken.

    Warns:
        UserWarning: one of them cannot be loaded, or is no method.
    """
    if _PLUGINS_LOADED:
        return
    for entry in entry_points(group=ENTRY_POINTS):
        package = "a package" if entry.dist is None else entry.dist.name
        try:
            cls = entry.load()
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(f"the method {entry.name!r} of {package} cannot be loaded: {reason}", stacklevel=2)
            continue
        if not (isinstance(cls, type) and issubclass(cls, Method) and is_dataclass(cls) and "name" in vars(cls)):
            warnings.warn(
                f"{entry.value!r} of {package} is not a method; name a dataclass that inherits "
                "faircut.methods.Method and has a name",
                stacklevel=2,
            )
            continue
        register(cls)
    # Last: a name that is taken is an error at every use, not only at the first.
    _PLUGINS_LOADED.append(True)


def method_names() -> list[str]:
    """Return the names of all methods, those of other packages included."""
    load_plugins()
    return sorted(_METHODS)


def get_method(name: str) -> Any:
    """Return the class of a method.

    Raises:
        ConfigError: If the method does not exist.
    """
    load_plugins()
    if name not in _METHODS:
        raise ConfigError(f"no method {shorten(repr(name))}: {choices(name[:80], _METHODS)}")
    return _METHODS[name]
