"""A model that moves in keeps its likelihoods and best paths, and what cannot move is refused by name.

Against the other library where it is installed; dynamax's figures come from `dynamax_figures.py`; and against a forward
and a Viterbi recursion in NumPy with SciPy's densities.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.testing import assert_close

import semihmm
from semihmm.errors import DependencyError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, GaussianMixture, StudentT, durations, transitions
from semihmm.models.moving import (
    from_dynamax,
    from_hmmlearn,
    from_pomegranate,
    from_pytorch_crf,
    from_ssm,
    from_torch_struct,
    to_hmmlearn,
)

STATES, FEATURES, STEPS = 3, 2, 15
EXACT = {"rel": 0.0, "abs": 1e-8}


def forward(initial: np.ndarray, transition: np.ndarray, density: np.ndarray, final: np.ndarray | float = 0.0) -> float:
    """The log-likelihood, from log-weights and log-densities ``(T, S)``."""
    vector = initial + density[0]
    for row in density[1:]:
        vector = special.logsumexp(vector[:, None] + transition, axis=0) + row
    return float(special.logsumexp(vector + final))


def viterbi(
    initial: np.ndarray, transition: np.ndarray, density: np.ndarray, final: np.ndarray | float = 0.0
) -> list[int]:
    vector, pointers = initial + density[0], []
    for row in density[1:]:
        arrived = vector[:, None] + transition
        pointers.append(arrived.argmax(0))
        vector = arrived.max(0) + row
    path = [int((vector + final).argmax())]
    for pointer in reversed(pointers):
        path.append(int(pointer[path[-1]]))
    return path[::-1]


def chain(seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Probabilities of first states and moves, one of each 0."""
    rng = np.random.default_rng(seed)
    initial, transition = rng.dirichlet(np.ones(STATES)), rng.dirichlet(np.ones(STATES), STATES)
    initial[1] = transition[0, 2] = 0.0
    return initial / initial.sum(), transition / transition.sum(-1, keepdims=True), rng


def covariances(rng: np.random.Generator, *shape: int, features: int = FEATURES) -> np.ndarray:
    rows = rng.normal(size=(*shape, features, features))
    return np.eye(features) / 2 + rows @ np.swapaxes(rows, -1, -2)


def untouched(model: Any) -> bool:
    """Whether bounds leave the parameters as they are."""
    before = {name: x.clone() for name, x in model.state_dict().items()}
    model.project()
    return all(torch.allclose(x, before[name], rtol=1e-12, atol=1e-12) for name, x in model.state_dict().items())


def hmmlearn_estimator(name: str) -> tuple[Any, np.ndarray]:
    """One with random parameters, and observations for it."""
    peer = pytest.importorskip("hmmlearn.hmm")
    initial, transition, rng = chain(len(name))
    x = rng.normal(size=(STEPS, FEATURES))
    match name.split():
        case ["gaussian", shape]:
            estimator = peer.GaussianHMM(STATES, covariance_type=shape)
            estimator.means_ = rng.normal(size=(STATES, FEATURES))
            estimator.covars_ = {
                "full": lambda: covariances(rng, STATES),
                "tied": lambda: covariances(rng),
                "diag": lambda: np.geomspace(1e-5, 2.0, STATES * FEATURES).reshape(STATES, FEATURES),
                "spherical": lambda: np.geomspace(1e-5, 2.0, STATES),
            }[shape]()
        case ["mixture", shape]:
            estimator = peer.GMMHMM(STATES, n_mix=2, covariance_type=shape)
            estimator.weights_ = rng.dirichlet(np.ones(2), STATES)
            estimator.means_ = rng.normal(size=(STATES, 2, FEATURES))
            estimator.covars_ = {
                "full": lambda: covariances(rng, STATES, 2),
                "tied": lambda: covariances(rng, STATES),
                "diag": lambda: rng.uniform(0.1, 2.0, (STATES, 2, FEATURES)),
                "spherical": lambda: rng.uniform(0.1, 2.0, (STATES, 2)),
            }[shape]()
        case ["categorical"]:
            estimator, x = peer.CategoricalHMM(STATES, n_features=4), rng.integers(1, 4, (STEPS, 1))
            estimator.emissionprob_ = np.array([[0.0, 0.2, 0.3, 0.5], [0.4, 0.1, 0.2, 0.3], [0.1, 0.6, 0.2, 0.1]])
        case ["multinomial"]:
            estimator, x = peer.MultinomialHMM(STATES, n_trials=6), rng.multinomial(6, [0.2, 0.3, 0.5], STEPS)
            estimator.emissionprob_ = rng.dirichlet(np.ones(3), STATES)
        case _:
            estimator, x = peer.PoissonHMM(STATES), rng.integers(0, 9, (STEPS, FEATURES))
            estimator.lambdas_ = rng.uniform(0.1, 9.0, (STATES, FEATURES))
    estimator.startprob_, estimator.transmat_ = initial, transition
    estimator.n_features = getattr(estimator, "n_features", None) or x.shape[1]
    return estimator, x


SHAPES = ("full", "tied", "diag", "spherical")
HMMLEARN = [
    *(f"{family} {shape}" for family in ("gaussian", "mixture") for shape in SHAPES),
    "categorical",
    "multinomial",
    "poisson",
]


@pytest.mark.parametrize("name", HMMLEARN)
def test_hmmlearn_there_and_back(name: str) -> None:
    theirs, x = hmmlearn_estimator(name)
    ours = from_hmmlearn(theirs)
    back = to_hmmlearn(ours)
    seen = torch.tensor(x).squeeze(-1) if name == "categorical" else torch.tensor(x)
    cuts = [6, STEPS - 6]
    padded = torch.nn.utils.rnn.pad_sequence(seen.split(cuts), batch_first=True)
    for lengths in (None, cuts):
        given = (seen,) if lengths is None else (padded, torch.tensor(lengths))
        expected = theirs.score(x, lengths)
        assert ours.score(*given) == pytest.approx(expected, **EXACT)
        assert back.score(x, lengths) == pytest.approx(expected, **EXACT)
        path = ours.predict(*given)
        assert path[path >= 0].tolist() == theirs.predict(x, lengths).tolist() == back.predict(x, lengths).tolist()
    assert_close(back.transmat_, theirs.transmat_, rtol=0, atol=1e-12)
    assert_close(back.startprob_, theirs.startprob_, rtol=0, atol=1e-12)
    assert type(back) is type(theirs)
    assert untouched(ours)


def test_a_zero_of_hmmlearn_stays_impossible_in_training() -> None:
    theirs, x = hmmlearn_estimator("gaussian diag")
    ours = from_hmmlearn(theirs)
    ours.fit(torch.tensor(x), method="gradient", iterations=3, initialise=False)
    assert ours.transition()[0, 2] == ours.initial()[1] == -torch.inf
    assert ours.transition.logits.isfinite()[ours.transition.allowed].all()


def test_what_moved_in_learns_from_batches_far_from_zero() -> None:
    """Whose squares have no digits left for variances."""
    apart = torch.tensor([[0.0], [1.0], [20.0], [21.0]], dtype=torch.float64).repeat(4, 10, 1)
    even = {"log_pi0": torch.zeros(2), "log_Ps": torch.zeros(2, 2)}
    model = from_ssm({**even, "mus": [[1.6e9], [1.6e9 + 20]], "sigmasq": [[1.0], [1.0]]})
    loader = torch.utils.data.DataLoader(1.6e9 + apart, batch_size=2)
    model.fit(loader, iterations=1, initialise=False)
    assert_close(model.emission.covariance().flatten(), torch.full((2,), 0.25).double(), rtol=1e-6, atol=0)


def test_hmmlearn_goes_on_from_where_we_stopped() -> None:
    pytest.importorskip("hmmlearn.hmm")
    g = torch.Generator().manual_seed(3)
    x = torch.randn(40, FEATURES, generator=g, dtype=torch.float64)
    ours = HMM(STATES, Gaussian(STATES, FEATURES), offsets=(0, 1), start=[0]).double()
    ours.fit(x, iterations=2, generator=g)
    theirs = to_hmmlearn(ours)
    before = theirs.score(x.numpy())
    assert before == pytest.approx(ours.score(x), **EXACT)
    assert (theirs.transmat_[[1, 2, 2, 0], [0, 0, 1, 2]] == 0).all()
    theirs.set_params(n_iter=3, covars_prior=0.0, tol=-np.inf)
    assert theirs.fit(x.numpy()).score(x.numpy()) > before


def test_an_estimator_of_hmmlearn_that_cannot_move_is_refused_by_name() -> None:
    peer = pytest.importorskip("hmmlearn.hmm")
    with pytest.raises(StructureError, match="Fit it first"):
        from_hmmlearn(peer.GaussianHMM(2))
    with pytest.raises(StructureError, match="got a HMM"):
        from_hmmlearn(HMM(2, Gaussian(2, 1)))


LACKING: dict[str, tuple[Callable[[], Any], str]] = {
    "durations": (lambda: HSMM(2, Gaussian(2, 1), durations.Poisson(2, 5)), "got a HSMM"),
    "ends": (lambda: HMM(2, Gaussian(2, 1), final=[1]), "got a HMM with final"),
    "tails": (lambda: HMM(2, StudentT(2, 1)), "got StudentT"),
    "codebook": (lambda: HMM(2, GaussianMixture(2, 1, 2, codebook=[0, 0])), "Gaussians of its own"),
    "seasons": (lambda: HMM(2, Gaussian(2, 1), transition=transitions.Periodic(2, 7)), "from step to step"),
}


@pytest.mark.parametrize("kind", LACKING)
def test_what_hmmlearn_lacks_is_refused_by_name(kind: str) -> None:
    make, message = LACKING[kind]
    with pytest.raises(StructureError, match=message):
        to_hmmlearn(make())


def test_without_hmmlearn_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hmmlearn.hmm", None)
    with pytest.raises(DependencyError, match=r"to_hmmlearn needs (.|\n)* pip install 'semihmm\[moving\]'") as raised:
        to_hmmlearn(HMM(2, Gaussian(2, 1)))
    assert "hmmlearn" in str(raised.value)


FIGURES = json.loads(Path(__file__).with_name("dynamax_figures.json").read_text())


@pytest.mark.parametrize("kind", FIGURES)
def test_dynamax(kind: str) -> None:
    model = from_dynamax(FIGURES[kind]["params"], counts=kind == "multinomial")
    for sequence in FIGURES[kind]["sequences"]:
        x = torch.tensor(sequence["x"], dtype=torch.int64 if kind == "symbol" else torch.float64)
        x = x.unsqueeze(-1) if kind == "gamma" else x.squeeze(1) if kind in ("symbol", "multinomial") else x
        assert model.score(x) == pytest.approx(sequence["log_likelihood"], **EXACT)
        assert model.predict(x).tolist() == sequence["path"]
    assert untouched(model)


def test_dynamax_emissions_that_need_inputs_are_refused_by_name() -> None:
    params = FIGURES["full"]["params"] | {"emissions": {"weights": [1.0], "biases": [1.0], "covs": [1.0]}}
    with pytest.raises(StructureError, match="biases, covs, weights"):
        from_dynamax(params)


def ssm_parameters(name: str, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray, Any]:
    """Parameters in ssm's names, observations, and the log-density of a step in a state."""
    x, mean = rng.normal(size=(STEPS, FEATURES)), rng.normal(size=(STATES, FEATURES))
    variance = rng.uniform(0.1, 2.0, (STATES, FEATURES))
    match name:
        case "full":
            full = covariances(rng, STATES)
            return {"mus": mean, "Sigmas": full}, x, lambda s: stats.multivariate_normal(mean[s], full[s]).logpdf(x)
        case "roots":
            root = rng.normal(size=(STATES, FEATURES, FEATURES))
            full = root @ np.swapaxes(root, -1, -2)
            law = [stats.multivariate_normal(m, c) for m, c in zip(mean, full, strict=True)]
            return {"mus": mean, "_sqrt_Sigmas": root}, x, lambda s: law[s].logpdf(x)
        case "diagonal":
            density = lambda s: stats.norm(mean[s], variance[s] ** 0.5).logpdf(x).sum(-1)  # noqa: E731
            return {"mus": mean, "_log_sigmasq": np.log(variance)}, x, density
        case "student":
            freedom = rng.uniform(1.0, 9.0, (STATES, FEATURES))
            density = lambda s: stats.t(freedom[s], mean[s], variance[s] ** 0.5).logpdf(x).sum(-1)  # noqa: E731
            return {"mus": mean, "sigmasq": variance, "_log_nus": np.log(freedom)}, x, density
        case "poisson":
            counts, rate = rng.integers(0, 9, (STEPS, FEATURES)), 9 * variance
            return {"log_lambdas": np.log(rate)}, counts, lambda s: stats.poisson(rate[s]).logpmf(counts).sum(-1)
        case "bernoulli":
            flags = rng.integers(0, 2, (STEPS, FEATURES))
            return {"logit_ps": mean}, flags, lambda s: stats.bernoulli(special.expit(mean[s])).logpmf(flags).sum(-1)
        case _:
            symbols, logits = rng.integers(0, 4, (STEPS, FEATURES)), rng.normal(size=(STATES, FEATURES, 4))
            law = special.log_softmax(logits, -1)
            return {"logits": logits}, symbols, lambda s: law[s][np.arange(FEATURES), symbols].sum(-1)


@pytest.mark.parametrize("name", ["full", "roots", "diagonal", "student", "poisson", "bernoulli", "categorical"])
def test_ssm(name: str) -> None:
    rng = np.random.default_rng(len(name))
    values, x, density = ssm_parameters(name, rng)
    log_pi0, log_Ps = rng.normal(size=STATES), rng.normal(size=(STATES, STATES))
    model = from_ssm({"log_pi0": log_pi0, "log_Ps": log_Ps, **values})
    weights = (
        special.log_softmax(log_pi0),
        special.log_softmax(log_Ps, -1),
        np.stack([density(state) for state in range(STATES)], -1),
    )
    assert model.score(torch.tensor(x)) == pytest.approx(forward(*weights), **EXACT)
    assert model.predict(torch.tensor(x)).tolist() == viterbi(*weights)
    assert untouched(model)


def test_ssm_names_that_mean_nothing_are_refused() -> None:
    with pytest.raises(StructureError, match="log_pi0 and log_Ps"):
        from_ssm({"log_pi0": [0.0], "mus": [[0.0]]})
    with pytest.raises(StructureError, match="parameters As, bs"):
        from_ssm({"log_pi0": [0.0], "log_Ps": [[0.0]], "As": [[0.0]], "bs": [0.0]})


def pomegranate_distributions(name: str, rng: np.random.Generator) -> tuple[list[Any], np.ndarray]:
    from pomegranate import distributions as d
    from pomegranate.gmm import GeneralMixtureModel

    real, positive = rng.normal(size=(STEPS, FEATURES)), rng.gamma(2.0, size=(STEPS, FEATURES))
    mean, scale = rng.normal(size=(STATES, FEATURES)), rng.uniform(0.5, 2.0, (STATES, FEATURES))
    each = list(zip(mean, scale, strict=True))
    match name:
        case "normal full":
            return [d.Normal(m, c) for m, c in zip(mean, covariances(rng, STATES), strict=True)], real
        case "normal diag":
            return [d.Normal(m, c, covariance_type="diag") for m, c in each], real
        case "student":
            return [d.StudentT(3, m, c) for m, c in each], real
        case "categorical":
            symbols = rng.integers(0, 4, (STEPS, FEATURES))
            return [d.Categorical(rng.dirichlet(np.ones(4), FEATURES)) for _ in range(STATES)], symbols
        case "symbol":
            return [d.Categorical(rng.dirichlet(np.ones(4), 1)) for _ in range(STATES)], rng.integers(0, 4, (STEPS, 1))
        case "poisson":
            return [d.Poisson(c) for c in 3 * scale], rng.integers(0, 9, (STEPS, FEATURES)).astype(float)
        case "exponential":
            return [d.Exponential(c) for c in scale], positive
        case "gamma":
            return [d.Gamma(c, 2 / c) for c in scale], positive
        case "bernoulli":
            return [d.Bernoulli(c) for c in scale / 3], rng.integers(0, 2, (STEPS, FEATURES)).astype(float)
        case "mixture diag" | "mixture full":
            shape = name.split()[1]
            spread = covariances(rng, STATES, 2) if shape == "full" else rng.uniform(0.5, 2.0, (STATES, 2, FEATURES))
            kinds = [[d.Normal(rng.normal(size=FEATURES), c, covariance_type=shape) for c in pair] for pair in spread]
            return [GeneralMixtureModel(parts, priors=np.array([0.3, 0.7])) for parts in kinds], real
        case "components":
            columns = [[d.Exponential(c[:1]), d.Gamma(c[:1], c[1:])] for c in scale]
            return [d.IndependentComponents(column) for column in columns], positive
        case _:
            gammas = [d.Gamma(c, c) for c in scale[1:]]
            return [d.Exponential(scale[0]), *gammas], positive


POMEGRANATE = (
    "normal full,normal diag,student,categorical,symbol,poisson,exponential,gamma,bernoulli,mixture diag,mixture full,"
    "components,mixed"
).split(",")


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", POMEGRANATE)
def test_pomegranate(name: str, sparse: bool) -> None:
    hmm = pytest.importorskip("pomegranate.hmm")
    initial, transition, rng = chain(len(name))
    distributions, x = pomegranate_distributions(name, rng)
    ends = rng.uniform(0.01, 0.3, STATES)
    edges = transition * (1 - ends)[:, None]
    if sparse:
        arcs = [(distributions[i], distributions[j], edges[i, j]) for i, j in zip(*edges.nonzero(), strict=True)]
        theirs = hmm.SparseHMM(distributions, arcs, starts=initial, ends=ends)
    else:
        theirs = hmm.DenseHMM(distributions, edges, starts=initial, ends=ends)
    theirs.double()
    ours = from_pomegranate(theirs)
    seen = torch.tensor(x)
    data = seen.squeeze(-1) if name == "symbol" else seen
    density = np.stack([one.log_probability(seen).numpy() for one in theirs.distributions], -1)
    with np.errstate(divide="ignore"):
        start, moves, end = np.log(initial), np.log(edges), np.log(ends)
    if sparse:  # held in float32, so that rows only nearly sum to 1; ours do
        moves[edges.nonzero()] = theirs._edge_log_probs.numpy()
        moves += np.log1p(-ends)[:, None] - special.logsumexp(moves, axis=-1, keepdims=True)
    # So are the degrees of freedom's gammas; and IndependentComponents adds up in float32.
    within = {"student": 1e-6, "components": 1e-4}.get(name, 1e-8)
    assert ours.score(data) == pytest.approx(forward(start, moves, density, end), rel=0, abs=within)
    assert ours.predict(data).tolist() == viterbi(start, moves, density, end)
    their_sum = float(theirs.log_probability(seen[None]))  # of a sparse model, in float32
    assert ours.score(data) == pytest.approx(their_sum, rel=0, abs=1e-4 if sparse else within)
    assert ours.predict(data).tolist() == theirs.viterbi(seen[None])[0].tolist()
    assert untouched(ours)
    assert ours.final is not None and ours.transition.matrix()[0, 2] == 0
    alone = from_pomegranate(theirs, ends=False)
    normalised = moves - special.logsumexp(moves, axis=-1, keepdims=True)
    expected = forward(start, normalised, density)
    assert alone.score(data) == pytest.approx(expected, rel=0, abs=within)
    assert alone.final is None and alone.transition.matrix()[0, 2] == 0


def test_ends_of_pomegranate_that_are_all_the_same_weigh_all_paths_alike() -> None:
    hmm = pytest.importorskip("pomegranate.hmm")
    initial, transition, rng = chain(0)
    distributions, x = pomegranate_distributions("normal diag", rng)
    seen = torch.tensor(x)
    theirs = hmm.DenseHMM(distributions, transition, starts=initial, ends=np.full(STATES, 1 / STATES)).double()
    ours = from_pomegranate(theirs)
    expected = float(theirs.log_probability(seen[None])) + np.log(STATES)
    assert ours.final is None
    assert ours.score(seen) == pytest.approx(expected, **EXACT)
    assert ours.predict(seen).tolist() == theirs.viterbi(seen[None])[0].tolist()


def test_a_fitted_model_of_pomegranate_moves_as_it_is() -> None:
    """In float32, and what it learnt of the ends among it."""
    hmm, d = pytest.importorskip("pomegranate.hmm"), pytest.importorskip("pomegranate.distributions")
    x = torch.cat([torch.zeros(6, 10, 2), torch.full((6, 10, 2), 5.0)], 1) + normal(6, 20, 2)
    theirs = hmm.DenseHMM([d.Normal(), d.Normal()], max_iter=3, random_state=0).fit(x)
    ours = from_pomegranate(theirs)
    assert ours.final is not None
    assert_close(ours.log_prob(x), theirs.log_probability(x).double(), rtol=0, atol=1e-3)
    assert torch.equal(ours.predict(x), theirs.viterbi(x))


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_what_is_not_known_of_pomegranate_is_refused_by_name() -> None:
    class DenseHMM(SimpleNamespace):
        pass

    class Uniform:
        pass

    class Poisson:
        lambdas: torch.Tensor | None = None

    half = torch.full((2, 2), 0.5).log()
    given: dict[str, Any] = {"starts": half[0], "ends": half[0], "edges": half, "distributions": [Poisson(), Poisson()]}
    with pytest.raises(StructureError, match="got a list"):
        from_pomegranate([])
    with pytest.raises(StructureError, match="Fit it first"):
        from_pomegranate(DenseHMM(**given | {"ends": None}))
    with pytest.raises(StructureError, match=r"Poisson has no lambdas\. Fit"):
        from_pomegranate(DenseHMM(**given))
    with pytest.raises(StructureError, match="no emission here is a Uniform"):
        from_pomegranate(DenseHMM(**given | {"distributions": [Uniform(), Uniform()]}))
    Poisson.lambdas = torch.ones(1)
    with pytest.raises(StructureError, match="must sum to 1 for each state"):
        from_pomegranate(DenseHMM(**given | {"ends": torch.tensor([0.5, 0.25], dtype=torch.float64).log()}))


RAGGED = torch.tensor([5, 3, 2])


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["whole", "ragged"])
def test_torch_struct_chains(lengths: torch.Tensor | None) -> None:
    peer = pytest.importorskip("torch_struct")
    g = torch.Generator().manual_seed(0)
    potentials = torch.randn(3, 4, 3, 3, generator=g, dtype=torch.float64).requires_grad_()
    theirs = peer.LinearChainCRF(potentials, lengths=lengths)
    check_struct(theirs, potentials)
    event = semihmm.viterbi(from_torch_struct(theirs)).event
    for one, row in zip(event, theirs.argmax, strict=True):
        moves = row.nonzero()  # (n, to, from)
        assert one[one >= 0].tolist() == [*moves[:1, 2].tolist(), *moves[:, 1].tolist()]
    chances = [torch.randn(size, generator=g, dtype=torch.float64).log_softmax(0) for size in ((3, 3), (6, 3), (3,))]
    observed = torch.randint(6, (3, 5), generator=g)
    hmm = peer.HMM(*chances, observed, lengths=lengths)
    assert_close(semihmm.log_partition(from_torch_struct(hmm)), hmm.partition, rtol=0, atol=1e-8)


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["whole", "ragged"])
def test_torch_struct_segments(lengths: torch.Tensor | None) -> None:
    peer = pytest.importorskip("torch_struct")
    g = torch.Generator().manual_seed(1)
    potentials = torch.randn(3, 4, 3, 2, 2, generator=g, dtype=torch.float64).requires_grad_()
    theirs = peer.SemiMarkovCRF(potentials, lengths=lengths)
    if lengths is None:
        check_struct(theirs, potentials)
        return
    # Of sequences that differ in length, theirs leave out segments; of each alone, they do not.
    alone = [peer.SemiMarkovCRF(potentials[i : i + 1, : n - 1].clone()).partition for i, n in enumerate(lengths)]
    assert_close(semihmm.log_partition(from_torch_struct(theirs)), torch.cat(alone), rtol=0, atol=1e-8)


def check_struct(theirs: Any, potentials: torch.Tensor) -> None:
    """Partition, its gradient and the best score are theirs."""
    ours = semihmm.log_partition(from_torch_struct(theirs))
    assert_close(ours, theirs.partition, rtol=0, atol=1e-8)
    assert_close(semihmm.viterbi(from_torch_struct(theirs)).score, theirs.max, rtol=0, atol=1e-8)
    found, expected = (torch.autograd.grad(x.sum(), potentials)[0] for x in (ours, theirs.partition))
    assert_close(found, expected, rtol=0, atol=1e-8)


def test_trees_of_torch_struct_are_refused_by_name() -> None:
    class TreeCRF:
        pass

    for other in (TreeCRF(), semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))):
        with pytest.raises(StructureError, match=f"got a {type(other).__name__}"):
            from_torch_struct(other)


OURS = ("initial", "transition", "final")
THEIRS = ("start_transitions", "transitions", "end_transitions")


@pytest.mark.parametrize("batch_first", [False, True])
def test_pytorch_crf(batch_first: bool) -> None:
    torchcrf = pytest.importorskip("torchcrf")
    g = torch.Generator().manual_seed(2)
    crf = torchcrf.CRF(STATES, batch_first=batch_first).double()
    for weights in crf.parameters():
        weights.data.normal_(generator=g)
    emission = torch.randn(4, STEPS, STATES, generator=g, dtype=torch.float64)
    lengths = torch.tensor([STEPS, 4, 1, 9])
    mask = torch.arange(STEPS) < lengths.unsqueeze(-1)
    tags = torch.randint(STATES, (4, STEPS), generator=g)
    given = (x if batch_first else x.transpose(0, 1) for x in (emission, tags, mask))
    scores, labels, inside = given
    model = from_pytorch_crf(crf)
    log_prob = model.log_prob(emission, tags, lengths)
    assert_close(log_prob, crf(scores, labels, inside, reduction="none"), rtol=0, atol=1e-8)
    path = model.predict(emission, lengths)
    assert [one[one >= 0].tolist() for one in path] == crf.decode(scores, inside)
    ours, theirs = ([m.get_parameter(n) for n in names] for m, names in ((model, OURS), (crf, THEIRS)))
    found, expected = (
        torch.autograd.grad(log_prob.sum(), ours),
        torch.autograd.grad(crf(scores, labels, inside), theirs),
    )
    assert_close(found, expected, rtol=0, atol=1e-8)
    assert not {one.data_ptr() for one in ours} & {one.data_ptr() for one in theirs}


def test_what_was_given_is_not_shared() -> None:
    params = {"log_pi0": torch.zeros(2).double(), "log_Ps": torch.zeros(2, 2).double()}
    mean, rate = torch.tensor([[0.0], [9.0]]).double(), torch.zeros(2, 1).double()
    model = from_ssm({**params, "mus": mean, "_log_sigmasq": rate})
    model.fit(torch.randn(30, 1).double(), iterations=1)
    assert mean.tolist() == [[0.0], [9.0]] and rate.eq(0).all() and params["log_pi0"].eq(0).all()
