"""Automata and ready languages, compared with Python's own regular expressions and with walks through graphs."""

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import networkx as nx
import numpy as np
import pytest

from semihmm.automata import (
    Automaton,
    Language,
    any_label,
    at_least,
    at_most,
    before,
    bio,
    bioes,
    exactly,
    from_networkx,
    label,
    must_occur,
    no_repeat,
)
from semihmm.errors import StructureError

# Each language over labels a, b, c, ..., and a regular expression that says the same.
SAME: dict[str, tuple[Language, int, str]] = {
    "exactly": (exactly(2, 1), 3, "([^b]*b){2}[^b]*"),
    "exactly, of several": (exactly(2, 0, 1), 3, "(c*[ab]){2}c*"),
    "exactly none": (exactly(0, 1), 3, "[^b]*"),
    "at least": (at_least(2, 1), 3, "(.*b){2}.*"),
    "at most": (at_most(1, 1), 3, "[^b]*b?[^b]*"),
    "at most, when all states accept": (at_most(3, 1), 3, "([^b]*b?){3}[^b]*"),
    "must occur": (must_occur(2), 3, ".*c.*"),
    "before": (before(0, 1), 3, "c*(a.*)?"),
    "no repeat": (no_repeat(), 3, r"(?!.*(.)\1).*"),
    "no repeat of one": (no_repeat(1), 3, "(?!.*bb).*"),
    "bio": (bio(["O", "B-X", "I-X", "B-Y", "I-Y"]), 5, "(a|bc*|de*)*"),
    "bio and another label": (bio(["O", "B-X", "I-X"]), 4, "(a|bc*)*"),
    "bioes": (bioes(["O", "B-X", "I-X", "E-X", "S-X"]), 5, "(a|bc*d|e)*"),
    "several": (bioes(["O", "B-X", "E-X", "B-Y", "E-Y"]), 5, "(a|bc|de)*"),
    "then": (label(0) + any_label + label(1, 2), 3, "a.[bc]"),
    "or": (label(0).star() | label(1) + label(0).repeat(1), 3, "a*|ba+"),
    "not": (~(label(0) + any_label.star()), 3, "(?!a).*"),
    "repeat": ((label(0) + label(1).star()).repeat(2, 3), 3, "(ab*){2,3}"),
    "not at all": (label(0).repeat(0, 0), 3, ""),
}


@pytest.mark.parametrize("name", SAME)
def test_it_accepts_what_a_regular_expression_matches(name: str) -> None:
    language, labels, expression = SAME[name]
    automaton = language.automaton(labels)
    for length in range(7 if labels == 3 else 5):
        for said in product(range(labels), repeat=length):
            text = "".join("abcde"[x] for x in said)
            assert automaton.accepts(said) == (re.fullmatch(expression, text) is not None), text


def test_a_graph_accepts_the_labels_along_its_walks() -> None:
    graph = nx.MultiDiGraph()
    graph.add_edges_from([("a", "b", {"label": 0}), ("a", "c", {"label": (0, 1)}), ("b", "b", {"label": [2]})])
    graph.add_edges_from([("b", "c"), ("c", "a", {"label": 2}), ("c", "d", {"label": 0}), ("a", "b", {"label": 1})])
    automaton = from_networkx(graph, ["a", "b"], ["d", "b"]).automaton(3)

    def walks(node: str, said: tuple[int, ...]) -> bool:
        if not said:
            return node in "bd"
        labels = ((v, graph.edges[u, v, k].get("label")) for u, v, k in graph.out_edges(node, keys=True))
        return any(
            walks(v, said[1:]) for v, x in labels if x is None or said[0] in (x if isinstance(x, tuple | list) else [x])
        )

    for length in range(6):
        for said in product(range(3), repeat=length):
            assert automaton.accepts(said) == (walks("a", said) or walks("b", said))


def test_two_that_accept_the_same_are_equal() -> None:
    a, b = label(0), label(1)
    assert (a | b).star().automaton(3) == (a.star() + b.star()).star().automaton(3)
    assert hash((a + b).automaton(3)) == hash((a + b & ~a).automaton(3))
    assert (a + b).automaton(3) != (b + a).automaton(3)
    assert (~~a).automaton(2) == a.automaton(2) and (a & b).automaton(2) == (any_label & ~any_label).automaton(2)


def test_it_has_no_state_too_many() -> None:
    assert len(exactly(7, 1).automaton(4).next) == 8
    assert len(no_repeat().automaton(4).next) == 5
    assert len(any_label.star().automaton(4).next) == 1
    assert len((any_label & ~any_label).automaton(4).next) == 1
    wasteful = Automaton([[1, 2], [3, 1], [3, 2], [-1, 4], [4, 4], [0, 0]], [False, True, True, True, False, True], 0)
    assert wasteful == (any_label + label(1).star() + label(0).repeat(0, 1)).automaton(2)


def test_many_labels_that_are_alike_cost_little() -> None:
    automaton = (exactly(3, 17) & before(4, 17)).automaton(50_000)
    assert len(automaton.next) == 5 and automaton.accepts([9, 4, 17, 17, 49_999, 17])


def test_labels_are_read_as_others() -> None:
    automaton = exactly(1, 0).automaton(2).relabelled([0, 1, -1, 0])
    assert automaton.labels == 4
    assert [automaton.accepts(x) for x in ([0, 2, 1], [2, 3], [0, 3], [2, 2])] == [True, True, False, False]


def test_tables_cannot_be_written_to_and_are_nobody_elses() -> None:
    table = np.array([[0, 0]])
    automaton = Automaton(table, np.array([True]))
    table[:] = -1
    assert automaton.accepts([1]) and not automaton.next.flags.writeable and not automaton.accepting.flags.writeable


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: label(3).automaton(3), "numbered from 0 to 2 here, so there is no 3"),
        (lambda: bio(["O", "B-X"]).automaton(1), "there is no 1"),
        (lambda: (any_label.star() + label(1) + any_label.repeat(14, 14)).automaton(2), "more than 10,000 states"),
        (lambda: exactly(-1, 0), "at least 0"),
        (lambda: at_least(1), "there must be a label"),
        (lambda: exactly(2.5, 0), r"exactly: labels and counts are integers, one by one, got 2\.5"),
        (lambda: at_most(1, 0.0), r"at_most: labels and counts are integers, one by one, got 0\.0"),
        (lambda: exactly(1, [0, 1]), r"exactly: .* got \[0, 1\]"),
        (lambda: label("a"), "label: .* got 'a'"),
        (lambda: before(0, None), "before: .* got 0, None"),
        (lambda: no_repeat((0, 1)), r"no_repeat: .* got \(0, 1\)"),
        (lambda: label(0) + 1, r"put together with another one, got 1\. A label\? Write label\(1\)"),
        (lambda: label(0).repeat(2, 1), "from least to most"),
        (lambda: bio(["O", "E-PER"]), "tags are O, or B-x, I-x, got 'E-PER'"),
        (lambda: bio(["O", "B-"]), "got 'B-'"),
        (lambda: bioes(["O", "O"]), "no two labels"),
        (lambda: from_networkx(nx.Graph([(0, 1)]), [0], [1]), "must be directed"),
        (lambda: from_networkx(nx.DiGraph([(0, 1)]), [0], [2]), "without 2"),
        (lambda: Automaton([[0, 2]], [True]), "must hold states from 0 to 0"),
        (lambda: Automaton([[0, 0]], [True, False]), "accepting bool"),
        (lambda: Automaton([[0, 0]], [True], 1), "start one of the Q states"),
    ],
)
def test_an_error_says_what_is_wrong(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(StructureError, match=message):
        make()
