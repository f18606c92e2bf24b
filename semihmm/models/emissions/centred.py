"""Sums of squares that keep their digits."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.learning import mean_there


class Centred(Emission):
    """An emission whose statistics have their origin in the buffer ``centre (F,)``: the mean of the data of a fit.

    It stays where it is from one batch to the next, so that their sums can be added. `location_name` is the
    parameter ``(..., F)`` in whose middle it lies, if a file does not say.
    """

    location_name: ClassVar[str] = "mean"
    centre: Tensor

    def put_centre(self, x: Tensor) -> None:
        """Among observations ``(N, F)``."""
        self.centre.copy_(mean_there(x))

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        if not bool(self.centre.any()):  # nobody has called `initialise`
            self.put_centre(x)
        super().update(x, posterior)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Take what was written before there was a centre: it is put among the means."""
        location = state_dict.get(prefix + self.location_name)
        if location is not None and prefix + "centre" not in state_dict:
            centre = location.double().reshape(-1, location.shape[-1]).mean(0)
            state_dict = {**state_dict, prefix + "centre": centre}
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
