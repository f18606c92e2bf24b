"""What a model is: parts that make a structure of observations, answer questions about them, learn, and are saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models import saving, training
from semihmm.models.describing import Described
from semihmm.models.part import Driven, Part, trained
from semihmm.models.sequences import Batch, Known
from semihmm.models.training import Fit, Method
from semihmm.structures import Structure

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from semihmm.models.sequences import Data

S = TypeVar("S", bound=Structure)


class Model(Described[S]):
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
        initialise: bool | Literal["spread", "random"] = True,
        init: Mapping[str, Tensor] | None = None,
        frozen: Iterable[str] | str = (),
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
            tolerance: end after an iteration that gains less than this, in nats per step of the data. Under EM, which
                leaves a plateau slowly, it must also be less than a thousandth of what was gained since the first
                iteration, or a hundredth of the tolerance.
            restarts: fit from so many starts, and keep the best. Under EM they run side by side.
            initialise: start from parameters drawn anew with the data in sight: ``"spread"`` (True) from observations
                far from one another (k-means++: Arthur & Vassilvitskii 2007), ``"random"`` from random responsibilities
                of the states; False to start from those it has.
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
            generator: for the starts, and for states that are drawn anew: under EM, one that explains nothing, once and
                with a warning (from observations of the first batch).
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
            generator=generator,
        )
        if initialise not in (True, False, "spread", "random"):
            raise ShapeError(
                f"{type(self).__name__}.fit: initialise must be True, False, 'spread' or 'random', got {initialise!r}."
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
                        model.begin(data.first(), generator, at_random=initialise == "random")
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

    def begin(self, batch: Batch, generator: torch.Generator | None, at_random: bool = False) -> None:
        """`initialise` from a batch that was checked; at random, from random responsibilities."""
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
        elif at_random:
            odds = torch.rand(len(x), self.states, generator=generator, dtype=torch.float64, device=x.device)
            share = odds / odds.sum(-1, keepdim=True)
        elif self.forward_only and self.states > 1:
            piece = torch.arange(seen.shape[-1], device=x.device) * self.states // seen.sum(-1, keepdim=True)
            share = nn.functional.one_hot(piece[seen], self.states)
        if share is not None and len(share):
            self.emission.update(x, share.double())

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to a safetensors file: parameters, and in the metadata how to build it again.

        The file appears when it is whole. Loading it runs no code.

        Raises:
            DataError: a path that cannot be written.
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
        return saving.load(path, {cls.__name__: cls}, parts)

    def learn(self, counts: Mapping[str, Tensor], inputs: Mapping[str, Tensor] | None = None) -> None:
        """EM's second step of the laws that may change, given how often each entry was used, by name."""
        for name, law in self.laws.items():
            if name not in counts or not trained(law):
                continue
            if isinstance(law, Driven):
                law.update(counts[name], (inputs or {})[name])
            else:
                law.update(counts[name])

    def log_prior(self) -> Tensor:
        """The log-density of all parameters under their priors, up to a constant."""
        return torch.stack([part.log_prior().double() for part in (*self.laws.values(), self.emission)]).sum()

    def project(self) -> None:
        """Move the parameters of all parts back into their bounds."""
        for part in (*self.laws.values(), self.emission):
            part.project()
