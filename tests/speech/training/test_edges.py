"""Edges that are moved to where the spectrum changes."""

import pytest
import torch

from semihmm.speech import FrontEnd, Pronunciation
from semihmm.speech.training.edges import edge_shifts, moved
from semihmm.speech.training.flat import flat_path
from semihmm.speech.training.statistics import Example
from semihmm.speech.training.trainer import Recipe, _blank

RATE = 200


def steps(*changes, frames=120):
    """Cepstra that jump at these frames."""
    place = torch.arange(frames)[:, None]
    return sum(((place >= change).float() * 5 for change in changes), torch.zeros(frames, 2))


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_edges_are_moved_to_where_the_spectrum_changes(late):
    truth = torch.tensor([30, 60, 90])
    found = edge_shifts([truth + late], [torch.zeros(3, dtype=torch.long)], [steps(30, 60, 90)], RATE)
    assert float(found[0]) == pytest.approx(-late, abs=0.1)


def test_each_kind_is_moved_by_its_own():
    edges, kinds = torch.arange(20, 2000, 30), torch.arange(66) % 2
    x = steps(*(edges - torch.where(kinds > 0, 3, -2)).tolist(), frames=2000)
    found = edge_shifts([edges], [kinds], [x], RATE)
    assert found.tolist() == pytest.approx([2, -3], abs=0.5)


def test_no_recording_has_no_shifts():
    assert edge_shifts([torch.zeros(0).long()], [torch.zeros(0).long()], [torch.zeros(9, 2)], RATE).tolist() == []


def test_paths_keep_their_phones_on_other_frames():
    old, new = FrontEnd(window=0.025), FrontEnd(window=0.016, frame_rate=200)
    recipe = Recipe.for_rate()
    model = _blank(("AA", "S", "SIL"), "SIL", recipe, "blank")
    path = torch.tensor([6, 7, 8, 0, 0, 1, 2, 2, 0, 1, 1, 2, 3, 4, 5, 6, 8, 8])  # SIL AA AA S SIL
    (found, nothing) = moved(
        [path, None], old, [Example(torch.zeros(37, 39), ())] * 2, type(model)(**{**vars(model), "front_end": new})
    )
    runs = found.unique_consecutive()
    assert runs.tolist() == [6, 7, 8, 0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert nothing is None


def test_a_flat_start_gives_all_phones_the_same_time_between_silences():
    loudness = torch.cat([torch.zeros(20), torch.ones(60), torch.zeros(20)])
    words = (Pronunciation("a", (("AA", "S"),)), Pronunciation("b", (("AA",),)))
    path = flat_path(loudness, 100, words, ("AA", "S", "SIL"), "SIL", 3)
    phones, lengths = (path // 3).unique_consecutive(return_counts=True)
    assert phones.tolist() == [2, 0, 1, 0, 2]
    assert lengths.tolist() == pytest.approx([20, 20, 20, 20, 20], abs=3)


def test_a_flat_start_makes_room_for_all_phones():
    loudness = torch.cat([torch.zeros(20), torch.ones(2), torch.zeros(20)])
    words = (Pronunciation("a", (("AA", "S", "AA"),)),)
    path = flat_path(loudness, 100, words, ("AA", "S", "SIL"), "SIL", 3)
    assert len(path) == 42 and {*path.tolist()} == set(range(9))
