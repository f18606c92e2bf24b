"""What is drawn is what was asked for, read back from the artists."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import plots
from semihmm.errors import DataError, DependencyError, SemihmmError, ShapeError, StructureError
from semihmm.models import HMM, HSMM, Fit, FullGaussian, Gaussian, Laplace, Selection, durations

agg = pytest.importorskip("matplotlib.backends.backend_agg", reason="the plots extra is not installed")
figures = pytest.importorskip("matplotlib.figure", reason="the plots extra is not installed")

STATES = torch.tensor([0, 0, 1, 1, 1, -1, 0, 2, 2, -1, -1])  # a gap, and two steps of padding


def drawn(ax) -> np.ndarray:
    """The pixels."""
    canvas = agg.FigureCanvasAgg(ax.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def tick_labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def legend_of(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def sticky(states: int, steps: int) -> semihmm.HMM:
    return semihmm.HMM(torch.zeros(states), 3 * torch.eye(states), torch.randn(steps, states))


def on_every_picture() -> dict[str, object]:
    hmm = sticky(3, 12)
    x = torch.randn(11, 2)
    return {
        "timeline": lambda ax=None: plots.timeline(x, STATES, ax=ax),
        "scatter": lambda ax=None: plots.scatter(x, STATES, Gaussian(3, features=2), ax=ax),
        "posteriors": lambda ax=None: plots.posteriors(semihmm.smoothing(hmm).exp(), ax=ax),
        "heat": lambda ax=None: plots.posteriors(semihmm.smoothing(hmm).exp(), kind="heat", ax=ax),
        "transitions": lambda ax=None: plots.transitions(HMM(3, Gaussian(3, features=1)), ax=ax),
        "durations": lambda ax=None: plots.durations(HMM(3, Gaussian(3, features=1)), STATES, ax=ax),
        "alignment": lambda ax=None: plots.alignment(hmm.emission, semihmm.viterbi(hmm), ax=ax),
        "k_best": lambda ax=None: plots.k_best(semihmm.topk(hmm, 3), ax=ax),
        "histories": lambda ax=None: plots.histories([[-3.0, -2.0], [-4.0, -1.0]], ax=ax),
        "selection": lambda ax=None: plots.selection({1: 5.0, 2: 3.0}, ax=ax),
    }


PICTURES = sorted(on_every_picture())


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn_on_the_axes_that_are_given_or_on_new_ones_that_are_its_own(name):
    draw = on_every_picture()[name]
    ax = figures.Figure(figsize=(4, 3)).add_subplot()
    assert draw(ax) is ax
    new, other = draw(), draw()
    assert new.figure is not other.figure
    assert len(np.unique(drawn(new).reshape(-1, 4), axis=0)) > 3


def test_the_pictures_cover_the_module():
    assert {name.replace("heat", "posteriors") for name in PICTURES} == set(plots.__all__)


def test_neither_pyplot_nor_a_display_is_used(tmp_path):
    program = """
import sys, matplotlib, torch
from semihmm import plots
before = matplotlib.rcParams.copy()
plots.timeline(torch.zeros(4), torch.tensor([0, 0, 1, 1])).figure.savefig(sys.argv[1])
plots.transitions(torch.full((2, 2), 0.5)).figure.savefig(sys.argv[1])
plots.posteriors(torch.full((4, 2), 0.5), kind="heat").figure.savefig(sys.argv[1])
assert matplotlib.rcParams.copy() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path / "a.png")]
    result = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("name", PICTURES)
def test_without_matplotlib_the_error_names_the_extra(name, monkeypatch):
    draw = on_every_picture()[name]
    for module in [module for module in sys.modules if module.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Blocked, *sys.meta_path])
    with pytest.raises(DependencyError, match=r"pip install 'semihmm\[plots\]'"):
        draw()


class Blocked:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_what_is_given_is_read_only():
    x, states, matrix = torch.randn(11, 2), STATES.clone(), torch.eye(3)
    posterior = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 0.0]], requires_grad=True)
    scale = torch.ones(11, 2, requires_grad=True)
    given = [x, states, matrix, posterior]
    kept = [tensor.clone() for tensor in given]
    plots.timeline(x * scale, states)
    plots.scatter(x * scale, states)
    plots.posteriors(posterior)
    plots.transitions(matrix)
    plots.durations(torch.full((3, 4), 0.25), states)
    plots.alignment(x * scale, torch.zeros(11, dtype=torch.int64))
    assert all(torch.equal(now, before) for now, before in zip(given, kept, strict=True))
    assert posterior.grad is None and not x.requires_grad


def test_arrays_are_taken_too():
    read_only = np.arange(4.0)
    read_only.flags.writeable = False
    ax = plots.timeline(read_only, np.array([0, 0, 1, 1]))
    assert ax.lines[0].get_ydata().tolist() == [0, 1, 2, 3]


# Data


def test_a_timeline_has_a_band_for_each_run_of_states_and_ends_where_they_do():
    x = torch.arange(11.0)
    ax = plots.timeline(x, STATES, names=["a", "b", "c", "d"])
    bands = ax.collections[0]
    spans = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in bands.get_paths()]
    assert spans == [(-0.5, 1.5), (1.5, 4.5), (5.5, 6.5), (6.5, 8.5)]
    shades = [patch.get_facecolor() for patch in ax.get_legend().get_patches()]
    assert legend_of(ax) == ["a", "b", "c"]
    assert [tuple(shade[:3]) for shade in bands.get_facecolors()] == [shades[state][:3] for state in (0, 1, 0, 2)]
    assert ax.lines[0].get_ydata().tolist() == x[:9].tolist()
    assert ax.get_xlim() == (-0.5, 8.5)


@pytest.mark.parametrize("states", [1, 8, 9, 20])
def test_each_state_has_a_colour_of_its_own(states):
    order = torch.arange(states)
    shades = plots.timeline(torch.zeros(states), order).collections[0].get_facecolors()
    assert len(np.unique(shades, axis=0)) == states
    few = plots.timeline(torch.zeros(2), torch.tensor([0, 0])).collections[0].get_facecolors()
    assert states > 8 or np.array_equal(shades[0], few[0])


def test_several_features_lie_one_above_the_other_each_in_its_own_range():
    x = torch.tensor([[0.0, 5.0, 1.0], [10.0, 5.0, torch.nan], [5.0, 5.0, 3.0]])
    ax = plots.timeline(x, torch.zeros(3, dtype=torch.int64), features=["a", "b", "c"])
    first, flat, gap = (line.get_ydata() for line in ax.lines)
    np.testing.assert_allclose(first, [-0.4, 0.4, 0.0])
    np.testing.assert_allclose(flat, [-1.4, -1.4, -1.4])
    np.testing.assert_allclose(gap, [-2.4, np.nan, -1.6])
    assert tick_labels(ax.yaxis) == ["a", "b", "c"]


def test_a_scatter_shows_each_observation_that_has_a_state_in_the_two_columns():
    x, states = torch.randn(2, 5, 3), torch.tensor([[0, 1, 1, 0, 0], [1, 1, 1, -1, -1]])
    ax = plots.scatter(x, states, columns=(2, 0), features=["a", "b", "c"])
    for state, line in enumerate(ax.lines):
        assert_close(torch.as_tensor(line.get_xydata()), x[states == state][:, [2, 0]].double())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("c", "a")
    assert not ax.patches


@pytest.mark.parametrize("columns", [(0, 1), (2, 1)], ids=str)
@pytest.mark.parametrize("kind", ["diag", "spherical", "full", "tied"])
def test_ellipses_lie_one_and_two_standard_deviations_from_the_mean(kind, columns):
    torch.manual_seed(3)
    full = kind in ("full", "tied")
    emission = FullGaussian(2, 3, tied=kind == "tied") if full else Gaussian(2, 3, covariance=kind)
    with torch.no_grad():
        for parameter in emission.parameters():
            parameter.copy_(torch.randn_like(parameter))
    ax = plots.scatter(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]), emission, columns=columns)
    covariance = emission.covariance()
    assert len(ax.patches) == 4
    for number, ellipse in enumerate(ax.patches):
        state, deviations = number // 2, number % 2 + 1
        mean = emission.mean[state, list(columns)].detach().numpy()
        inverse = np.linalg.inv(covariance[state][list(columns)][:, list(columns)].detach().numpy())
        edge = ellipse.get_patch_transform().transform([(np.cos(a), np.sin(a)) for a in np.linspace(0, 6, 7)]) - mean
        np.testing.assert_allclose(np.einsum("ni,ij,nj->n", edge, inverse, edge), deviations**2, rtol=1e-4)


# Posteriors


def areas(ax) -> np.ndarray:
    """The height of each area at each place, ``(S, places)``."""
    found = []
    for area in ax.collections:
        vertices = area.get_paths()[0].vertices
        places = np.unique(vertices[:, 0])
        at = [vertices[vertices[:, 0] == place, 1] for place in places]
        found.append([y.max() - y.min() for y in at])
    return np.array(found)


def test_stacked_areas_are_the_probabilities_and_end_where_they_do():
    posterior = torch.rand(9, 4).softmax(-1)
    ax = plots.posteriors(torch.cat([posterior, torch.zeros(3, 4)]))
    heights = areas(ax)
    np.testing.assert_allclose(heights, posterior.T.numpy(), atol=1e-6)
    np.testing.assert_allclose(heights.sum(0), 1.0, atol=1e-6)
    assert ax.get_xlim() == (-0.5, 8.5)


def test_the_rows_of_a_heat_map_are_the_probabilities():
    posterior = torch.rand(9, 4).softmax(-1)
    ax = plots.posteriors(torch.cat([posterior, torch.zeros(3, 4)]), kind="heat", names="abcd")
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), posterior.T.numpy())
    assert image.get_extent() == [-0.5, 8.5, 3.5, -0.5] and ax.get_ylim() == (3.5, -0.5)
    assert tick_labels(ax.yaxis) == list("abcd")


@pytest.mark.parametrize("kind", ["area", "heat"])
def test_of_a_long_sequence_the_means_of_blocks_are_drawn(kind):
    posterior = torch.rand(2501, 2).softmax(-1)
    ax = plots.posteriors(posterior, kind=kind)
    found = areas(ax) if kind == "area" else np.asarray(ax.images[0].get_array())
    expected = [posterior[start : start + 3].mean(0).tolist() for start in range(0, 2501, 3)]
    np.testing.assert_allclose(found, np.array(expected).T, atol=1e-6)
    if kind == "heat":
        assert ax.images[0].get_extent()[:2] == [-0.5, 3 * len(expected) - 0.5]
    assert ax.get_xlim() == (-0.5, 2500.5)


# Transitions


def edges(ax) -> dict[tuple[int, int], float]:
    """The width of each arrow."""
    arrows = [patch for patch in ax.patches if patch.get_gid()]
    return {tuple(map(int, arrow.get_gid().split("->"))): arrow.get_linewidth() for arrow in arrows}


def test_there_is_an_arrow_for_each_transition_that_is_possible_the_wider_the_more_probable():
    matrix = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0], [0.2, 0.1, 0.7]])
    ax = plots.transitions(matrix)
    widths = edges(ax)
    assert sorted(widths) == [tuple(pair) for pair in matrix.nonzero().tolist()]
    by_chance = sorted(widths, key=lambda pair: float(matrix[pair]))
    assert sorted(widths.values()) == [widths[pair] for pair in by_chance]
    texts = [text.get_text() for text in ax.texts]
    assert sorted(texts) == sorted(["0", "1", "2", *(f"{float(p):.3g}" for p in matrix[matrix > 0])])


@pytest.mark.parametrize("source,target", [(0, 1), (1, 0), (2, 2)], ids=str)
def test_an_arrow_leads_from_the_edge_of_one_node_to_that_of_the_other(source, target):
    ax = plots.transitions(torch.full((3, 3), 1 / 3), torch.tensor([1.0, 2.0, 3.0]), names=["a", "b", "c"])
    nodes = [patch for patch in ax.patches if not patch.get_gid()]
    (arrow,) = (patch for patch in ax.patches if patch.get_gid() == f"{source}->{target}")
    ends = arrow._path_original.vertices[[0, -1]]
    for end, node in zip(ends, (nodes[source], nodes[target]), strict=True):
        assert np.linalg.norm(end - node.get_center()) == pytest.approx(node.get_radius(), rel=0.01)


def test_the_more_time_in_a_state_the_larger_its_node():
    ax = plots.transitions(torch.full((3, 3), 1 / 3), torch.tensor([2.0, 0.0, 4.0]))
    radius = [patch.get_radius() for patch in ax.patches if not patch.get_gid()]
    assert 0 < radius[1] < radius[0] < radius[2]


@pytest.mark.parametrize(
    "topology",
    [
        {},
        {"allowed": [[True, False, True], [True, True, False], [False, False, True]]},
        {"offsets": (0, 1)},
        {"arcs": ([0, 1, 2, 2], [1, 2, 2, 0])},
    ],
    ids=["dense", "allowed", "offsets", "arcs"],
)
def test_the_arrows_of_a_model_are_the_transitions_that_it_draws(topology):
    model = HMM(3, Gaussian(3, features=1), **topology)
    states = model.sample(60, (200,), generator=torch.Generator().manual_seed(0)).states
    seen = torch.stack([states[:, :-1].flatten(), states[:, 1:].flatten()], -1).unique(dim=0)
    assert sorted(edges(plots.transitions(model))) == [tuple(pair) for pair in seen.tolist()]


def test_a_semi_markov_model_has_arrows_to_other_states_only():
    model = HSMM(3, Gaussian(3, features=1), durations.Poisson(3, max_duration=5))
    assert sorted(edges(plots.transitions(model))) == [(a, b) for a in range(3) for b in range(3) if a != b]


def test_among_many_arrows_only_those_that_stay_have_a_label():
    ax = plots.transitions(torch.full((6, 6), 1 / 6))
    assert len(edges(ax)) == 36
    assert len(ax.texts) == 6 + 6


# Durations


def rows(ax) -> list[tuple[np.ndarray, np.ndarray]]:
    """The histogram and the law of each state, scaled alike."""
    steps = [patch.get_data().values - patch.get_data().baseline for patch in ax.patches]
    return list(zip(steps[::2], steps[1::2], strict=True))


def test_histograms_count_the_segments_and_lines_are_the_law():
    model = HSMM(2, Gaussian(2, features=1), durations.Poisson(2, max_duration=6))
    states = torch.tensor([[0, 0, 1, 0, 0, 0], [0, 1, 1, 1, -1, -1]])
    ax = plots.durations(model, states, names=["a", "b"])
    assert tick_labels(ax.yaxis) == ["a (n = 3)", "b (n = 2)"]
    counts = np.array([[1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 0]])
    laws = model.duration().exp().detach().numpy()
    for (bars, line), count, law in zip(rows(ax), counts, laws, strict=True):
        share = count / count.sum()
        scale = 0.85 / max(share.max(), law.max())
        np.testing.assert_allclose(bars, scale * np.resize(share, len(bars)), atol=1e-6)
        np.testing.assert_allclose(line, scale * law[: len(line)], atol=1e-6)


def test_the_segments_of_a_path_are_counted_as_they_are():
    """Also where a segment follows one of the same state."""
    emission, lengths = torch.zeros(2, 6, 1), torch.tensor([6, 4])
    hsmm = semihmm.HSMM(torch.zeros(1), torch.zeros(1, 1), torch.tensor([[-torch.inf, 0.0]]), emission, lengths=lengths)
    ax = plots.durations(torch.tensor([[0.5, 0.5]]), semihmm.viterbi(hmm := hsmm))
    assert hmm.steps == 6 and tick_labels(ax.yaxis) == ["0 (n = 5)"]
    np.testing.assert_allclose(rows(ax)[0][0], [0.0, 0.85])


def test_the_law_of_a_markov_model_is_geometric():
    model = HMM(2, Gaussian(2, features=1))
    with torch.no_grad():
        model.transition.logits.copy_(torch.tensor([[0.8, 0.2], [0.5, 0.5]]).log())
    for (_, line), stay in zip(rows(plots.durations(model)), (0.8, 0.5), strict=True):
        law = np.array([stay**d * (1 - stay) for d in range(len(line))])
        np.testing.assert_allclose(line, 0.85 * law / law.max(), rtol=1e-5)
        assert law.sum() > 0.99


def test_many_lengths_are_put_together_in_bins():
    law = torch.full((1, 150), 1 / 150)
    states = torch.arange(2).repeat_interleave(torch.tensor([140, 5])).eq(1).long()
    ax = plots.durations(law.expand(2, -1), states)
    (bars, line), _ = rows(ax)
    edges = ax.patches[0].get_data().edges
    assert set(np.diff(edges)) == {3.0} and len(line) == 50
    np.testing.assert_allclose(line / line[0], 1.0)
    assert bars.nonzero()[0].tolist() == [(140 - 1) // 3]


# Alignments


def test_the_path_lies_on_its_matrix_and_padding_is_cut_off():
    cost = torch.rand(4, 5)
    dtw = semihmm.DTW(cost)
    ax = plots.alignment(cost, torch.tensor([[0, 0], [1, 1], [2, 2], [3, 4], [-1, -1]]), label="cost")
    np.testing.assert_array_equal(ax.images[0].get_array(), cost.T.double().numpy())
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [1, 1], [2, 2], [3, 4]]
    assert ax.get_xlim() == (-0.5, 3.5) and ax.get_ylim() == (-0.5, 4.5)
    assert ax.figure.axes[1].get_ylabel() == "cost"
    pairs = semihmm.viterbi(dtw)
    assert plots.alignment(cost, pairs).lines[0].get_xydata().tolist() == [p for p in pairs.event.tolist() if p[0] >= 0]


def test_what_a_window_forbids_is_no_shade():
    cost = torch.tensor([[0.0, torch.inf], [3.0, 1.0]])
    image = plots.alignment(cost).images[0]
    assert image.get_array().mask.T.tolist() == cost.isinf().tolist()
    assert image.get_clim() == (0.0, 3.0)


def test_one_token_for_each_frame_is_a_path_too_and_ends_the_picture():
    posterior = torch.rand(6, 3)
    ax = plots.alignment(posterior, torch.tensor([0, 0, -1, 2, -1, -1]), names="abc")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0, 0, np.nan, 2])
    assert ax.get_xlim() == (-0.5, 3.5)
    assert tick_labels(ax.yaxis) == list("abc")


def test_the_path_of_a_ctc_is_its_tokens():
    ctc = semihmm.CTC(torch.randn(7, 4), targets=torch.tensor([3, 1]))
    best = semihmm.viterbi(ctc)
    ax = plots.alignment(semihmm.marginals(ctc).emission, best)
    assert ax.lines[0].get_ydata().tolist() == best.event[:, 0].tolist()


# The k best paths


def test_each_path_has_a_row_and_what_the_best_says_too_is_faded():
    hmm = sticky(2, 9)
    paths = semihmm.topk(hmm, 5)
    ax = plots.k_best(paths)
    assert len(ax.collections) == 5
    for row, (bands, path) in enumerate(zip(ax.collections, paths.event, strict=True)):
        faded = np.full(9, -1.0)
        for band, colour in zip(bands.get_paths(), bands.get_facecolors(), strict=True):
            left, right = band.vertices[:, 0].min(), band.vertices[:, 0].max()
            faded[int(left + 0.5) : int(right + 0.5)] = colour[3]
        same = (path == paths.event[0]) & (row > 0)
        np.testing.assert_allclose(faded, np.where(same, 0.25, 1.0))
    chances = torch.softmax(semihmm.topk(hmm, 512).score, 0)[:5]
    assert tick_labels(ax.yaxis) == [f"{p:.2g}" for p in chances.tolist()]


def test_paths_that_do_not_exist_are_left_out():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
    assert len(plots.k_best(semihmm.topk(hmm, 12)).collections) == 8


def test_the_k_best_paths_end_where_the_sequence_does():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.randn(9, 2), lengths=torch.tensor(4))
    assert plots.k_best(semihmm.topk(hmm, 3)).get_xlim() == (-0.5, 3.5)


def test_a_chance_that_is_too_small_to_read_is_a_power_of_e():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2000, 2))
    assert tick_labels(plots.k_best(semihmm.topk(hmm, 1)).yaxis) == ["exp(-1386)"]


# Fits


def test_a_history_is_a_line_and_the_best_one_is_named():
    fits = [Fit((-9.0, -5.0, -4.0), True), Fit((-8.0, -3.0), False), [-7.0, -6.0, -5.5, -5.4]]
    ax = plots.histories(fits)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[-8, -3], [-9, -5, -4], [-7, -6, -5.5, -5.4]]
    assert [line.get_fillstyle() for line in ax.lines] == ["none", "full", "full"]
    assert legend_of(ax) == ["the best of 3", "others"]
    assert plots.histories(fits[0]).get_legend() is None


@pytest.mark.parametrize(("chosen", "marked"), [(None, 3), (2, 2)], ids=["least", "given"])
def test_the_chosen_size_is_marked(chosen, marked):
    values = {4: 2.5, 2: 4.0, 3: 1.0, 5: torch.nan}
    ax = plots.selection(values, chosen, criterion="BIC")
    line, ring = ax.lines
    assert line.get_xydata().tolist() == [[2, 4.0], [3, 1.0], [4, 2.5]]
    assert ring.get_xydata().tolist() == [[marked, values[marked]]]
    assert ax.texts[0].get_text() == str(marked) and ax.get_ylabel() == "BIC"


# What is refused


BATCH = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 4, 2))
WITHOUT_STATES = semihmm.DTW(torch.zeros(2, 2))
WRONG = {
    "a batch of observations": (ShapeError, "x must be", lambda: plots.timeline(torch.zeros(2, 3, 4), STATES)),
    "a batch of states": (ShapeError, r"states\[0\]", lambda: plots.timeline(torch.zeros(3), STATES.expand(2, -1))),
    "another number of states": (ShapeError, "11", lambda: plots.timeline(torch.zeros(12), STATES)),
    "states as floats": (ShapeError, "integers", lambda: plots.timeline(torch.zeros(11), STATES.float())),
    "no state": (ShapeError, "at least one", lambda: plots.timeline(torch.zeros(2), torch.tensor([-1, -1]))),
    "too few names": (ShapeError, "all 3", lambda: plots.timeline(torch.zeros(11), STATES, names=["a", "b"])),
    "one feature": (ShapeError, "timeline", lambda: plots.scatter(torch.zeros(11, 1), STATES)),
    "another emission": (StructureError, "Laplace", lambda: plots.scatter(torch.zeros(11, 2), STATES, Laplace(3, 2))),
    "log-probabilities": (DataError, r"\.exp\(\)", lambda: plots.posteriors(torch.rand(3, 2).log_softmax(-1))),
    "rows that sum to 2": (DataError, "row 0 sums to 2", lambda: plots.posteriors(torch.ones(3, 2))),
    "less than none": (DataError, "probabilities", lambda: plots.posteriors(torch.tensor([[1.5, -0.5]]))),
    "NaN": (DataError, "sums to nan", lambda: plots.posteriors(torch.full((3, 2), torch.nan))),
    "nothing": (ShapeError, "not 0", lambda: plots.posteriors(torch.zeros(3, 2))),
    "another kind": (ShapeError, "'pie'", lambda: plots.posteriors(torch.eye(2), kind="pie")),
    "a batch of posteriors": (ShapeError, "one sequence", lambda: plots.posteriors(torch.ones(2, 3, 1))),
    "no square": (ShapeError, r"\(S, S\)", lambda: plots.transitions(torch.full((2, 4), 0.25))),
    "another occupancy": (ShapeError, "occupancy", lambda: plots.transitions(torch.eye(2), torch.ones(3))),
    "a law of other states": (ShapeError, "2 states", lambda: plots.durations(torch.full((2, 4), 0.25), STATES)),
    "a path outside": (ShapeError, "path", lambda: plots.alignment(torch.zeros(2, 2), torch.tensor([[0, 2]]))),
    "a path for other steps": (ShapeError, "path", lambda: plots.alignment(torch.zeros(2, 2), torch.zeros(3).long())),
    "paths of a batch": (ShapeError, "one sequence", lambda: plots.k_best(semihmm.topk(BATCH, 2))),
    "paths without states": (StructureError, "DTW", lambda: plots.k_best(semihmm.topk(WITHOUT_STATES, 2))),
    "paths of several": (ShapeError, "got", lambda: plots.alignment(torch.zeros(2, 2), torch.zeros(3, 3, 2).long())),
    "triples": (ShapeError, r"\(3, 3\)", lambda: plots.alignment(torch.zeros(2, 2), torch.zeros(3, 3).long())),
    "one history": (ShapeError, "each of fits", lambda: plots.histories([-3.0, -2.0])),
    "an infinite history": (ShapeError, "finite", lambda: plots.histories([[-3.0, -torch.inf]])),
    "no fit": (ShapeError, "histories", lambda: plots.histories([])),
    "no value": (ShapeError, "selection", lambda: plots.selection({2: torch.nan})),
    "a choice without value": (ShapeError, "size 4", lambda: plots.selection({2: 1.0}, chosen=4)),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_drawn_is_refused(what):
    error, says, draw = WRONG[what]
    with pytest.raises(error, match=says) as caught:
        draw()
    assert isinstance(caught.value, SemihmmError)


# Size


@pytest.mark.parametrize("name", ["timeline", "scatter", "area", "heat", "k_best"])
def test_a_hundred_thousand_steps_of_twenty_states_are_few_artists(name):
    """What makes it quick: one collection, one line or one image, not an artist a step."""
    states = torch.arange(100_000) // 5 % 20
    x, posterior = torch.randn(100_000, 2), torch.nn.functional.one_hot(states, 20).float()
    both = torch.stack([states, states.roll(1)])
    paths = semihmm.Paths(both, torch.zeros(2), torch.ones(2, dtype=torch.bool), sticky(2, 3))
    draw = {
        "timeline": lambda: plots.timeline(x, states),
        "scatter": lambda: plots.scatter(x, states),
        "area": lambda: plots.posteriors(posterior),
        "heat": lambda: plots.posteriors(posterior, kind="heat"),
        "k_best": lambda: plots.k_best(paths),
    }
    ax = draw[name]()
    assert len(ax.get_children()) < 40
    assert drawn(ax).shape[2] == 4


def test_what_select_returns_is_drawn_as_it_is():
    models = {n: HMM(n, Gaussian(n, 1)) for n in (2, 3)}
    found = Selection("heldout", {2: -10.0, 3: -12.0}, models, 2, "2 states")
    ax = plots.selection(found)
    assert_close(torch.as_tensor(ax.lines[-1].get_xydata()), torch.tensor([[2.0, -10.0]]).double())
    assert ax.get_ylabel() == "heldout"


def test_segments_of_one_state_that_meet_are_set_apart():
    hsmm = semihmm.HSMM(*(torch.zeros(shape) for shape in ((1,), (1, 1), (1, 2), (3, 1))))
    paths = semihmm.topk(hsmm, 2)
    (lines,) = (x for x in plots.k_best(paths).collections if type(x).__name__ == "LineCollection")
    expected = {
        (row, start - 0.5)
        for row, event in enumerate(paths.event.tolist())
        for state, start, _ in event
        if state >= 0 and start
    }
    assert {(round(y.mean()), x[0]) for x, y in (line.T for line in lines.get_segments())} == expected
