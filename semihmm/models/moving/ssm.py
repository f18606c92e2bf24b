"""From parameter dictionaries in the names of ssm (Linderman)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from semihmm.errors import StructureError
from semihmm.models.emissions import Emission
from semihmm.models.hmm import HMM
from semihmm.models.moving import building
from semihmm.models.moving.building import numbers


def from_ssm(params: Mapping[str, Any]) -> HMM:
    """A model from a dictionary of parameters in ssm's names.

    Args:
        params: ``log_pi0 (S,)`` and ``log_Ps (S, S)``, which need not be normalised, and those of the observations:
            ``mus`` with ``Sigmas (S, F, F)`` or ``_sqrt_Sigmas``; ``mus`` with ``sigmasq (S, F)`` or ``_log_sigmasq``,
            and for Student's t ``nus`` or ``_log_nus`` beside them; ``log_lambdas (S, F)`` of Poisson counts;
            ``logit_ps (S, F)`` of Bernoulli ones; ``logits (S, F, C)`` of symbols. Underscores in front may be left
            out.
    Raises:
        StructureError: other observations, or a missing name.

    Of an ``ssm.HMM``, they are ``hmm.init_state_distn.log_pi0``, ``hmm.transitions.log_Ps``, and attributes of
    ``hmm.observations``.

    Example:
        >>> chances = {"log_pi0": [0.0, 0.0], "log_Ps": [[2.0, 0.0], [0.0, 2.0]]}
        >>> model = from_ssm({**chances, "mus": [[0.0], [9.0]], "sigmasq": [[1.0], [1.0]]})
        >>> model.predict(torch.tensor([[0.1], [8.9]]))
        tensor([0, 1])
    """
    value = {name.lstrip("_"): numbers(x) for name, x in params.items()}
    if not {"log_pi0", "log_Ps"} <= value.keys():
        raise StructureError(f"from_ssm: expected log_pi0 and log_Ps among the names, got {', '.join(params)}.")
    initial, transition = (value.pop(name).softmax(-1) for name in ("log_pi0", "log_Ps"))
    return building.hmm(initial, transition, _emission(value))


def _emission(value: dict[str, Tensor]) -> Emission:
    for name in ("sigmasq", "nus"):
        if f"log_{name}" in value:
            value[name] = value.pop(f"log_{name}").exp()
    match sorted(value):
        case ["Sigmas", "mus"]:
            return building.gaussian(value["mus"], value["Sigmas"], "full")
        case ["mus", "sqrt_Sigmas"]:
            return building.gaussian(value["mus"], value["sqrt_Sigmas"] @ value["sqrt_Sigmas"].mT, "full")
        case ["mus", "sigmasq"]:
            return building.gaussian(value["mus"], value["sigmasq"], "diag")
        case ["mus", "nus", "sigmasq"]:
            return building.student(value["mus"], value["sigmasq"].sqrt(), value["nus"])
        case ["log_lambdas"]:
            return building.poisson(value["log_lambdas"].exp())
        case ["logit_ps"]:
            return building.bernoulli(value["logit_ps"].sigmoid())
        case ["logits"]:
            return building.categorical(value["logits"].softmax(-1))
    raise StructureError(
        f"from_ssm: no emission here has the parameters {', '.join(sorted(value))}. Known are mus with Sigmas, "
        "with sigmasq, or with sigmasq and nus; log_lambdas; logit_ps; logits."
    )
