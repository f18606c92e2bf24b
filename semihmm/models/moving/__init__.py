"""Moving in: models of other libraries become models here, with the same likelihoods and best paths.

Parameters move; priors, and settings of how to fit, do not. No other library is imported: what it made is read by the
names of its attributes. Models come in float64; CRFs and structures keep their dtype.

Example:
    >>> model = moving.from_ssm({"log_pi0": [0.0], "log_Ps": [[0.0]], "mus": [[0.0]], "Sigmas": [[[1.0]]]})
    >>> round(model.score(torch.zeros(1, 1)), 4)
    -0.9189
"""

from semihmm.models.moving.dynamax import from_dynamax
from semihmm.models.moving.hmmlearn import from_hmmlearn, to_hmmlearn
from semihmm.models.moving.pomegranate import from_pomegranate
from semihmm.models.moving.pytorch_crf import from_pytorch_crf
from semihmm.models.moving.ssm import from_ssm
from semihmm.models.moving.torch_struct import from_torch_struct

__all__ = [
    "from_dynamax",
    "from_hmmlearn",
    "from_pomegranate",
    "from_pytorch_crf",
    "from_ssm",
    "from_torch_struct",
    "to_hmmlearn",
]
