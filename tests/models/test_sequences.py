"""Data as they come: however they are handed over, the answers are the same."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.data import DataLoader

from semihmm import inference
from semihmm.errors import DataError, ShapeError
from semihmm.models import HMM, HSMM, Gaussian, durations, emissions, pad

LENGTHS = [7, 3, 9, 1, 5]


def sequences(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 2, dtype=torch.float64, generator=generator) for n in LENGTHS]


def models() -> list[HMM | HSMM]:
    law = durations.Poisson(3, 4)
    made: list[HMM | HSMM] = [HMM(3, Gaussian(3, 2)), HSMM(3, Gaussian(3, 2), law, censored="right")]
    for model in made:
        model.double().initialise(sequences(), generator=torch.Generator().manual_seed(1))
    return made


QUESTIONS = {
    "log_prob": lambda model, *given, **known: model.log_prob(*given, **known),
    "predict": lambda model, *given, **known: model.predict(*given, **known),
    "predict_proba": lambda model, *given, **known: model.predict_proba(*given, **known),
    "score_samples": lambda model, *given, **known: model.score_samples(*given, **known),
    "score": lambda model, *given, **known: torch.tensor(model.score(*given, **known)),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", [0, 1], ids=["hmm", "hsmm"])
def test_a_tensor_a_list_and_batches_are_answered_alike(question: str, kind: int) -> None:
    model, ask = models()[kind], QUESTIONS[question]
    each = sequences()
    x, lengths = pad(each)
    expected = ask(model, x, lengths)
    arrays: list[Any] = [one.numpy() for one in each]
    loader: Any = DataLoader(each, batch_size=2, collate_fn=pad)  # type: ignore[arg-type]
    dicts = [{"x": each[:2]}, {"x": x[2:], "lengths": lengths[2:]}]
    for data in (each, arrays, loader, dicts, iter(dicts)):
        assert_close(ask(model, data), expected)
    assert_close(ask(model, x.numpy(), lengths), expected)


def test_answers_to_batches_are_filled_up() -> None:
    model = models()[0]
    short_first = sorted(sequences(), key=len)
    found = model.predict([{"x": [one]} for one in short_first])
    for row, one in zip(found, short_first, strict=True):
        assert_close(row[: len(one)], model.predict(one))
        assert bool((row[len(one) :] == -1).all())


def test_known_states_leave_the_paths_that_have_them() -> None:
    """The likelihood of observations and labels, summed over all labels, is that of the observations."""
    for model in models():
        x = sequences()[4]
        every = torch.tensor(list(product(range(3), repeat=2)))
        labels = torch.full((9, 5), -1)
        labels[:, [1, 3]] = every
        joint = model.log_prob(x.expand(9, -1, -1), labels=labels)
        assert_close(joint.logsumexp(0), model.log_prob(x))
        decoded = model.predict(x.expand(9, -1, -1), labels=labels)
        possible = joint.isfinite()
        assert possible.any()
        assert_close(decoded[possible][:, [1, 3]], every[possible])


def test_a_mask_of_states_and_labels_say_the_same() -> None:
    model = models()[0]
    x, lengths = pad(sequences())
    labels = torch.randint(-1, 3, x.shape[:2], generator=torch.Generator().manual_seed(2))
    mask = (labels.unsqueeze(-1) == torch.arange(3)) | (labels == -1).unsqueeze(-1)
    assert_close(model.log_prob(x, lengths, labels=labels), model.log_prob(x, lengths, labels=mask))
    listed = [one[:n] for one, n in zip(labels, LENGTHS, strict=True)]
    assert_close(model.log_prob(sequences(), labels=listed), model.log_prob(x, lengths, labels=labels))
    masks = [one[:n] for one, n in zip(mask, LENGTHS, strict=True)]
    assert_close(model.log_prob(sequences(), labels=masks), model.log_prob(x, lengths, labels=labels))
    condition = inference.condition(model(x, lengths), mask)
    assert_close(model.log_prob(x, lengths, labels=labels), inference.log_partition(condition))


def test_the_probabilities_of_sequences_of_every_length_that_end_sum_to_one() -> None:
    hmm = HMM(2, emissions.Categorical(2, 2), start=[0], final=[1]).double()
    hsmm = HSMM(2, emissions.Categorical(2, 2), durations.Poisson(2, 2), final=[0, 1]).double()
    assert hmm.final is not None and hsmm.final is not None
    ending = torch.tensor([[0.7, 0.3], [0.7, 0.3]], dtype=torch.float64)
    for model in (hmm, hsmm):
        model.final.update(ending)
        of_length = []
        for length in range(1, 9):
            every = torch.tensor(list(product(range(2), repeat=length)))
            of_length.append(float(model.log_prob(every).detach().exp().sum()))
        assert all(0 <= p <= 1 for p in of_length)
        lengths = torch.arange(1, 201)
        totals = inference.log_partition(model.structure(torch.zeros(200, 200, 2).double(), lengths)).exp().detach()
        assert_close(totals[:8], torch.tensor(of_length, dtype=torch.float64))
        assert_close(totals.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert float(hmm.final().detach().exp()[0, 0]) == 0.0


def test_a_model_learns_in_which_states_sequences_end() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = 2 + torch.multinomial(torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.0625]), 400, True, generator=generator)
    each = [torch.cat([torch.zeros(int(n) - 1, 1), torch.full((1, 1), 9.0)]) for n in lengths]
    x = [one + 0.1 * torch.randn(one.shape, generator=generator) for one in each]
    model = HMM(2, Gaussian(2, 1), final=[0, 1])
    fit = model.fit(x, generator=generator)
    assert all(b >= a - 1e-5 * abs(a) for a, b in zip(fit.history, fit.history[1:], strict=False))
    last = int(model.emission.mean.argmax())  # type: ignore[union-attr]
    assert model.final is not None
    ends = model.final().detach().exp()[:, 0]
    assert ends[last] > 0.99 and ends[1 - last] < 0.01
    away = model.transition().detach().exp()[1 - last, last]
    assert float(away) == pytest.approx(len(x) / sum(len(one) - 1 for one in x), rel=1e-3)


def test_a_weight_counts_a_sequence_so_often() -> None:
    for model in models():
        x, lengths = pad(sequences())
        weights = torch.tensor([2.0, 1.0, 0.0, 1.0, 3.0])
        times = weights.long()
        other = type(model)(**model.config, **model.parts).double()
        start = {name: value.clone() for name, value in model.state_dict().items()}
        weighed = model.fit(x, lengths, weights=weights, iterations=4, initialise=False)
        found = {name: value.clone() for name, value in model.state_dict().items()}
        other.load_state_dict(start)
        repeated = other.fit(
            x.repeat_interleave(times, 0), lengths.repeat_interleave(times), iterations=4, initialise=False
        )
        assert weighed.history == pytest.approx(repeated.history)
        for name, value in other.state_dict().items():
            assert_close(value, found[name])


def test_readings_that_the_models_dtype_cannot_tell_apart_are_refused() -> None:
    state = (torch.arange(400) // 50 % 2).double()
    noise = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = (1.6e9 + 20.0 * state + noise).unsqueeze(-1)
    with pytest.raises(DataError, match=r"feature 0 varies by .* around 16000000\d\d.* ask model.double"):
        HMM(2, Gaussian(2, 1)).fit(x)
    model = HMM(2, Gaussian(2, 1)).double()
    model.fit(x, generator=torch.Generator().manual_seed(0), restarts=3)
    means = model.emission.mean.flatten().sort().values  # type: ignore[union-attr]
    assert_close(means.detach() - 1.6e9, torch.tensor([0.0, 20.0], dtype=torch.float64), atol=0.3, rtol=0.0)
    HMM(2, Gaussian(2, 1)).fit((20.0 * state + noise).unsqueeze(-1), iterations=2)  # nothing is lost
    HMM(1, Gaussian(1, 1)).fit(torch.full((5, 1), 1.6e9 + 1.0, dtype=torch.float64) * 0 + 7.0, iterations=1)


@pytest.mark.parametrize(
    ("given", "known", "says"),
    [
        (lambda: [], {}, "at least one"),
        (lambda: [torch.zeros(0, 2)], {}, "at least one step"),
        (lambda: [torch.zeros(3, 2), torch.zeros(3, 1)], {}, "the same shape"),
        (lambda: iter([]), {}, "holds no batch"),
        (lambda: 3, {}, "an iterable of batches"),
        (lambda: iter([{"x": torch.zeros(1, 3, 2), "length": 3}]), {}, "a dict with x and any of"),
        (lambda: iter([torch.zeros(1, 3, 2)]), {"labels": torch.zeros(1, 3)}, "bring their own labels"),
        (lambda: torch.zeros(2, 3, 2), {"labels": torch.zeros(2, 3)}, "labels are the state of each step"),
        (lambda: torch.zeros(2, 3, 2), {"labels": torch.full((2, 3), 3)}, "labels are states 0 to 2"),
        (lambda: torch.zeros(2, 3, 2), {"labels": torch.ones(2, 3, 2, dtype=torch.bool)}, "which states each step"),
        (lambda: torch.zeros(2, 3, 2), {"inputs": torch.zeros(2, 3, 1)}, "no part of this model"),
    ],
)
def test_data_that_make_no_sense_are_refused(given: Any, known: dict[str, Any], says: str) -> None:
    with pytest.raises((ShapeError, DataError), match=says):
        models()[0].log_prob(given(), **known)


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 1.0], [math.nan, 1.0]])
def test_weights_that_make_no_sense_are_refused(weights: list[float]) -> None:
    with pytest.raises(ShapeError, match="weights say how often"):
        models()[0].fit(torch.zeros(2, 3, 2), weights=np.array(weights))
