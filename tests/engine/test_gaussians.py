"""Gaussians with matrices, and moments, by compiled code."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

from semihmm.engine import tensors
from semihmm.engine.backends import backends, native
from semihmm.models import Emission, Gaussian, GaussianMixture

if native() is None:
    pytest.skip(f"the native backend is {backends()['native'].split('.')[0]}", allow_module_level=True)

SIZES = [(1, 1, 1), (2, 3, 2), (9, 4, 3), (17, 8, 4), (33, 9, 13), (70, 17, 16), (1030, 3, 7), (5, 2, 33)]
DTYPES = (torch.float32, torch.float64)


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def factors(groups: int, features: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Cholesky factors in float64; and as they are parameters, with anything above the diagonal."""
    given = (drawn(groups, features, features, seed=3) * 0.3).to(dtype)
    exact = given.double()
    return exact.tril(-1) + exact.diagonal(dim1=-2, dim2=-1).exp().diag_embed(), given


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("count", "groups", "features"), SIZES)
def test_densities_are_those_of_multivariate_normals(
    count: int, groups: int, features: int, dtype: torch.dtype
) -> None:
    x, mean = drawn(count, features, seed=1, dtype=dtype), drawn(groups, features, seed=2, dtype=dtype)
    root, given = factors(groups, features, dtype)
    found = tensors.gaussian_densities(x, mean, given)
    assert found is not None and found.dtype == dtype
    expected = MultivariateNormal(mean.double(), scale_tril=root).log_prob(x.double().unsqueeze(1))
    assert_close(found, expected.to(dtype), rtol=1e-11 if dtype == torch.float64 else 1e-6, atol=0.0)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("count", "groups", "features"), [*SIZES, (0, 3, 2), (4, 3, 0)])
def test_moments_are_weighted_sums(count: int, groups: int, features: int, dtype: torch.dtype, mixed: bool) -> None:
    x, share = drawn(count, features, seed=1, dtype=dtype), drawn(count, groups, seed=2, dtype=dtype).abs()
    centre = drawn(features, seed=3)
    found = tensors.weighted_moments(x, share, centre, mixed)
    assert found is not None
    away, share = x.double() - centre, share.double()
    second = torch.einsum("ng,ni,nj->gij", share, away, away)
    expected = share.sum(0), share.T @ away, second if mixed else second.diagonal(dim1=-2, dim2=-1)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_what_is_far_from_the_origin_keeps_its_digits() -> None:
    far = 1.6e9
    x, mean, share = far + drawn(50, 3, seed=1), far + drawn(2, 3, seed=2), drawn(50, 2, seed=4).abs()
    _, given = factors(2, 3)
    centre = torch.full((3,), far, dtype=torch.float64)
    near = tensors.gaussian_densities(x - far, mean - far, given)
    assert_close(tensors.gaussian_densities(x, mean, given), near, rtol=1e-12, atol=0.0)
    moments = tensors.weighted_moments(x, share, centre, True)
    assert_close(
        moments, tensors.weighted_moments(x - far, share, torch.zeros_like(centre), True), rtol=1e-12, atol=0.0
    )


def test_as_they_lie() -> None:
    x, mean, share, centre = (
        drawn(3, 40, seed=1).T,
        drawn(3, 4, seed=2).T,
        drawn(4, 40, seed=4).T,
        drawn(6, seed=5)[::2],
    )
    _, given = factors(4, 3)
    leaf = mean.clone().requires_grad_()
    plainly = tensors.gaussian_densities(x.contiguous(), mean.contiguous(), given)
    for a, b, c in ((x, mean, given.mT.contiguous().mT), ((-x)._neg_view(), leaf, given)):
        assert_close(tensors.gaussian_densities(a, b, c), plainly, rtol=0.0, atol=0.0)
    of_copies = tensors.weighted_moments(x.contiguous(), share.contiguous(), centre.contiguous(), True)
    assert_close(tensors.weighted_moments(x, share, centre, True), of_copies, rtol=0.0, atol=0.0)


def test_the_number_of_threads_changes_no_bit() -> None:
    x, mean, share, centre = drawn(9001, 5, seed=1), drawn(11, 5, seed=2), drawn(9001, 11, seed=4), drawn(5, seed=5)
    _, given = factors(11, 5)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            density, moments = (
                tensors.gaussian_densities(x, mean, given),
                tensors.weighted_moments(x, share, centre, True),
            )
            assert density is not None and moments is not None
            found.append((density, *moments))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize(("groups", "features"), [(1, 1), (3, 2), (8, 13), (2, 64)])
def test_factors_are_those_of_cholesky(groups: int, features: int) -> None:
    root, _ = factors(groups, features)
    matrices = root @ root.mT + torch.eye(features)
    found = tensors.cholesky_factors(matrices, 0.5)
    assert found is not None
    assert_close(found.tril(-1) + found.diagonal(dim1=-2, dim2=-1).exp().diag_embed(), torch.linalg.cholesky(matrices))
    assert torch.equal(found, found.tril())
    least = float(torch.linalg.eigvalsh(matrices).min())
    assert tensors.cholesky_factors(matrices, least * (1 - 1e-6)) is not None
    assert tensors.cholesky_factors(matrices, least * (1 + 1e-6)) is None
    assert tensors.cholesky_factors(torch.full_like(matrices, torch.nan), 0.0) is None


@pytest.mark.parametrize("covariance", ["diag", "spherical", "full", "tied"])
@pytest.mark.parametrize("kind", [Gaussian, GaussianMixture])
def test_an_emission_is_the_same_without_compiled_code(
    kind: type[Emission], covariance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = {"components": 2} if kind is GaussianMixture else {}
    emission: Emission = kind(states=3, features=4, covariance=covariance, **size).double()  # type: ignore[call-arg]
    x, posterior = 2 * drawn(2, 30, 4, seed=1), drawn(60, 3, seed=2).softmax(-1)
    emission.initialise(x.flatten(0, 1), torch.Generator().manual_seed(0))
    start = {name: value.clone() for name, value in emission.state_dict().items()}
    found = []
    for module in (tensors.MODULE, None):
        monkeypatch.setattr(tensors, "MODULE", module)
        emission.load_state_dict(start)
        emission.update(x.flatten(0, 1), posterior)
        with torch.no_grad():
            found.append({"density": emission(x), **{n: v.clone() for n, v in emission.state_dict().items()}})
    assert_close(found[0], found[1])
