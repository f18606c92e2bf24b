"""What every model answers: how likely the data are, which states explain them, and what else it would say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from semihmm import inference
from semihmm.errors import DataError, ShapeError
from semihmm.inference import Paths
from semihmm.models import saving, training
from semihmm.models.checking import checked, checked_inputs
from semihmm.models.emissions import Emission
from semihmm.models.part import Driven, Law, Part
from semihmm.models.sequences import Batch, Known, batches, joined
from semihmm.models.training import Fit, Method
from semihmm.structures import Structure

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from semihmm.models.sequences import Data

S = TypeVar("S", bound=Structure)
A = TypeVar("A")


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

    Observations are ``(..., T, *event_shape)``, in sequences of ``lengths (...)`` steps (None: all T); or a list of
    sequences ``(T, *event_shape)``, tensors or arrays; or, for every method that says `Data`, an iterable of batches,
    such as a `torch.utils.data.DataLoader`: each ``x``, ``(x, lengths)``, or a dict of these and of what is known, by
    the names of the arguments. Answers about a list are padded, and those about batches stand one behind the other.

    A value that is missing is NaN (-1 among symbols): emissions take what is left. What lies behind the end of a
    sequence may be anything. Observations are converted to the dtype of the parameters, unless that loses what tells
    them apart: ask ``model.double()`` for float64.

    Every method also takes what is known besides, by name: ``inputs``, covariates ``(..., T, U)`` of the parts that
    take them (or a dict of these by the name of the part), and ``labels``, the state of some steps, int64 ``(..., T)``,
    -1 where it is not known, or the states that there may be, bool ``(..., T, S)``. A likelihood is then that of the
    observations and the labels.

    ``model(x, lengths)`` is a structure, so `semihmm.topk`, `semihmm.entropy` and every other question can be asked of
    it, and differentiated.
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
    def structure(self, emission: Tensor, lengths: Tensor | None = None, laws: Mapping[str, Tensor] | None = None) -> S:
        """The structure for log-likelihoods ``(..., T, S)``, and for what the laws say, or for ``laws`` instead."""

    def counts(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """How often each entry of a law was used, given the expected counts of the structure's potentials."""
        return found

    def named(self, states: Tensor) -> Tensor:
        """The model's states, given those of the structure's paths."""
        return states

    def potentials(self, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What the laws say, by name, given the inputs of those that take some."""
        inputs = inputs or {}
        return {n: law(inputs[n]) if isinstance(law, Driven) else law() for n, law in self.laws.items()}

    def explained(self, batch: Batch, laws: Mapping[str, Tensor] | None = None) -> S:
        """The structure of all state sequences that may explain a batch that was checked."""
        emission = self.emission(batch.x)
        if batch.allowed is not None:
            emission = torch.where(batch.allowed, emission, -torch.inf)
        return self.structure(emission, batch.lengths, self.potentials(batch.inputs) if laws is None else laws)

    def forward(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> S:
        """The structure of all state sequences that may explain the observations; of a tensor or a list."""
        found = list(self.batches(x, lengths, **known))
        if len(found) > 1:
            raise ShapeError(f"{type(self).__name__}: one structure is of one batch, got {len(found)}.")
        return self.explained(found[0])

    def answers(self, question: Callable[[S], A], x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> A:
        """What is to be known of the structure of each batch, joined."""
        return joined([question(self.explained(batch)) for batch in self.batches(x, lengths, **known)])

    def log_prob(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> Tensor:
        """The log-likelihood of each sequence, in nats ``(...)``; differentiable."""
        return self.answers(inference.log_partition, x, lengths, **known)

    def score(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> float:
        """The log-likelihood of all sequences together, in nats."""
        with torch.no_grad():
            return float(self.log_prob(x, lengths, **known).double().sum())

    def decode(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> Paths:
        """The most probable path of each sequence (Viterbi); its ``.states`` and ``.score``. Of a tensor or a list."""
        with torch.no_grad():
            return inference.viterbi(self(x, lengths, **known))

    def predict(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> Tensor:
        """The state of each step on the most probable path, int64 ``(..., T)``; -1 after the end."""
        with torch.no_grad():
            return self.answers(lambda s: self.named(inference.viterbi(s).states), x, lengths, **known)

    def predict_proba(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> Tensor:
        """The posterior probability of each state at each step, ``(..., T, S)``; 0 after the end."""
        return self.score_samples(x, lengths, **known)[1]

    def score_samples(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> tuple[Tensor, Tensor]:
        """`log_prob` and `predict_proba` at the cost of the latter: ``(...)`` in nats, and ``(..., T, S)``."""

        def posterior(structure: S) -> tuple[Tensor, Tensor]:
            log_likelihood, counts = inference.expected_counts(structure, ("emission",))
            return log_likelihood, counts["emission"]

        with torch.no_grad():
            return self.answers(posterior, x, lengths, **known)

    def sample(
        self,
        steps: int,
        shape: tuple[int, ...] = (),
        generator: torch.Generator | None = None,
        *,
        inputs: Tensor | Mapping[str, Tensor] | None = None,
    ) -> Draw:
        """Draw states, and observations in them.

        Args:
            steps: T.
            shape: how many sequences, as axes before time.
            generator: of the model's device.
            inputs: covariates ``(T, U)`` of all sequences, for the parts that take some.
        Raises:
            DataError: no path has that many steps.
        """
        weights = next(self.parameters())
        with torch.no_grad():
            driven = checked_inputs(type(self).__name__, self.emission, self.laws, inputs, torch.Size((steps,)))
            # A path of the model is a path of its structure when nothing was observed.
            silent = self.structure(weights.new_zeros(steps, self.states), None, self.potentials(driven))
            drawn = inference.sample(silent, shape, generator=generator)
            if not drawn.valid.all():
                raise DataError(f"{type(self).__name__}: no path of the model has {steps} steps.")
            own = driven.get("emission")
            more = {} if own is None else {"inputs": own.expand(*drawn.states.shape, -1)}
            states = self.named(drawn.states)
            return Draw(self.emission.sample(states, generator, **more), states)

    def fit(
        self,
        x: Data,
        lengths: Tensor | None = None,
        method: Method | None = None,
        *,
        weights: Any = None,
        iterations: int = 100,
        tolerance: float = 1e-5,
        restarts: int = 1,
        initialise: bool = True,
        init: Mapping[str, Tensor] | None = None,
        frozen: Iterable[str] = (),
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
        step_size: Callable[[int], float] | None = None,
        validation: Any = None,
        patience: int = 5,
        time_limit: float | None = None,
        progress: bool | None = None,
        generator: torch.Generator | None = None,
        callback: Callable[[int, float], None] | None = None,
        **known: Unpack[Known],
    ) -> Fit:
        """Make the data, and the parameters under their prior, as probable as they can be made from where it starts.

        Args:
            method: None for EM where the emission has it, and for the gradient otherwise.
                ``"em"`` (Baum-Welch) never lowers the objective: two scans and one update an iteration.
                ``"viterbi"`` counts the best path alone (hard EM, segmental k-means: Juang & Rabiner 1990); its
                objective is that path's log-probability.
                ``"stochastic"`` updates after each batch, from sums that forget slowly (Cappé & Moulines 2009), an
                iteration being one pass through the batches; its history is of the likelihoods that batches had when
                they were met.
                ``"gradient"`` climbs with any optimiser, a step for each batch.
            weights: how often each sequence counts ``(...)``; None for once.
            iterations: at most so many.
            tolerance: end after an iteration that gains less than this, in nats per step of the data.
            restarts: fit from so many starts, and keep the best. Under EM they run side by side.
            initialise: start from parameters drawn anew with the data in sight; otherwise from those it has.
            init: parameters to start from, by their names in ``state_dict()``; they are not drawn.
            frozen: parts or parameters that stay as they are, by name: ``"transition"``, ``"emission.mean"``. So does
                every parameter with ``requires_grad=False``.
            optimizer: makes a torch optimiser from parameters; None for Adam with a learning rate of 0.05. The gradient
                is that of the objective per step.
            step_size: of the k-th batch, k = 1, 2, ..., for ``"stochastic"``; None for ``(k + 1) ** -0.6``.
            validation: held-out data, as ``x``, ``(x, lengths)`` or a dict. The parameters kept are those under which
                they were most probable.
            patience: end when held-out data have not become more probable in so many iterations.
            time_limit: seconds, after which no iteration begins.
            progress: whether to show a bar; None to show one on a terminal if rich is installed.
            generator: for the starts.
            callback: called with the number and the objective of each iteration.
            known: ``inputs`` and ``labels``. If all states are known, one iteration says all.
        Returns:
            The history of the objective, from before the first iteration on, and why it ended. Ctrl-C ends a fit, and
            the model has the best parameters found so far.
        Raises:
            DataError: infinite values; a sequence that the model cannot explain at all.
            StructureError: EM for an emission that has none; a name that is no parameter's.
            SemihmmError: the objective fell under EM (a part's `update` does not do what it should) or is NaN.
        """
        plan = training.Plan(
            method or ("em" if self.emission.trains_by_em else "gradient"),
            iterations=iterations,
            tolerance=tolerance,
            optimizer=optimizer,
            step_size=step_size,
            validation=validation,
            patience=patience,
            time_limit=time_limit,
            progress=progress,
            callback=callback,
        )
        if restarts < 1:
            raise ShapeError(f"{type(self).__name__}.fit: restarts must be at least 1, got {restarts}.")
        with torch.inference_mode(False), training.frozen(self, frozen):  # inference mode forbids to change parameters
            self._leave_inference_mode()
            data = training.Batches(self, x, lengths, weights=weights, **known)
            start = {} if init is None else dict(init)

            def begin(model: Self) -> None:
                if initialise:
                    with training.kept(model):
                        model.begin(data.first(), generator)
                training.assign(model, start)
                model.project()

            return training.fit(self, data, plan, begin, restarts)

    def _leave_inference_mode(self) -> None:
        """Make parameters and buffers that were made in inference mode ones that can be trained."""
        for module in self.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.is_inference():
                    setattr(module, name, nn.Parameter(parameter.clone(), parameter.requires_grad))
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_inference():
                    setattr(module, name, buffer.clone())

    def initialise(
        self,
        x: Data,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        **known: Unpack[Known],
    ) -> None:
        """Draw parameters to start from: laws near uniform, emissions spread over the data (of the first batch).

        Where states only go forward, each sequence is cut into S equal pieces, and each state is given its own; where
        labels are known, each state is given what it may have emitted.
        """
        self.begin(next(iter(self.batches(x, lengths, **known))), generator)

    def begin(self, batch: Batch, generator: torch.Generator | None) -> None:
        """`initialise` from a batch that was checked."""
        seen = batch.inside
        x = batch.x[seen]
        for law in self.laws.values():
            law.initialise(generator)
        self.emission.initialise(x, generator)
        if not self.emission.trains_by_em:
            return
        share: Tensor | None = None
        if batch.allowed is not None:
            allowed = batch.allowed.expand(*batch.shape, -1)[seen]
            told = ~allowed.all(-1)
            x, share = x[told], allowed[told] / allowed[told].sum(-1, keepdim=True)
        elif self.forward_only and self.states > 1:
            piece = torch.arange(seen.shape[-1], device=x.device) * self.states // seen.sum(-1, keepdim=True)
            share = nn.functional.one_hot(piece[seen], self.states)
        if share is not None and len(share):
            self.emission.update(x, share.double())

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

    def batches(
        self, x: Data, lengths: Tensor | None = None, *, weights: Any = None, **known: Unpack[Known]
    ) -> Iterator[Batch]:
        """The data as the model's parts take them.

        Raises:
            ShapeError: other shapes than the parts take.
            DataError: infinite values before the end; inputs that are missing.
        """
        for given in batches(type(self).__name__, x, lengths, weights=weights, **known):
            yield checked(type(self).__name__, self.emission, self.laws, self.states, **given)
