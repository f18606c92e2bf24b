"""What a call will do and what it refuses; how long and how much it is estimated to take, and by which table."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import product

import pytest
import torch

import semihmm
from semihmm import engine
from semihmm.engine import Chain, Dense, Diagonal, Grid, Segmental, Sparse, calibrate, costs, memory
from semihmm.engine.backends import native
from semihmm.engine.maps import Arcs, Banded
from semihmm.engine.strategies import STRATEGIES
from semihmm.errors import DataError, SemihmmError, SemiringError, ShapeError
from semihmm.semirings import Count, Log, Max, SparseMax, TopK

WITH_NATIVE = pytest.mark.skipif(native() is None, reason="the native backend is not loaded")
BACKENDS = ["torch", pytest.param("native", marks=WITH_NATIVE)]


def chain(steps=100, states=3):
    return Chain((torch.zeros(states),), Dense(torch.zeros(steps, states, states)))


@pytest.fixture
def by_shipped_table(monkeypatch):
    monkeypatch.setattr(costs, "_TABLE", costs.shipped())
    costs._remembered.cache_clear()
    yield
    costs._remembered.cache_clear()


def test_the_planner_goes_by_how_much_a_step_costs_and_how_many_there_are(by_shipped_table):
    def planned(steps, states):
        return engine.plan(chain(steps, states), Count()).strategy  # the torch backend's

    assert planned(4, 2) == "sequential"
    assert planned(1000, 2) == "associative"
    assert planned(100, 10) == "chunked"
    assert planned(100, 100) == "sequential"
    named = engine.plan(chain(100, 100), Log(), "associative")
    assert (named.strategy, named.backend, named.reason) == ("associative", "torch", "named by the caller")


def test_of_two_ways_the_one_with_the_lower_estimate_is_planned():
    size = costs.Size("dense", 2, 50, 4, 1, 20)
    cheap, dear = (1e-6, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)
    for best, question in product(costs.WAYS, costs.QUESTIONS):
        rates = {(w, "dense", q): cheap if w == best else dear for w in costs.WAYS for q in costs.QUESTIONS}
        table = costs.Table(rates, {})
        assert costs.cheapest(table, costs.WAYS, size)[0] == best
        assert costs.seconds(table, best, size, question) == 1e-6
        others = [way for way in costs.WAYS if way != best]
        assert costs.cheapest(table, others, size)[0] == others[0]  # of equals the first


@WITH_NATIVE
@pytest.mark.skipif(bool(os.environ.get("SEMIHMM_BACKEND")), reason="the environment says who works")
def test_the_table_decides_between_backends_but_not_against_the_caller(monkeypatch):
    rates = dict.fromkeys(costs.shipped().rates, (1.0, 0.0, 0.0, 0.0))
    for question in costs.QUESTIONS:
        rates["torch chunked", "dense over time", question] = (1e-6, 0.0, 0.0, 0.0)
    monkeypatch.setattr(costs, "_TABLE", costs.Table(rates, {}))
    costs._remembered.cache_clear()
    planned = engine.plan(chain(), Log())
    assert (planned.backend, planned.strategy) == ("torch", "chunked")
    assert planned.reason == "estimated to be done first, of 4 ways"
    assert engine.plan(chain(), Log(), backend="native").backend == "native"
    assert engine.plan(chain(), Log(), "sequential").backend == "native"
    costs._remembered.cache_clear()


@WITH_NATIVE
def test_the_native_backend_works_where_it_can(by_shipped_table):
    assert engine.plan(chain(100, 10), Log()).backend == "native"
    assert engine.plan(chain(100, 10), Count()).backend == "torch"


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(SemihmmError, match=r"sequential, associative, chunked.*got 'fast'"):
        engine.plan(chain(), Log(), "fast")
    with pytest.raises(SemihmmError, match=r"backend must be one of torch, native .*got 'cuda'"):
        engine.plan(chain(), Log(), backend="cuda")


@pytest.mark.parametrize("kind", costs.FAMILIES)
def test_an_estimate_grows_with_every_size(kind):
    table, size = costs.shipped(), costs.Size(kind, 2, 64, 6, 2, 40)
    for way, question in product(costs.WAYS, costs.QUESTIONS):
        least = costs.seconds(table, way, size, question)
        assert least > 0
        more = {"batch": 16, "steps": 640, "slots": 60, "work": 4000, "components": 5}
        for name, value in more.items():
            assert costs.seconds(table, way, size._replace(**{name: value}), question) >= least
        assert costs.seconds(table, way, size._replace(**more), question) > 2 * least


def test_a_size_is_that_of_the_chain():
    for kind in costs.FAMILIES:
        found = calibrate.example(kind, 3, 20, 4)
        size = costs.size_of(found, TopK(5))
        steps = found.steps
        assert size == (kind, 3, found.length, steps.slots, steps.memory, steps.work, 5)
        assert size.batch == found.batch.numel()


def test_rates_are_found_again_and_never_negative():
    sizes = [costs.Size("dense", b, t, s, 1, s * s) for b in (1, 8) for t in (5, 50, 500) for s in (2, 8, 32)]
    rows = [costs.counts("torch sequential", size) for size in sizes]
    for true in [(1e-4, 4e-5, 2e-8, 1e-9), (1e-4, 0.0, 0.0, 1e-9), (0.0, 4e-5, 2e-8, 0.0)]:
        seconds = [sum(r * n for r, n in zip(true, row, strict=True)) for row in rows]
        assert calibrate.fitted(rows, seconds) == pytest.approx(true, rel=1e-3, abs=1e-15)
    assert min(calibrate.fitted(rows, [1 / row[1] for row in rows])) >= 0  # the opposite of what a scan takes


def test_the_shipped_table_has_everything_and_says_where_it_is_from():
    table = costs.shipped()
    assert set(table.rates) == set(product(costs.WAYS, costs.FAMILIES, costs.QUESTIONS))
    assert {"origin", "machine", "threads", "torch"} <= set(table.about)


def test_a_table_of_this_machine_is_used_and_the_shipped_one_fills_its_gaps(tmp_path):
    key = ("torch chunked", "dense", "total")
    calibrate.save(costs.Table({key: (1.0, 2.0, 3.0, 4.0)}, {"origin": "here"}), tmp_path / "costs.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = costs.load({"SEMIHMM_COSTS": str(tmp_path / "costs.json")})
        assert costs.load({"SEMIHMM_COSTS": "shipped"}) == costs.shipped()
    assert table.rates == {**costs.shipped().rates, key: (1.0, 2.0, 3.0, 4.0)}
    assert table.where == "here: a machine"


WRONG = {
    "no json": ("{", "no JSON"),
    "a list": ("[]", "version is None"),
    "old": ('{"version": 0}', "version is 0, not 1"),
    "empty": ('{"version": 1}', "no rates"),
    "unknown": ('{"version": 1, "about": {}, "rates": {"by hand, dense, total": [1, 1, 1, 1]}}', "by hand"),
    "negative": ('{"version": 1, "about": {}, "rates": {"torch chunked, dense, total": [1, -1, 1, 1]}}', "4 numbers"),
    "endless": ('{"version": 1, "about": {}, "rates": {"torch chunked, dense, total": [1, NaN, 1, 1]}}', "4 numbers"),
    "nothing": ('{"version": 1, "about": {}, "rates": {"torch chunked, dense, total": [0, 0, 0, 0]}}', "4 numbers"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_table_that_cannot_be_used_is_a_warning_and_the_shipped_one_serves(kind, tmp_path):
    text, why = WRONG[kind]
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(DataError, match=why):
        costs.decoded(text)
    with pytest.warns(RuntimeWarning, match=f"(?s){why}.*semihmm.engine.calibrate") as caught:
        assert costs.load({"SEMIHMM_COSTS": str(path)}) == costs.shipped()
    assert len(caught) == 1
    with pytest.warns(RuntimeWarning, match="cannot be used"):
        assert costs.load({"SEMIHMM_COSTS": str(tmp_path / "none.json")}) == costs.shipped()


def test_a_broken_cache_is_one_warning_when_semihmm_is_imported(tmp_path):
    (tmp_path / "semihmm").mkdir()
    (tmp_path / "semihmm" / "costs.json").write_text("{")
    twice = "[semihmm.log_partition(semihmm.HMM(x, x[:, None] + x, x[:, None] + x)) for _ in 'ab']"
    ask = f"import torch, semihmm; x = torch.zeros(2); {twice}"
    folder = {name: str(tmp_path) for name in ("XDG_CACHE_HOME", "LOCALAPPDATA")}
    environment = {k: v for k, v in os.environ.items() if k != "SEMIHMM_COSTS"} | folder
    found = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert found.stderr.count("RuntimeWarning") == (0 if sys.platform == "darwin" else 1)


def test_a_write_that_fails_leaves_the_old_table(tmp_path, monkeypatch):
    path = tmp_path / "costs.json"
    calibrate.save(costs.shipped(), path)
    before = path.read_bytes()
    assert costs.decoded(before.decode()) == costs.shipped()
    monkeypatch.setattr(calibrate, "encoded", lambda table: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        calibrate.save(costs.shipped(), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_calibration_writes_one_table_and_shows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibrate, "SIZES", {kind: [(1, t, 2) for t in (3, 4, 5)] for kind in costs.FAMILIES})
    monkeypatch.setattr(calibrate, "least", lambda work, clock, patience: work() or 1e-3)
    path = tmp_path / "deep" / "costs.json"
    assert calibrate.main(["--out", str(path), "--quick"]) == 0
    assert str(path) in capsys.readouterr().out and list(path.parent.iterdir()) == [path]
    table = costs.decoded(path.read_text())
    ways = [way for way in costs.WAYS if native() is not None or not way.startswith("native")]
    assert set(table.rates) == set(product(ways, costs.FAMILIES, costs.QUESTIONS))
    assert table.about["origin"] == "measured here" and json.loads(path.read_text())["version"] == costs.VERSION
    assert calibrate.main(["--show"]) == 0
    assert "torch chunked, grid, gradient" in capsys.readouterr().out


def test_calibration_ends_when_there_was_enough_time_for_it(monkeypatch):
    monkeypatch.setattr(calibrate, "ENOUGH", (-1.0, -1.0))
    assert calibrate.calibrate(quick=True).rates == {}


def test_a_sum_that_depends_on_its_order_is_never_regrouped():
    assert engine.plan(chain(), SparseMax()).strategy == "sequential"
    assert engine.plan(chain(), SparseMax(), "sequential").strategy == "sequential"
    for strategy in ("associative", "chunked"):
        with pytest.raises(SemiringError, match="associative is False"):
            engine.plan(chain(), SparseMax(), strategy)


def test_checkpoints_take_the_square_root_of_the_steps():
    assert engine.plan(chain(), Log()).blocks == 1
    assert engine.plan(chain(), Log(), checkpoint=False).blocks == 1
    assert engine.plan(chain(100), Log(), checkpoint=True).blocks == 10
    assert engine.plan(chain(100), Log(), checkpoint=10**6).blocks == 1


def shared(kind, batch=1, steps=400):
    """A chain whose tables take next to nothing, so that what is held are its state vectors."""
    start = torch.zeros(batch, 6, dtype=torch.float64)
    if kind == "segmental":
        flat = torch.zeros(1, 1, 1, dtype=torch.float64)
        emission = torch.zeros(steps, 3, dtype=torch.float64)
        return Chain((start,), Segmental.of(flat.expand(1, 3, 3), flat.expand(1, 4, 3), emission))
    return Chain((start,), Dense(torch.zeros(1, 6, 6, dtype=torch.float64)), length=steps)


def held(chain, plan):
    """Bytes of the state vectors and offsets that autograd keeps, and the total."""
    given = chain.rebuild([x.detach().requires_grad_() for x in chain.leaves])
    weights, seen = {x.shape for x in given.leaves}, {}

    def note(x):
        if x.shape not in weights and x.numel() > chain.batch.numel():  # a log-weight, the total
            seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        value = engine.total(plan, Log(), given).sum()
    return sum(seen.values()), value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["dense", "segmental"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_byte_budget_holds(backend, kind, batch):
    given = shared(kind, batch)
    whole = engine.plan(given, Log(), backend=backend)
    most, expected = held(given, whole)
    told = memory.kept(given, Log(), backend)
    assert most <= told.rows(1)
    for share in (2, 4):
        budget = most // share
        planned = engine.plan(given, Log(), checkpoint=budget, backend=backend)
        assert planned.blocks > 1
        found, value = held(given, planned)
        torch.testing.assert_close(value, expected)
        block = told.block(planned.blocks)
        assert 0 < found <= told.rows(planned.blocks) and found + block <= budget
    with pytest.raises(SemihmmError, match=r"a budget of 10 bytes cannot hold.*the least is [\d,]+ bytes") as refused:
        engine.plan(given, Log(), checkpoint=10, backend=backend)
    least = int(str(refused.value).split("least is ")[1].split(" ")[0].replace(",", ""))
    assert engine.plan(given, Log(), checkpoint=least, backend=backend).blocks > 1
    with pytest.raises(SemihmmError, match="cannot hold"):
        engine.plan(given, Log(), checkpoint=least - 1, backend=backend)


@WITH_NATIVE
def test_native_vectors_are_counted_with_their_padding():
    from semihmm.engine.backends.compiled import call_for

    given = chain(100, 3)
    call = call_for(Log(), given)
    assert memory.kept(given, Log(), "native").vector == 4 * call.stride >= 4 * 3
    blocks = 4  # of 32 steps: of each it is said whether its vectors are scaled
    assert memory.kept(given, Log(), "native").rows(1) == 101 * (4 * call.stride + 8) + 8 * blocks


def segments_of_few_arcs():
    """12 states, of which each but the first goes on to the next and the second next one; 3 sequences."""
    source, target = torch.arange(1, 12).repeat(2), torch.cat([torch.arange(2, 13), torch.arange(3, 14)]) % 12
    lasting = torch.zeros(1, calibrate.LONGEST, 12), torch.zeros(3, 60, 12)
    return Chain((torch.zeros(24),), Segmental.of(Arcs(source, target, torch.zeros(1, 22), 12), *lasting))


def test_a_segmental_costs_its_durations_and_the_arcs_of_its_transition():
    given = segments_of_few_arcs()
    size = costs.size_of(given, Log())
    assert (size.family, size.work, size.slots) == ("segmental", 22 + 12 * calibrate.LONGEST, 24)
    dense = replace(given, steps=replace(given.steps, transition=Dense(torch.zeros(1, 12, 12))))
    assert costs.size_of(dense, Log()).work == 12 * (12 + calibrate.LONGEST)


def allocated(work):
    """The most bytes that PyTorch's allocator had handed out at once."""
    with torch.profiler.profile(profile_memory=True) as profile:
        kept_till_here = work()
    del kept_till_here
    now = most = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [*costs.FAMILIES, "segmental arcs"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_the_allocator_shows_stays_below_the_estimate(backend, kind, checkpoint, monkeypatch):
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")
    given = segments_of_few_arcs() if kind == "segmental arcs" else calibrate.example(kind, 3, 60, 12)
    for semiring, strategy in product((Log(), Max()), STRATEGIES if backend == "torch" else ("sequential",)):
        if strategy == "associative" and kind in ("segmental", "segmental arcs", "grid"):
            continue  # matrices of carries: gigabytes
        plan = engine.plan(given, semiring, strategy, checkpoint, backend)
        told = memory.estimate(given, semiring, plan)

        def forward(semiring=semiring, plan=plan):
            with torch.no_grad():
                return engine.total(plan, semiring, given)

        def both(semiring=semiring, plan=plan):
            leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in given.leaves]
            engine.total(plan, semiring, given.rebuild(leaves)).sum().backward()
            return leaves

        forward(), both()  # what is remembered from call to call is there now
        for work, most in ((forward, told.total), (both, told.gradient)):
            seen = allocated(work)
            assert seen <= most
            if backend == "torch" and semiring == Log():  # natively, most of it is not the allocator's
                assert most <= 5 * seen + 100_000


def test_explain_says_what_runs_how_long_and_how_much():
    hmm = semihmm.HMM(torch.zeros(4), torch.zeros(4, 4), torch.zeros(2, 1000, 4))
    lines = semihmm.explain(hmm, strategy="chunked").splitlines()
    assert lines[0] == "HMM: 2 sequences, 999 steps, carry 1 x 4; 39,960 products"
    assert lines[1] == "backend torch, strategy chunked, 1 block: named by the caller"
    assert lines[2].startswith("time about ") and costs.table().where in lines[2]
    told = memory.estimate(hmm.chain(), Log(), engine.plan(hmm.chain(), Log(), "chunked"))
    assert f"with its gradient {told.gradient:,} bytes; {told.vectors:,} bytes" in lines[3]
    fewer = semihmm.explain(hmm, checkpoint=20_000, backend="torch").splitlines()
    assert int(fewer[3].split("; ")[1].split(" ")[0].replace(",", "")) <= 20_000


def test_blocks_cover_all_steps_once():
    for length in range(12):
        for blocks in range(1, 8):
            plan = engine.Plan("sequential", blocks, "torch", "")
            covered = [t for start, stop in plan.bounds(length) for t in range(start, stop)]
            assert covered == list(range(length))


def test_backends_say_why_they_are_loaded():
    assert "loaded" in engine.backends()["torch"]


def test_maps_refuse_tables_that_do_not_fit():
    with pytest.raises(ShapeError, match="2 offsets need weights"):
        Banded((0, 1), torch.zeros(5, 3, 3))
    with pytest.raises(ShapeError, match="source and target must be"):
        Arcs(torch.tensor([0]), torch.tensor([0, 1]), torch.zeros(5, 2), 2)
    with pytest.raises(ShapeError, match="states must be below slots = 2, got 5"):
        Arcs(torch.tensor([0, 5]), torch.tensor([0, 1]), torch.zeros(5, 2), 2)
    with pytest.raises(ShapeError, match="moves must go down or right"):
        Grid.of(((0, 0),), torch.zeros(1, 3, 3))
    with pytest.raises(ShapeError, match="start and end must be"):
        Chain((torch.zeros(3),), Dense(torch.zeros(5, 2, 2)))
    with pytest.raises(ShapeError, match="agree on the number of time steps"):
        Chain((torch.zeros(3),), Dense(torch.zeros(5, 3, 3)) @ Diagonal(torch.zeros(4, 3)))


def test_maps_that_look_further_back_do_not_compose():
    segments = Segmental.of(torch.zeros(1, 2, 2), torch.zeros(1, 3, 2), torch.zeros(5, 2))
    with pytest.raises(ShapeError, match="look one step back, got memories 3 and 1"):
        segments @ Diagonal(torch.zeros(5, 4))


def test_a_reversed_reverse_is_the_map_itself():
    weight = torch.randn(4, 3, 2)
    there_and_back = Banded((0, 1), weight).transpose().transpose()
    carry = torch.randn(4, 1, 3)
    tables = Banded((0, 1), weight)
    assert isinstance(there_and_back, Sparse)
    torch.testing.assert_close(
        there_and_back.step(Log(), carry, there_and_back.tables()), tables.step(Log(), carry, tables.tables())
    )
