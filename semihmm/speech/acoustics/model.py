"""Acoustic models of phones: what each state of each phone expects to hear."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semihmm._optional import require
from semihmm.errors import DataError, ShapeError
from semihmm.models import GaussianMixture
from semihmm.speech.acoustics.contexts import Contexts
from semihmm.speech.acoustics.densities import Densities
from semihmm.speech.acoustics.edges import EdgeCorrection
from semihmm.speech.acoustics.htk import (
    Definition,
    State,
    front_end_of,
    phone_names,
    read_configuration,
    read_definitions,
    read_names,
    same_kind,
)
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.network import TimeDelayNetwork
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
from semihmm.speech.acoustics.transform import spliced, transformed
from semihmm.speech.text.dictionary import Entries, read_dictionary

_VARIANCE_FLOOR = 1e-4
_NETWORK = "network."  # before the names of its tensors
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
        splice: how many frames before and after it each frame is seen with.
        transform: ``(D, (2 splice + 1) F + 1)``, an affine map of these, which the streams see; None for none.
        network: takes the place of the streams, of which there are none then.
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
    splice: int = 0
    transform: Tensor | None = None
    network: TimeDelayNetwork | None = None

    def __post_init__(self) -> None:
        phones = len(self.phones)
        held = min((stream.states for stream in self.streams), default=phones * self.states)
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

    @property
    def columns(self) -> int:
        """How many columns there are, those of phones in context included."""
        return len(self.plain) if self.contexts is None else self.streams[0].states

    def seen(self, features: Tensor) -> Tensor:
        """What the streams see of features ``(T, F)``: spliced and mapped, ``(T, D)``."""
        if self.splice:
            features = spliced(features, self.splice)
        return features if self.transform is None else transformed(features, self.transform)

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
        columns = self.plain if columns is None else columns
        features = self.seen(features)
        if self.network is not None:
            with torch.no_grad():
                return nn.functional.pad(self.network(features).float()[:, columns], (0, room))
        widths = [stream.mean.shape[-1] for stream in self.streams]
        if features.ndim != 2 or features.shape[1] != sum(widths):
            raise ShapeError(
                f"AcousticModel: features must be (T, {sum(widths)}), the width that {self.name} was trained on, got "
                f"{tuple(features.shape)}. Compute them with the model's own front_end."
            )
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
            DependencyError: ``safetensors`` is not installed.
        """
        tensors = {"transitions": self.transitions.float()}
        for number, stream in enumerate(self.streams):
            tensors |= mixture_tensors(stream, f"streams.{number}")
        if self.contexts is not None:
            table = self.contexts.table.int()
            tensors["contexts"] = table[:1] if (table == table[:1]).all() else table
        if self.edges is not None:
            tensors |= {f"edges.{name}": getattr(self.edges, name) for name in EdgeCorrection.__dataclass_fields__}
        if self.transform is not None:
            tensors["transform"] = self.transform
        if self.network is not None:
            tensors |= {f"{_NETWORK}{name}": x for name, x in self.network.state_dict().items()}
        note = {name: getattr(self, name) for name in ("phones", "name", "silence", "card")}
        note |= {"streams": len(self.streams), "splice": self.splice, "front_end": asdict(self.front_end)}
        write(path, tensors, note | ({"network": self.network.config} if self.network else {}))

    @cached_property
    def _densities(self) -> list[Densities]:
        return [Densities.of(stream) for stream in self.streams]


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
    """Read an acoustic model: a file that `AcousticModel.save` wrote, a phonetically-tied Sphinx-3 model, or HTK's.

    Args:
        folder: the file; or a folder that holds ``mdef``, ``means``, ``variances``, ``transition_matrices``,
            ``feat.params`` and ``mixture_weights`` or ``sendump`` (Sphinx); or ``hmmdefs`` and ``config``, and perhaps
            ``macros`` and ``monophones.repl`` (HTK, see `semihmm.speech.acoustics.htk`). Default: the US English model
            inside the ``pocketsphinx`` package.
        contexts: whether to read a Sphinx model's phones in context too.

    Raises:
        DataError: a file is missing or damaged, or the model is of another kind.
        DependencyError: no folder was given and ``pocketsphinx`` is not installed.
    """
    if folder is not None and folder.is_file():
        return _saved(folder)
    if folder is None or (folder / "mdef").exists():
        return _sphinx_model(folder, contexts=contexts)
    if (folder / "hmmdefs").exists():
        return _htk_model(folder)
    raise DataError(
        f"load_acoustic_model: {folder} should be the file of a model, or hold a Sphinx model (mdef and other files) "
        f"or an HTK model (hmmdefs and config), but has neither mdef nor hmmdefs."
    )


def _htk_model(folder: Path) -> AcousticModel:
    """Short pauses, called sp or passed over without a frame, are left out: the graph has pauses of its own."""
    macros, names = folder / "macros", folder / "monophones.repl"
    found = read_definitions(*([macros] if macros.exists() else []), folder / "hmmdefs")
    settings = read_configuration(folder / "config")
    front_end = front_end_of(settings)
    width = len(front_end.columns or ())
    if found.size != width or not same_kind(found.kind or settings["TARGETKIND"], settings["TARGETKIND"]):
        raise DataError(
            f"load_acoustic_model: in {folder}, hmmdefs should be of the features that config describes, "
            f"{settings['TARGETKIND']} with {width} numbers, but is of {found.kind} with {found.size}."
        )
    named = phone_names(list(found.models), read_names(names) if names.exists() else {})
    models = {
        named[name]: model
        for name, model in found.models.items()
        if len(model.states) > 1 or not (name == "sp" or float(model.transitions[0, -1]))
    }
    silence = next((name for name in models if name.lower() == "sil"), None)
    if silence is None:
        raise DataError(f"load_acoustic_model: {folder}/hmmdefs needs a model called sil, which stands for silence.")
    states = max(len(model.states) for model in models.values())
    parts = [_within(name, model, states, folder) for name, model in models.items()]
    return AcousticModel(
        tuple(models),
        (_mixtures([state for own, _ in parts for state in own]),),
        torch.stack([transitions for _, transitions in parts]).log(),
        front_end,
        name=f"HTK {folder}",
        silence=silence,
    )


def _within(name: str, model: Definition, states: int, folder: Path) -> tuple[list[State], Tensor]:
    """The model among others of so many states: its last state is the last, and no path enters those that it lacks."""
    count, given = len(model.states), model.transitions
    entered_and_left = given[0, 1] + given[0, -1] > 1 - 1e-3 and given[count, -1] > 0 and not given[1:count, -1].any()
    if not entered_and_left or count == 1 < states:
        raise DataError(
            f"load_acoustic_model: in {folder}/hmmdefs, {name!r} should have as many states as the others, or two at "
            f"least, and be entered in its first state and left from its last one, and only from it."
        )
    place = torch.tensor([*range(count - 1), states - 1])
    transitions = torch.eye(states, states + 1, dtype=torch.float64)
    transitions[place] = 0.0
    transitions[place[:, None], torch.cat([place, torch.tensor([states])])] = given[1:-1, 1:]
    return [*model.states[:-1], *(states - count + 1) * model.states[-1:]], transitions


def _mixtures(states: Sequence[State]) -> GaussianMixture:
    """Each state's own mixture; what some have fewer of is filled up with Gaussians of no weight."""
    most = max(len(state.weights) for state in states)
    means, variances, log_weights = [], [], []
    for state in states:
        filled = [*range(len(state.weights)), *(most - len(state.weights)) * [0]]
        means.append(state.means[filled])
        variances.append(state.variances[filled])
        log_weights.append(torch.nn.functional.pad(state.weights, (0, most - len(state.weights))).log()[None])
    return tied_mixture(torch.stack(means), torch.stack(variances), torch.stack(log_weights))


def _sphinx_model(folder: Path | None, *, contexts: bool) -> AcousticModel:
    name = f"Sphinx {folder or 'en-us'}{', in context' if contexts else ''}"
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
        edges = [tensors[name] for part in EdgeCorrection.__dataclass_fields__ if (name := f"edges.{part}") in tensors]
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
            splice=note.get("splice", 0),
            transform=tensors.get("transform"),
            network=_network_of(tensors, note["network"]) if "network" in note else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"load_acoustic_model: {path} is damaged, as its parts do not fit each other ({error}). Fetch or train it "
            f"again."
        ) from error


def _network_of(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> TimeDelayNetwork:
    network = TimeDelayNetwork(**config)
    network.load_state_dict({name[len(_NETWORK) :]: x for name, x in tensors.items() if name.startswith(_NETWORK)})
    return network.eval().requires_grad_(False)


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
