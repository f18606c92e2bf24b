"""Log-likelihoods from a network."""

import torch
from torch import Tensor, nn

from semihmm.errors import StructureError
from semihmm.models.climbing import ascend
from semihmm.models.emissions.base import Emission, whole_steps


class Neural(Emission):
    """A network says how likely each observation is in each state.

    Args:
        net: any module from observations ``(..., T, *event_shape)`` to log-weights ``(..., T, S)``. What it returns is
            used as it is: log-densities, the logits of a conditional random field, or log-posteriors less log-priors
            (a hybrid model: Bourlard & Morgan 1994).
        event_shape: the axes of an observation behind time; None for any size.
        density: whether the outputs are log-densities, whatever the weights: then EM is a way to train. With others it
            would make all weights as large as they can be.
        steps: of L-BFGS in each EM step, which takes all observations at once, and never lowers what it climbs.

    A step of which all is missing (NaN) says nothing: its log-weights are 0, whatever the network makes of it.

    It trains by gradient otherwise. `fit` climbs the log-partition, which is a likelihood only if the network's outputs
    are log-densities. For the others, descend ``-semihmm.log_prob(model(x), states)``, which is one for every network.

    Example:
        >>> emission = Neural(torch.nn.Linear(13, 4))
        >>> emission(torch.zeros(7, 13)).shape
        torch.Size([7, 4])
    """

    def __init__(
        self, net: nn.Module, event_shape: tuple[int | None, ...] = (None,), density: bool = False, steps: int = 10
    ) -> None:
        super().__init__()
        self.net, self.states, self.event_shape = net, None, event_shape
        self.trains_by_em, self.steps = density, steps

    def forward(self, x: Tensor) -> Tensor:
        x, silent = whole_steps(self, x, "A network must be given all of it")
        log_weights: Tensor = self.net(x)
        return log_weights if silent is None else torch.where(silent.unsqueeze(-1), 0.0, log_weights)

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """The network starts from the weights that it has."""

    def update(self, x: Tensor, posterior: Tensor) -> None:
        if not self.trains_by_em:
            raise StructureError(
                "Neural: EM needs log-densities: Neural(net, density=True). Or fit(method='gradient').",
                see="no-em-step",
            )
        ascend(self.parameters(), lambda: (posterior * self(x)).double().sum(), self.steps, self.project)
