"""Losses to train networks by, as modules: CTC, RNN-T, any conditional random field, and CTC joined with an HMM."""

from semihmm.losses.crf import CRFLoss
from semihmm.losses.ctc import CTCLoss
from semihmm.losses.joint import CTCHMMLoss
from semihmm.losses.prior import LabelPrior
from semihmm.losses.rnnt import RNNTLoss

__all__ = ["CRFLoss", "CTCHMMLoss", "CTCLoss", "LabelPrior", "RNNTLoss"]
