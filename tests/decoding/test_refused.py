"""What decoders refuse by name, and what they do not: whatever lies behind the ends."""

import contextlib
import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from semihmm.decoding import (
    BeamSearch,
    BeamStream,
    KenLM,
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
    "a stream of -1": (lambda: BeamSearch(LETTERS).stream(batch=-1), "batch must be an integer from 0"),
    "a copy of a stream": (lambda: copy.copy(BeamSearch(LETTERS).stream()), "cannot be copied or pickled"),
    "a deep copy of a stream": (lambda: copy.deepcopy(BeamSearch(LETTERS).stream()), "cannot be copied or pickled"),
    "a pickled stream": (lambda: pickle.dumps(BeamSearch(LETTERS).stream()), "cannot be copied or pickled"),
    "no file": (lambda: NGram.read("nope"), "nope cannot be read as an ARPA file"),
    "a text as references": (lambda: word_errors("a b", ["a b"]), "references must be a list"),
    "a text as hypotheses": (lambda: word_errors(["a b"], "a b"), "hypotheses must be a list"),
    "texts, by letter": (lambda: character_errors("ab", "ab"), "references must be a list"),
    "texts, by item": (lambda: errors("ab", "ab"), "references must be a list"),
    "lists of words": (lambda: word_errors([["a", "b"]], [["a"]]), r"word_errors: references must be texts, got \['a'"),
    "lists of lists": (lambda: errors([[["a"]]], [["a"]]), "errors: references must be sequences of words, labels"),
    "no references": (lambda: errors(None, [[1]]), "errors: references must be a list, got None"),
    "sparse labels": (lambda: errors([TEXT.to_sparse()], [[1]]), "errors: references must be dense"),
    "a text as model": (
        lambda: second_pass(FOUND, LETTERS, "str"),
        r"second_pass: model must have a log_prob.*got 'str'",
    ),
    "nothing, second_pass": (lambda: second_pass(None, LETTERS, MODEL), "second_pass: it takes Hypotheses.*got None"),
    "nothing, exact": (lambda: exact(None, LOG_PROBS), "exact: it takes Hypotheses, which beam_search.*got None"),
    "nothing, least_risk": (lambda: least_risk(None), "least_risk: it takes Hypotheses.*got None"),
    "nothing, texts": (lambda: LETTERS.texts(None), "Vocabulary: it takes Hypotheses.*got None"),
    "no path": (lambda: NGram.read(None), "NGram: read takes the path of an ARPA file, got None"),
    "no path, KenLM": (lambda: KenLM(None), "KenLM: path must be that of a model, got None"),
    "n-grams in a list": (lambda: NGram([("a",)]), r"grams give each n-gram a log-probability.*got \[\('a',\)\]"),
    "an n-gram of one weight": (lambda: NGram({("a",): -1.0}), r"got \('a',\): -1.0"),
    "numbers as words": (lambda: NGram(WORD).log_prob([5]), "NGram: words must be texts, got 5"),
    "a spelling by number": (lambda: BeamSearch(LETTERS, lexicon={"ab": [1]}), r"tokens spell 'ab', got \[1\]"),
    "numbers as tokens": (lambda: Vocabulary([0, 1]), "Vocabulary: tokens must be texts, got 0"),
    "no tokens": (lambda: Vocabulary(None), "Vocabulary: tokens must be a list, got None"),
    "half a token": (lambda: Vocabulary.numbered(1.5), "count must be an integer of 1 or more, got 1.5"),
    "a delimiter in a list": (lambda: Vocabulary("- ab", delimiter=[" "]), "delimiter must be one of the tokens"),
    "padding as a label": (lambda: LETTERS.text([2, -1]), "Vocabulary: a label must be an integer from 0 to 3, got -1"),
    "a column beyond": (lambda: LETTERS.words([9]), "Vocabulary: a label must be an integer from 0 to 3, got 9"),
    "a stream of no search": (lambda: BeamStream(LETTERS), "BeamStream: search must be a BeamSearch"),
    "a final of 3": (lambda: BeamSearch(LETTERS).stream().hypotheses(final=3), "final must be True or False, got 3"),
    "a place beyond": (lambda: FOUND.take(tensor([7])), "order must lie between 0 and 2"),
    "another batch": (lambda: FOUND.reshaped((2,)), r"a batch of \(\) cannot become one of \(2,\)"),
    "a number as log_probs": (lambda: align(5, TEXT), "log_probs must be .* log_probs got no axes"),
    "sparse groups": (lambda: ALIGNED.merge(tensor([0, 1]).to_sparse()), "merge: groups must be dense"),
    "groups on meta": (lambda: ALIGNED.merge(tensor([0, 1]).to("meta")), "groups are on the meta device"),
    "lengths on meta": (lambda: greedy(LOG_PROBS, tensor(6).to("meta")), "lengths are on the meta device"),
    "a sparse penalty": (lambda: align(LOG_PROBS, TEXT, penalty=tensor([1.0]).to_sparse()), "penalty must be a finite"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_by_name(call, message):
    with pytest.raises(SemihmmError, match=message):
        call()


WRONG = {
    **{repr(x): x for x in (None, "ab", 7, -1, 2**70, 1.5, math.nan, math.inf, True, b"ab", dict)},
    **{repr(x): x for x in ([None], [1], [], [[1, 2], [3]], [[["a"]]], {"ab": [1]}, {"ab": None}, {}, {1, 2})},
    "an object": object(),
    "an array of objects": np.array([object()]),
    "sparse": LOG_PROBS.to_sparse(),
    "a sparse mask": (LOG_PROBS > 0).to_sparse(),
    "sparse integers": TEXT.to_sparse(),
    "meta": LOG_PROBS.to("meta"),
    "meta integers": TEXT.to("meta"),
    "a number on meta": tensor(1.0, device="meta"),
    "complex": LOG_PROBS.to(torch.complex64),
    "a tensor of no axes": tensor(3.0),
    "an empty tensor": torch.zeros(0),
    "large integers": tensor([2**62, 1]),
}
ASKED = {
    "greedy": (greedy, {"log_probs": LOG_PROBS, "lengths": None, "blank": 0}),
    "beam_search": (beam_search, {"log_probs": LOG_PROBS, "lengths": None, "beam": 5, "count": 1, "blank": 0}),
    "align": (
        align,
        {"log_probs": LOG_PROBS, "targets": TEXT, "input_lengths": None, "target_lengths": None, "optional": None}
        | {"blank": 0, "wildcard": None, "free_start": False, "penalty": 1.0, "nbest": None, "validate": True},
    ),
    "merge": (ALIGNED.merge, {"groups": tensor([0, 1])}),
    "spans": (ALIGNED.spans, {"names": None, "frame_shift": None}),
    "Vocabulary": (Vocabulary, {"tokens": ["-", "a"], "blank": 0, "delimiter": None}),
    "spell": (LETTERS.spell, {"word": "ab"}),
    "text": (LETTERS.text, {"labels": [2, 3]}),
    "words": (LETTERS.words, {"labels": [2, 3]}),
    "texts": (LETTERS.texts, {"found": FOUND}),
    "BeamSearch": (
        BeamSearch,
        {"vocabulary": LETTERS, "beam": 5, "margin": math.inf, "lexicon": None, "language_model": None}
        | {"lm_weight": 1.0, "word_bonus": 0.0, "hotwords": None, "backend": None},
    ),
    "search": (BeamSearch(LETTERS), {"log_probs": LOG_PROBS, "lengths": None, "count": 1}),
    "BeamStream": (BeamStream, {"search": BeamSearch(LETTERS), "batch": 1}),
    "push": (lambda **given: BeamSearch(LETTERS).stream().push(**given), {"log_probs": LOG_PROBS, "lengths": None}),
    "hypotheses": (BeamSearch(LETTERS).stream().hypotheses, {"count": 1, "final": False}),
    "take": (FOUND.take, {"order": tensor([0])}),
    "reshaped": (FOUND.reshaped, {"batch": (1, 1)}),
    "NGram": (NGram, {"grams": WORD, "unknown": -math.inf}),
    "read": (NGram.read, {"path": "nope"}),
    "log_prob": (NGram(WORD).log_prob, {"words": ["a"]}),
    "word_errors": (word_errors, {"references": ["a b"], "hypotheses": ["a"]}),
    "character_errors": (character_errors, {"references": ["a b"], "hypotheses": ["a"]}),
    "errors": (errors, {"references": [[1]], "hypotheses": [[2]]}),
    "exact": (exact, {"found": FOUND, "log_probs": LOG_PROBS, "lengths": None, "blank": 0}),
    "second_pass": (
        second_pass,
        {"found": FOUND, "vocabulary": LETTERS, "model": MODEL, "weight": 1.0, "word_bonus": 0.0},
    ),
    "least_risk": (least_risk, {"found": FOUND, "vocabulary": None, "scale": 1.0}),
    "KenLM": (KenLM, {"path": "nope"}),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_wrong_argument_is_taken_or_refused_in_our_own_words(name):
    ask, given = ASKED[name]
    for argument in given:
        for wrong in WRONG.values():
            with contextlib.suppress(SemihmmError):  # anything else fails the test
                ask(**{**given, argument: wrong})


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
