"""tests/engine/test_native_kernels.py: the compiled inner kernels, each instruction set that this CPU runs, against
NumPy's extended precision and PyTorch's float64."""

import math
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semihmm.engine.backends import runnable

DTYPES = [np.float32, np.float64]
SIZES = range(2 * 16 + 2)  # 16 floats are the widest vector
INF, NAN = math.inf, math.nan


@pytest.fixture(params=["avx512", "avx2", "baseline"], scope="module")
def kernels(request):
    if request.param not in runnable():
        pytest.skip(f"this CPU does not run {request.param}")
    try:
        return import_module(f"semihmm.engine.backends._native_{request.param}")
    except ModuleNotFoundError:
        pytest.skip(f"_native_{request.param} is not built")


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def worst_ulp(got, exact):
    """The largest error in units in the last place of the exact result, which is in extended precision."""
    digits = np.finfo(got.dtype).nmant + 1
    _, exponent = np.frexp(exact)
    return float(np.max(np.abs(got.astype(np.longdouble) - exact) / np.ldexp(np.longdouble(1), exponent - digits)))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no extended precision to compare with")
class TestErrorBounds:
    """The bounds that csrc/lanes.hpp states."""

    def test_exp(self, kernels):
        for dtype, bound, ends in [(np.float32, 1.11, (-87.3365, 88.7228)), (np.float64, 1.11, (-708.396, 709.782))]:
            for low, high in [ends, (-1.0, 1.0), (-1e-3, 1e-3)]:
                x = np.linspace(low, high, 500_001).astype(dtype)
                assert worst_ulp(kernels.exp(x), np.exp(x.astype(np.longdouble))) < bound

    def test_log(self, kernels):
        for dtype, bound in [(np.float32, 1.09), (np.float64, 0.93)]:
            tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
            spread = np.exp(np.linspace(np.log(tiny), np.log(huge), 500_001, dtype=np.longdouble))
            for x in (np.clip(spread, tiny, huge), np.linspace(0.4, 4, 500_001), np.linspace(0.99, 1.01, 500_001)):
                x = x.astype(dtype)
                exact = np.log(x.astype(np.longdouble))
                assert worst_ulp(kernels.log(x)[exact != 0], exact[exact != 0]) < bound


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_at_the_edges(kernels, dtype):
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    x = np.array([0, -0.0, -INF, -huge, -1e4, INF, huge, 1e4, NAN, tiny], dtype)
    assert np.array_equal(kernels.exp(x), np.array([1, 1, 0, 0, 0, INF, INF, INF, NAN, 1], dtype), equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_ends_where_the_normal_numbers_end(kernels, dtype):
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    for end in (np.log(np.longdouble(tiny)), np.log(np.longdouble(huge))):
        around = dtype(end) + np.arange(-20, 21) * np.spacing(dtype(end))
        for x in around.astype(dtype):
            exact, got = np.exp(np.longdouble(x)), kernels.exp(np.array([x]))[0]
            if exact < tiny:
                assert got == 0
            elif exact > huge:
                assert got == INF
            else:
                assert abs(got - exact) <= 1.11 * np.spacing(exact.astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_at_the_edges(kernels, dtype):
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    x = np.array([1, 0, -0.0, tiny / 2, -1, -tiny, -INF, INF, NAN, huge, tiny], dtype)
    want = np.array([0, -INF, -INF, -INF, NAN, NAN, NAN, INF, NAN, np.log(huge), np.log(tiny)], dtype)
    np.testing.assert_array_equal(kernels.log(x)[:-2], want[:-2])
    np.testing.assert_allclose(kernels.log(x), want, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_size_gives_what_its_elements_give_alone(kernels, dtype):
    x = 10 * normal(max(SIZES), dtype)
    for function, data in [(kernels.exp, x), (kernels.log, np.abs(x))]:
        alone = np.array([function(data[i : i + 1])[0] for i in range(len(data))])
        for n in SIZES:
            assert np.array_equal(function(data[:n]), alone[:n])


@pytest.mark.parametrize("dtype", DTYPES)
def test_shifted_sums_and_maxima_of_every_size(kernels, dtype):
    for n in SIZES:
        x = 10 * normal(n, dtype, seed=n)
        x[n // 2 : n // 2 + 1] = -INF
        peak = kernels.max_of(x)
        assert peak == max(x.tolist(), default=-INF)
        shift = peak if math.isfinite(peak) else 0.0
        out, total = kernels.exp_shifted_sum(x, shift)
        assert np.array_equal(out, kernels.exp(x - dtype(shift)))
        assert total == pytest.approx(math.fsum(out.tolist()), rel=4 * float(np.finfo(dtype).eps))


def assert_product(got, p, w):
    """Within the error bound of a sum: inner * eps of the sum of the terms' sizes."""
    p, w = torch.from_numpy(p).double(), torch.from_numpy(w).double()
    bound = p.shape[1] * np.finfo(got.dtype).eps * (p.abs() @ w.abs())
    assert ((torch.from_numpy(got).double() - p @ w).abs() <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [*SIZES, 63, 64, 65, 100, 127, 128, 200, 256, 300, 500])
def test_products_of_every_size(kernels, dtype, columns):
    for rows in range(1, 10):
        for inner in {0, 1, 2, 3, 5, 8, columns}:
            p, w = normal((rows, inner), dtype, seed=rows), normal((inner, columns), dtype, seed=inner)
            got = kernels.multiply(p, w)
            assert got.shape == (rows, columns)
            assert_product(got, p, w)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [*SIZES, 63, 64, 65, 100, 200, 257])
def test_products_from_both_sides_of_every_size(kernels, dtype, columns):
    for rows in (1, 2):
        for inner in {0, 1, 2, 3, 4, 5, 8, 31, columns}:
            p, y = normal((rows, inner), dtype, seed=rows), normal((rows, columns), dtype, seed=rows + 2)
            w = normal((inner, columns), dtype, seed=inner)
            right, left = kernels.multiply_both(p, y, w)
            assert right.shape == (rows, columns) and left.shape == (rows, inner)
            assert_product(right, p, w)
            assert_product(left, y, w.T)


@given(data=st.data())
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_gives_the_same_bits_in_any_company(kernels, dtype, data):
    rows, inner, columns = (data.draw(st.integers(1, top)) for top in (8, 40, 100))
    p, w = normal((rows, inner), dtype), normal((inner, columns), dtype, seed=1)
    order = data.draw(st.permutations(range(rows)))
    together = kernels.multiply(p, w)
    assert np.array_equal(kernels.multiply(p[order], w), together[order])
    for r in range(rows):
        assert np.array_equal(kernels.multiply(p[r : r + 1], w)[0], together[r])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [*SIZES, 65, 100, 200, 300])
def test_max_products_of_every_size(kernels, dtype, columns):
    for rows in range(1, 10):
        for inner in (0, 1, 2, 3, 7, 33):
            p, w = normal((rows, inner), dtype, seed=rows), normal((inner, columns), dtype, seed=inner)
            p[p < -1], w[w < -0.5] = -INF, -INF  # some cells have no finite term at all
            terms = torch.from_numpy(p)[:, :, None] + torch.from_numpy(w)
            best = terms.amax(1) if inner else torch.full((rows, columns), -INF, dtype=terms.dtype)
            assert np.array_equal(kernels.multiply_max(p, w), best.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [*SIZES, 65, 100, 200, 300])
def test_outer_products_are_added_up(kernels, dtype, columns):
    for n in (0, 1, 2, 3, 8, 33, 64):
        for inner in {0, 1, 2, 3, 7, 9, columns}:
            a, y = normal((n, inner), dtype, seed=n), normal((n, columns), dtype, seed=inner)
            g = normal((inner, columns), dtype, seed=columns)
            # g + a' y is the product of (a' g) and (y over the identity)
            left = np.concatenate([a.T, np.eye(inner, dtype=dtype)], axis=1)
            assert_product(kernels.add_outer(a, y, g), left, np.concatenate([y, g]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_transposes_of_every_size(kernels, dtype):
    for rows in (*SIZES, 70):
        for columns in (*SIZES, 70):
            a = normal((rows, columns), dtype)
            assert np.array_equal(kernels.transpose(a), a.T)


def test_sizes_that_do_not_fit_are_refused(kernels):
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"p is \(rows, inner\) and w is \(inner, columns\)"):
        kernels.multiply(x, x)
    with pytest.raises(ValueError, match="multiply_both"):
        kernels.multiply_both(x, x, x)
    with pytest.raises(ValueError, match=r"add_outer: a is \(n, inner\)"):
        kernels.add_outer(x, x, x)
    with pytest.raises(TypeError):
        kernels.exp(np.zeros(3, np.int64))  # never converted silently


def test_denormals_are_flushed_only_while_asked(kernels):
    smallest = np.finfo(np.float64).tiny
    assert kernels.halved_without_denormals(4.0) == 2.0
    assert kernels.halved_without_denormals(float(smallest)) == 0.0
    assert float(smallest) / 2 > 0.0  # as before
