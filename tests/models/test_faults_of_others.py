"""Laws that libraries people come from have broken, held here.

Likelihoods that stop at ``log(p + eps)``; moves that are forbidden and happen; batches of which one item is read; batch
and states mistaken for each other; durations that do not sum to one.
"""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm.errors import ShapeError
from semihmm.models import HMM, HSMM, Gaussian, Table, durations, emissions

STATES, STEPS = 3, 4


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


MODELS: dict[str, Callable[[], Any]] = {
    "dense": lambda: HMM(STATES, Gaussian(STATES, 1)),
    "offsets": lambda: HMM(STATES, Gaussian(STATES, 1), offsets=(0, 1), start=[0]),
    "arcs": lambda: HMM(STATES, Gaussian(STATES, 1), arcs=([0, 0, 1, 2], [0, 1, 2, 2])),
    "durations": lambda: HSMM(STATES, Gaussian(STATES, 1), durations.Poisson(STATES, 3), censored="right"),
}
each_model = pytest.mark.parametrize("kind", MODELS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_less_likely_an_observation_the_lower_its_likelihood_and_the_steeper_its_gradient(
    dtype: torch.dtype,
) -> None:
    """Of one Gaussian, both have a formula: ``-distance ** 2 / 2`` and ``distance``, however far away."""
    model = HMM(2, Gaussian(2, 1)).to(dtype)
    torch.nn.init.zeros_(model.emission.mean)
    distance = 10.0 ** torch.arange(0, 9, dtype=dtype)
    x = distance.reshape(-1, 1, 1).requires_grad_()
    log_prob = model.log_prob(x)
    (slope,) = torch.autograd.grad(log_prob.sum(), x)
    assert (log_prob.diff() < 0).all()
    assert_close(log_prob, -distance.square() / 2 - torch.tensor(2 * torch.pi, dtype=dtype).log() / 2)
    assert_close(slope.flatten(), -distance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_moves_and_symbols_of_every_probability_count_at_their_own(dtype: torch.dtype) -> None:
    """Probabilities of 1e-10 to 1e-3000, which are all 1e-8 to one that adds it: two moves and a symbol."""
    nats = torch.tensor([-23.0, -230.0, -2300.0, -6900.0], dtype=dtype)
    initial, emission = torch.tensor([0.0, -torch.inf], dtype=dtype), torch.zeros(len(nats), 3, 2, dtype=dtype)
    transition = torch.full((len(nats), 2, 2), -torch.inf, dtype=dtype)
    transition[:, 0, 1] = transition[:, 1, 1] = nats
    emission[:, 1, 1] = nats
    transition.requires_grad_()
    found = semihmm.log_partition(semihmm.HMM(initial.expand(len(nats), -1), transition, emission))
    assert_close(found, 3 * nats)
    (slope,) = torch.autograd.grad(found.sum(), transition)
    assert_close(slope[:, :, 1], torch.ones_like(slope[:, :, 1]))
    assert (slope[:, :, 0] == 0).all()


@pytest.mark.parametrize("scream", [1e2, 1e4, 1e30])
@each_model
def test_a_forbidden_move_does_not_happen_however_loudly_the_data_call_for_it(kind: str, scream: float) -> None:
    """Observations that say 2, 1, 0, 0: nothing but a forbidden way back explains them."""
    model = MODELS[kind]().double()
    if kind == "dense":
        model = HMM(STATES, Gaussian(STATES, 1), allowed=torch.ones(3, 3).triu().bool()).double()
    if kind == "durations":
        upward = torch.ones(3, 3).triu(1).bool()
        law = durations.Poisson(STATES, 4)
        model = HSMM(STATES, Gaussian(STATES, 1), law, allowed=upward, censored="right").double()
    said = torch.full((STEPS, STATES), -scream, dtype=torch.float64)
    said[range(STEPS), [2, 1, 0, 0]] = scream
    structure = model.structure(said)
    states = semihmm.viterbi(structure).states
    assert (states.diff() >= 0).all()
    seen = semihmm.marginals(structure)
    assert (seen.transition[structure.transition == -torch.inf] == 0).all()
    assert (seen.initial[structure.initial == -torch.inf] == 0).all()
    drawn = semihmm.sample(structure, (50,), generator=torch.Generator().manual_seed(0))
    assert (drawn.states.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("method", ["em", "gradient"])
def test_training_does_not_open_a_forbidden_move(method: str) -> None:
    x = torch.tensor([[9.0], [9.0], [0.0], [0.0], [9.0], [0.0]]) + normal(6, 1).float()
    model = HMM(2, Gaussian(2, 1), offsets=(0, 1), start=[0])
    model.fit(x, method=method, iterations=10, generator=torch.Generator().manual_seed(1))
    assert (model.predict(x).diff() >= 0).all()
    back = model.predict_proba(x)[:, 0]
    assert (back.diff() <= 1e-6).all() and model.initial()[1] == -torch.inf


def test_what_every_path_forbids_is_impossible_not_unlikely() -> None:
    never = torch.full((2, 2), -torch.inf)
    structure = semihmm.HMM(torch.zeros(2), never, torch.full((3, 2), 1e4))
    assert semihmm.log_partition(structure) == -torch.inf
    assert not semihmm.viterbi(structure).valid
    assert (semihmm.marginals(structure).emission == 0).all()


@each_model
@pytest.mark.parametrize("batch", [2, STATES, STEPS, 6])  # as many as states and as steps are among them
def test_each_item_of_a_batch_has_its_own_answer(kind: str, batch: int) -> None:
    """Neither another item's, nor the first one's; whatever order they come in."""
    model = MODELS[kind]().double()
    x = 3 * normal(batch, STEPS, 1)
    lengths = torch.arange(batch) % 2 + STEPS - 1
    questions: list[Callable[[Tensor, Tensor], Tensor]] = [
        model.log_prob,
        model.predict,
        model.predict_proba,
        lambda x, n: semihmm.entropy(model(x, n)),
        lambda x, n: semihmm.topk(model(x, n), 2).score.movedim(0, -1),
    ]
    order = torch.arange(batch).roll(1)
    for ask in questions:
        together = ask(x, lengths)
        for item, (one, n) in enumerate(zip(x, lengths, strict=True)):
            assert_close(together[item], ask(one, n))
        assert_close(ask(x[order], lengths[order]), together[order])
    assert len(set(model.log_prob(x, lengths).tolist())) == batch


@pytest.mark.parametrize("shared", list(itertools.product([False, True], repeat=2)), ids=str)
@pytest.mark.parametrize("batch", [1, 2, STATES, STEPS])
def test_a_batch_as_large_as_the_states_is_no_other_than_any(batch: int, shared: tuple[bool, bool]) -> None:
    emission = normal(batch, STEPS, STATES)
    initial = normal(STATES).expand(batch, -1) if shared[0] else normal(batch, STATES)
    transition = normal(STATES, STATES).expand(batch, -1, -1) if shared[1] else normal(batch, STATES, STATES)
    given = (
        normal(STATES) if shared[0] else initial,
        normal(STATES, STATES) if shared[1] else transition,
    )
    found = semihmm.log_partition(semihmm.HMM(*given, emission))
    for item in range(batch):
        paths = itertools.product(range(STATES), repeat=STEPS)
        scores = [
            initial[item, path[0]]
            + sum(transition[item, a, b] for a, b in itertools.pairwise(path))
            + sum(emission[item, t, s] for t, s in enumerate(path))
            for path in paths
        ]
        assert_close(found[item], torch.stack(scores).logsumexp(0))


@pytest.mark.parametrize("batch", [2, STATES])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("initial", (STATES + 1,)),
        ("initial", (5, STATES)),
        ("transition", (STATES, STATES + 1)),
        ("transition", (5, STATES, STATES)),
        ("final", (STATES + 1,)),
        ("lengths", (5,)),
    ],
    ids=str,
)
def test_a_size_that_fits_neither_batch_nor_states_is_refused_by_name(
    batch: int, name: str, shape: tuple[int, ...]
) -> None:
    good: dict[str, Tensor] = {
        "initial": normal(STATES),
        "transition": normal(STATES, STATES),
        "emission": normal(batch, STEPS, STATES),
    }
    wrong = torch.ones(shape, dtype=torch.int64) if name == "lengths" else normal(*shape)
    with pytest.raises(ShapeError, match=name):
        semihmm.HMM(**(good | {name: wrong}))


@pytest.mark.parametrize("shape", [(STEPS, STATES), (2, STEPS, STATES), (2, STATES, STEPS, 2)], ids=str)
def test_observations_of_other_features_are_refused_by_name(shape: tuple[int, ...]) -> None:
    for make in MODELS.values():
        with pytest.raises(ShapeError, match=r"Gaussian takes observations \(\.\.\., T, 1\)"):
            make().predict(torch.zeros(shape))


LONGEST = 12
LAWS: dict[str, Callable[[], durations.Duration]] = {
    "Categorical": lambda: durations.Categorical(STATES, LONGEST, min_duration=3),
    "Uniform": lambda: durations.Uniform(STATES, LONGEST, min_duration=3),
    **{
        law.__name__: lambda law=law: law(STATES, LONGEST, min_duration=3)
        for law in (
            durations.Gamma,
            durations.Gaussian,
            durations.Geometric,
            durations.LogNormal,
            durations.NegativeBinomial,
            durations.Poisson,
            durations.Weibull,
        )
    },
}
each_law = pytest.mark.parametrize("law", LAWS)


def check_law(law: durations.Duration) -> None:
    check_chances(law().exp())


def check_chances(chance: Tensor) -> None:
    assert chance.shape == (STATES, LONGEST)
    assert (chance[:, :2] == 0).all() and (chance >= 0).all()
    assert_close(chance.double().sum(-1), torch.ones(STATES, dtype=torch.float64), rtol=0, atol=1e-5)


DRIVEN: dict[str, Callable[[], durations.DrivenDuration]] = {
    "PoissonRegression": lambda: durations.PoissonRegression(STATES, 2, LONGEST, min_duration=3),
    "Neural": lambda: durations.Neural(torch.nn.Linear(2, STATES * LONGEST), STATES, 2, LONGEST, min_duration=3),
}


def test_these_are_all_laws() -> None:
    abstract = {"Duration", "Parametric", "DrivenDuration"}
    assert {*LAWS, *DRIVEN} == set(durations.__all__) - abstract


@pytest.mark.parametrize("law", DRIVEN)
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_durations_that_inputs_change_sum_to_one_at_each_step(law: str, size: float) -> None:
    made = DRIVEN[law]()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    for chance in made(size * normal(7, 2).float()):
        check_chances(chance.exp())


@pytest.mark.parametrize("law", [law for law in LAWS if law != "Uniform"])  # whose numbers are whole, and not climbed
@pytest.mark.parametrize("size", [-1e3, -10.0, 10.0, 1e3])
def test_durations_sum_to_one_at_the_bounds_of_their_parameters(law: str, size: float) -> None:
    made = LAWS[law]()
    for parameter in made.parameters():
        parameter.data.fill_(size)
    made.project()
    check_law(made)


@each_law
@pytest.mark.parametrize("seen", ["nothing", "the shortest", "the longest", "one of each", "more than numbers count"])
def test_durations_sum_to_one_after_fitting(law: str, seen: str) -> None:
    counts = torch.zeros(STATES, LONGEST)
    counts[:, 2] = seen in ("the shortest", "one of each")
    counts[:, -1] = seen in ("the longest", "one of each")
    if seen == "more than numbers count":
        counts[:, 4:8] = 1e30
    made = LAWS[law]()
    made.update(counts)
    check_law(made)
    if seen in ("the shortest", "the longest"):
        steps = torch.arange(1.0, LONGEST + 1)
        wanted = 3.0 if seen == "the shortest" else float(LONGEST)
        if not (law == "Geometric" and seen == "the longest"):  # whose mean is at most the middle
            assert_close(made().exp() @ steps, torch.full((STATES,), wanted), rtol=0, atol=0.1)


@each_law
def test_all_that_can_be_seen_of_segments_is_as_likely_as_one(law: str) -> None:
    """Summed over every sequence of symbols, as many as there are."""
    made = LAWS[law]()
    model = HSMM(STATES, emissions.Categorical(STATES, 2), made, censored="right").double()
    x = torch.tensor(list(itertools.product(range(2), repeat=5)))
    assert_close(model.log_prob(x).exp().sum(), torch.tensor(1.0, dtype=torch.float64))


def test_tables_sum_to_one_at_any_logits() -> None:
    table = Table.rows(3, 4)
    for size in (1e-30, 1.0, 1e30):
        table.logits.data = size * normal(3, 4).float()
        assert_close(table().exp().sum(-1), torch.ones(3))
