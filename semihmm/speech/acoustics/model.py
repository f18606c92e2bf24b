"""Acoustic models of phones: what each state of each phone expects to hear."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models import GaussianMixture
from semihmm.speech.acoustics.contexts import Contexts
from semihmm.speech.acoustics.densities import Densities
from semihmm.speech.acoustics.edges import EdgeCorrection
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.network import TimeDelayNetwork
from semihmm.speech.acoustics.storing import mixture_tensors, write
from semihmm.speech.acoustics.transform import spliced, transformed

_FRAMES = 100  # taken at a time: the densities of 5,000 Gaussians at these many frames stay near the processor
NETWORK = "network."  # before the names of its tensors, in a file


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
        held = min((stream.states for stream in self.streams), default=self.columns)
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
        if self.contexts is None:
            return len(self.plain)
        return self.streams[0].states if self.network is None else self.network.states

    @cached_property
    def owner(self) -> Tensor:
        """For each column ``(columns,)`` the state of a phone without context that it is a kind of."""
        owner = torch.zeros(self.columns, dtype=torch.long)
        owner[self.plain] = self.plain
        if self.contexts is not None:
            table = self.contexts.table
            of = self.plain.reshape(len(self.phones), 1, self.states).expand_as(table)
            owner.scatter_reduce_(0, table.flatten().long(), of.flatten(), "amax")
        return owner

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
                found = self.network.scaled(self.network.log_posterior(features), self.owner)
                return nn.functional.pad(found.float()[:, columns], (0, room))
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
            tensors |= {f"{NETWORK}{name}": x for name, x in self.network.state_dict().items()}
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
