"""A product of matrices says what a sum in log space says, however far apart its terms are."""

import math

import pytest
import torch

from semihmm.semirings import Log


@pytest.mark.parametrize("spread", [1.0, 40.0, 100.0, 1e4])
@pytest.mark.parametrize("batch", [(), (3,)], ids=["one-matrix", "a-matrix-each"])
def test_products_are_sums(spread: float, batch: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(0)
    vector = spread * torch.randn(3, 9, generator=g)
    matrix = spread * torch.randn(*batch, 9, 7, generator=g)
    matrix[torch.rand(matrix.shape, generator=g) < 0.3] = -math.inf
    matrix[..., 2], vector[1, :4] = -math.inf, -math.inf
    found = Log(products=True).vecmat(vector, matrix)
    wanted = (vector.double().unsqueeze(-1) + matrix.double()).logsumexp(-2)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-5)


def test_a_vector_of_nothing_has_a_product_of_nothing() -> None:
    found = Log(products=True).vecmat(torch.full((2, 3), -math.inf), torch.zeros(3, 4))
    assert (found == -math.inf).all()
