"""optax's CTC loss, compiled; imported by `_jax_worker` in its own environment."""

import jax
import jax.numpy as jnp
import optax


def loss(scores, targets, *, blank):
    """Every recording's loss ``(B,)``, and the gradient of their sum in the scores ``(B, T, V)``."""
    targets = targets.astype(jnp.int32)
    no_frame, no_target = jnp.zeros(scores.shape[:2], scores.dtype), jnp.zeros(targets.shape, scores.dtype)

    @jax.jit
    def run(scores):
        def total(scores):
            losses = optax.ctc_loss(scores, no_frame, targets, no_target, blank_id=blank)
            return losses.sum(), losses

        (_, losses), gradient = jax.value_and_grad(total, has_aux=True)(scores)
        return {"loss": losses, "gradient": gradient}

    return lambda: run(scores)
