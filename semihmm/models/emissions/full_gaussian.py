"""Gaussians with correlated features."""

from semihmm.models.emissions.gaussian import Gaussian


class FullGaussian(Gaussian):
    """Each state has one Gaussian with a covariance matrix: ``Gaussian(..., covariance="full")``, or ``"tied"``.

    Args:
        states: S.
        features: F.
        variance_floor: the smallest variance in any direction, as a share of the smallest variance that a feature has
            in the data of `fit`.
        tied: whether all states share one matrix.

    Example:
        >>> emission = FullGaussian(states=1, features=2)
        >>> emission.update(torch.tensor([[0., 0.], [2., 0.], [0., 2.], [2., 2.]]), torch.ones(4, 1))
        >>> emission.covariance().round(decimals=3).abs().tolist()
        [[[1.0, 0.0], [0.0, 1.0]]]
    """

    def __init__(self, states: int, features: int, variance_floor: float = 1e-3, tied: bool = False) -> None:
        super().__init__(states, features, variance_floor, covariance="tied" if tied else "full")

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "variance_floor": self.variance_floor,
            "tied": self.kind == "tied",
        }
