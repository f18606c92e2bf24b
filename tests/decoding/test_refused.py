"""What decoders refuse by name, and what they do not: whatever lies behind the ends."""

import copy
import math
import pickle

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from semihmm.decoding import (
    BeamSearch,
    NGram,
    Vocabulary,
    align,
    beam_search,
    character_errors,
    errors,
    exact,
    greedy,
    least_risk,
    second_pass,
    word_errors,
)
from semihmm.errors import DataError, SemihmmError

LOG_PROBS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
LETTERS = Vocabulary(["-", " ", "a", "b"], delimiter=" ")
FOUND = beam_search(LOG_PROBS, count=3)
TEXT = tensor([2, 3])
ALIGNED = align(LOG_PROBS, TEXT)
WORD = {("a",): (-1.0, 0.0)}


class Says:
    """A model that says the same of all sentences."""

    def __init__(self, log_prob):
        self.figure = log_prob

    def log_prob(self, words):
        return self.figure


MODEL = Says(-1.0)

FINITE = {
    "least_risk, scale": [lambda x=x: least_risk(FOUND, scale=x) for x in (math.nan, math.inf, -1, 0, "a")],
    "second_pass, weight": [lambda x=x: second_pass(FOUND, LETTERS, MODEL, weight=x) for x in (math.nan, -1)],
    "second_pass, bonus": [lambda: second_pass(FOUND, LETTERS, MODEL, word_bonus=math.inf)],
    "second_pass, model": [lambda x=x: second_pass(FOUND, LETTERS, Says(x)) for x in (math.nan, math.inf, "a", None)],
    "NGram, unknown": [lambda x=x: NGram(WORD, unknown=x) for x in (math.nan, math.inf, "a", None, 1.0)],
    "spans, frame_shift": [lambda x=x: ALIGNED.spans(frame_shift=x) for x in ("a", math.nan, -1, 0)],
    "align, penalty": [lambda x=x: align(LOG_PROBS, TEXT, penalty=x) for x in (-5, math.nan, "a")],
    "BeamSearch, margin": [lambda x=x: BeamSearch(LETTERS, margin=x) for x in (math.nan, -1, "a", None)],
    "BeamSearch, lm_weight": [lambda x=x: BeamSearch(LETTERS, lm_weight=x) for x in (math.nan, math.inf, "a", None)],
    "BeamSearch, bonuses": [lambda x=x: BeamSearch(LETTERS, hotwords={"a": x}) for x in (math.nan, "a", None)],
}


@pytest.mark.parametrize("calls", FINITE.values(), ids=FINITE)
def test_figures_are_finite_numbers_in_their_range(calls):
    for call in calls:
        with pytest.raises(DataError, match="must be a finite number"):
            call()


REFUSED = {
    "greedy, a blank beyond": (lambda: greedy(LOG_PROBS, blank=99), "blank must be an integer from 0 to 3"),
    "greedy, a blank below": (lambda: greedy(LOG_PROBS, blank=-1), "blank must be an integer from 0 to 3"),
    "greedy, meta": (lambda: greedy(LOG_PROBS.to("meta")), "on the meta device"),
    "beam_search, sparse": (lambda: beam_search(LOG_PROBS.to_sparse()), "log_probs must be dense"),
    "a wildcard of 1.5": (lambda: align(LOG_PROBS, TEXT, wildcard=1.5), "wildcard must be an integer"),
    "a letter as wildcard": (lambda: align(LOG_PROBS, TEXT, wildcard="a"), "wildcard must be an integer"),
    "the blank as wildcard": (lambda: align(LOG_PROBS, TEXT, wildcard=0), "another number than the blank"),
    "free_start of 3": (lambda: align(LOG_PROBS, TEXT, free_start=3), "free_start must be True or False"),
    "align, meta": (lambda: align(LOG_PROBS.to("meta"), TEXT), "on the meta device"),
    "align, sparse": (lambda: align(LOG_PROBS.to_sparse(), TEXT), "log_probs must be dense"),
    "few names": (lambda: ALIGNED.spans("ab"), "no name for token 2"),
    "a name that is missing": (lambda: ALIGNED.spans({2: "a"}), "no name for token 3"),
    "a large group": (lambda: ALIGNED.merge(tensor([0, 10**8])), "groups must lie between -1 and 1"),
    "a huge group": (lambda: ALIGNED.merge(tensor([0, 2**62])), "groups must lie between -1 and 1"),
    "float groups": (lambda: ALIGNED.merge(tensor([0.0, 1.0])), "groups must be integers"),
    "a text as lexicon": (lambda: BeamSearch(LETTERS, lexicon="ab"), "lexicon must be a list of words"),
    "a number as lexicon": (lambda: BeamSearch(LETTERS, lexicon=5), "lexicon must be a list of words"),
    "a lexicon of numbers": (lambda: BeamSearch(LETTERS, lexicon=[5]), "must be texts, got 5"),
    "no spelling": (lambda: BeamSearch(LETTERS, lexicon={"ab": None}), "which tokens spell 'ab', got None"),
    "a path as model": (lambda: BeamSearch(LETTERS, language_model="path"), r"NGram.read\(path\)"),
    "a list as vocabulary": (lambda: BeamSearch(["a"]), "must be a Vocabulary"),
    "a list as vocabulary, second_pass": (lambda: second_pass(FOUND, ["a"], MODEL), "must be a Vocabulary"),
    "a list as vocabulary, least_risk": (lambda: least_risk(FOUND, ["a"]), "must be a Vocabulary"),
    "a list of hotwords": (lambda: BeamSearch(LETTERS, hotwords=["ab"]), "hotwords must give each its bonus"),
    "half a beam": (lambda: BeamSearch(LETTERS, beam=1.5), "beam must be an integer"),
    "half a beam, beam_search": (lambda: beam_search(LOG_PROBS, beam=1.5), "beam must be an integer"),
    "half a count": (lambda: beam_search(LOG_PROBS, count=1.5), "count must be an integer"),
    "a stream of -1": (lambda: BeamSearch(LETTERS).stream(batch=-1), "batch must be an integer of 0 or more"),
    "a copy of a stream": (lambda: copy.copy(BeamSearch(LETTERS).stream()), "cannot be copied or pickled"),
    "a deep copy of a stream": (lambda: copy.deepcopy(BeamSearch(LETTERS).stream()), "cannot be copied or pickled"),
    "a pickled stream": (lambda: pickle.dumps(BeamSearch(LETTERS).stream()), "cannot be copied or pickled"),
    "no file": (lambda: NGram.read("nope"), "nope cannot be read as an ARPA file"),
    "a text as references": (lambda: word_errors("a b", ["a b"]), "references must be a list"),
    "a text as hypotheses": (lambda: word_errors(["a b"], "a b"), "hypotheses must be a list"),
    "texts, by letter": (lambda: character_errors("ab", "ab"), "references must be a list"),
    "texts, by item": (lambda: errors("ab", "ab"), "references must be a list"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_by_name(call, message):
    with pytest.raises(SemihmmError, match=message):
        call()


def test_a_folder_is_no_language_model(tmp_path):
    with pytest.raises(DataError, match="cannot be read as an ARPA file"):
        NGram.read(tmp_path)


def test_no_word_has_a_probability_above_1(tmp_path):
    path = tmp_path / "model.arpa"
    path.write_text("\\data\\\nngram 1=1\n\n\\1-grams:\n0.5\ta\n\n\\end\\\n")
    with pytest.raises(DataError, match=r"line 5 of .* which is 0 or less"):
        NGram.read(path)


def test_a_sentence_may_be_impossible_whatever_it_is_weighed_by():
    assert second_pass(FOUND, LETTERS, Says(-math.inf), weight=2.0).score.eq(-math.inf).all()
    assert_close(second_pass(FOUND, LETTERS, Says(-math.inf), weight=0.0).score, FOUND.score)


@pytest.mark.parametrize("anything", [math.nan, math.inf])
def test_what_lies_behind_the_ends_does_not_count(anything):
    clean = LOG_PROBS.expand(2, -1, -1)
    lengths = tensor([4, 6])
    padded = clean.clone()
    padded[0, 4:] = anything
    search = BeamSearch(LETTERS)
    stream = search.stream(2)
    stream.push(padded, lengths)
    for decode in (greedy, search, lambda x, n: exact(search(clean, n), x, n)):
        assert_close(decode(padded, lengths).__dict__, decode(clean, lengths).__dict__)
    assert_close(stream.hypotheses(final=True).__dict__, search(clean, lengths).__dict__)
    assert padded[0, 4:].eq(anything).all() or padded[0, 4:].isnan().all()
    with pytest.raises(DataError, match=r"at \[0, 4, 0\]"):
        greedy(padded, tensor([5, 6]))


def test_a_text_of_nothing_is_merged_to_nothing():
    merged = align(LOG_PROBS, tensor([], dtype=torch.int64)).merge([])
    assert merged.spans() == [] and merged.path.tolist() == [-1] * 6


def test_a_wildcard_is_named_behind_the_tokens():
    spans = align(LOG_PROBS, tensor([2, 9]), wildcard=9).spans("-_ab*")
    assert [span.label for span in spans] == ["a", "*"]
