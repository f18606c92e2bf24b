"""The trellis explorer's numbers, in node or headless Chromium, against semihmm's: docs/_static/figures/trellis.html."""

import hashlib
import importlib.util
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import semihmm
from semihmm.semirings import Count, Log, Max, SmoothMax, TopK

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "web" / "figures"
FIGURES = ROOT / "docs" / "_static" / "figures"
LETTERS = ["-", "a", "b", "c"]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


presets = load(SOURCES / "presets.py")


def written(values):
    """For JSON, which has no infinity."""
    if isinstance(values, dict):
        return {name: written(value) for name, value in values.items()}
    if isinstance(values, list):
        return [written(value) for value in values]
    return "-inf" if values == -math.inf else values


def read(values):
    if isinstance(values, dict):
        return {name: read(value) for name, value in values.items()}
    if isinstance(values, list):
        return [read(value) for value in values]
    return -math.inf if values == "-inf" else values


@pytest.fixture(scope="module")
def solve():
    """Answers of the figure's own program: of its sources in node, or of the built page in Chromium."""
    if shutil.which("node"):
        runner = ["node", str(Path(__file__).with_name("recursions.mjs"))]

        def ask(cases):
            said = json.dumps(written(cases))
            done = subprocess.run(runner, input=said, capture_output=True, text=True, check=True, timeout=120)
            return read(json.loads(done.stdout))

        yield ask
        return
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("neither node nor chromium is installed")
    browser = load(Path(__file__).with_name("chromium.py")).start()
    browser.get((FIGURES / "trellis.html").as_uri())
    yield lambda cases: read(json.loads(browser.execute_script("return figure.solve(arguments[0])", json.dumps(written(cases)))))
    browser.quit()


def random_case(number):
    """One of the four structures with random weights: whole ones, so that there are ties, or real ones; some forbidden."""
    g = torch.Generator().manual_seed(number)
    kind = ("hmm", "hsmm", "ctc", "dtw")[number % 4]

    def upto(low, high):
        return int(torch.randint(low, high + 1, (), generator=g))

    whole, hole = number % 3 == 0, 0.15 if number % 5 == 0 else 0.0

    def weights(*shape):
        x = torch.randn(shape, generator=g, dtype=torch.float64)
        x = x.round() if whole else x
        return x.masked_fill(torch.rand(shape, generator=g) < hole, -math.inf).tolist()

    steps, states = upto(1, 5), upto(1, 3)
    if kind == "dtw":
        cost = torch.tensor(weights(upto(1, 4), upto(1, 4)), dtype=torch.float64).abs()
        return {"kind": kind, "potentials": {"cost": cost.masked_fill(cost.isinf(), 3.0).tolist()}}
    if kind == "ctc":
        targets = torch.randint(1, 4, (upto(1, 2),), generator=g).tolist()
        potentials = {"emission": weights(upto(3, 5), 4)}  # two equal tokens need three frames
        return {"kind": kind, "potentials": potentials, "options": {"targets": targets, "letters": LETTERS}}
    potentials = {"initial": weights(states), "transition": weights(states, states)}
    potentials |= {"duration": weights(states, upto(1, 3))} if kind == "hsmm" else {}
    return {"kind": kind, "potentials": potentials | {"emission": weights(steps, states)}}


ASKED = {"log": {}, "max": {}, "count": {}, "topk": {"k": presets.MOST}, "smooth": {"gamma": 0.5}}


def expected(case, name):
    made = presets.structure(case["kind"], case["potentials"], case.get("options", {}).get("targets"))
    answer = presets.answers(case["kind"], made, "smooth 0.5" if name == "smooth" else name)
    if name == "topk":
        answer |= {part: presets.only_real(answer[part]) for part in ("alpha", "beta", "total")}
    return answer


def assert_alike(ours, theirs, where="", tolerance=1e-9):
    """Numbers, and lists and tables of them; entries of the start and the end are not in Python's tables."""
    if isinstance(theirs, dict):
        for name, value in theirs.items():
            assert_alike(ours[name], value, f"{where}.{name}", tolerance)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), f"{where}: {ours} != {theirs}"
        for place, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_alike(a, b, f"{where}[{place}]", tolerance)
    elif isinstance(theirs, (int, str)):
        assert ours == theirs, f"{where}: {ours} != {theirs}"
    else:
        assert ours == pytest.approx(theirs, rel=0, abs=tolerance), f"{where}: {ours} != {theirs}"


def assert_paths_alike(ours, theirs):
    """Paths whose scores differ by rounding alone may come in any order, and at the end either may be left out."""
    scores = [path["score"] for path in theirs]
    assert [path["score"] for path in ours] == pytest.approx(scores, rel=0, abs=1e-9)
    groups = [sorted(b["event"] for b in theirs if abs(b["score"] - score) < 1e-9) for score in scores]
    found = [sorted(a["event"] for a in ours if abs(a["score"] - score) < 1e-9) for score in scores]
    for score, a, b in zip(scores, found, groups, strict=True):
        assert a == b or (len(theirs) == presets.MOST and abs(score - scores[-1]) < 1e-9)


@pytest.mark.parametrize("name", ASKED)
def test_two_hundred_random_structures_have_the_answers_of_semihmm(solve, name):
    cases = [random_case(number) for number in range(200)]
    answers = solve([case | {"semiring": {"name": name, **ASKED[name]}} for case in cases])
    for number, (case, ours) in enumerate(zip(cases, answers, strict=True)):
        theirs = expected(case, name)
        if name == "topk" and number % 3:
            assert_paths_alike(ours.pop("paths"), theirs.pop("paths"))
        assert_alike(ours, theirs, f"{number} {case['kind']}")


@pytest.mark.parametrize("number", range(12))
def test_paths_are_drawn_as_often_as_they_are_probable(solve, number):
    case = random_case(number)
    made = presets.structure(case["kind"], case["potentials"], case.get("options", {}).get("targets"))
    paths = semihmm.topk(made, 1000)
    probability = {
        str(presets.event_of(case["kind"], event)): float(p)
        for event, p in zip(paths.event, paths.score.softmax(0), strict=True)
        if p > 0
    }
    assert len(probability) < 1000
    (drawn,) = solve([case | {"draws": 4000, "seed": number}])
    assert len(drawn) == (4000 if probability else 0)  # nothing is drawn where there is no path
    counts = dict.fromkeys(probability, 0)
    for event in drawn:
        counts[str(event)] += 1  # a path that is not there is a KeyError
    often = [name for name, p in probability.items() if 4000 * p >= 5]
    surprise = sum((counts[name] - 4000 * probability[name]) ** 2 / (4000 * probability[name]) for name in often)
    freedom = max(len(often), 1)
    assert surprise < freedom + 5 * math.sqrt(2 * freedom)  # the seed is fixed: this never fails by chance


def test_presets_hold_what_semihmm_computes():
    kept = json.loads(presets.FILE.read_text())
    assert_alike(kept, json.loads(json.dumps(presets.presets())), tolerance=2e-6)
    assert {preset["kind"] for preset in kept} == {"hmm", "hsmm", "ctc", "dtw"}
