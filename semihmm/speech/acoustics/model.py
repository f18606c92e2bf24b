"""Acoustic models of phones: what each state of each phone expects to hear."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.errors import DataError, ShapeError
from semihmm.models import GaussianMixture
from semihmm.speech.acoustics.contexts import Contexts
from semihmm.speech.acoustics.densities import Densities
from semihmm.speech.acoustics.edges import EdgeCorrection
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.sphinx import (
    ModelDefinition,
    read_feature_parameters,
    read_gaussians,
    read_mixture_weights,
    read_model_definition,
    read_sendump,
    read_transitions,
)
from semihmm.speech.acoustics.storing import mixture_of, mixture_tensors, read, tuples, write
from semihmm.speech.text.dictionary import Entries, read_dictionary

_VARIANCE_FLOOR = 1e-4
_FRAMES = 100  # taken at a time: the densities of 5,000 Gaussians at these many frames stay near the processor


@dataclass(frozen=True)
class AcousticModel:
    """A model of phones: names, states, Gaussians, and the front end that feeds them.

    Args:
        phones: names of the phones, silence and fillers included.
        streams: one emission per block of the feature vector; the blocks are taken to be independent. State s of phone
            p, without context, is state ``p * states + s`` of each; those of phones in context follow. Read once: for
            other numbers make another model.
        transitions: ``(phones, states, states + 1)`` log-probabilities inside a phone; the last column leaves it.
        front_end: computes the features.
        name: what reports call the model.
        silence: the phone that stands for silence.
        edges: corrects where its phones begin; None for leaving them on the grid of frames.
        contexts: the states of phones between their neighbours; None for those without context alone.
        card: what there is to say of it: its data, their licence, how it was trained, figures.
    """

    phones: tuple[str, ...]
    streams: tuple[GaussianMixture, ...]
    transitions: Tensor
    front_end: FrontEnd
    name: str = "acoustic model"
    silence: str = "SIL"
    edges: EdgeCorrection | None = None
    contexts: Contexts | None = None
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        held, phones = min(stream.states for stream in self.streams), len(self.phones)
        if held < phones * self.states:
            raise ShapeError(
                f"AcousticModel: streams must have a state for each of {self.states} of {phones} phones, got {held}."
            )
        if self.contexts is None:
            return
        _, _, _, of, each = self.contexts.table.shape
        if (of, each) != (phones, self.states) or self.contexts.columns > held:
            raise ShapeError(
                f"AcousticModel: contexts must be of {phones} phones, {self.states} states and at most {held} columns, "
                f"as {self.name} has them, got {of}, {each} and {self.contexts.columns}."
            )

    @property
    def states(self) -> int:
        """Number of states in each phone."""
        return self.transitions.shape[1]

    @property
    def plain(self) -> Tensor:
        """Columns of the phones without context: ``p * states + s``."""
        return torch.arange(len(self.phones) * self.states)

    def log_likelihood(self, features: Tensor, *, columns: Tensor | None = None, room: int = 0) -> Tensor:
        """Log-densities of states, in nats.

        Args:
            features: ``(T, F)``, as `front_end` computes them.
            columns: which states, K of the numbers in `streams`. Default: all of the phones without context.
            room: how many columns of zeros to leave behind them, for a caller to fill.

        Returns:
            ``(T, K + room)`` float32, without gradient.

        Raises:
            ShapeError: ``features`` has another width than the streams together.
        """
        widths = [stream.mean.shape[-1] for stream in self.streams]
        if features.ndim != 2 or features.shape[1] != sum(widths):
            raise ShapeError(
                f"AcousticModel: features must be (T, {sum(widths)}), the width that {self.name} was trained on, got "
                f"{tuple(features.shape)}. Compute them with the model's own front_end."
            )
        columns = self.plain if columns is None else columns
        densities = [density.of_states(columns) for density in self._densities]
        found = torch.zeros(len(features), len(columns) + room)
        for block, out in zip(features.split(_FRAMES), found[:, : len(columns)].split(_FRAMES), strict=True):
            for density, part in zip(densities, block.split(widths, dim=1), strict=True):
                out += density(part)
        return found

    def save(self, path: Path) -> None:
        """Write the model as one file, safetensors with JSON in it, in float32; `load_acoustic_model` reads it.

        The file appears when it is whole, and is the same for the same model.

        Raises:
            DataError: a part of it is none that a file has a place for.
            DependencyError: ``safetensors`` is not installed.
        """
        tensors = {"transitions": self.transitions.float()}
        for name in _further_parts():
            part = getattr(self, name)
            if isinstance(part, Tensor):
                tensors[name] = part
            elif part is not None:
                raise DataError(
                    f"AcousticModel.save: {self.name} has a {name} ({type(part).__name__}): no file holds it."
                )
        for number, stream in enumerate(self.streams):
            tensors |= mixture_tensors(stream, f"streams.{number}")
        if self.contexts is not None:
            table = self.contexts.table.int()
            tensors["contexts"] = table[:1] if (table == table[:1]).all() else table
        if self.edges is not None:
            tensors |= {f"edges.{name}": getattr(self.edges, name) for name in EdgeCorrection.__dataclass_fields__}
        note = {name: getattr(self, name) for name in ("phones", "name", "silence", "card")}
        write(path, tensors, {**note, "streams": len(self.streams), "front_end": asdict(self.front_end)})

    @cached_property
    def _densities(self) -> list[Densities]:
        return [Densities.of(stream) for stream in self.streams]


def _further_parts() -> list[str]:
    """Fields of a model that are a tensor, or None, and that have no place of their own in a file."""
    own = {"phones", "streams", "transitions", "front_end", "name", "silence", "edges", "contexts", "card"}
    return [part.name for part in fields(AcousticModel) if part.name not in own]


def tied_mixture(means: Tensor, variances: Tensor, log_weights: Tensor, phone: Tensor | None = None) -> GaussianMixture:
    """An emission in which all states of a phone share that phone's Gaussians, and weigh them differently.

    Args:
        means: ``(phones, components, features)``.
        variances: the same shape, positive.
        log_weights: ``(phones, states, components)``; normalised here, so that roundings in a file do no harm.
        phone: ``(S,)`` whose Gaussians each state weighs, for ``log_weights`` of ``(S, components)``. Default: as many
            states for each phone, one phone after the other.

    Returns:
        Float64, frozen, with ``phones * states`` or S states.
    """
    if phone is None:
        phones, states, _ = log_weights.shape
        phone, log_weights = torch.arange(phones).repeat_interleave(states), log_weights.flatten(0, 1)
    emission = GaussianMixture(len(phone), means.shape[-1], means.shape[1], phone).double().requires_grad_(False)
    emission.mean.copy_(means)
    emission.log_variance.copy_(variances.double().log())
    emission.weights.logits.copy_(log_weights)
    return emission


def load_acoustic_model(folder: Path | None = None, *, contexts: bool = False) -> AcousticModel:
    """Read an acoustic model: a file that `AcousticModel.save` wrote, or a phonetically-tied Sphinx-3 model.

    Args:
        folder: the file; or a folder that holds ``mdef``, ``means``, ``variances``, ``transition_matrices``,
            ``feat.params`` and ``mixture_weights`` or ``sendump``. Default: the US English model inside the
            ``pocketsphinx`` package.
        contexts: whether to read its phones in context too.

    Raises:
        DataError: a file is missing or damaged, or the model is not phonetically tied.
        DependencyError: no folder was given and ``pocketsphinx`` is not installed.
    """
    if folder is not None and folder.is_file():
        return _saved(folder)
    name = f"Sphinx {folder or 'en-us'}"
    edges = None if folder else EdgeCorrection.load()
    folder = folder or _package_folder() / "en-us"
    try:
        return replace(_read(folder, contexts=contexts), name=name, edges=edges)
    except DataError:
        raise
    except (ValueError, LookupError) as error:
        raise DataError(
            f"load_acoustic_model: the files in {folder} are damaged, or not of one model ({error}). Fetch them again."
        ) from error


def _saved(path: Path) -> AcousticModel:
    """What `AcousticModel.save` wrote."""
    tensors, note = read(path)
    try:
        edges = [tensors[f"edges.{name}"] for name in EdgeCorrection.__dataclass_fields__ if f"edges.{name}" in tensors]
        table, transitions = tensors.get("contexts"), tensors["transitions"]
        front_end: dict[str, Any] = {name: tuples(value) for name, value in note["front_end"].items()}
        phones = tuple(note["phones"])
        if note["silence"] not in phones or len(phones) != len(transitions) or len({*phones}) < len(phones):
            raise ValueError(
                f"{len(transitions)} phones, called {' '.join(phones)}, of which {note['silence']} is silence"
            )
        return AcousticModel(
            phones,
            tuple(mixture_of(tensors, f"streams.{number}") for number in range(note["streams"])),
            transitions,
            FrontEnd(**front_end),
            name=note["name"],
            silence=note["silence"],
            edges=EdgeCorrection(*edges) if edges else None,
            contexts=None if table is None else Contexts(table.expand(4, -1, -1, -1, -1)),
            card=note["card"],
            **{name: tensors[name] for name in _further_parts() if name in tensors},
        )
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"load_acoustic_model: {path} is damaged, as its parts do not fit each other ({error}). Fetch or train it "
            f"again."
        ) from error


def _read(folder: Path, *, contexts: bool) -> AcousticModel:
    definition = read_model_definition(folder / "mdef")
    means, variances = read_gaussians(folder / "means"), read_gaussians(folder / "variances")
    if len(means[0]) != len(definition.phones):
        raise DataError(
            f"load_acoustic_model: {folder} has {len(means[0])} sets of Gaussians for {len(definition.phones)} phones; "
            f"only models with one set per phone (type ptm) can be read. Train or download a model of that type."
        )
    if (folder / "mixture_weights").exists():
        weights = read_mixture_weights(folder / "mixture_weights")
    else:
        weights = read_sendump(folder / "sendump", senones=definition.total_senones)
    rows, phone, table = _columns(definition, contexts=contexts)
    streams = tuple(
        tied_mixture(mean, variance.clamp(min=_VARIANCE_FLOOR), weight[rows], phone)
        for mean, variance, weight in zip(means, variances, weights, strict=True)
    )
    front_end = FrontEnd.from_parameters(read_feature_parameters(folder / "feat.params"))
    transitions = read_transitions(folder / "transition_matrices")[definition.transitions]
    if transitions[:, :-1, -1].isfinite().any() or transitions[:, -1, -1].isneginf().any():
        raise DataError(
            f"load_acoustic_model: in {folder}, a phone should be left from its last state, and only from it."
        )
    return AcousticModel(definition.phones, streams, transitions, front_end, contexts=table)


def _columns(definition: ModelDefinition, *, contexts: bool) -> tuple[Tensor, Tensor, Contexts | None]:
    """For each column of a model, its row of the mixture weights and its phone; and which contexts take which columns.

    A column is a row of the weights together with the phone whose Gaussians it weighs.
    """
    total, phones = definition.total_senones, torch.arange(len(definition.phones))
    alone = (phones[:, None] * total + definition.senones).flatten()
    if not contexts:
        return alone % total, alone // total, None
    keys = phones[:, None, None] * total + definition.in_context()
    tied = keys.unique()
    every = torch.cat([alone, tied[~torch.isin(tied, alone)]])
    order = every.argsort(stable=True)
    table = order[torch.searchsorted(every[order], keys)]
    return every % total, every // total, Contexts(table.int())


def load_dictionary(path: Path | None = None, *, model: AcousticModel | None = None) -> Entries:
    """Pronunciations by word, as `semihmm.speech.text.dictionary.read_dictionary` reads them.

    Args:
        path: the file. Default: the CMU dictionary inside the ``pocketsphinx`` package.
        model: refuse phones that it lacks. Default: take any.
    """
    return read_dictionary(
        path or _package_folder() / "cmudict-en-us.dict", phones=None if model is None else model.phones
    )


def _package_folder() -> Path:
    pocketsphinx = require("pocketsphinx", extra="speech", purpose="The default acoustic model and dictionary")
    return Path(pocketsphinx.get_model_path()) / "en-us"
