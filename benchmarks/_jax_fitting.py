"""dynamax's EM, compiled; imported by `_jax_worker` in its own environment."""

import jax
import jax.numpy as jnp
from dynamax.hidden_markov_model import DiagonalGaussianHMM, GaussianHMM


def em(x, mean, initial, transition, *, iterations, covariance=None, variance=None):
    """What its `fit_em` does, without the log-density of its prior.

    Its updates are modes under a prior, which is chosen to be as good as none; but the degrees of freedom of an inverse
    Wishart distribution cannot be, so full covariances are multiplied by what they were divided by.
    """
    states, features = mean.shape
    flat = 1 + 8 * float(jnp.finfo(mean.dtype).eps)  # a mode at the edge is NaN
    laws = {"initial_probs_concentration": flat, "transition_matrix_concentration": flat}
    if variance is None:
        prior = {"emission_prior_concentration": 0.0, "emission_prior_scale": 1e-30, "emission_prior_extra_df": 0.0}
        model, spread = GaussianHMM(states, features, **laws, **prior), {"emission_covariances": covariance}
    else:
        prior = {"emission_prior_mean_concentration": 0.0, "emission_prior_concentration": -1.5}
        model = DiagonalGaussianHMM(states, features, emission_prior_scale=0.0, **laws, **prior)
        spread = {"emission_scale_diags": jnp.sqrt(variance)}
    start, which = model.initialize(
        jax.random.PRNGKey(0), initial_probs=initial, transition_matrix=transition, emission_means=mean, **spread
    )

    def step(carry, _):
        now, memory = carry
        found, log_likelihood = jax.vmap(lambda one: model.e_step(now, one, None))(x)
        after, memory = model.m_step(now, which, found, memory)
        if variance is None:
            weight = found[2]["sum_w"].sum(0)[:, None, None]
            covs = after.emissions.covs * (1 + (2 * features + 2) / weight)
            after = after._replace(emissions=after.emissions._replace(covs=covs))
        return (jax.tree.map(lambda new, old: new.astype(old.dtype), after, now), memory), log_likelihood.sum()

    @jax.jit
    def run(start):
        carry = start, model.initialize_m_step_state(start, which)
        (found, _), values = jax.lax.scan(step, carry, None, length=iterations)
        emission = found.emissions
        return {
            "log_likelihood": values[-1],
            "initial": found.initial.probs,
            "transition": found.transitions.transition_matrix,
            "mean": emission.means,
            "covariance": emission.covs if variance is None else emission.scale_diags**2,
        }

    return lambda: run(start)
