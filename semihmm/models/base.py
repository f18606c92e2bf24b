"""What every model answers: how likely the data are, which states explain them, and what else it would say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from semihmm import inference
from semihmm.engine.tensors import usable
from semihmm.engine.tracing import plain
from semihmm.errors import DataError, ShapeError
from semihmm.inference import Paths
from semihmm.models import saving, training
from semihmm.models.emissions import Emission
from semihmm.models.part import Law, Part
from semihmm.models.training import Fit, before_the_end
from semihmm.structures import Structure
from semihmm.structures.authoring import check_lengths, until

if TYPE_CHECKING:
    from typing_extensions import Self

S = TypeVar("S", bound=Structure)


class Draw(NamedTuple):
    """What a model says when it is asked to.

    Attributes:
        x: observations ``(*shape, T, *event_shape)``.
        states: the state of each, int64 ``(*shape, T)``.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> HMM(2, Gaussian(2, features=3)).sample(5, (4,)).x.shape
        torch.Size([4, 5, 3])
    """

    x: Tensor
    states: Tensor


class Model(Part, Generic[S]):
    """A structure whose potentials are computed from observations. `HMM` and `HSMM` are models.

    Observations are ``(..., T, *event_shape)``, in sequences of ``lengths (...)`` steps (None: all T); what lies behind
    the end may be anything, NaN included. They are converted to the dtype of the parameters: ask ``model.double()`` for
    float64. ``model(x, lengths)`` is a structure, so `semihmm.topk`, `semihmm.entropy` and every other question can be
    asked of it, and differentiated.
    """

    emission: Emission
    states: int
    forward_only: bool  # no transition leads to a lower-numbered state

    @property
    @abstractmethod
    def laws(self) -> dict[str, Law]:
        """The potentials that no observation changes, by name."""

    @property
    @abstractmethod
    def config(self) -> Mapping[str, object]:
        """The arguments that make another model like this one, its parts left out."""

    @property
    @abstractmethod
    def parts(self) -> dict[str, Part]:
        """The parts that the user chose, by argument."""

    @abstractmethod
    def structure(self, emission: Tensor, lengths: Tensor | None = None) -> S:
        """The structure for log-likelihoods ``(..., T, S)``."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> S:
        """The structure of all state sequences that may explain the observations."""
        x, lengths = self.checked(x, lengths)
        return self.structure(self.emission(x), lengths)

    def log_prob(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The log-likelihood of each sequence, in nats ``(...)``; differentiable."""
        return inference.log_partition(self(x, lengths))

    def score(self, x: Tensor, lengths: Tensor | None = None) -> float:
        """The log-likelihood of all sequences together, in nats."""
        with torch.no_grad():
            return float(self.log_prob(x, lengths).double().sum())

    def decode(self, x: Tensor, lengths: Tensor | None = None) -> Paths:
        """The most probable path of each sequence (Viterbi); its ``.states`` and ``.score``."""
        with torch.no_grad():
            return inference.viterbi(self(x, lengths))

    def predict(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The state of each step on the most probable path, int64 ``(..., T)``; -1 after the end."""
        return self.decode(x, lengths).states

    def predict_proba(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The posterior probability of each state at each step, ``(..., T, S)``; 0 after the end."""
        return self.score_samples(x, lengths)[1]

    def score_samples(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`log_prob` and `predict_proba` at the cost of the latter: ``(...)`` in nats, and ``(..., T, S)``."""
        with torch.no_grad():
            structure: S = self(x, lengths)
            log_likelihood, counts = inference.expected_counts(structure, ("emission",))
            return log_likelihood, counts["emission"]

    def sample(self, steps: int, shape: tuple[int, ...] = (), generator: torch.Generator | None = None) -> Draw:
        """Draw states, and observations in them.

        Args:
            steps: T.
            shape: how many sequences, as axes before time.
            generator: of the model's device.
        Raises:
            DataError: no path has that many steps.
        """
        weights = next(self.parameters())
        with torch.no_grad():
            # A path of the model is a path of its structure when nothing was observed.
            silent = self.structure(weights.new_zeros(steps, self.states))
            drawn = inference.sample(silent, shape, generator=generator)
            if not drawn.valid.all():
                raise DataError(f"{type(self).__name__}: no path of the model has {steps} steps.")
            return Draw(self.emission.sample(drawn.states, generator), drawn.states)

    def fit(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        method: Literal["em", "gradient"] | None = None,
        *,
        iterations: int = 100,
        tolerance: float = 1e-5,
        restarts: int = 1,
        initialise: bool = True,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
        generator: torch.Generator | None = None,
        callback: Callable[[int, float], None] | None = None,
    ) -> Fit:
        """Make the data, and the parameters under their prior, as probable as they can be made from where it starts.

        Args:
            method: ``"em"`` (Baum-Welch) never lowers the objective; ``"gradient"`` climbs it with any optimiser. None
                for EM where the emission has it.
            iterations: at most so many.
            tolerance: end after an iteration that gains less than this, in nats per step of the data.
            restarts: fit from so many starts, and keep the best.
            initialise: start from parameters drawn anew with the data in sight; otherwise from those it has.
            optimizer: makes a torch optimiser from parameters; None for Adam with a learning rate of 0.05. The gradient
                is that of the objective per step, of all data at once: with more than memory holds, write the loop
                yourself, around ``-model.log_prob(x, lengths).mean()``.
            generator: for the starts.
            callback: called with the number and the objective of each iteration.
        Returns:
            The history of the objective, from before the first iteration on.
        Raises:
            DataError: NaN in the data; a sequence that the model cannot explain at all.
            StructureError: EM for an emission that has none.
            SemihmmError: the objective fell under EM (a part's `update` does not do what it should) or is NaN.
        """
        if method not in ("em", "gradient", None) or restarts < 1:
            raise ShapeError(
                f"{type(self).__name__}.fit: method must be 'em' or 'gradient' and restarts at least 1, got "
                f"{method!r} and {restarts}."
            )
        by_em = method == "em" or (method is None and self.emission.trains_by_em)
        with torch.inference_mode(False):  # which forbids to change parameters
            self._leave_inference_mode()
            x, lengths = self.checked(x, lengths)
            x = x.clone() if x.is_inference() else x
            lengths = lengths.clone() if lengths is not None and lengths.is_inference() else lengths
            found: list[tuple[Fit, dict[str, Tensor]]] = []
            for _ in range(restarts):
                if initialise:
                    self.initialise(x, lengths, generator)
                self.project()
                if by_em:
                    fit = training.em(self, x, lengths, iterations, tolerance, callback)
                else:
                    fit = training.gradient(self, x, lengths, iterations, tolerance, optimizer, callback)
                found.append((fit, {name: value.clone() for name, value in self.state_dict().items()}))
            best, parameters = max(found, key=lambda one: one[0].objective)
            self.load_state_dict(parameters)
            return best

    def _leave_inference_mode(self) -> None:
        """Make parameters and buffers that were made in inference mode ones that can be trained."""
        for module in self.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.is_inference():
                    setattr(module, name, nn.Parameter(parameter.clone(), parameter.requires_grad))
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_inference():
                    setattr(module, name, buffer.clone())

    def initialise(self, x: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None) -> None:
        """Draw parameters to start from: laws near uniform, emissions spread over the data.

        Where states only go forward, each sequence is cut into S equal pieces, and each state is given its own.
        """
        x, lengths = self.checked(x, lengths)
        seen = before_the_end(self, x, lengths)
        for law in self.laws.values():
            law.initialise(generator)
        self.emission.initialise(x[seen], generator)
        if self.forward_only and self.states > 1 and self.emission.trains_by_em:
            steps = seen.shape[-1]
            end = seen.sum(-1, keepdim=True)
            piece = torch.arange(steps, device=x.device) * self.states // end
            self.emission.update(x[seen], nn.functional.one_hot(piece[seen], self.states).double())

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a safetensors file: parameters, and in the metadata how to build it again.

        The file appears when it is whole. Loading it runs no code.

        Raises:
            DependencyError: safetensors is not installed.
        """
        saving.save(path, type(self).__name__, self.config, self.parts, self.state_dict())

    @classmethod
    def load(cls, path: str | PathLike[str], **parts: Part) -> Self:
        """Read what `save` wrote.

        Args:
            parts: those that the file cannot build (an emission with a network), by the name of the argument; they get
                the parameters in the file. A class of your own need only be imported, if it has a `config`.
        Raises:
            DataError: no such file, another kind of file or model, parts that do not fit.
            DependencyError: safetensors is not installed.
        """
        return saving.load(path, cls.__name__, cls, parts)

    def log_prior(self) -> Tensor:
        """The log-density of all parameters under their priors, up to a constant."""
        return torch.stack([part.log_prior().double() for part in (*self.laws.values(), self.emission)]).sum()

    def project(self) -> None:
        """Move the parameters of all parts back into their bounds."""
        for part in (*self.laws.values(), self.emission):
            part.project()

    def checked(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The observations in the model's dtype; after the end, what the emission can take.

        Raises:
            ShapeError: another shape than the emission takes.
            DataError: NaN or infinite values before the end.
        """
        name, event = type(self).__name__, self.emission.event_shape
        axes = x.ndim - len(event)
        fits = axes >= 1 and all(size in (None, got) for size, got in zip(event, x.shape[axes:], strict=True))
        if not fits or not x.numel():
            expected = ", ".join(["...", "T", *("any" if size is None else str(size) for size in event)])
            raise ShapeError(
                f"{name}: {type(self.emission).__name__} takes observations ({expected}) with at least one step, got "
                f"{tuple(x.shape)}."
            )
        check_lengths(name, lengths, x.shape[: axes - 1], x.shape[axes - 1])
        if lengths is not None:
            inside = until(lengths, x.shape[axes - 1], 1 + len(event))
            assert inside is not None
            x = torch.where(inside, x, torch.as_tensor(self.emission.filler, device=x.device))
        if x.is_floating_point():
            x = x.to(next(iter(self.laws.values())).dtype)
            if plain((x,)) and not usable([x], 0.0) and (bad := ~x.isfinite()).any():
                at = tuple(int(i) for i in bad.nonzero()[0])
                raise DataError(
                    f"{name}: observation {list(at)} is {float(x[at])}. Cut such steps out, fill them in, or end the "
                    "sequence before them with lengths."
                )
        return x, lengths
