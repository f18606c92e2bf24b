"""Errors of boundaries as they go into a JSON file."""

from semihmm.speech import TOLERANCES, BoundaryErrors


def summary(errors: BoundaryErrors) -> dict[str, float]:
    """Counts, milliseconds and shares."""
    return {
        "n": errors.n,
        "missing": errors.missing,
        "extra": errors.extra,
        "mean_ms": round(1000 * errors.mean, 2),
        "median_ms": round(1000 * errors.median, 2),
        "bias_ms": round(1000 * errors.bias, 2),
        **{f"within_{1000 * limit:.0f}_ms": round(errors.within(limit), 4) for limit in TOLERANCES},
    }
