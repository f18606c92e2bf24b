"""Dynamic time warping as a toolbox: distances, alignments and losses of series, searches in them."""

from semihmm.warping.alignment import Warping, dtw
from semihmm.warping.soft import SoftDTWLoss, soft_dtw, soft_dtw_divergence

__all__ = ["SoftDTWLoss", "Warping", "dtw", "soft_dtw", "soft_dtw_divergence"]
