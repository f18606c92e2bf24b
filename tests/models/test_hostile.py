"""What a clumsy or a hostile user may do to a model, and what it answers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from semihmm.errors import DataError, SemihmmError, ShapeError
from semihmm.models import HMM, HSMM, Gaussian, HigherOrderHMM, durations, emissions
from semihmm.models.bayes import gibbs, variational


def G(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X = torch.randn(4, 9, 3, generator=G())
SYMBOLS = torch.randint(4, (4, 9), generator=G())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.float32, torch.float16])
def test_symbols_are_numbers_of_any_type(dtype: torch.dtype) -> None:
    model = HMM(2, emissions.Categorical(2, 4))
    assert_close(model.log_prob(SYMBOLS.to(dtype)), model.log_prob(SYMBOLS))
    square = SYMBOLS[:, :4]  # as many steps as symbols: a mask would fit
    assert_close(model.log_prob(square.to(dtype)), model.log_prob(square))
    assert model.fit(SYMBOLS.to(dtype), iterations=2, generator=G()) == model.fit(SYMBOLS, iterations=2, generator=G())


@pytest.mark.parametrize("form", ["reversed", "read-only", "fortran", "uint16"])
def test_arrays_are_taken_however_they_lie_in_memory(form: str) -> None:
    given = X.numpy()
    x: Any = {
        "reversed": lambda: given[:, ::-1],
        "read-only": lambda: np.frombuffer(given.tobytes(), np.float32).reshape(given.shape),
        "fortran": lambda: np.asfortranarray(given),
        "uint16": lambda: np.abs(given * 9).astype(np.uint16),
    }[form]()
    model = HMM(2, Gaussian(2, 3))
    expected = model.log_prob(torch.tensor(x.astype(np.float32)))
    assert_close(model.log_prob(x), expected)
    assert_close(model.log_prob(list(x)), expected)


@pytest.mark.parametrize(
    ("x", "known", "error", "says"),
    [
        (X.to(torch.complex64), {}, ShapeError, "dense and real, got torch.complex64"),
        (X.to_sparse(), {}, ShapeError, "dense and real"),
        (np.array(["a"]), {}, DataError, "x must be a tensor, a NumPy array"),
        ({"x": X}, {}, ShapeError, "got dict. A batch that is a dict"),
        ("abc", {}, ShapeError, "got str"),
        (X, {"lengths": "9"}, DataError, "lengths must be a tensor"),
        (X, {"labels": "a"}, DataError, "labels must be a tensor"),
        (X, {"labels": torch.full((4, 9), 255, dtype=torch.uint8)}, DataError, "got 255 to 255"),
        (list(X[:2]), {"labels": [torch.zeros(9).long()]}, ShapeError, "labels must be as many as the sequences"),
        (
            [X[0], X[1, :4]],
            {"labels": [torch.zeros(9).long(), torch.zeros(5).long()]},
            ShapeError,
            r"labels must be as many as the sequences, and as long as they are, \[9, 4\]",
        ),
        (list(X[:2]), {"labels": [torch.zeros(9).long(), None]}, DataError, "labels must be a tensor"),
    ],
)
def test_a_plausible_mistake_is_named(x: Any, known: Any, error: type[SemihmmError], says: str) -> None:
    model = HMM(2, Gaussian(2, 3))
    with pytest.raises(error, match=says):
        model.log_prob(x, **known)
    with pytest.raises(error, match=says):
        model.fit(x, **known)


def test_labels_of_any_type_say_the_same() -> None:
    model = HMM(2, Gaussian(2, 3))
    labels = torch.randint(2, (4, 9), generator=G())
    expected = model.log_prob(X, labels=labels)
    for given in (labels.to(torch.uint8), labels.int(), labels.numpy(), labels.tolist()):
        assert_close(model.log_prob(X, labels=given), expected)
    assert_close(model.log_prob(list(X), labels=labels.tolist()), expected)


def test_weights_of_a_list_may_be_any_numbers() -> None:
    model, fits = HMM(2, Gaussian(2, 3)), []
    for weights in ([1.0, 2.0], [torch.tensor(1.0), torch.tensor(2.0)], np.array([1, 2]), torch.tensor([1, 2])):
        fits.append(model.fit(list(X[:2]), weights=weights, iterations=3, generator=G()))
    assert fits == fits[:1] * 4


def test_labels_that_contradict_the_topology_are_named() -> None:
    model = HMM(2, Gaussian(2, 3), offsets=(0, 1))
    with pytest.raises(DataError, match="do labels or starts say what cannot be"):
        model.fit(X, labels=torch.tensor([1, 0]).repeat(5)[:9].expand(4, 9))


LENGTHS = torch.tensor([9, 9, 8, 9])  # so little lies behind the ends that nothing is copied to leave it out


@pytest.mark.parametrize("fit", [gibbs, variational])
def test_what_lies_behind_the_ends_is_nothing_to_a_bayesian_fit(fit: Any) -> None:
    found = []
    for behind in (torch.nan, 1e6):
        x = X.clone()
        x[2, 8:] = behind
        model = HMM(2, Gaussian(2, 3)).double()
        more = {"draws": 5} if fit is gibbs else {"iterations": 5}
        fit(model, x, LENGTHS, generator=G(), **more)
        found.append(model.emission.mean.detach())
    assert_close(found[0], found[1])


def test_gibbs_draws_paths_of_contexts() -> None:
    model = HigherOrderHMM(2, emissions.Categorical(2, 4)).double()
    found = gibbs(model, SYMBOLS, LENGTHS, draws=20, generator=G())
    assert found.states.amax() == 1 and bool((found.states[:, 2, 8] == -1).all())


@pytest.mark.parametrize("fit", [gibbs, variational])
def test_a_bayesian_fit_says_what_it_cannot_take(fit: Any) -> None:
    with pytest.raises(ShapeError, match="bayes: give a tensor or a list of sequences, got 2 batches"):
        fit(HMM(2, Gaussian(2, 3)), iter([X[:2], X[2:]]))
    with pytest.raises(DataError, match="cannot explain 4 of the sequences"):
        fit(HSMM(2, Gaussian(2, 3), durations.Categorical(2, 4)), X, labels=torch.zeros(4, 9).long())
