"""FAME: fairness-aware attention-modulated video editing (Wu et al., 2025, arXiv 2510.22960), as we read its abstract.

The paper's equations are not available to us: docs/reference/fame.md has ours, and says which are.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch

from faircut.attention.controller import Controller, StepWindow
from faircut.config.flags import blend, option, read_number, read_text
from faircut.config.values import to_dict
from faircut.controllers.cross_attention import CrossAttentionFusion, fusion_weights
from faircut.controllers.fairness import RegionConditioning
from faircut.controllers.latents import FreshNoise
from faircut.controllers.layout import CrossModulation, TemporalModulation
from faircut.controllers.regions import FixedRegion, Region
from faircut.errors import ConfigError, choices
from faircut.fairness.attributes import get_attribute
from faircut.fairness.embedding import FairEmbedding, debias, fair_embedding, sensitivity
from faircut.fairness.people import Person, decide, said_of
from faircut.fairness.perception import Reader
from faircut.fairness.targets import POLICIES
from faircut.methods.base import (
    EditRegion,
    EditSession,
    EditTask,
    Method,
    Preparation,
    RegionUse,
    SourceInversion,
    register,
)
from faircut.methods.fatezero import FateZero
from faircut.methods.regions import check_threshold, modulated_layers, region_of
from faircut.prompts import Alignment, Prompt, replaced_phrases, token_weights

__all__ = ["BASE", "Fame", "Person"]

# Refining: replacing would bind the new word to the attention of the old one, and with it to a silhouette. A threshold
# above FateZero's 0.3: less of the surroundings is drawn anew, and people stay nearer to where they stood.
BASE = FateZero(
    alignment="refine",
    cross_replace_steps=0.4,
    self_replace_steps=0.6,
    blend_threshold=0.4,
    latent_blend_steps=1.0,
    region_guidance=True,
)
"""The FateZero beneath FAME, unless another is given."""


def _people(texts: Sequence[str], flag: str) -> list[dict[str, Any]]:
    """Read ``SOURCE:TARGET`` texts, one for each person.

    Raises:
        ConfigError: If the words do not come in pairs.
    """
    source, phrases = blend(texts, flag)
    if len(source) != len(phrases):
        raise ConfigError(
            f"for fame every {flag} names one person: words of the source prompt, a colon, of the target's"
        )
    return [{"source": words, "phrase": phrase} for words, phrase in zip(source, phrases, strict=True)]


def _alpha(texts: Sequence[str], flag: str) -> float | str:
    """Read a strength."""
    return "auto" if texts[-1] == "auto" else read_number(texts, flag)


@register
@dataclass(frozen=True)
class Fame(Method):
    """Edits professions without stereotypes: FateZero, with a value such as "female" for each person's region.

    Attributes:
        people: The people who are edited: words for each in both prompts, and the value to be perceived.
        base: Options of the FateZero that makes the edit. Its blend words are by default those of `people`.
        attribute: Attribute whose values are asked for: ``"gender"`` or ``"hair"``.
        alpha: Strength of the debiasing, 0 to 3: 0 is none, 1 is the debiasing word as it is, and from about 2 on
            pictures break. ``"auto"`` takes the strength from the model's calibration.
        fresh_noise: Share of the inverted noise that is drawn anew, 0 to 1, in the region of a person who is not known
            to show the requested value already; proportionally less for alpha below 1. The inverted noise still holds
            the source's silhouette, which can be stronger than the word (docs/reference/fame.md, section 6).
        region_threshold: Share of a frame's highest attention, 0 to 1, from which a position belongs to a person
            without masks. It is below ``base.blend_threshold``, so that words and noise reach the whole person; the
            FateZero puts the source back outside its own, smaller region.
        region_bound: Whether each region attends only to the text of its person. If not, each person's text acts on
            the whole frame.
        temporal_modulation: Strength of the modulation of self-attention at pure noise (lambda_s), 0 to 1, such as
            0.3. Off by default, like `cross_modulation`: on the benchmark neither changes what is seen, and both take
            time (docs/results/fairness.md, ablation).
        temporal_decay: Distance in frames over which the temporal modulation decays (tau). None is half the clip,
            infinity is no decay.
        cross_modulation: Strength of the modulation of cross-attention at pure noise (lambda_c), 0 to 1, such as 1.
        eta: How much a word's sensitivity to the debiasing word decides its weight in the cross modulation, 0 to 1; at
            0 all words count the same, as in VideoGrain.
    """

    name: ClassVar[str] = "fame"
    title: ClassVar[str] = "FAME"
    paper: ClassVar[str] = "Wu et al., 2025, arXiv 2510.22960"
    region_use: ClassVar[RegionUse] = "needed"
    reads_people: ClassVar[bool] = True

    people: tuple[Person, ...] = option(
        flag="--blend",
        read=_people,
        syntax="SOURCE:TARGET",
        takes="a person's words in the source prompt, a colon, the words in the target prompt, such as person:doctor; "
        "once for each person",
        cli_default="the words that differ between the prompts",
    )
    base: FateZero = BASE
    attribute: str = option("gender", flag="--attribute", read=read_text, syntax="gender|hair")
    alpha: float | Literal["auto"] = option(
        1.0,
        flag="--alpha",
        read=_alpha,
        syntax="auto|NUMBER",
        takes="auto or a number, such as 1.2",
        cli_default="auto",
    )
    fresh_noise: float = option(0.8, flag="--fresh-noise", read=read_number)
    region_threshold: float = 0.3
    region_bound: bool = True
    temporal_modulation: float = 0.0
    temporal_decay: float | None = None
    cross_modulation: float = 0.0
    eta: float = 0.5

    def __post_init__(self) -> None:
        if not self.people:
            raise ConfigError("fame needs people; give at least one Person(source, phrase, target)")
        attribute = get_attribute(self.attribute)
        for person in self.people:
            if person.target not in (None, *POLICIES, *attribute.names):
                raise ConfigError(
                    f"the target of {person.phrase!r} is {person.target!r}: "
                    + choices(str(person.target), (*POLICIES, *attribute.names))
                )
        for alpha in map(self.alpha_of, self.people):
            if alpha != "auto" and not 0.0 <= alpha <= 3.0:
                raise ConfigError(
                    f"alpha is {alpha}; give 0 to 3, such as 1 (from about 2 on pictures break), or 'auto'"
                )
        for name in ("fresh_noise", "temporal_modulation", "cross_modulation", "eta"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 to 1")
        check_threshold("region_threshold", self.region_threshold)
        if self.temporal_decay is not None and not self.temporal_decay > 0:
            raise ConfigError(
                f"temporal_decay is {self.temporal_decay}; give frames above 0, or None for half the clip"
            )

    @classmethod
    def flags(cls) -> dict[str, str]:
        """Return the flags of people, and those of the FateZero beneath."""
        base = {flag: f"base.{name}" for flag, name in FateZero.flags().items()}
        return {**base, **super().flags(), "--target": "people.target"}

    @classmethod
    def from_flags(
        cls, typed: Mapping[str, Sequence[str]], options: Mapping[str, Any], prompts: tuple[str, str]
    ) -> dict[str, Any]:
        """Name people by ``--blend`` or by what differs in the prompts, and what is asked of them by ``--target``.

        Args:
            typed: as in `Method.from_flags`.
            options: likewise.
            prompts: source and target.

        Raises:
            ConfigError: there are no people, or the targets do not fit them.
        """
        of_base = {flag: texts for flag, texts in typed.items() if cls.flags().get(flag, "").startswith("base.")}
        plain = {flag: texts for flag, texts in typed.items() if flag not in of_base and flag != "--target"}
        method = super().from_flags(plain, options, prompts)
        if "people" not in method:
            method["people"] = [{"source": a, "phrase": b} for a, b in replaced_phrases(*prompts)]
        people = method["people"] = [{"target": "preserve", **person} for person in method["people"]]
        if not people:
            raise ConfigError(
                "fame edits people, and the prompts do not tell who; say it with --blend, such as --blend person:doctor"
            )
        targets = typed.get("--target")
        if targets is not None:
            if len(targets) not in (1, len(people)):
                raise ConfigError(
                    f"{len(targets)} targets for {len(people)} people; give one --target for all, or one for each"
                )
            for person, target in zip(people, list(targets) * len(people), strict=False):
                person["target"] = target
        if of_base:
            standard = to_dict(FateZero())
            usual = {name: value for name, value in to_dict(BASE).items() if value != standard[name]}
            method["base"] = FateZero.from_flags(of_base, {**usual, **method.get("base", {})}, prompts)
        return {"alpha": "auto", **method}

    @property
    def undecided(self) -> tuple[Person, ...]:
        """The people whose target is a policy, or whose strength is to be looked up, by `prepare`."""
        return tuple(p for p in self.people if p.target in POLICIES or (p.target and self.alpha_of(p) == "auto"))

    def alpha_of(self, person: Person) -> float | Literal["auto"]:
        """Return the strength for a person."""
        return self.alpha if person.alpha is None else person.alpha

    @property
    def fatezero(self) -> FateZero:
        """The FateZero beneath: it edits the people's regions, and puts the source's latents back outside them."""
        if self.base.blend_words is not None:
            return self.base
        words = tuple(p.source for p in self.people), tuple(p.phrase for p in self.people)
        return replace(self.base, blend_words=words)

    def edit_regions(self, source: Prompt, target: Prompt) -> tuple[EditRegion, ...]:
        """Return where each person is drawn anew: at the threshold of the FateZero beneath, whose own words go
        first."""
        if self.base.blend_words is not None:
            return self.base.edit_regions(source, target)
        threshold = self.base.blend_threshold
        # A phrase may be in the person's own prompt alone.
        return tuple(
            EditRegion.of(source, p.source, threshold, target, p.phrase if target.holds(p.phrase) else ())
            for p in self.people
        )

    def align(self, source: Prompt, target: Prompt) -> Alignment:
        """Align the prompts as the FateZero beneath does."""
        return self.base.align(source, target)

    def check(self, source: Prompt, target: Prompt) -> None:
        """Check the words of the FateZero beneath and of each person.

        Raises:
            PromptError: a word is missing, or the prompts cannot be aligned.
        """
        self.fatezero.check(source, target)
        for person in self.people:
            source.find(person.source)
            if person.prompt is None:
                target.find(person.phrase)

    def check_reader(self, reader: Reader | None, prompt: str) -> None:
        """Check that there is a reader where the target is ``"preserve"`` and the prompt says no value.

        Raises:
            ConfigError: there is none.
        """
        attribute = get_attribute(self.attribute)
        if reader is None and any(
            person.target == "preserve" and said_of(person, self.people, attribute, prompt) is None
            for person in self.people
        ):
            raise ConfigError(
                f"target 'preserve' needs a reader of the perceived {self.attribute} in the source; give --reader and "
                "a CLIP (such as openai/clip-vit-large-patch14), or name a value, such as --target female"
            )

    def decided_by(self, session: EditSession) -> Mapping[str, Any]:
        """Return who reads the people, and the model's calibration where a policy or ``"auto"`` asks for it.

        Raises:
            ConfigError: the reader has no fingerprint.
        """
        facts: dict[str, Any] = {}
        if session.reader is not None and any(person.target is not None for person in self.people):
            if not hasattr(session.reader, "fingerprint"):
                raise ConfigError(
                    f"the reader {type(session.reader).__name__} has no fingerprint, so that the edit cannot be named; "
                    "give it a method fingerprint(professions), as faircut.fairness.readers.ClipReader has it"
                )
            facts["reader"] = session.reader.fingerprint(())
        if self.undecided:
            facts["calibration"] = session.calibration(get_attribute(self.attribute))
        return facts

    def prepare(self, session: EditSession, inversion: SourceInversion) -> Preparation:
        """Turn the people's policies into values, and ``alpha="auto"`` into numbers.

        Raises:
            ConfigError: a policy lacks what it needs: a reader, the clip's frames, or a calibration.
        """
        attribute = get_attribute(self.attribute)
        with session.stage("people", "Looking at people"):
            people, decisions = decide(
                self.people,
                attribute,
                session.prompt,
                alpha=self.alpha,
                frames=inversion.frames,
                locate=lambda words: session.locate(inversion, words),
                reader=session.reader,
                calibration=lambda: session.calibration(attribute),
                seed=session.seed,
            )
        for person, decision in zip(self.people, decisions, strict=True):
            if person.target == "preserve" and decision.value is None and decision.perceived is not None:
                warnings.warn(
                    f"no {self.attribute} was read for {decision.person!r} in the source, so nothing is preserved "
                    "there; name the person with --blend SOURCE:TARGET, or the value with --target",
                    stacklevel=2,
                )
        return Preparation(replace(self, people=people), inversion, decisions)

    def costliest(self, target: Prompt) -> Fame:
        """Ask for a value of everyone for whom a policy may ask for one."""
        attribute = get_attribute(self.attribute)

        def decided(person: Person) -> Person:
            alpha = 1.0 if self.alpha_of(person) == "auto" else person.alpha
            value = attribute.names[0] if person.target in POLICIES else person.target
            said = None if value is None else said_of(person, self.people, attribute, target.text)
            return replace(person, alpha=alpha, target=value if said is None else None)

        return replace(self, people=tuple(map(decided, self.people)))

    def controllers(self, task: EditTask) -> Sequence[Controller]:
        """Build FateZero's controllers, and the modulations and the region-bound conditioning of each person.

        Raises:
            ConfigError: a person's target or strength is undecided, or the prompt says a value already.
        """
        for person in self.people:
            self._check_decided(person, task.target)
        attached = list(self.fatezero.controllers(task))
        regions = [self._region(task, person) for person in self.people]
        cross = modulated_layers(task.latent_grid, "cross")
        if self.cross_modulation > 0:
            # Outside every region: the people's words are turned away.
            person_of_token = self._person_of_token(task.target)
            ones = torch.ones(len(person_of_token))
            attached.append(CrossModulation(regions, self.cross_modulation, person_of_token, ones, ("cond",), cross))
        for number, (person, region) in enumerate(zip(self.people, regions, strict=True)):
            attached += self._of_person(task, number, person, region, regions)
            share = self.fresh_noise * min(self._strength(person), 1.0)
            if share > 0 and person.target != person.shown:
                attached.append(FreshNoise(region, task.noise, share))
        if self.temporal_modulation > 0:
            count = task.trajectory.shape[1]
            tau = count / 2 if self.temporal_decay is None else self.temporal_decay
            where = modulated_layers(task.latent_grid, "self")
            attached += [
                TemporalModulation(region, self.temporal_modulation, tau, task.temporal, count, where)
                for region in regions
            ]
        return attached

    def _strength(self, person: Person) -> float:
        """Return alpha where a value is asked for, and 0 where none is."""
        return 0.0 if person.target is None else float(self.alpha_of(person))

    def _check_decided(self, person: Person, target: Prompt) -> None:
        """See `controllers`."""
        if person in self.undecided:
            raise ConfigError(
                f"the target of {person.phrase!r} is {person.target!r} at alpha {self.alpha_of(person)}, which is "
                "undecided; let Session.prepare turn it into a value and a number, or name them"
            )
        text = target.text if person.prompt is None else person.prompt
        said = None
        if person.target is not None:
            said = said_of(person, self.people, get_attribute(self.attribute), target.text)
        if said is not None:
            raise ConfigError(
                f"the prompt {text!r} already says {said!r}, so there is no {self.attribute} to decide; leave the word "
                "out, or the target"
            )

    def _of_person(
        self, task: EditTask, number: int, person: Person, region: Region, regions: Sequence[Region]
    ) -> list[Controller]:
        """Build what gives one person's region that person's text in place of the prompt.

        In every cross-attention layer a branch is added to the batch: the edit's queries meet the keys and values of
        the person's text, and inside the region the branch's output is taken (`RegionConditioning`). The branch's
        attention is modulated and fused with the source's, as FateZero does with the prompt's.

        The keys of the branch are not the tokens of the prompt: those of the debiasing word are added behind them, and
        tokens without weight are left out (`fair_embedding`). What is known of each token of the prompt is therefore
        looked up for each key before it is used.

        Args:
            task: the edit.
            number: of the person, in `people`.
            person: the person.
            region: where the person is.
            regions: where all of `people` are, in that order.

        Returns:
            The controllers in the order in which their stages run; none if nothing differs from the edit's prompt.
        """
        prompt = task.target if person.prompt is None else task.text.tokenize(person.prompt)
        alpha = self._strength(person)
        if alpha == 0 and prompt.text == task.target.text:
            return []

        # The person's text F, and how far each token of the prompt counts in the modulation, (token,).
        plain = task.text.embed(prompt)
        token_weight = torch.ones(len(prompt.ids))
        if person.target is None:
            every_token = torch.arange(len(prompt.ids), device=plain.device)
            fair = FairEmbedding(plain, torch.zeros(len(prompt.ids), device=plain.device), every_token)
        else:
            word = get_attribute(self.attribute).value(person.target).word
            pair = debias(prompt, person.phrase, word, task.text.tokenize)
            twin = task.text.embed(pair.twin)
            fair = fair_embedding(pair, plain, twin, alpha)
            token_weight = (1 - self.eta) + self.eta * sensitivity(pair, plain, twin).cpu()

        # From tokens to keys. `fair.source` is (key,): the prompt's token of each key, -1 for the debiasing word's,
        # which describe this person and count in full. (Those look up token 0, whose value `where` then drops.)
        from_prompt, token = fair.source.cpu() >= 0, fair.source.cpu().clamp_min(0)
        person_of_key = torch.where(from_prompt, self._person_of_token(prompt)[token], number)
        key_weight = torch.where(from_prompt, token_weight[token], 1.0)

        branch = f"person-{number}"
        # One cell a frame that is all inside: with an embedding for everybody the branch is taken all over the picture.
        everywhere = FixedRegion(torch.ones(task.frames, 1, 1, device=task.source_attention.device))
        cross_layers = [layer for layer in task.layers if layer.kind == "cross"]
        # First, because the others act on the branch that it adds.
        attached: list[Controller] = [
            RegionConditioning(
                branch,
                region if self.region_bound else everywhere,
                {layer.name: task.text.project(layer, fair.embedding) for layer in cross_layers},
                fair.log_weights,
            )
        ]
        if self.cross_modulation > 0:
            where = modulated_layers(task.latent_grid, "cross")
            attached.append(
                CrossModulation(regions, self.cross_modulation, person_of_key, key_weight, (branch,), where)
            )
        return [*attached, self._fusion(task, prompt, fair, branch)]

    def _fusion(self, task: EditTask, prompt: Prompt, fair: FairEmbedding, branch: str) -> CrossAttentionFusion:
        """Fuse the source's attention into a person's branch, as FateZero does into the edit's.

        What FateZero says of each token of the prompt is looked up for each key of the branch. The debiasing word's
        keys have no partner in the source: they keep the attention that they get.

        Args:
            task: the edit.
            prompt: the person's.
            fair: the keys of the branch.
            branch: its name.
        """
        base = self.fatezero
        from_prompt, token = fair.source.cpu() >= 0, fair.source.cpu().clamp_min(0)  # (key,), as in `_of_person`
        alignment = base.align(task.source, prompt)
        alignment = replace(
            alignment,
            # (source token, key). A padding that loses its weight takes as little from the source as it has left.
            mapper=torch.where(from_prompt, alignment.mapper[:, token] * fair.log_weights.cpu().exp(), 0.0),
            aligned=torch.where(from_prompt, alignment.aligned[token], 0.0),
        )
        windows = {w: StepWindow.of(v) for w, v in base.word_replace_steps.items() if prompt.holds(w)}
        factors = token_weights(prompt, {w: f for w, f in base.reweight.items() if prompt.holds(w)})
        weights = fusion_weights(prompt, task.steps, StepWindow.of(base.cross_replace_steps), windows)  # (step, token)
        return CrossAttentionFusion(
            task.source_attention,
            alignment,
            # (step, key). Rows of the map are brought to a sum of 1 in steps that fuse anything: the debiasing word
            # must take part there, and in no other step.
            torch.where(from_prompt, weights[:, token], 1.0) * weights.amax(1, keepdim=True),
            torch.where(from_prompt, factors[token], 1.0),
            branches=(branch,),
            renormalise=True,
        )

    def _person_of_token(self, prompt: Prompt) -> torch.Tensor:
        """Say which of `people` each token of a prompt describes, (token,), int64; -1 is none of them."""
        person_of_token = torch.full((len(prompt.ids),), -1, dtype=torch.int64)
        for number, person in enumerate(self.people):
            if prompt.holds(person.phrase):
                person_of_token[list(prompt.find(person.phrase))] = number
        return person_of_token

    def _region(self, task: EditTask, person: Person) -> Region:
        """Return where a person is."""
        blended = StepWindow.of(1.0 if self.base.latent_blend_steps is None else self.base.latent_blend_steps)
        region = EditRegion.of(task.source, person.source, self.region_threshold, masks=person.masks)
        return region_of(task, region, blended.steps(task.steps))
