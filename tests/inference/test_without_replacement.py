"""tests/inference/test_without_replacement.py: k different paths are as probable as draws without replacement are."""

import math
from itertools import permutations

import pytest
import torch

import semihmm
from semihmm.inference.without_replacement import different
from semihmm.testing import oracle
from semihmm.testing.examples import small

DRAWS = 4000


def chances(item):
    """The probability of each path that there is, by its event."""
    every = zip(oracle.paths(item), oracle.posterior(item), strict=True)
    return {str(plain(torch.tensor(p.event))): c for p, c in every if c}


def plain(event):
    """Without what comes after the end."""
    used = (event >= 0) if event.ndim == 1 else (event >= 0).any(-1)
    return event[: int(used.sum())].tolist()


@pytest.mark.parametrize("listed", [3, 32])  # most paths are drawn from the rest; all are listed
@pytest.mark.no_cover  # which draws long, and would twice as long
def test_two_draws_are_as_probable_as_without_replacement(listed):
    """Chi-square of the ordered pairs; a false alarm in one of 10^5 runs, and the seed is fixed."""
    hmm, g = small("HMM", (), 3, seed=3), torch.Generator().manual_seed(0)
    p = chances(hmm)
    expected = {(a, b): p[a] * p[b] / (1 - p[a]) for a, b in permutations(p, 2)}
    assert math.isclose(sum(expected.values()), 1.0)
    found = dict.fromkeys(expected, 0)
    for _ in range(DRAWS):
        event = different(hmm, 2, listed, g, {}).paths.event
        found[tuple(str(plain(x)) for x in event)] += 1
    often = {pair: n for pair, n in expected.items() if DRAWS * n >= 5}
    rest = 1 - sum(often.values())
    excess = sum((found[x] - DRAWS * n) ** 2 / (DRAWS * n) for x, n in often.items())
    excess += (sum(found[x] for x in expected if x not in often) - DRAWS * rest) ** 2 / (DRAWS * rest)
    freedom = len(often)
    assert excess < freedom + 4.5 * math.sqrt(2 * freedom) + 20


@pytest.mark.parametrize("listed", [4, 32])
@pytest.mark.no_cover  # which draws long, and would twice as long
def test_means_over_inclusion_probabilities_are_unbiased(listed):
    hmm, g = small("HMM", (), 3, seed=5), torch.Generator().manual_seed(1)
    posterior = semihmm.marginals(hmm).emission[1, 0]
    estimates = []
    for _ in range(DRAWS // 2):
        paths, inclusion = different(hmm, 3, listed, g, {})
        weight = (semihmm.log_prob(hmm, paths.event) - inclusion).exp()
        estimates.append(float((weight * (paths.event[:, 1] == 0)).sum()))
    mean, deviation = torch.tensor(estimates).mean(), torch.tensor(estimates).std() / math.sqrt(len(estimates))
    assert abs(float(mean - posterior)) < 4.5 * float(deviation)


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC", "DTW", "RNNT", "Lattice"])
def test_all_paths_are_drawn_once_where_there_are_no_more(kind):
    structure = small(kind, (2,), 3, seed=2)
    most = max(len(chances(item)) for item in structure.unbatch())
    paths, inclusion = semihmm.sample(structure, most + 1, torch.Generator().manual_seed(0), replacement=False)
    for i, item in enumerate(structure.unbatch()):
        known = chances(item)
        valid = paths.valid[:, i]
        assert sorted(str(plain(x)) for x in paths.event[:, i][valid]) == sorted(known)
        assert (inclusion[:, i][valid] == 0).all() and (paths.score[:, i][~valid] == -math.inf).all()


@pytest.mark.parametrize("k", [0, -1, 2.5, (), (2, 3), "ab", None])
def test_there_is_a_path_to_draw(k):
    with pytest.raises(semihmm.errors.SemihmmError, match=r"sample: .*without replacement"):
        semihmm.sample(small("HMM"), k, replacement=False)


def test_scores_of_draws_have_gradients():
    emission = torch.zeros(3, 2, requires_grad=True)
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), emission)
    paths, _ = semihmm.sample(hmm, (2,), torch.Generator().manual_seed(0), replacement=False)
    paths.score.sum().backward()
    assert emission.grad.sum() == 6
