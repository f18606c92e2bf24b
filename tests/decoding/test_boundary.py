"""tests/decoding/test_boundary.py: whatever the compiled beam search is sent, an exception at the worst.

`make test-asan` runs it with the sanitizers.
"""

import math
import random
import threading

import pytest
import torch

from semihmm.decoding import BeamSearch, NGram, Vocabulary
from semihmm.engine.backends import native

if native() is None:
    pytest.skip("the native backend is not loaded", allow_module_level=True)
BeamScoring, BeamSearches = native().BeamScoring, native().BeamSearches
VOCABULARY = Vocabulary(["-", " ", "a", "b"], delimiter=" ")
MODEL = NGram({("a",): (-1.0, -0.5), ("</s>",): (-1.5, 0.0), ("ab",): (-2.0, 0.0), ("a", "ab"): (-0.2, 0.0)})
SCORING = BeamSearch(VOCABULARY, language_model=MODEL, lexicon=["a", "ab"], hotwords={"a b": 1.0}).scoring
NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 5, 2**31, 2**40, 2**63 - 1)
REALS = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e30)
NAMES = "tokens blank delimiter gain of_tokens spelling words word batch beam margin".split()
INT64 = {"dtype": torch.int64}
TABLES = "first symbol next weight backoff backoff_weight final start other other_weight".split()


def rows(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).log_softmax(-1).to(dtype)


def made(**changed):
    given = list((dict(zip(NAMES, (*SCORING.tables(), 2, 5, math.inf), strict=True)) | changed).values())
    return BeamSearches(BeamScoring(*given[:8]), *given[8:])


def automaton(**changed):
    """An automaton over words with some of its tables changed."""
    return tuple((dict(zip(TABLES, SCORING.words.tables(), strict=True)) | changed).values())


def at(name, value, place=0):
    table = automaton()[TABLES.index(name)].clone()
    table[place] = value
    return automaton(**{name: table})


WRONG = {
    "no beam": ({"beam": 0}, "beam must be from 1"),
    "a huge batch": ({"batch": 2**40}, "batch must be from 0"),
    "a blank beyond": ({"blank": 4}, "among the tokens"),
    "a delimiter beyond": ({"delimiter": 4}, "among the tokens"),
    "no margin": ({"margin": math.nan}, "margin must not be negative"),
    "no gain": ({"gain": math.nan}, "gain must be below infinity"),
    "three automata": ({"of_tokens": [automaton()] * 3}, "too many automata"),
    "no words": ({"words": None}, "come together"),
    "few words": ({"word": torch.zeros(1, **INT64)}, "an entry for each state"),
    "a table too few": ({"words": automaton()[:-1]}, "has 10 tables"),
    "a state beyond": ({"words": at("next", 99)}, "must lead to a state"),
    "a weight that is none": ({"words": at("weight", math.nan)}, "for a weight below infinity"),
    "a final weight that is none": ({"words": at("final", math.inf)}, "weights must be below infinity"),
    "a state that backs off to itself": ({"words": at("backoff", 0)}, "back off to one before it"),
    "arcs beyond": ({"words": at("first", 99, -1)}, "end with their number"),
    "arcs that begin late": ({"words": at("first", 99, 1)}, "must not decrease"),
    "symbols in no order": ({"words": at("symbol", 99)}, "sorted by symbol"),
    "a start beyond": ({"words": automaton(start=99)}, "must fit together"),
    "tables of other sizes": ({"words": automaton(final=torch.zeros(1, dtype=torch.float64))}, "must fit together"),
}


@pytest.mark.parametrize(("changed", "message"), WRONG.values(), ids=WRONG)
def test_a_search_that_makes_no_sense_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        made(**changed)


PUSHES = {
    "another batch": ((rows(3, 2, 4), torch.tensor([2, 2])), ValueError),
    "other tokens": ((rows(2, 2, 5), torch.tensor([2, 2])), ValueError),
    "gaps": ((rows(2, 4, 4)[:, ::2], torch.tensor([2, 2])), ValueError),
    "two axes": ((rows(2, 4), torch.tensor([2, 2])), ValueError),
    "frames beyond": ((rows(2, 2, 4), torch.tensor([2, 3])), ValueError),
    "lengths of another batch": ((rows(2, 2, 4), torch.tensor([2])), ValueError),
    "lengths that are no integers": ((rows(2, 2, 4), torch.zeros(2)), TypeError),
    "half": ((rows(2, 2, 4, dtype=torch.float16), torch.tensor([2, 2])), TypeError),
}


@pytest.mark.parametrize(("given", "error"), PUSHES.values(), ids=PUSHES)
def test_frames_that_do_not_fit_are_refused_and_the_search_goes_on(given, error):
    search = made()
    with pytest.raises(error):
        search.push(*given, 1)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        search.push(rows(2, 2, 4), torch.tensor([2, 2]), 0)
    search.push(rows(2, 2, 4), torch.tensor([2, 2]), 1)
    with pytest.raises(ValueError, match="count must be at least 1"):
        search.best(0, True)
    assert len(search.best(1, False)) == 2


def test_what_is_no_number_is_no_path():
    search = made()
    frames = torch.tensor([[math.nan] * 4, [math.inf] * 4]).reshape(2, 1, 4)
    search.push(frames, torch.tensor([1, 1]), 1)
    nan, inf = search.best(3, True)
    assert nan == [] and all(not math.isfinite(score) for *_, score in inf)


def test_no_request_ends_the_process():
    chance = random.Random(0)

    def mutated(x):
        if isinstance(x, torch.Tensor) and x.numel():
            x = x.clone()
            options = REALS if x.is_floating_point() else NUMBERS
            x.view(-1)[chance.randrange(x.numel())] = chance.choice(options)
            return chance.choice([x, x[:-1], x.double(), x.long()])
        if isinstance(x, list | tuple) and x:
            at = chance.randrange(len(x))
            return type(x)(mutated(y) if i == at else y for i, y in enumerate(x))
        return chance.choice(REALS if isinstance(x, float) else NUMBERS) if isinstance(x, int | float) else None

    values = (*SCORING.tables(), 2, 5, math.inf)
    accepted = 0
    for _ in range(3000):
        given = dict(zip(NAMES, values, strict=True))
        for name in chance.sample(NAMES, chance.choice([0, 1, 1, 2])):
            given[name] = mutated(given[name])
        frames, lengths = rows(2, 6, 4), torch.tensor([6, 4])
        if chance.random() < 0.3:
            frames, lengths = mutated(frames), mutated(lengths)
        try:
            search = made(**given)
            search.push(frames, lengths, 2)
            search.best(chance.choice([1, 3, 2**40]), True)
            accepted += 1
        except (ValueError, TypeError, IndexError, RuntimeError, MemoryError, OverflowError):
            pass
    assert 500 < accepted < 2900


def test_two_threads_may_push_and_ask():
    search = made()

    def work():
        for _ in range(50):
            search.push(rows(2, 20, 4), torch.tensor([20, 20]), 1)
            search.best(3, True)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(search.best(3, True)) == 2


def test_what_was_dropped_is_forgotten():
    search = BeamSearches(BeamScoring(4, 0, -1, 0.0, [], None, None, None), 1, 8, math.inf)
    said = []
    for i in range(10):
        frames = 3 * torch.randn(1, 2000, 4, generator=torch.Generator().manual_seed(i))
        frames[..., 0] += 8  # labels are rare
        search.push(frames.log_softmax(-1), torch.tensor([2000]), 1)
        said.append(len(search.best(1, True)[0][0][0]))
    assert search.kept() < 20 * said[-1] + 10_000 < 8 * 20_000


def test_no_state_ends_the_process():
    """Of a search in the middle of its frames, with numbers put in the place of others, and parts taken away."""
    rng, whole = random.Random(0), made()
    whole.push(rows(2, 6, 4), torch.tensor([6, 3]), 1)
    good, refused = whole.state(), 0
    for _ in range(3000):
        states = [[*(part if isinstance(part, int) else list(part) for part in state)] for state in good]
        for _ in range(rng.randint(1, 3)):
            state, place = rng.choice(states), rng.randrange(8)
            if not isinstance(state[place], list) or rng.random() < 0.05:
                state[place] = rng.choice(NUMBERS)
            elif rng.random() < 0.1:
                state[place] = state[place][: rng.randrange(len(state[place]) + 1)]
            elif state[place]:
                state[place][rng.randrange(len(state[place]))] = rng.choice(REALS if place == 7 else NUMBERS)
        search = made()
        try:
            search.restore([tuple(state) for state in states])
        except (RuntimeError, ValueError):
            refused += 1
        else:
            search.push(rows(2, 6, 4), torch.tensor([6, 3]), 1)
            assert len(search.best(3, True)) == 2
    assert 500 < refused < 3000
