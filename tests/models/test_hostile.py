"""What a clumsy or a hostile user may do to a model, and what it answers."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, HigherOrderHMM, durations, emissions, transitions
from semihmm.models.bayes import StickyHDP, gibbs, variational
from semihmm.models.transitions import Categorical, ContinuousTime, Logit, Periodic
from semihmm.models.transitions.ties import Ties


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
    makers: dict[str, Callable[[], Any]] = {
        "reversed": lambda: given[:, ::-1],
        "read-only": lambda: np.frombuffer(given.tobytes(), np.float32).reshape(given.shape),
        "fortran": lambda: np.asfortranarray(given),
        "uint16": lambda: np.abs(given * 9).astype(np.uint16),
    }
    x = makers[form]()
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


def test_weights_have_values() -> None:
    with pytest.raises(DataError, match="weights are on the meta device, and have no values"):
        HMM(2, Gaussian(2, 3)).fit(X, weights=torch.ones(4, device="meta"))


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


def test_what_lies_behind_the_ends_is_nothing_to_variational_bayes() -> None:
    found = []
    for steps in (9, 30):
        x = torch.nn.functional.pad(X, (0, 0, 0, steps - 9)) + 7.0
        emission = Gaussian(2, 3).double()
        variational(HMM(2, emission).double(), x, LENGTHS, iterations=5, generator=G())
        found.append(emission.mean.detach())
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


def test_states_of_contexts_can_be_numbered_anew() -> None:
    model = HigherOrderHMM(3, emissions.Categorical(3, 4), order=3, start=[0, 1]).double()
    model.fit(SYMBOLS, iterations=3, generator=G())
    before, posterior = model.log_prob(SYMBOLS), model.predict_proba(SYMBOLS)
    after = model.transition_after([2, 0])
    model.permute([2, 0, 1])
    assert_close(model.log_prob(SYMBOLS), before)
    assert_close(model.predict_proba(SYMBOLS).sum(), posterior.sum())
    assert_close(model.transition_after([0, 1])[[1, 2, 0]], after)
    assert model.config["start"] == [1, 2]


@pytest.mark.parametrize("kind", ["emission", "transition", "duration"])
def test_a_permutation_that_a_part_refuses_changes_nothing(kind: str) -> None:
    model = HSMM(
        3,
        Gaussian(3, 3, covariance="tied" if kind == "emission" else "diag"),
        durations.PoissonRegression(3, 1, 4) if kind == "duration" else durations.Poisson(3, 4),
        transition=Logit(3, 1, offsets=(0, 1) if kind == "transition" else None),
    )
    inputs = {"transition": torch.randn(4, 9, 1, generator=G())}
    if kind == "duration":
        inputs["duration"] = inputs["transition"]
    model.initialise(X, inputs=inputs, generator=G())
    before = model.log_prob(X, inputs=inputs)
    with pytest.raises(StructureError):
        model.permute([2, 0, 1])
    assert torch.equal(model.log_prob(X, inputs=inputs), before)


def test_nothing_to_climb_with_is_named() -> None:
    with pytest.raises(StructureError, match="every parameter is frozen"):
        HMM(2, Gaussian(2, 3)).fit(X, method="gradient", frozen=["initial", "transition", "emission"])


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_fit_says_the_objective_of_the_parameters_it_left(restarts: int) -> None:
    model = HMM(2, Gaussian(2, 3)).double()

    def wild(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=3.0)

    fit = model.fit(X, method="gradient", optimizer=wild, restarts=restarts, iterations=20, generator=G())
    assert fit.objective == max(fit.history) > fit.history[-1]
    assert fit.objective == pytest.approx(model.score(X))
    assert not fit.restarts or fit.objective == max(fit.restarts)


@pytest.mark.parametrize("seed", range(40))
def test_ties_take_counts_of_zero(seed: int) -> None:
    """The best table, as a table with a little more of any other is no better."""
    size = 2 + seed % 3
    tied = torch.where(
        torch.rand(size, size, generator=G(seed)) < 0.5, torch.randint(3, (size, size), generator=G(seed)), -1
    )
    group = torch.arange(size).repeat_interleave(size)
    try:
        ties = Ties(group, torch.ones(size * size, dtype=torch.bool), None, tied.flatten())
    except ShapeError:
        pytest.skip("no table keeps these ties")
    counts = torch.randint(6, (size * size,), generator=G(seed)) * (torch.rand(size * size, generator=G(seed)) < 0.6)
    best = ties.best(counts)
    assert_close(best.reshape(size, size).sum(-1), torch.ones(size).double(), atol=1e-12, rtol=0)

    def value(table: torch.Tensor) -> float:
        return float((counts * torch.where(counts > 0, table.log(), 0.0)).sum())

    for other in (ties.best(torch.rand(size * size, generator=G(k))) for k in range(10)):
        assert value(0.999 * best + 0.001 * other) <= value(best) + 1e-6


def test_ties_that_contradict_one_another_are_refused() -> None:
    free = float("nan")
    with pytest.raises(ShapeError, match=r"these rows cannot sum to 1: \[0, 1\]"):
        Categorical(
            3, tied=[[0, 1, -1], [0, 1, -1], [-1] * 3], fixed=[[free, free, 0.2], [free, free, 0.5], [free] * 3]
        )
    same = Categorical(2, tied=[[0, 1], [0, 1]])
    same.update(torch.tensor([[3.0, 1.0], [0.0, 0.0]]))
    assert_close(same().exp(), torch.tensor([[0.75, 0.25], [0.75, 0.25]]))


@pytest.mark.parametrize("method", ["em", "viterbi", "gradient"])
def test_data_and_inputs_that_require_gradients_get_none(method: Any) -> None:
    x, inputs = X.clone().requires_grad_(), torch.randn(4, 9, 1, generator=G()).requires_grad_()
    HMM(2, Gaussian(2, 3), transition=Logit(2, 1)).fit(x, inputs=inputs, method=method, iterations=2, generator=G())
    assert x.grad is None and inputs.grad is None
    assert torch.equal(x, X)


FROZEN: dict[str, Any] = {
    "tied": lambda: HMM(2, Gaussian(2, 3), transition=Categorical(2, tied=[[0, -1], [-1, 0]])),
    "logit": lambda: HMM(2, Gaussian(2, 3), transition=Logit(2, 1)),
    "geometric": lambda: HSMM(2, Gaussian(2, 3), durations.Geometric(2, 30), censored="right"),
    "negative binomial": lambda: HSMM(2, Gaussian(2, 3), durations.NegativeBinomial(2, 30), censored="right"),
}


@pytest.mark.parametrize("kind", FROZEN)
def test_what_is_frozen_does_not_move_by_a_single_bit(kind: str) -> None:
    model = FROZEN[kind]()
    given = {"inputs": torch.randn(4, 9, 1, generator=G())} if kind == "logit" else {}
    model.fit(X, iterations=3, generator=G(), **given)
    before = {name: x.detach().clone() for name, x in model.named_parameters()}
    model.fit(X, iterations=3, frozen=[*model.laws, "emission"], generator=G(), **given)
    assert all(torch.equal(x, before[name]) for name, x in model.named_parameters())


@pytest.mark.parametrize("method", ["em", "viterbi", "gradient"])
def test_sequences_that_do_not_count_change_nothing_but_the_start(method: Any) -> None:
    model = HMM(2, emissions.Categorical(2, 4))
    fit = model.fit(SYMBOLS, weights=torch.zeros(4), method=method, iterations=2, generator=G())
    assert set(fit.history) == {0.0}
    assert not any(x.isnan().any() for x in model.parameters())


@pytest.mark.parametrize("law", [ContinuousTime(2), Logit(2, 1), Periodic(2, 3)], ids=["rates", "logit", "periodic"])
@pytest.mark.parametrize("method", ["em", "viterbi", "gradient"])
def test_sequences_of_one_step_say_nothing_of_transitions(law: Any, method: Any) -> None:
    model = HMM(2, Gaussian(2, 3), transition=law)
    fit = model.fit(X[:, :1], inputs=torch.ones(4, 1, 1), method=method, iterations=2, generator=G())
    assert fit.objective >= fit.history[0]


class _Stop(Exception):
    pass


@pytest.mark.parametrize("method", ["em", "viterbi", "gradient", "stochastic"])
def test_what_a_callback_raises_comes_out_and_leaves_nothing_frozen(method: Any) -> None:
    def stop(iteration: int, objective: float) -> None:
        if iteration == 1:
            raise _Stop

    model = HMM(2, Gaussian(2, 3))
    with pytest.raises(_Stop):
        model.fit(X, method=method, frozen=["emission"], tolerance=0.0, callback=stop, generator=G())
    assert all(x.requires_grad for x in model.parameters())


def test_weights_that_are_all_small_empty_no_state() -> None:
    x = torch.cat([X, X + 5.0], 1).double()
    fits = []
    for scale in (1.0, 1e-6):
        model = HMM(2, Gaussian(2, 3)).double()
        fits.append(model.fit(x, weights=torch.full((4,), scale), tolerance=0.0, iterations=5, generator=G()))
    assert_close(torch.tensor(fits[1].history) * 1e6, torch.tensor(fits[0].history), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("method", ["em", "gradient"])
def test_a_prior_that_is_flat_at_the_start_is_one_all_the_same(method: Any) -> None:
    x, inputs = torch.cat([X, X + 3.0], 1).double(), torch.randn(4, 18, 1, generator=G()).double()
    model = HMM(2, Gaussian(2, 3), transition=Logit(2, 1, ridge=5.0)).double()
    fit = model.fit(x, inputs=inputs, method=method, iterations=5, generator=G())
    prior = float(model.log_prior().detach())
    assert prior < -1e-6
    assert fit.objective == pytest.approx(model.score(x, inputs=inputs) + prior, abs=1e-8, rel=0.0)


def drawing() -> dict[str, Callable[[Any], Any]]:
    """What takes ``generator``."""
    model, part = HMM(2, Gaussian(2, 3)), emissions.Gaussian(2, 3)
    return {
        "HMM.fit": lambda g: model.fit(X, generator=g),
        "HMM.initialise": lambda g: model.initialise(X, generator=g),
        "HMM.sample": lambda g: model.sample(9, generator=g),
        "HMM.simulate": lambda g: model.simulate(X, 2, generator=g),
        "HMM.impute": lambda g: model.impute(X, generator=g),
        "Gaussian.initialise": lambda g: part.initialise(X[0], g),
        "Gaussian.sample": lambda g: part.sample(torch.zeros(4).long(), g),
        "Categorical.initialise": lambda g: model.transition.initialise(g),
        "gibbs": lambda g: gibbs(model, X, generator=g),
        "Variational.draw": lambda g: variational(model, X, iterations=1).draw(g),
        "sample": lambda g: semihmm.sample(model(X), generator=g),
    }


@pytest.mark.parametrize("name", drawing())
@pytest.mark.parametrize("seed", [5, "5"])
def test_a_seed_in_place_of_a_generator_is_named(name: str, seed: Any) -> None:
    says = rf"^{name}: generator must be a torch.Generator, got {seed!r}. A seed\? Pass torch.Generator\(\).manual_seed"
    with pytest.raises(SemihmmError, match=says):
        drawing()[name](seed)


def test_arguments_that_are_not_there_are_named_by_the_model() -> None:
    model: Any = HMM(2, Gaussian(2, 3))
    with pytest.raises(TypeError, match=r"^HMM.sample: .* It takes steps, shape, generator, inputs\.$"):
        model.sample(n_samples=5)
    with pytest.raises(TypeError, match=r"^HMM.predict: missing a required argument: 'x'"):
        model.predict(X=X)


WRONG: dict[str, Any] = {
    "None": None,
    "float": 2.5,
    "negative": -1,
    "zero": 0,
    "text": "a",
    "nothing": [],
    "ragged": [[1], [2, 3]],
    "dict": {},
    "object": object(),
    "class": int,
    "mask": torch.zeros(3, 2, dtype=torch.bool),
    "empty": torch.zeros(0),
    "vector": torch.zeros(7),
    "ints": torch.tensor([9, 9, 9]),
    "complex": torch.zeros(3, 2, dtype=torch.complex64),
    "four axes": torch.zeros(2, 2, 2, 2),
    "sparse": torch.zeros(3, 2).to_sparse(),
    "objects": np.array([None, 1], dtype=object),
}
NEEDED: dict[str, Any] = {
    "states": 2,
    "features": 2,
    "symbols": 3,
    "components": 2,
    "trials": 3,
    "parts": [Gaussian(2, 2), Gaussian(2, 2)],
    "order": 1,
    "inputs": 1,
    "factors": 1,
    "family": emissions.Poisson(2, 2),
    "net": torch.nn.Linear(1, 4),
    "emission": Gaussian(2, 2),
    "x": X[0, :, :2],
    "max_duration": 5,
    "period": 3,
    "kind": torch.distributions.Normal,
}


def made_of() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """What makes each part and model, with arguments that do."""
    found: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "HMM": (HMM, {"states": 2, "emission": Gaussian(2, 2)}),
        "HSMM": (HSMM, {"states": 2, "emission": Gaussian(2, 2), "duration": durations.Poisson(2, 3)}),
        "StickyHDP": (StickyHDP, {}),
    }
    for module in (emissions, durations, transitions):
        for name in module.__all__:
            kind = getattr(module, name)
            if isinstance(kind, type) and not inspect.isabstract(kind):
                arguments = inspect.signature(kind).parameters.values()
                given = {a.name: NEEDED[a.name] for a in arguments if a.name in NEEDED and a.default is a.empty}
                given |= {"max_duration": 5} if module is durations else {}
                given |= {"family": "poisson"} if name == "GLM" else {}
                found[f"{module.__name__.split('.')[-1]}.{name}"] = (kind, given)
    del found["emissions.FromTorch"]  # it takes any function
    return found


def raw(ask: Callable[[], Any]) -> str | None:
    """What was raised that is not in the library's own words."""
    try:
        ask()
    except SemihmmError:
        return None
    except Exception as error:
        return repr(error)
    return None


@pytest.mark.parametrize("name", made_of())
def test_a_wrong_argument_of_a_part_is_refused_by_name_or_makes_one(name: str) -> None:
    make, given = made_of()[name]
    make(**given)
    arguments = [a for a in inspect.signature(make).parameters if a not in ("self",)]
    found = {(a, what): raw(lambda a=a, x=x: make(**{**given, a: x})) for a in arguments for what, x in WRONG.items()}
    assert {at: error for at, error in found.items() if error} == {}


ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "log_prob": ("log_prob", {"x": X, "lengths": None, "labels": None}),
    "fit": ("fit", {"x": X, "iterations": 1, "tolerance": 1.0, "weights": None, "restarts": 1, "init": None}),
    "fit how": ("fit", {"x": X, "iterations": 1, "method": "em", "initialise": True, "frozen": (), "progress": False}),
    "predict": ("predict", {"x": X, "method": "viterbi"}),
    "decode": ("decode", {"x": X, "k": 2}),
    "impute": ("impute", {"x": X, "method": "mean"}),
    "sample": ("sample", {"steps": 3, "shape": (2,)}),
    "simulate": ("simulate", {"x": X, "steps": 3, "shape": (2,), "lengths": None}),
    "forecast": ("forecast", {"x": X, "steps": 3}),
    "confusion": ("confusion", {"x": X, "labels": torch.zeros(4, 9).long()}),
    "permute": ("permute", {"order": [1, 0]}),
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("kind", ["HMM", "HSMM"])
def test_a_wrong_argument_of_a_model_is_refused_by_name_or_answered(kind: str, name: str) -> None:
    model: Any = HMM(2, Gaussian(2, 3)) if kind == "HMM" else HSMM(2, Gaussian(2, 3), durations.Poisson(2, 4))
    method, given = ASKED[name]
    getattr(model, method)(**given)
    found = {
        (a, what): raw(lambda a=a, x=x: getattr(model, method)(**{**given, a: x}))
        for a in given
        for what, x in WRONG.items()
    }
    assert {at: error for at, error in found.items() if error} == {}
