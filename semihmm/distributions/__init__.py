"""The answers as `torch.distributions` objects."""

from semihmm.distributions.structure import StructureDistribution

__all__ = ["StructureDistribution"]
