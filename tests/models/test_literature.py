"""Published analyses, done again: the numbers that books and papers print come out here too."""

import ast
import csv
import importlib.util
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm.models import HMM, FullGaussian, Gaussian, emissions

# Weekly sales of a soap product, 242 weeks (Zucchini & MacDonald 2009, an exercise of chapter 1).
SOAP = """
 1  6  9 18 14  8  8  1  6  7  3  3  1  3  4 12  8 10  8  2 17 15  7 12 22 10  4  7  5  0  2  5  3  4  4  7  5  6  1  3
 4  5  3  7  3  0  4  5  3  3  4  4  4  4  4  3  5  5  5  7  4  0  4  3  2  6  3  8  9  6  3  4  3  3  3  3  2  1  4  5
 5  2  7  5  2  3  1  3  4  6  8  8  5  7  2  4  2  7  4 15 15 12 21 20 13  9  8  0 13  9  8  0  6  2  0  3  2  4  4  6
 3  2  5  5  3  2  1  1  3  1  2  6  2  7  3  2  4  1  5  6  8 14  5  3  6  5 11  4  5  9  9  7  9  8  3  4  8  6  3  5
 6  3  1  7  4  9  2  6  6  4  6  6 13  7  4  8  6  4  4  4  9  2  9  2  2  2 13 13  4  5  1  4  6  5  4  2  3 10  6 15
 5  9  9  7  4  4  2  4  2  3  8 15  0  0  3  4  3  4  7  5  7  6  0  6  4 14  5  1  6  5  5  4  9  4 14  2  2  1  5  2
 6  4
"""

# Eruptions of the Old Faithful geyser in August 1985, 1 for those of at least three minutes (Azzalini & Bowman 1990).
GEYSER = (
    "1011101101010110101101010101111101010101010101010101010111110101010110101110111110111010101010101010"
    "1010101010110101010101110111111101111101111111010101010101111110101010111010101101011110101010111010"
    "101101101110101010110111111101010111101101110110101110101111101110101011010111111110101010101010110"
)


def stationary(transition: Tensor) -> Tensor:
    """The distribution that a transition matrix leaves as it is: Zucchini & MacDonald (2009), section 1.3.2."""
    one = torch.ones_like(transition[0])
    return torch.linalg.solve((torch.eye(len(one), dtype=one.dtype) - transition + 1).mT, one)


def fitted(emission: Any, x: Tensor, restarts: int = 3, start: Any = None) -> HMM:
    model = HMM(emission.states, emission, start=start).double()
    generator = torch.Generator().manual_seed(0)
    model.fit(x, iterations=2000, tolerance=1e-12, restarts=restarts, generator=generator)
    return model


@pytest.fixture(scope="module")
def earthquakes(repository: Path) -> Tensor:
    with (repository / "examples/data/earthquakes.csv").open() as file:
        return torch.tensor([[int(row["earthquakes"])] for row in csv.DictReader(file)])


EARTHQUAKES = {  # states: -log L, AIC, BIC of stationary chains, and the rates
    1: (391.9189, 785.8, 788.5, [19.364]),
    2: (342.3183, 692.6, 703.3, [15.472, 26.125]),
    3: (329.4603, 676.9, 701.0, [13.146, 19.721, 29.714]),
}


@pytest.mark.parametrize("states", EARTHQUAKES)
def test_major_earthquakes_from_a_stationary_chain(states: int, earthquakes: Tensor) -> None:
    """Zucchini & MacDonald (2009), "Hidden Markov Models for Time Series", chapters 3 and 6: counts of 1900 to 2006.

    Poisson in each of m states; m^2 parameters, since the first state has the stationary distribution.
    """
    assert (len(earthquakes), int(earthquakes.sum())) == (107, 2072)
    minus, aic, bic, rates = EARTHQUAKES[states]
    model = fitted(emissions.Poisson(states, 1), earthquakes, start="stationary")
    assert -model.score(earthquakes) == pytest.approx(minus, abs=5e-5)
    assert (model.aic(earthquakes), model.bic(earthquakes)) == pytest.approx((aic, bic), abs=0.05)
    emission: Any = model.emission
    assert emission.log_rate.exp().flatten().sort().values.tolist() == pytest.approx(rates, abs=5e-4)


@pytest.mark.parametrize(("states", "minus"), [(2, 341.8787), (3, 328.5275)])
def test_major_earthquakes_by_em(states: int, minus: float, earthquakes: Tensor) -> None:
    """The same, chapter 4: EM leaves the first state free, and finds that it is certain."""
    model = fitted(emissions.Poisson(states, 1), earthquakes)
    assert -model.score(earthquakes) == pytest.approx(minus, abs=5e-5)
    assert model.initial().max().item() == pytest.approx(0.0, abs=1e-12)


def test_sales_of_soap() -> None:
    """MacDonald & Zucchini (2016), in the "Handbook of Discrete-Valued Time Series", pages 282 and 283.

    Three states, stationary: the chain, its autocorrelations, its marginal moments, decoding, and the weeks to come.
    """
    x = torch.tensor([int(count) for count in SOAP.split()]).unsqueeze(-1)
    assert len(x) == 242
    emission = emissions.Poisson(3, 1)
    model = fitted(emission, x, start="stationary")
    order = emission.log_rate.flatten().argsort()
    rate, transition = emission.log_rate.exp().flatten()[order], model.transition().exp()[order][:, order]
    printed = [[0.864, 0.117, 0.019], [0.445, 0.538, 0.017], [0.000, 0.298, 0.702]]
    assert transition.flatten().tolist() == pytest.approx(np.ravel(printed), abs=5e-4)
    assert torch.linalg.eigvals(transition).real.sort().values.tolist() == pytest.approx([0.4220, 0.6823, 1], abs=1e-4)
    here = stationary(transition)
    assert here.tolist() == pytest.approx([0.722, 0.220, 0.058], abs=5e-4)
    mean = (here @ rate).item()
    assert mean == pytest.approx(5.42, abs=5e-3)
    assert mean + (here @ rate**2).item() - mean**2 == pytest.approx(14.72, abs=5e-3)

    assert int((model.predict(x, method="posterior") != model.predict(x)).sum()) == 7
    state = model.filter(x)[-1][order]
    for weeks, chances in enumerate(([0.844, 0.138, 0.019], [0.790, 0.178, 0.031], [0.763, 0.198, 0.040]), 1):
        ahead = state @ torch.linalg.matrix_power(transition, weeks)
        assert ahead.tolist() == pytest.approx(chances, abs=5e-4)


OLD_FAITHFUL = {1: (193.80, 389.60, 393.31), 2: (127.31, 262.62, 277.42)}


@pytest.mark.parametrize("states", OLD_FAITHFUL)
def test_long_and_short_eruptions_of_old_faithful(states: int) -> None:
    """Zucchini & MacDonald (2009), chapter 10: Bernoulli, stationary, m^2 parameters."""
    x = torch.tensor([[float(letter)] for letter in GEYSER], dtype=torch.float64)
    assert (len(x), int(x.sum())) == (299, 194)
    emission = emissions.Bernoulli(states, 1)
    model = fitted(emission, x, start="stationary")
    assert (-model.score(x), model.aic(x), model.bic(x)) == pytest.approx(OLD_FAITHFUL[states], abs=5e-3)
    if states == 2:
        order = emission.table()[:, 0, 1].argsort()
        assert emission.table()[order, 0, 1].exp().tolist() == pytest.approx([0.225, 1.000], abs=5e-4)
        transition = model.transition().exp()[order][:, order]
        assert transition.flatten().tolist() == pytest.approx([0.000, 1.000, 0.827, 0.173], abs=5e-4)


def test_the_occasionally_dishonest_casino(repository: Path) -> None:
    """Durbin, Eddy, Krogh & Mitchison (1998), "Biological Sequence Analysis", figure 3.5: 300 rolls, Viterbi's path."""
    lines = (repository / "examples/data/casino.txt").read_text().split()
    rolls = torch.tensor([int(face) - 1 for face in "".join(lines[::2])])
    model = HMM(2, emissions.Categorical(2, 6)).double()
    model.initial.update(torch.tensor([1.0, 1.0]))
    model.transition.update(torch.tensor([[0.95, 0.05], [0.1, 0.9]]))
    model.emission.table.update(torch.tensor([[1 / 6] * 6, [0.1] * 5 + [0.5]]))
    assert "".join("FL"[die] for die in model.predict(rolls).tolist()) == "".join(lines[1::2])


def test_the_nile_since_the_dam_at_aswan() -> None:
    """Cobb (1978), "The problem of the Nile", Biometrika 65: annual flow changed in 1898, from about 1098 to 850."""
    nile = pytest.importorskip("statsmodels.datasets.nile").load_pandas().data
    years, flow = nile["year"].to_numpy(), torch.tensor(nile["volume"].to_numpy()).unsqueeze(-1)
    emission = Gaussian(2, features=1)
    model = HMM(2, emission, offsets=(0, 1), start=[0]).double()
    model.fit(flow, generator=torch.Generator().manual_seed(0))
    path = model.predict(flow)
    before = years[(path == 0).numpy()]
    assert (before[0], before[-1]) == (1871, 1898)
    levels = [flow[path == state].mean().item() for state in (0, 1)]
    assert levels == pytest.approx([1098, 850], abs=0.5)
    assert emission.mean.flatten().tolist() == pytest.approx(levels, abs=1.0)  # which years on the border share
    assert model.predict_proba(flow)[:28, 0].min().item() > 0.5


def test_rabiner_s_weather() -> None:
    """Rabiner (1989), section II.A: eight days of weather that is seen, and how long each kind lasts."""
    rain, cloudy, sunny = range(3)
    model = HMM(3, emissions.Categorical(3, 3), start=[sunny]).double()
    chances = torch.tensor([[0.4, 0.3, 0.3], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)
    model.transition.update(chances)
    model.emission.table.update(torch.eye(3))
    days = torch.tensor([sunny, sunny, sunny, rain, rain, sunny, cloudy, sunny])
    assert model.log_prob(days).exp().item() == pytest.approx(1.536e-4, rel=1e-9)
    lasting = 1 / (1 - model.transition().exp().diagonal())
    assert lasting.tolist() == pytest.approx([1.67, 2.5, 5.0], abs=4e-3)


class Rabiner:
    """The recursions of Rabiner (1989) as they are printed, in probabilities, state by state."""

    def __init__(self, start: np.ndarray, move: np.ndarray, chance: np.ndarray) -> None:
        self.start, self.move, self.chance = start, move, chance
        self.steps, self.states = chance.shape
        self.alpha, self.beta = np.zeros_like(chance), np.ones_like(chance)
        self.alpha[0] = start * chance[0]  # (19)
        for t in range(1, self.steps):
            for j in range(self.states):
                self.alpha[t, j] = sum(self.alpha[t - 1, i] * move[i, j] for i in range(self.states)) * chance[t, j]
        for t in reversed(range(self.steps - 1)):  # (25)
            for i in range(self.states):
                self.beta[t, i] = sum(move[i, j] * chance[t + 1, j] * self.beta[t + 1, j] for j in range(self.states))
        self.likelihood = self.alpha[-1].sum()  # (21)
        self.gamma = self.alpha * self.beta / self.likelihood  # (27)

    def xi(self, t: int) -> np.ndarray:
        """(37): the chances of being in one state now, and in another one next."""
        return self.alpha[t][:, None] * self.move * self.chance[t + 1] * self.beta[t + 1] / self.likelihood

    def viterbi(self) -> tuple[float, list[int]]:
        """(32) to (35)."""
        delta, back = self.start * self.chance[0], []
        for t in range(1, self.steps):
            ways = delta[:, None] * self.move
            back.append(ways.argmax(0))
            delta = ways.max(0) * self.chance[t]
        path = [int(delta.argmax())]
        for pointers in reversed(back):
            path.insert(0, int(pointers[path[0]]))
        return float(delta.max()), path


def test_rabiner_s_recursions() -> None:
    """The likelihood (21), states (27), best path (32) to (35), and one step of reestimation (40a) to (40c)."""
    generator = torch.Generator().manual_seed(1)
    emission = emissions.Categorical(3, 4)
    model = HMM(3, emission).double()
    x = torch.randint(4, (12,), generator=generator)
    model.initialise(x, generator=generator)
    with torch.no_grad():
        for table in (model.initial, model.transition, emission.table):
            table.logits.normal_(generator=generator)
    start, move, symbol = (t.exp().detach().numpy() for t in (model.initial(), model.transition(), emission.table()))
    paper = Rabiner(start, move, symbol.T[x.numpy()])
    assert model.log_prob(x).item() == pytest.approx(math.log(paper.likelihood), rel=1e-12)
    assert_close(model.predict_proba(x).numpy(), paper.gamma)
    assert_close(semihmm.filtering(model(x)).exp().detach().numpy(), paper.alpha / paper.alpha.sum(-1, keepdims=True))
    best, path = paper.viterbi()
    assert model.decode(x).score.item() == pytest.approx(math.log(best), rel=1e-12)
    assert model.predict(x).tolist() == path

    model.fit(x, initialise=False, iterations=1)
    moves = sum(paper.xi(t) for t in range(11))
    assert_close(model.initial().exp().detach().numpy(), paper.gamma[0])
    assert_close(model.transition().exp().detach().numpy(), moves / paper.gamma[:-1].sum(0)[:, None])
    seen = np.stack([paper.gamma[x.numpy() == k].sum(0) for k in range(4)], -1)
    assert_close(emission.table().exp().detach().numpy(), seen / paper.gamma.sum(0)[:, None])


def of_statsmodels(file: str, name: str) -> list[float]:
    """A series in the tests that statsmodels ships, which pytest would object to if they were imported."""
    package = Path(pytest.importorskip("statsmodels.tsa.regime_switching").__file__).parent
    module = ast.parse((package / "tests" / file).read_text(encoding="utf-8"))
    values = (n.value for n in module.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == name)
    found: list[float] = ast.literal_eval(next(values))
    return found


def test_regimes_of_the_federal_funds_rate() -> None:
    """Stata 14's manual, "mswitch", example 1: two means, one variance; log-likelihood, AIC's parameters left out."""
    x = torch.tensor(of_statsmodels("test_markov_regression.py", "fedfunds"), dtype=torch.float64).unsqueeze(-1)
    emission = FullGaussian(2, features=1, tied=True)
    model = fitted(emission, x, restarts=1, start="stationary")
    assert model.score(x) == pytest.approx(-508.63592, abs=1e-5)
    order = emission.mean.flatten().argsort()
    assert emission.mean.flatten()[order].tolist() == pytest.approx([3.70877, 9.556793], abs=1e-4)
    assert emission.covariance()[0].sqrt().item() == pytest.approx(2.107562, abs=1e-5)
    stay_and_leave = model.transition().exp()[order, order[0]]
    assert stay_and_leave.tolist() == pytest.approx([0.9820939, 0.0503587], abs=1e-5)


def hamilton(y: Tensor, mean: Tensor, variance: float, coefficients: Tensor, transition: Tensor) -> semihmm.HMM:
    """Hamilton (1989), equation (4.3): growth differs from its regime's mean by an autoregression.

    What is seen depends on the regimes of the last p quarters as well, so these are a state, and few may follow it.
    """
    order = len(coefficients)
    regimes = torch.tensor(list(itertools.product(range(2), repeat=order + 1)))  # of this quarter first
    follows = (regimes[:, None, :-1] == regimes[None, :, 1:]).all(-1).nonzero().unbind(-1)
    lagged = y.unfold(0, order + 1, 1).flip(-1)  # (T, p + 1)
    apart = lagged.unsqueeze(1) - mean[regimes]
    shock = apart[..., 0] - apart[..., 1:] @ coefficients
    log_prob = transition.log()
    before = stationary(transition).log()[regimes[:, -1]]
    return semihmm.HMM(
        before + log_prob[regimes[:, 1:], regimes[:, :-1]].sum(-1),
        log_prob[regimes[follows[0], 0], regimes[follows[1], 0]],
        torch.distributions.Normal(0.0, math.sqrt(variance)).log_prob(shock),
        arcs=follows,
    )


def test_business_cycles_of_hamilton() -> None:
    """Hamilton (1989), table I: growth of the American GNP, 1951 to 1984; the log-likelihood is that of EViews."""
    y = torch.tensor(of_statsmodels("test_markov_autoregression.py", "rgnp"), dtype=torch.float64)
    stay, begin = 0.754673, 0.095915
    structure = hamilton(
        y,
        mean=torch.tensor([-0.358811, 1.163516], dtype=torch.float64),
        variance=math.exp(-0.262658) ** 2,
        coefficients=torch.tensor([0.013486, -0.057521, -0.246983, -0.212923], dtype=torch.float64),
        transition=torch.tensor([[stay, 1 - stay], [begin, 1 - begin]], dtype=torch.float64),
    )
    assert semihmm.log_partition(structure).item() == pytest.approx(-181.26339, abs=1e-5)
    growth = semihmm.smoothing(structure)[:, 16:].logsumexp(-1).exp()  # the second regime, whatever came before
    printed = of_statsmodels("test_markov_autoregression.py", "hamilton_ar4_smoothed")
    assert growth.tolist() == pytest.approx(printed, abs=1e-5)


def profile_forward(profile: Any, sequence: list[int], background: np.ndarray) -> float:
    """Durbin et al. (1998), equations (5.1) and (5.2), summed; no delete beside an insert, as in HMMER's Plan 7."""
    match, delete, insert = (table.exp().detach().numpy() for table in profile.chances())
    residue = profile.residue.softmax(-1).detach().numpy()
    columns, steps = profile.columns, len(sequence)
    m, i, d = (np.zeros((columns + 1, steps + 1)) for _ in range(3))
    m[0, 0] = 1
    for t in range(steps + 1):
        for j in range(columns + 1):
            if t and j:
                before = (
                    m[j - 1, t - 1] * match[j - 1, 0] + i[j - 1, t - 1] * insert[0] + d[j - 1, t - 1] * delete[j - 1, 0]
                )
                m[j, t] = residue[j - 1, sequence[t - 1]] * before
            if t:
                i[j, t] = background[sequence[t - 1]] * (m[j, t - 1] * match[j, 1] + i[j, t - 1] * insert[1])
            if j:
                d[j, t] = m[j - 1, t] * match[j - 1, 2] + d[j - 1, t] * delete[j - 1, 1]
    return float(m[columns, steps] * match[columns, 0] + d[columns, steps] * delete[columns, 0])


def test_silent_deletes_fold_into_arcs(repository: Path) -> None:
    """The example's profile, of 5 columns with weights at random, against the recursion with its deletes."""
    spec = importlib.util.spec_from_file_location("profile_hmm", repository / "examples" / "profile_hmm.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    profile = example.Profile("CHACH")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in profile.parameters():
            parameter.normal_(generator=generator)
    sequences = ["C", "CH", "AHCHA", "WCHACHYYC"]
    found = semihmm.log_partition(profile(*example.padded(sequences))).exp().detach()
    background = example.BACKGROUND.numpy()
    expected = [profile_forward(profile, example.numbers(s).tolist(), background) for s in sequences]
    assert_close(found.numpy(), np.array(expected, dtype=np.float32), rtol=1e-5, atol=0)
