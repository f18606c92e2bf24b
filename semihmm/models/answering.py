"""What every model answers: how likely the data are, which states explain them, and what else it would say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from semihmm import inference
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.inference import Paths
from semihmm.models.arguments import real_tensor
from semihmm.models.checking import checked, checked_inputs
from semihmm.models.emissions import Emission
from semihmm.models.emissions.base import missing
from semihmm.models.forecasting import Ahead, last, means
from semihmm.models.part import Driven, Law, Part
from semihmm.models.sequences import Batch, Known, batches, joined
from semihmm.structures import Structure
from semihmm.structures.authoring import check_lengths, tensor_of, until

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from semihmm.models.sequences import Data

_FAR = 64  # steps; means of observations that depend on what is missing farther back take it as it was filled in

S = TypeVar("S", bound=Structure)
A = TypeVar("A")
B = TypeVar("B")


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


class Forecast(NamedTuple):
    """What is to come.

    Attributes:
        states: the probability of each state at each of h steps ahead, ``(..., h, S)``.
        mean: the expected observations ``(..., h, *event_shape)``; None of symbols. Exact, also of an autoregressive
            emission, whose means differ from path to path: but what is missing before the last step is filled in first,
            where it is farther back than 64 steps, or than the shortest sequence begins.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> HMM(2, Gaussian(2, features=3)).forecast(torch.zeros(4, 3), steps=10).mean.shape
        torch.Size([10, 3])
    """

    states: Tensor
    mean: Tensor | None


class Answering(Part, Generic[S]):
    """A structure whose potentials are computed from observations, and what can be asked of it."""

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

    def counts(self, found: dict[str, Tensor], laws: Mapping[str, Tensor], lengths: Tensor | None) -> dict[str, Tensor]:
        """How often each entry of a law was used, given the expected counts of the structure's potentials.

        Args:
            found: the counts, by potential.
            laws: what the laws said, by name.
        """
        return found

    def named(self, states: Tensor) -> Tensor:
        """The model's states, given those of the structure's paths."""
        return states

    def potentials(self, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What the laws say, by name, given the inputs of those that take some."""
        inputs = inputs or {}
        return {n: law(inputs[n]) if isinstance(law, Driven) else law() for n, law in self.laws.items()}

    def explained(self, batch: Batch, laws: Mapping[str, Tensor] | None = None, emission: Tensor | None = None) -> S:
        """The structure of all state sequences that may explain a batch that was checked.

        Args:
            laws: in place of what the laws say, by name.
            emission: in place of the log-likelihoods of the emission, ``(..., T, S)``.
        """
        emission = self.emission(batch.x) if emission is None else emission
        if batch.allowed is not None:
            emission = torch.where(batch.allowed, emission, -torch.inf)
        found = self.structure(emission, batch.lengths, self.potentials(batch.inputs) if laws is None else laws)
        return found if batch.starts is None else self.segmented(found, batch.starts)

    def segmented(self, structure: S, starts: Tensor) -> S:
        """The same structure with the segments alone that begin where ``starts (..., T)`` says."""
        raise StructureError(f"{type(self).__name__}: starts say where segments begin, which an HSMM has.")

    def forward(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> S:
        """The structure of all state sequences that may explain the observations; of a tensor or a list."""
        return self.explained(self._one(x, lengths, **known))

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

    def decode(self, x: Data, lengths: Tensor | None = None, k: int | None = None, **known: Unpack[Known]) -> Paths:
        """The most probable path of each sequence (Viterbi), of a tensor or a list; its ``.states`` and ``.score``.

        Args:
            k: instead, the k most probable paths, ``(k, ...)``, best first.
        """
        with torch.no_grad():
            structure = self(x, lengths, **known)
            return inference.viterbi(structure) if k is None else inference.topk(structure, k)

    def predict(
        self,
        x: Data,
        lengths: Tensor | None = None,
        method: Literal["viterbi", "posterior"] = "viterbi",
        **known: Unpack[Known],
    ) -> Tensor:
        """The state of each step, int64 ``(..., T)``; -1 after the end.

        Args:
            method: ``"viterbi"`` for those of the most probable path; ``"posterior"`` for the most probable one of each
                step, which are right most often and may be no path (Rabiner 1989, eq. 29).
        """
        if method not in ("viterbi", "posterior"):
            raise ShapeError(
                f"{type(self).__name__}.predict: method must be 'viterbi' or 'posterior', got {method!r}. For the "
                "k best paths, ask decode(x, k=k)."
            )
        if method == "posterior":
            posterior = self.predict_proba(x, lengths, **known)
            return torch.where(posterior.sum(-1) > 0, posterior.argmax(-1), -1)
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

    def filter(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> Tensor:
        """The probability of each state given the steps up to it, ``(..., T, S)``; 0 after the end."""
        with torch.no_grad():
            return self.answers(lambda structure: inference.filtering(structure).exp(), x, lengths, **known)

    def smooth(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> Tensor:
        """The probability of each state given all steps, ``(..., T, S)``, as `predict_proba`."""
        return self.predict_proba(x, lengths, **known)

    def entropy(self, x: Data, lengths: Tensor | None = None, **known: Unpack[Known]) -> Tensor:
        """How uncertain the paths are: the entropy of their posterior, in nats ``(...)``."""
        return self.answers(inference.entropy, x, lengths, **known)

    def impute(
        self,
        x: Data,
        lengths: Tensor | None = None,
        method: Literal["mean", "sample"] = "mean",
        generator: torch.Generator | None = None,
        **known: Unpack[Known],
    ) -> Tensor:
        """The observations with what was missing filled in, ``(..., T, *event_shape)``; of a tensor or a list.

        Args:
            method: ``"mean"`` for what is expected given all that was observed; ``"sample"`` for a draw from it: a
                path, and what is missing given the states on it and the rest of each observation.
            generator: for the draw.
        """
        if method not in ("mean", "sample"):
            raise ShapeError(f"{type(self).__name__}.impute: method must be 'mean' or 'sample', got {method!r}.")
        batch = self._one(x, lengths, **known)
        with torch.no_grad():
            structure = self.explained(batch)
            if method == "mean":
                posterior = inference.expected_counts(structure, ("emission",))[1]["emission"]
                found = self.emission.fill(batch.x, posterior)
            else:
                path = inference.sample(structure, (1,), generator=generator)
                states = self.named(path.states).squeeze(0).clamp(min=0)
                found = self.emission.complete(batch.x, states, generator)
        return self._columns(found)

    def forecast(self, x: Data, steps: int, lengths: Tensor | None = None, *, inputs: Any = None) -> Forecast:
        """What comes after each sequence, of a tensor or a list.

        Args:
            steps: how many steps ahead to look, h.
            inputs: covariates of all T steps and of the h ahead, ``(..., T + h, U)``, for the parts that take some.
        """
        ahead = self._ahead(x, steps, lengths, inputs)
        with torch.no_grad():
            structure = self.endless(self.explained(ahead))
            posterior = inference.expected_counts(structure, ("emission",))[1]["emission"]
            states = last(posterior, steps, ahead.lengths, posterior.ndim - 2)
            mean = self._expected(ahead, steps, structure, posterior) if self.emission.event_shape else None
        return Forecast(states, mean)

    def simulate(
        self,
        x: Data,
        steps: int,
        shape: tuple[int, ...] = (),
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        inputs: Any = None,
    ) -> Draw:
        """Draw what comes after each sequence: states from their posterior, and observations in them.

        Args:
            steps: how many steps ahead, h.
            shape: how many continuations of each, as axes before the others.
            inputs: covariates of all T steps and of the h ahead, ``(..., T + h, U)``.
        Returns:
            ``(*shape, ..., h, *event_shape)`` and ``(*shape, ..., h)``.
        """
        ahead = self._ahead(x, steps, lengths, inputs)
        with torch.no_grad():
            drawn = inference.sample(self.endless(self.explained(ahead)), shape, generator=generator)
            time, near = drawn.states.ndim - 1, self._near(ahead, steps)
            states = last(self.named(drawn.states), near, ahead.lengths, time)
            seen = last(ahead.x, near, ahead.lengths, len(ahead.shape) - 1)
            seen = seen.expand(*states.shape, *seen.shape[len(ahead.shape) :])
            found = self._columns(self.emission.complete(seen, states.clamp(min=0), generator))
            first = states.shape[time] - steps
            return Draw(found.narrow(time, first, steps), states.narrow(time, first, steps))

    def endless(self, structure: S) -> S:
        """The same structure where sequences just stop, whatever it says of their ends."""
        return structure

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

    def _expected(self, ahead: Batch, steps: int, structure: S, posterior: Tensor) -> Tensor:
        """The expected observations of the last steps, ``(..., steps, *event_shape)``."""
        time, near = len(ahead.shape) - 1, self._near(ahead, steps)
        seen = last(ahead.x, near, ahead.lengths, time)
        filled = self._columns(self.emission.fill(seen, last(posterior, near, ahead.lengths, posterior.ndim - 2)))
        order = self.emission.order
        if not order:
            return filled.narrow(time, filled.shape[time] - steps, steps)
        steps_ahead = steps + self._unknown(ahead, steps)
        before = filled.narrow(time, 0, filled.shape[time] - steps_ahead)
        while before.shape[time] < order:
            before = torch.cat([before.narrow(time, 0, 1), before], time)
        past = before.narrow(time, before.shape[time] - order, order).flip(time).flatten(-2)
        own = last(structure.potentials["emission"], steps_ahead, ahead.lengths, time)
        x = last(ahead.x, steps_ahead, ahead.lengths, time)
        found = means(self.emission, self.following(structure, ahead, steps_ahead), own, x, past)
        return found.narrow(time, steps_ahead - steps, steps).to(filled)

    def _unknown(self, ahead: Batch, steps: int) -> int:
        """How many steps there are behind the last one that is known with all that it depends on, before those ahead.

        Never so many that a sequence, or `_FAR` steps, do not reach back to it.
        """
        before = ahead.shape[-1] if ahead.lengths is None else int(ahead.lengths.min())
        columns = (self.emission.event_shape[0] or 1) * (1 + self.emission.order)
        far = min(before - steps, _FAR)
        x = last(ahead.x[..., :columns], far + steps, ahead.lengths, len(ahead.shape) - 1)[..., :far, :]
        known = (~missing(x).any(-1)).flip(-1)
        behind = torch.where(known.any(-1), known.int().argmax(-1), far - 1)
        return int(behind.max())

    def following(self, structure: S, batch: Batch, steps: int) -> Ahead:
        """What may follow all steps but the last ones, for the means of an emission that depends on its past."""
        raise StructureError(
            f"{type(self).__name__}: has no `following`, which means of {type(self.emission).__name__} ahead need. "
            "Draw them: simulate(x, steps, (1000,)).x.mean(0)."
        )

    def _near(self, ahead: Batch, steps: int) -> int:
        """How many of the last steps say what is expected at the last of all: more where some of them are missing."""
        order = self.emission.order
        if order:
            before = last(self._columns(ahead.x), steps + order, ahead.lengths, len(ahead.shape) - 1)
            if bool(missing(before.narrow(len(ahead.shape) - 1, 0, order)).any()):
                return ahead.shape[-1]
        return steps + order

    def _columns(self, observed: Tensor) -> Tensor:
        """Observations, without what `Emission.observed` puts beside them."""
        event = self.emission.event_shape
        return observed[..., : event[-1]] if event and event[-1] is not None else observed

    def _one(self, x: Data, lengths: Tensor | None, **known: Unpack[Known]) -> Batch:
        """The data as one batch."""
        return self._single(self.batches(x, lengths, **known))

    def _single(self, given: Iterator[B]) -> B:
        """The only batch."""
        found = list(given)
        if len(found) > 1:
            raise ShapeError(f"{type(self).__name__}: this is asked of a tensor or a list, got {len(found)} batches.")
        return found[0]

    def _ahead(self, x: Data, steps: int, lengths: Tensor | None, inputs: Any) -> Batch:
        """Sequences with steps behind their ends at which nothing was observed."""
        if steps < 1:
            raise ShapeError(f"{type(self).__name__}: steps must be at least 1, got {steps}.")
        given = self._single(batches(type(self).__name__, x, lengths))
        seen = real_tensor(type(self).__name__, "x", given["x"])
        lengths, event = given["lengths"], len(self.emission.event_shape)
        time = seen.ndim - event - 1
        if time < 0:
            self._one(seen, lengths)  # which says what is wrong
        unseen = torch.nan if seen.is_floating_point() or event else -1
        seen = seen.double() if event and not seen.is_floating_point() else seen
        behind = seen.new_full((*seen.shape[:time], steps, *seen.shape[time + 1 :]), unseen)
        longer = torch.cat([seen, behind], time)
        if lengths is not None:
            lengths = tensor_of(type(self).__name__, "lengths", lengths)
            check_lengths(type(self).__name__, lengths, seen.shape[:time], seen.shape[time])
            inside = until(lengths, longer.shape[time], 1 + event)
            longer = longer if inside is None else torch.where(inside, longer, unseen)
            lengths = lengths + steps
        return self._one(longer, lengths, **({} if inputs is None else {"inputs": inputs}))
