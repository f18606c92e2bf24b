"""ott's soft-DTW, compiled; imported by `_jax_worker` in its own environment."""

import jax
from ott.geometry.costs import SoftDTW


def soft_dtw(x, y, *, gamma):
    """The distance of each pair ``(B, N, F)``, and the gradient of their sum in ``x``."""
    distance = SoftDTW(gamma)

    @jax.jit
    def run(x, y):
        value, gradient = jax.vmap(jax.value_and_grad(distance))(x, y)
        return {"distance": value, "gradient": gradient}

    return lambda: run(x, y)
