"""What every test stands on: how hypothesis searches, one thread, a fixed seed, and where the files are."""

import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# No deadline and no complaint about slow draws: both measure the machine. `ci` meets the same examples at every run.
settings.register_profile("default", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.register_profile("ci-again", settings.get_profile("ci"), max_examples=10)  # behind `ci`
settings.register_profile("thorough", settings.get_profile("default"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

torch.set_num_threads(1)  # the tests themselves run side by side
os.environ["MPLBACKEND"] = "Agg"


MEASURED = 7  # one case in so many


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Coverage is measured on the first case of a test and on some others: it halves the speed, and lines recur."""
    cases: Counter[str] = Counter()
    for item in items if config.pluginmanager.hasplugin("_cov") else ():
        test = item.nodeid.partition("[")[0]
        if cases[test] % MEASURED:
            item.add_marker("no_cover")
        cases[test] += 1


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """A test that forgets to pass a generator still draws the same numbers at every run.

    So it is with the number of threads: one that is left behind made all that came later up to 18 times as slow.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top folder of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data(repository: Path) -> Path:
    """The measuring recordings, which are not part of the repository: `SEMIHMM_DATA`, or beside the checkout."""
    folder = Path(os.environ.get("SEMIHMM_DATA", repository.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no measuring recordings: {folder} is not there (set SEMIHMM_DATA)")
    return folder
