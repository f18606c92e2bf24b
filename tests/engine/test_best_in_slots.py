"""The best score through each slot at each time: two compiled passes, beside the torch backend."""

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import engine
from semihmm.engine.backends import native, registered
from semihmm.engine.plan import Scan
from semihmm.semirings import Max

pytestmark = pytest.mark.skipif(native() is None, reason="the native backend is not compiled")


def chain_of(states: int, *batch: int, steps: int = 20, varying: bool = False, tied: bool = False) -> engine.Chain:
    """Of an HMM in which some of everything is forbidden, so that some slots have no path."""
    g = torch.Generator().manual_seed(1000 + states)

    def random(*shape: int, forbidden: float = 0.2) -> torch.Tensor:
        x = 30 * torch.randn(shape, generator=g, dtype=torch.float64)
        return x.masked_fill(torch.rand(shape, generator=g) < forbidden, -torch.inf)

    move = (*batch, steps - 1, states, states) if varying else (states, states)
    return semihmm.HMM(
        random(states),
        random(*move, forbidden=0.6),
        random(*batch, steps, 7 if tied else states),
        random(states, forbidden=0.5),
        lengths=torch.randint(1, steps + 1, batch, generator=g) if batch else None,
        emission_index=torch.arange(states) % 7 if tied else None,
    ).chain()


def compiled(chain: engine.Chain) -> torch.Tensor | None:
    """By the pass that is compiled, if there is one for this chain."""
    worker = registered("native")
    return worker.best_in_slots(Scan(engine.plan(chain, Max()), Max(), worker.prepared(Max(), (chain,))))


@pytest.mark.parametrize(
    "chain",
    [
        chain_of(33),
        chain_of(64, 19),
        chain_of(100, 2, 3, tied=True),
        chain_of(50, 3, steps=1),
        chain_of(40, 2, steps=200),
        chain_of(40, 0),
    ],
    ids=["one", "groups", "tied", "one step", "long", "none"],
)
def test_it_is_what_the_torch_backend_finds(chain: engine.Chain) -> None:
    found = compiled(chain)
    assert found is not None or chain.length == 0
    assert_close(
        engine.best_in_slots(engine.plan(chain, Max()), chain),
        engine.best_in_slots(engine.plan(chain, Max(), backend="torch"), chain),
    )


def test_what_has_no_path_has_no_scores() -> None:
    hmm = semihmm.HMM(torch.zeros(2, 40), torch.full((40, 40), -torch.inf), torch.zeros(2, 5, 40), lengths=[1, 5])
    found = engine.best_in_slots(engine.plan(hmm.chain(), Max()), hmm.chain())
    assert bool((found[0, 0] == 0).all())
    assert bool((found[0, 1:] == -torch.inf).all()) and bool((found[1] == -torch.inf).all())


@pytest.mark.parametrize("chain", [chain_of(4), chain_of(40, 2, varying=True)], ids=["few states", "varying"])
def test_others_are_left_to_the_general_pass(chain: engine.Chain) -> None:
    assert compiled(chain) is None
    assert_close(
        engine.best_in_slots(engine.plan(chain, Max()), chain),
        engine.best_in_slots(engine.plan(chain, Max(), backend="torch"), chain),
    )
