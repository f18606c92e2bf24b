"""Whatever is handed to a structure or a question is used, or refused in the library's own words."""

import warnings
from dataclasses import fields

import networkx
import numpy as np
import pytest
import torch

import semihmm
from semihmm import HMM, EditDistance, Lattice
from semihmm import semirings as sr
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.testing.examples import KINDS, small

z = torch.zeros
WRONG = {
    "None": None,
    "nothing": [],
    "nothing in a list": [[]],
    "ragged": [[0.0], [0.0, 1.0]],
    "text": "abc",
    "texts": ["a", "b"],
    "dict": {"a": 1},
    "set": {1, 2},
    "object": object(),
    "objects": np.array([None, object()], dtype=object),
    "array of text": np.array(["a", "b"]),
    "int": 1,
    "negative": -3,
    "float": 0.5,
    "nan": float("nan"),
    "bool": True,
    "complex": 1j,
    "huge": 10**30,
    "scalar": torch.tensor(1.0),
    "index": torch.tensor(2),
    "mask": torch.tensor([True, False]),
    "complex tensor": z(2, 2, dtype=torch.complex64),
    "empty": z(0),
    "empty matrix": z(0, 2),
    "empty batch": z(2, 0, 2),
    "vector": z(2),
    "long vector": z(17),
    "matrix": z(2, 2),
    "odd matrix": z(5, 7),
    "four axes": z(2, 3, 2, 2),
    "six axes": z(1, 1, 2, 3, 2, 2),
    "ints": torch.tensor([1, 2]),
    "negative ints": torch.tensor([-1, -2]),
    "huge ints": torch.tensor([10**12, 5]),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "class": int,
    "tuple": (1, 2),
    "pair of tensors": (torch.tensor([0]), torch.tensor([1])),
    "range": range(2),
    "bytes": b"ab",
}
QUESTIONS = (semihmm.log_partition, semihmm.viterbi, semihmm.marginals, semihmm.entropy, semihmm.log_count, repr)


def refused(ask, *speakers):
    """What was raised that is none of the library's: an error of another class which does not say who speaks."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ask()
    except SemihmmError:
        pass
    except (TypeError, IndexError) as error:
        if not any(str(error).startswith(f"{name}:") for name in speakers):
            return repr(error)
    except Exception as error:
        return repr(error)
    return None


@pytest.mark.parametrize("batch", [(), (2,)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_argument_of_a_structure_is_refused_by_name_or_makes_one_that_answers(kind, batch):
    whole = small(kind, batch, 3, ragged=bool(batch))
    given = {f.name: getattr(whole, f.name) for f in fields(whole)}
    raw = {}
    for name in given:
        for what, wrong in WRONG.items():

            def make(name=name, wrong=wrong):
                made = type(whole)(**{**given, name: wrong})
                for question in QUESTIONS:
                    question(made)

            raw[name, what] = refused(make, type(whole).__name__)
    assert {k: v for k, v in raw.items() if v} == {}


ARGUMENTS = {
    "score": lambda s, x: semihmm.score(s, x),
    "log_prob": lambda s, x: semihmm.log_prob(s, x),
    "condition": lambda s, x: semihmm.condition(s, x),
    "topk": lambda s, x: semihmm.topk(s, x),
    "topk distinct": lambda s, x: None if callable(x) else semihmm.topk(s, 2, distinct=x),
    "sample k": lambda s, x: semihmm.sample(s, x, replacement=False),
    "sample generator": lambda s, x: semihmm.sample(s, (2,), x),
    "expectation": lambda s, x: semihmm.expectation(s, x),
    "variance": lambda s, x: semihmm.variance(s, x),
    "covariance": lambda s, x: semihmm.covariance(s, s, x),
    "risk": lambda s, x: semihmm.risk(s, x),
    "cross_entropy": lambda s, x: semihmm.cross_entropy(s, x),
    "kl_divergence": lambda s, x: semihmm.kl_divergence(s, x),
    "renyi_entropy": lambda s, x: semihmm.renyi_entropy(s, x),
    "total semiring": lambda s, x: semihmm.total(s, x),
    "total features": lambda s, x: semihmm.total(s, sr.Expectation(1), x),
    "total feature": lambda s, x: semihmm.total(s, sr.Expectation(1), [x]),
    "strategy": lambda s, x: semihmm.log_partition(s, strategy=x),
    "checkpoint": lambda s, x: semihmm.log_partition(s, checkpoint=x),
    "backend": lambda s, x: semihmm.log_partition(s, backend=x),
    "minimum_bayes_risk": lambda s, x: None if callable(x) else semihmm.minimum_bayes_risk(s, x),
    "stack": lambda s, x: semihmm.stack([s, x]),
    "stack alone": lambda s, x: semihmm.stack(x),
    "feature": lambda s, x: s.feature(**{s.observed: x}),
    "over_time": lambda s, x: s.over_time(x),
    "squared_distances": lambda s, x: semihmm.squared_distances(x, z(2, 2)),
    "between": lambda s, x: EditDistance.between(x, [1, 2]),
    "from_networkx start": lambda s, x: Lattice.from_networkx(networkx.DiGraph([(0, 1), (1, 2)]), start=x),
    "from_networkx end": lambda s, x: Lattice.from_networkx(networkx.DiGraph([(0, 1), (1, 2)]), end=x),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("kind", ["HMM", "DTW", "CTC"])
def test_a_wrong_argument_of_a_question_is_refused_in_our_words(argument, kind):
    structure = small(kind, (2,), 3)
    raw = {what: refused(lambda x=x: ARGUMENTS[argument](structure, x)) for what, x in WRONG.items()}
    assert {what: error for what, error in raw.items() if error} == {}


ASKED = {
    **{f.__name__: f for f in QUESTIONS[:-1]},
    **{n: getattr(semihmm, n) for n in ("argmax", "max_marginals", "smoothing", "filtering", "explain", "sample")},
    **{n: getattr(semihmm, n) for n in ("expected_counts", "minimum_bayes_risk", "condition")},
    "topk": lambda x: semihmm.topk(x, 2),
    "score": lambda x: semihmm.score(x, z(2)),
    "log_prob": lambda x: semihmm.log_prob(x, z(2)),
    "renyi_entropy": lambda x: semihmm.renyi_entropy(x, 2.0),
    "expectation": lambda x: semihmm.expectation(x, x),
    "covariance": lambda x: semihmm.covariance(x, x, x),
    "kl_divergence": lambda x: semihmm.kl_divergence(x, x),
    "sample without replacement": lambda x: semihmm.sample(x, 2, replacement=False),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_question_of_what_is_no_structure_says_so(ask):
    for other in (*WRONG.values(), torch.nn.Linear(2, 2)):
        with pytest.raises(StructureError, match=r"a question is asked of a structure, .* got "):
            ask(other)


@pytest.mark.parametrize("index", [2, -3, 0.5, "a", None, {1}, z(2), torch.tensor([5]), 10**30])
def test_a_wrong_index_of_a_batch_names_the_structure(index):
    with pytest.raises(IndexError, match=r"^HMM: .* batch axes"):
        small("HMM", (2,), 3)[index]


@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda x: x.to("meta"), "on the meta device"), (lambda x: x.to_sparse(), "must be dense")],
    ids=["meta", "sparse"],
)
def test_lengths_and_events_have_values_one_after_the_other(make, says):
    with pytest.raises(DataError, match=f"HMM: lengths .*{says}"):
        HMM(z(2), z(2, 2), z(2, 3, 2), lengths=make(torch.tensor([3, 2])))
    with pytest.raises(DataError, match=f"score: event .*{says}"):
        semihmm.score(HMM(z(2), z(2, 2), z(3, 2)), make(torch.tensor([1, 1, 1])))


def test_no_lengths_in_a_list_are_integers():
    with pytest.raises(ShapeError, match=r"HMM: lengths must be integers, .* so \(2,\), got \(0,\) of torch.int64"):
        HMM(z(2), z(2, 2), z(2, 3, 2), lengths=[])
    assert semihmm.log_partition(HMM(z(2), z(2, 2), z(0, 3, 2), lengths=[])).shape == (0,)


def test_a_node_that_a_graph_has_not_is_named():
    graph = networkx.DiGraph([("a", "b"), ("b", "c")])
    with pytest.raises(StructureError, match="Lattice: start must be nodes of the graph, which has no 'x'"):
        Lattice.from_networkx(graph, start=["a", "x"])
    with pytest.raises(StructureError, match="Lattice: end must be nodes of the graph, which has no 'y'"):
        Lattice.from_networkx(graph, end="y")
    with pytest.raises(SemihmmError, match="Lattice: cost of an edge must be"):
        Lattice.from_networkx(networkx.DiGraph([("a", "b", {"cost": None})]), weight="cost")


@pytest.mark.parametrize("step_pattern", [None, [], 3, z(2)])
def test_a_step_pattern_is_one(step_pattern):
    with pytest.raises(StructureError, match="DTW: step_pattern must be a StepPattern or one of"):
        semihmm.DTW(z(2, 2), step_pattern)
    with pytest.raises(StructureError, match="DTW: open_end must be True or False"):
        semihmm.DTW(z(2, 2), open_end=z(2))


def test_a_window_wider_than_the_sequences_is_none():
    cost = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    assert semihmm.log_partition(semihmm.DTW(cost, window=10**30)) == semihmm.log_partition(semihmm.DTW(cost))
