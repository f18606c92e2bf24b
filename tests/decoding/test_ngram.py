"""tests/decoding/test_ngram.py: ARPA files, and models as automata, by the definition of backoff."""

import gzip
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.decoding import KenLM, NGram
from semihmm.errors import DataError

ARPA = """\
\\data\\
ngram 1=5
ngram 2=3
ngram 3=2

\\1-grams:
-99\t<s>\t-0.3
-1.1\t</s>
-2.5\t<unk>
-0.6\ta\t-0.2
-0.9\tb\t0.1

\\2-grams:
-0.3\t<s> a\t-0.4
-0.5\ta b\t-0.05
-0.2\tb </s>

\\3-grams:
-0.1\t<s> a b
-0.15\ta b </s>

\\end\\
"""


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "3-gram.arpa"
    path.write_text(ARPA)
    return path


def katz(grams, history, word):
    if (*history, word) in grams:
        return grams[(*history, word)][0]
    return grams.get(history, (0.0, 0.0))[1] + katz(grams, history[1:], word)


def sentences():
    return [list(x) for n in range(5) for x in itertools.product(["a", "b", "c"], repeat=n)]


def test_a_file_is_read_as_it_stands(arpa):
    model = NGram.read(arpa)
    assert repr(model) == "NGram(3-grams, 5 words, 10 entries)"
    assert list(model.words) == ["<s>", "</s>", "<unk>", "a", "b"]
    p, backoff = model.grams["a", "b"]
    assert_close((p, backoff), (-0.5 * math.log(10), -0.05 * math.log(10)))


def test_a_sentence_has_the_probability_that_backoff_defines(arpa):
    model = NGram.read(arpa)
    for words in sentences():
        said = ["<s>", *("<unk>" if word == "c" else word for word in words), "</s>"]
        p = sum(katz(model.grams, tuple(said[max(i - 2, 0) : i]), said[i]) for i in range(1, len(said)))
        assert_close(model.log_prob(words), p)


GRAMS = st.lists(st.sampled_from(["<s>", "a", "b"]), min_size=1, max_size=3).map(tuple)
WEIGHTS = st.tuples(st.floats(-5, -0.1), st.floats(-1, 1))


@given(
    grams=st.dictionaries(st.tuples(GRAMS, st.sampled_from(["a", "b", "</s>"])), WEIGHTS, max_size=8),
    words=st.lists(st.sampled_from(["a", "b"]), max_size=5),
)
def test_a_model_is_its_automaton(grams, words):
    known = {("<s>",): (-9.0, 0.2), ("a",): (-1.0, -0.4), ("b",): (-2.0, 0.3), ("</s>",): (-0.7, 0.0)}
    for (history, word), weight in sorted(grams.items(), key=lambda item: len(item[0][0])):
        if history in known:
            known[(*history, word)] = weight
    model = NGram(known)
    said = ["<s>", *words, "</s>"]
    p = sum(katz(model.grams, tuple(said[max(i - model.order + 1, 0) : i]), said[i]) for i in range(1, len(said)))
    assert_close(model.log_prob(words), p)


def test_a_sentence_has_the_probability_that_kenlm_says(arpa):
    pytest.importorskip("kenlm")
    model, theirs = NGram.read(arpa), KenLM(arpa)
    for words in sentences():
        assert_close(model.log_prob(words), theirs.log_prob(words), rtol=1e-5, atol=1e-5)


def test_what_stands_in_front_of_the_counts_is_a_comment(arpa):
    model = NGram.read(arpa)
    arpa.write_text(f"Made by hand.\n-1.0 a\n\n{ARPA}")
    assert NGram.read(arpa).grams == model.grams


def test_a_packed_file_is_read_too(arpa, tmp_path):
    packed = tmp_path / "3-gram.arpa.gz"
    packed.write_bytes(gzip.compress(ARPA.encode()))
    assert NGram.read(packed).grams == NGram.read(arpa).grams
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(DataError, match="no whole ARPA file"):
        NGram.read(packed)


@pytest.mark.parametrize("lines", range(ARPA.count("\n")))
def test_a_file_that_is_cut_short_is_refused(arpa, lines):
    arpa.write_text("".join(ARPA.splitlines(keepends=True)[:lines]))
    with pytest.raises(DataError, match=r"no whole ARPA file.*Copy or download it again"):
        NGram.read(arpa)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-0.5\ta b\t-0.05", "a b", r"line 15 of .* is no 2-gram: 'a b'"),
        ("-0.5\ta b\t-0.05", "-0.5\ta b c\t-0.05", "is no 2-gram"),
        ("-0.5\ta b\t-0.05", "x\ta b\t-0.05", "is no 2-gram"),
        ("-0.5\ta b\t-0.05", "", "1 2-grams are missing"),
        ("-0.6\ta", "nan\ta", "words must weigh less than infinity, got .*nan"),
        ("\\3-grams:", "\\end\\", "its .end. is missing"),
    ],
)
def test_a_file_that_is_none_is_refused(arpa, old, new, message):
    arpa.write_text(ARPA.replace(old, new))
    with pytest.raises(DataError, match=message):
        NGram.read(arpa)


def test_unknown_words_cost_what_the_caller_says():
    grams = {("a",): (-1.0, 0.0), ("</s>",): (-0.5, 0.0)}
    assert NGram(grams).log_prob(["a", "c"]) == -math.inf
    assert_close(NGram(grams, unknown=-7.0).log_prob(["a", "c"]), -8.5)


def test_an_ngram_without_its_beginning_is_refused():
    with pytest.raises(DataError, match=r"there is \('a', 'b'\), but not \('a',\)"):
        NGram({("b",): (-1.0, 0.0), ("a", "b"): (-1.0, 0.0)})


def test_a_model_without_words_is_refused():
    with pytest.raises(DataError, match="of single words, got none"):
        NGram({})
