"""Fitting models against the libraries that people would pick instead.

    python benchmarks/fitting.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

EM from one start, so many iterations, whatever they gain: a Gaussian HMM of one long sequence and of many, with
diagonal and with full covariances, and a Gaussian HSMM with Poisson durations. Everybody gets the same numbers in its
own kind of array; priors and floors are turned off. Compared are the log-likelihood before the last update and all
parameters after it, with hmmlearn's (the HSMM's with gaussian-hsmm's): in float64 to 1e-6, in float32 to 1e-3.
semihmm looks at the data once more than its peers, to say where it ended; that time counts.

Then restarts against as many fits one after the other, and a fit to data of which 30 % are missing, against the same
data with nothing missing. All on two threads; at the end the HMMs again on one, since hmmlearn uses one of any number.
The gradient of a CRF, which is a training step but for the optimiser, is measured in `crf.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import _jax
import numpy as np
import torch
from _case import Call, Case, Contestant, Results, Unavailable
from _compare import main, use_threads
from _jax import Remote
from _trellis import forward_backward, log_density
from torch import Tensor

from semihmm import errors, models
from semihmm.models import durations

ITERATIONS, OF_HSMM = 10, 2
PARAMETERS = ("log_likelihood", "initial", "transition", "mean", "covariance")
EXACT, SINGLE = dict.fromkeys(PARAMETERS, 1e-6), dict.fromkeys(PARAMETERS, 1e-3)
MISSING = 0.3
FASTEST = 20.0  # seconds that the fastest peers are given


@dataclass
class Problem:
    """Data that a model drew, and a start near that model; float64 of float32's numbers."""

    states: int
    steps: int
    batch: int
    features: int
    full: bool
    longest: int = 0  # of segments; 0 for an HMM

    def __post_init__(self) -> None:
        s, f, g = self.states, self.features, torch.Generator().manual_seed(self.states + self.steps + self.batch)
        mean, stay = 1.5 * torch.randn(s, f, generator=g), 1 - 1 / (2.0 + torch.arange(s))
        leave = torch.rand(s, s, generator=g).fill_diagonal_(0.0)
        self.transition = leave / leave.sum(-1, keepdim=True)
        if not self.longest:
            self.transition = (1 - stay).unsqueeze(-1) * self.transition + stay.diag()
        last = torch.randint(s, (self.batch,), generator=g)
        path = torch.empty(self.batch, self.steps, dtype=torch.int64)
        moves = (1 - stay).unsqueeze(-1) * leave / leave.sum(-1, keepdim=True) + stay.diag()
        for t in range(self.steps):
            path[:, t] = last
            last = torch.multinomial(moves[last], 1, generator=g).squeeze(-1)
        self.x = (mean[path] + torch.randn(self.batch, self.steps, f, generator=g)).double()
        self.mean = (mean + 0.3 * torch.randn(s, f, generator=g)).double()
        self.variance = (1 + torch.rand(s, f, generator=g)).double()
        self.covariance = self.variance.diag_embed()
        self.initial = torch.full((s,), 1 / s, dtype=torch.float64)
        self.transition = self.transition.double() / self.transition.double().sum(-1, keepdim=True)
        self.rate = 3 + 3 * torch.rand(s, generator=g).double()  # of steps after the first

    @property
    def sizes(self) -> dict[str, int]:
        """All that a label says."""
        longest = {"D": self.longest} if self.longest else {}
        return (
            {"S": self.states, "T": self.steps, "B": self.batch, "F": self.features}
            | longest
            | {"threads": torch.get_num_threads()}
        )

    @property
    def cost(self) -> float:
        """Arithmetic: transitions, durations and densities of all steps."""
        return float(self.batch * self.steps * self.states * (self.states + self.longest + self.features))

    def arrays(self, *names: str) -> dict[str, np.ndarray]:
        """For NumPy, to be written to."""
        return {name: getattr(self, name).numpy().copy() for name in names}

    def model(self, dtype: torch.dtype) -> models.HMM | models.HSMM:
        """Ours, where all start."""
        gaussian = models.FullGaussian if self.full else models.Gaussian
        emission = gaussian(self.states, self.features)
        if self.longest:
            lasting = durations.Poisson(self.states, self.longest)
            model: models.HMM | models.HSMM = models.HSMM(self.states, emission, lasting, censored="none").to(dtype)
            lasting.log_rate.data = self.rate.log().to(dtype)
        else:
            model = models.HMM(self.states, emission).to(dtype)
        emission.mean.data = self.mean.to(dtype, copy=True)
        if self.full:
            emission.factor.data = (self.variance.log() / 2).diag_embed().to(dtype)
        else:
            emission.log_variance.data = self.variance.log().to(dtype)
        model.initial.logits.data, model.transition.logits.data = (
            x.log().to(dtype) for x in (self.initial, self.transition)
        )
        return model


def parameters(model: models.HMM | models.HSMM) -> dict[str, Tensor]:
    """Of ours, as the peers give them."""
    emission = model.emission
    full = isinstance(emission, models.FullGaussian)
    found = {
        "initial": model.initial().exp(),
        "transition": model.transition().exp(),
        "mean": emission.mean,
        "covariance": emission.covariance() if full else emission.log_variance.exp(),
    }
    if isinstance(model, models.HSMM):
        found["duration"] = model.duration().exp()
    return {name: x.detach().clone() for name, x in found.items()}


def ours(p: Problem, dtype: torch.dtype, x: Tensor | None = None) -> Call:
    """`fit` from the given start."""
    model, x = p.model(dtype), (p.x if x is None else x).to(dtype)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    iterations = OF_HSMM if p.longest else ITERATIONS

    def call() -> Results:
        model.load_state_dict(start)
        fit = model.fit(x, method="em", iterations=iterations, tolerance=0.0, initialise=False)
        return {"start": fit.history[0], "log_likelihood": fit.history[-2], **parameters(model)}

    return call


def em(p: Problem) -> Case:
    """Of a Gaussian HMM."""
    return Case(
        work=f"EM of a Gaussian HMM, {'full' if p.full else 'diagonal'}, {ITERATIONS} iterations",
        sizes=p.sizes,
        contestants={
            "semihmm": Contestant(lambda: ours(p, torch.float32), ours=True, tolerance=SINGLE),
            "semihmm float64": Contestant(lambda: ours(p, torch.float64), ours=True, dtype="float64"),
            "hmmlearn log": Contestant(lambda: hmmlearn(p, "log"), dtype="float64", patience=FASTEST),
            "hmmlearn scaling": Contestant(lambda: hmmlearn(p, "scaling"), dtype="float64", patience=FASTEST),
            "pomegranate": Contestant(
                lambda: pomegranate(p),
                dtype="float64",
                note="its `summarize` and `from_summaries`; what it learns of how sequences end is undone after each",
                patience=FASTEST,
                cost=p.cost + 1e5 * p.steps,
            ),
            "dynamax": Contestant(lambda: dynamax(p, torch.float32), tolerance=SINGLE, patience=FASTEST),
            "dynamax float64": Contestant(lambda: dynamax(p, torch.float64), dtype="float64", patience=FASTEST),
        },
        tolerance=EXACT,
        targets={
            **dict.fromkeys(("hmmlearn log", "hmmlearn scaling"), 6),
            "pomegranate": 5,
            **dict.fromkeys(("dynamax", "dynamax float64"), 2),
        },
        reference=lambda: hmmlearn(p, "log")(),
        cost=p.cost,
    )


def hmmlearn(p: Problem, implementation: str) -> Call:
    """`fit`, on one thread whatever the number."""
    from hmmlearn.hmm import GaussianHMM

    x, lengths = p.x.flatten(0, 1).numpy(), [p.steps] * p.batch
    kind = "full" if p.full else "diag"

    def call() -> Results:
        model = GaussianHMM(
            p.states, kind, covars_prior=0.0, n_iter=ITERATIONS, tol=-np.inf, init_params="",
            implementation=implementation,
        )  # fmt: skip
        model.startprob_, model.transmat_, model.means_ = p.arrays("initial", "transition", "mean").values()
        model.covars_ = (p.covariance if p.full else p.variance).numpy()
        model.fit(x, lengths)
        return {
            "log_likelihood": model.monitor_.history[-1],
            "initial": model.startprob_,
            "transition": model.transmat_,
            "mean": model.means_,
            "covariance": model._covars_,
        }

    return call


def pomegranate(p: Problem) -> Call:
    """What its `fit` does, but for the ends of sequences; float64, since in float32 its sums drift."""
    from pomegranate.distributions import Normal
    from pomegranate.hmm import DenseHMM

    given, kind = (p.covariance, "full") if p.full else (p.variance, "diag")

    @torch.no_grad()
    def call() -> Results:
        states = [Normal(m.clone(), v.clone(), covariance_type=kind) for m, v in zip(p.mean, given, strict=True)]
        model = DenseHMM(states, edges=p.transition, starts=p.initial, ends=torch.ones(p.states)).double()
        log_likelihood = torch.zeros(())
        for _ in range(ITERATIONS):
            log_likelihood = model.summarize(p.x, sample_weight=torch.ones(p.batch).double()).sum()
            model.from_summaries()
            model.ends.zero_()
            model.edges.copy_(model.edges.log_softmax(-1))
        return {
            "log_likelihood": log_likelihood,
            "initial": model.starts.exp(),
            "transition": model.edges.exp(),
            "mean": torch.stack([state.means for state in states]),
            "covariance": torch.stack([state.covs for state in states]),
        }

    return call


def dynamax(p: Problem, dtype: torch.dtype) -> Call:
    """Its E and M steps, all iterations compiled as one, in its own process."""
    names = ("x", "mean", "covariance" if p.full else "variance", "initial", "transition")
    arrays = {name: getattr(p, name).to(dtype) for name in names}
    return Remote("_jax_fitting:em", arrays, iterations=ITERATIONS)


def hsmm(p: Problem) -> Case:
    """Of a Gaussian HSMM with Poisson durations."""
    exact = EXACT | {"duration": 1e-6, "start": 1e-6}
    unlike = (
        "takes states and durations to be normalised step by step, so that its update is another one: compared is the "
        "log-likelihood where it starts; its durations have a weight each"
    )
    return Case(
        work=f"EM of a Gaussian HSMM, full, {OF_HSMM} iterations",
        sizes=p.sizes,
        contestants={
            "semihmm": Contestant(lambda: ours(p, torch.float32), ours=True, tolerance=dict.fromkeys(exact, 1e-3)),
            "semihmm float64": Contestant(lambda: ours(p, torch.float64), ours=True, dtype="float64"),
            "pyhsmm": Contestant(
                lambda: pyhsmm(p),
                dtype="float64",
                note="its messages, states and transitions; it counts no durations that have a longest, so they are "
                "counted here",
                patience=60,
            ),
            "gaussian-hsmm": Contestant(lambda: gaussian_hsmm(p), dtype="float64", patience=120),
            "chadhmm": Contestant(
                lambda: chadhmm(p),
                dtype="float64",
                tolerance=dict.fromkeys(exact, math.inf) | {"start": 1e-6},
                note=unlike,
                patience=60,
            ),
        },
        tolerance=exact,
        target=10,
        reference=(lambda: gaussian_hsmm(p)()) if find_spec("gaussian_hsmm") else None,
        cost=p.cost,
    )


def gaussian_hsmm(p: Problem) -> Call:
    """What its `fit` does after it has had hmmlearn find a start."""
    from gaussian_hsmm import GaussianHSMM

    x, lengths = p.x.flatten(0, 1).numpy(), np.array([p.steps] * p.batch)

    def call() -> Results:
        model: Any = GaussianHSMM(p.states, "full", p.longest, min_covar=0.0)
        model.n_features_ = p.features
        given = p.arrays("initial", "transition", "mean", "covariance")
        model.startprob_, model.transmat_, model.means_, model.covars_ = given.values()
        model.duration_means_ = 1 + p.rate.numpy()
        model._update_duration_probabilities()
        values = []
        for _ in range(OF_HSMM):
            found = model._expectation_step(x, lengths)
            values.append(found["log_likelihood"])
            model._maximization_step(x, found)
        return {
            "start": values[0],
            "log_likelihood": values[-1],
            "initial": model.startprob_,
            "transition": model.transmat_,
            "mean": model.means_,
            "covariance": model.covars_,
            "duration": model.duration_probs_[:, 1:],
        }

    return call


def pyhsmm(p: Problem) -> Call:
    """Its E step; means of what it counts in NumPy."""
    from _pyhsmm import messages
    from scipy.special import gammaln

    x, later = p.x.numpy(), np.arange(p.longest)
    flat = x.reshape(-1, p.features)

    def poisson(rate: np.ndarray) -> np.ndarray:
        weight = later * np.log(rate)[:, None] - gammaln(later + 1)
        return weight - np.log(np.exp(weight).sum(-1, keepdims=True))

    def call() -> Results:
        initial, transition, mean, covariance, rate = p.arrays(
            "initial", "transition", "mean", "covariance", "rate"
        ).values()
        values = []
        for _ in range(OF_HSMM):
            root = np.linalg.cholesky(covariance)
            away = np.linalg.solve(root[:, None], (x.reshape(-1, 1, p.features) - mean).swapaxes(0, 1)[..., None])
            volume = 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(-1) + p.features * math.log(2 * math.pi)
            seen = -((away[..., 0] ** 2).sum(-1).T + volume) / 2
            with np.errstate(divide="ignore"):
                laws = np.log(initial), np.log(transition), poisson(rate)
            found = messages(*laws, seen.reshape(*x.shape[:2], -1), posteriors=True, counts=True)()
            values.append(found["log_partition"].sum())
            share = found["posterior"].reshape(-1, p.states)
            weight, moves, lasted = share.sum(0), found["transition"].sum(0), found["duration"].sum(0)
            initial, transition = found["posterior"][:, 0].mean(0), moves / moves.sum(-1, keepdims=True)
            rate = lasted @ later / lasted.sum(-1)
            mean = share.T @ flat / weight[:, None]
            apart = [(flat - at) * np.sqrt(one)[:, None] for at, one in zip(mean, share.T, strict=True)]
            covariance = np.stack([one.T @ one for one in apart]) / weight[:, None, None]
        return {
            "start": values[0],
            "log_likelihood": values[-1],
            "initial": initial,
            "transition": transition,
            "mean": mean,
            "covariance": covariance,
            "duration": np.exp(poisson(rate)),
        }

    return call


def chadhmm(p: Problem) -> Call:
    """Its `fit`."""
    from chadhmm.hsmm import GaussianHSMM
    from torch.distributions import Categorical, MultivariateNormal

    law = p.model(torch.float64).duration().detach()
    x, lengths = p.x.flatten(0, 1), [p.steps] * p.batch

    @torch.no_grad()
    def call() -> Results:
        model: Any = GaussianHSMM(p.states, p.features, p.longest, min_covar=0.0)
        for name, given in (("pi", p.initial.log()), ("A", p.transition.log()), ("D", law)):
            model._params[name] = Categorical(logits=given)
        model._params["emission_pdf"] = MultivariateNormal(p.mean, p.covariance)
        start = model._compute_log_likelihood(model.to_observations(x, lengths))[:, 0].sum()
        model.fit(x, max_iter=OF_HSMM, ignore_conv=True, verbose=False, lengths=lengths)
        return {
            "start": start,
            "log_likelihood": start,
            "initial": model.pi.exp(),
            "transition": model.A.exp(),
            "mean": model.pdf.loc,
            "covariance": model.pdf.covariance_matrix,
            "duration": model.D.exp(),
        }

    return call


def restarts(p: Problem, count: int) -> Case:
    """``fit(restarts=...)`` against as many fits one after the other."""
    x = p.x.float()
    model = models.HMM(p.states, models.Gaussian(p.states, p.features))

    def fit(**options: Any) -> models.Fit:
        return model.fit(x, method="em", iterations=ITERATIONS, tolerance=0.0, **options)

    def together() -> Results:
        return {"objective": fit(restarts=count, generator=torch.Generator().manual_seed(0)).objective}

    def one_after_the_other() -> Results:
        g = torch.Generator().manual_seed(0)
        return {"objective": max(fit(generator=g).objective for _ in range(count))}

    return Case(
        work=f"The best of {count} fits, {ITERATIONS} iterations each",
        sizes=p.sizes,
        contestants={
            "semihmm, restarts": Contestant(lambda: together, ours=True),
            "one after the other": Contestant(lambda: one_after_the_other, patience=60),
        },
        tolerance={"objective": 1e-5},
        target=3,
        cost=p.cost,
    )


def missing(p: Problem) -> Case:
    """Entries of the data are not there: what that costs."""
    g = torch.Generator().manual_seed(1)
    x = p.x.masked_fill(torch.rand(p.x.shape, generator=g) < MISSING, torch.nan)

    def with_holes(dtype: torch.dtype) -> Call:
        try:
            p.model(dtype).score(x)
        except errors.DataError as why:
            raise Unavailable("refuses NaN") from why
        return ours(p, dtype, x)

    complete = "another problem: the same data, all there"
    return Case(
        work=f"EM of a Gaussian HMM, {MISSING:.0%} of the data missing, {ITERATIONS} iterations",
        sizes=p.sizes,
        contestants={
            "semihmm": Contestant(lambda: with_holes(torch.float32), ours=True, tolerance=SINGLE),
            "semihmm float64": Contestant(lambda: with_holes(torch.float64), ours=True, dtype="float64"),
            "nothing missing": Contestant(
                lambda: ours(p, torch.float32), tolerance=dict.fromkeys(PARAMETERS, math.inf), note=complete
            ),
            "plain torch": Contestant(lambda: lambda: baum_welch(p, x), dtype="float64", patience=FASTEST),
        },
        tolerance=EXACT,
        reference=lambda: baum_welch(p, x),
        cost=p.cost,
    )


def baum_welch(p: Problem, x: Tensor) -> dict[str, Tensor]:
    """Baum et al. (1970) with diagonal covariances; what is missing counts neither for densities nor for means."""
    seen = ~x.isnan()
    filled, there = x.nan_to_num(), seen.double()
    initial, transition, mean, variance = p.initial, p.transition, p.mean, p.variance
    total = torch.zeros(())
    for _ in range(ITERATIONS):
        each = [
            log_density(filled[..., f : f + 1], mean[:, f : f + 1], variance[:, f : f + 1]) for f in range(x.shape[-1])
        ]
        emission = (torch.stack(each, -1) * there.unsqueeze(-2)).sum(-1)
        found = forward_backward(initial.log(), transition.log(), emission)
        total, posterior = found["log_likelihood"], found["posterior"]
        initial = posterior[:, 0].mean(0)
        transition = found["counts"] / found["counts"].sum(-1, keepdim=True)
        share = posterior.flatten(0, -2).T
        weight = share @ there.flatten(0, -2)
        mean = share @ filled.flatten(0, -2) / weight
        variance = share @ filled.square().flatten(0, -2) / weight - mean.square()
    values = total, initial, transition, mean, variance
    return dict(zip(PARAMETERS, values, strict=True))


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """On the CPU: all of them on two threads, then the HMMs again on one."""
    if device != "cpu":
        return
    if smoke:
        sizes, chain, many = [(3, 30, 2, 2)], Problem(3, 120, 1, 2, full=True, longest=30), [(3, 30, 2, 2)]
    else:
        sizes = [(8, steps, batch, features) for features in (4, 13) for steps, batch in ((20_000, 1), (2000, 32))]
        chain, many = Problem(8, 2000, 1, 4, full=True, longest=60), [(8, 200, 1, 4), (8, 2000, 1, 4), (8, 200, 32, 4)]
    yield from hmms(sizes)
    yield hsmm(chain)
    for size in many:
        yield restarts(Problem(*size, full=False), 2 if smoke else 10)
    yield missing(Problem(*sizes[-1][:3], features=many[0][-1], full=False))
    if torch.get_num_threads() > 1:
        _jax.stop()  # the next one starts on one core
        use_threads(1)
        yield from hmms(sizes)


def hmms(sizes: list[tuple[int, int, int, int]]) -> Iterator[Case]:
    """EM, diagonal and full."""
    for size in sizes:
        for full in (False, True):
            yield em(Problem(*size, full=full))


if __name__ == "__main__":
    main(__doc__, "fitting", cases)
