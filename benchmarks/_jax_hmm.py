"""dynamax's hidden Markov models, compiled; imported by `_jax_worker` in its own environment."""

import math

import jax
import jax.numpy as jnp
from dynamax.hidden_markov_model import hmm_filter, hmm_posterior_mode, hmm_two_filter_smoother
from dynamax.hidden_markov_model.parallel_inference import hmm_smoother as parallel_smoother


def log_density(x, mean, variance):
    """Diagonal Gaussians, the square multiplied out: two matrix products."""
    constant = (mean**2 / variance + jnp.log(variance)).sum(-1) + mean.shape[-1] * math.log(2 * math.pi)
    return x @ (mean / variance).T - (x**2 @ (1 / variance).T + constant) / 2


def posteriors(x, mean, variance, initial, transition, *, parallel):
    """Log-likelihoods and posteriors from observations; ``parallel`` for the associative scan.

    The compiler leaves out the posteriors of transitions, which are not returned.
    """
    smoother = parallel_smoother if parallel else hmm_two_filter_smoother

    @jax.jit
    def run(x):
        found = jax.vmap(lambda one: smoother(initial, transition, log_density(one, mean, variance)))(x)
        return {"log_likelihood": found.marginal_loglik.sum(), "posterior": found.smoothed_probs}

    return lambda: run(x)


def viterbi(emission, initial, transition):
    """The best path of each sequence, from log-likelihoods."""

    @jax.jit
    def run(emission):
        return {"path": jax.vmap(lambda one: hmm_posterior_mode(initial, transition, one))(emission)}

    return lambda: run(emission)


def filtered(emission, initial, transition):
    """The posterior of the state at the last of all frames, given those, from log-likelihoods of one sequence."""

    @jax.jit
    def run(emission):
        return {"last": hmm_filter(initial, transition, emission).filtered_probs[-1]}

    return lambda: run(emission)
