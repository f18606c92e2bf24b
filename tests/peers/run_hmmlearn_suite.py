"""hmmlearn's own test suite, run with our estimators in place of its classes. Nothing of it is copied.

    python tests/peers/run_hmmlearn_suite.py

finds the tests that hmmlearn installs, puts `semihmm.estimators` where they import `hmmlearn.hmm` and `hmmlearn.base`,
and ends with an error if a test fails that is not among the cases below, or passes although it is.
"""

import importlib
import os
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import hmmlearn
import pytest
import torch
from threadpoolctl import threadpool_limits

from semihmm import estimators

NOT_RUN = {
    r"test_kl_divergence|test_utils|test_do_\w+_pass": "calls hmmlearn's own functions; nothing of ours runs",
    r"\bscaling\b": "as with implementation='log', which makes no difference here (tests/estimators/test_face.py)",
    r"test_fit_mcgrory": "expects means of draws from hmmlearn's generator (fits: tests/estimators/test_variational)",
}
DIFFERENT = {
    r"test_n_features": "n_features is an argument, and fit leaves arguments alone (scikit-learn's rule)",
    r"test__check_and_set_": "calls a private method; fit refuses the same data (tests/estimators/test_face.py)",
    r"test_init_incorrect_priors": "expects symbols that the data do not have to be refused",
}


class Record:
    """The outcome of each test."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        theirs = [item for item in items if reason(NOT_RUN, item.nodeid)]
        items[:] = [item for item in items if item not in theirs]
        self.outcomes.update((item.nodeid, "not run") for item in theirs)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            self.outcomes[report.nodeid] = "their xfail" if hasattr(report, "wasxfail") else report.outcome


def reason(cases: dict[str, str], test: str) -> str | None:
    return next((why for pattern, why in cases.items() if re.search(pattern, test)), None)


def replace() -> None:
    """Let `import hmmlearn.hmm`, `hmmlearn.base` and `hmmlearn.vhmm` find ours."""
    names = {name: getattr(estimators, name) for name in estimators.__all__}
    for module in ("hmm", "base", "vhmm"):
        shim = ModuleType(f"hmmlearn.{module}")
        vars(shim).update(names, DECODER_ALGORITHMS=frozenset({"viterbi", "map"}))
        sys.modules[shim.__name__] = shim
        setattr(hmmlearn, module, shim)


def main() -> int:
    folder = Path(hmmlearn.__file__).parent / "tests"
    if not folder.is_dir():
        print(f"The installed hmmlearn has no tests in {folder}.")
        return 2
    importlib.import_module("hmmlearn._kl_divergence")  # theirs, before its imports become ours
    replace()
    os.environ.setdefault("HMMLEARN_SEED", "0")
    record = Record()
    options = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={folder}"]
    with threadpool_limits(1):
        torch.set_num_threads(1)
        pytest.main([*options, *sys.argv[1:], str(folder)], plugins=[record])
    surprises = [
        f"{test}: {outcome}, expected {'failed' if why else 'passed'}"
        for test, outcome in record.outcomes.items()
        if outcome in ("passed", "failed") and (outcome == "failed") != bool(why := reason(DIFFERENT, test))
    ]
    print(f"hmmlearn {hmmlearn.__version__}:", dict(Counter(record.outcomes.values())))
    for why, count in Counter(reason(NOT_RUN | DIFFERENT, test) for test in record.outcomes).items():
        if why:
            print(f"{count:5d}  {why}")
    print(*surprises, sep="\n")
    return int(bool(surprises))


if __name__ == "__main__":
    sys.exit(main())
