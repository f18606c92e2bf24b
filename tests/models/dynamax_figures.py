"""What dynamax says of its own models: writes `dynamax_figures.json`. Run by the environment of `benchmarks/_jax.py`.

build/benchmarks/jax/bin/python tests/models/dynamax_figures.py
"""

import json
import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # after what it reads from the environment
import jax.numpy as jnp
import jax.random as jr
from dynamax import hidden_markov_model as peer

jax.config.update("jax_enable_x64", True)

STATES, FEATURES, STEPS = 3, 2, 12
KINDS = {
    "full": lambda: peer.GaussianHMM(STATES, FEATURES),
    "diagonal": lambda: peer.DiagonalGaussianHMM(STATES, FEATURES),
    "spherical": lambda: peer.SphericalGaussianHMM(STATES, FEATURES),
    "shared": lambda: peer.SharedCovarianceGaussianHMM(STATES, FEATURES),
    "low rank": lambda: peer.LowRankGaussianHMM(STATES, 3, emission_rank=1),
    "mixture": lambda: peer.DiagonalGaussianMixtureHMM(STATES, 2, FEATURES),
    "full mixture": lambda: peer.GaussianMixtureHMM(STATES, 2, FEATURES),
    "poisson": lambda: peer.PoissonHMM(STATES, FEATURES),
    "gamma": lambda: peer.GammaHMM(STATES),
    "bernoulli": lambda: peer.BernoulliHMM(STATES, FEATURES),
    "symbol": lambda: peer.CategoricalHMM(STATES, 1, 4),
    "symbols": lambda: peer.CategoricalHMM(STATES, FEATURES, 4),
    "multinomial": lambda: peer.MultinomialHMM(STATES, 1, 4, 5),
}


def varied(value, key, name):
    """Another value of the same kind: what `initialize` gives is often the same for all states, or states far apart."""
    noise = jr.uniform(key, value.shape, minval=0.5, maxval=1.5)
    if name in ("means", "cov_low_rank_factors"):
        return 2 * jr.normal(key, value.shape)
    if name in ("scale_diags", "scales"):
        return noise
    if name in ("covs", "cov"):
        rows = jr.normal(key, value.shape)
        return jnp.eye(FEATURES) + rows @ jnp.swapaxes(rows, -1, -2)
    return value * noise


def figures(model, key):
    """Parameters, observations in two lots, their log-likelihoods and best paths."""
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), model.initialize(key)[0])
    emissions = {name: varied(x, key, name) for name, x in params.emissions._asdict().items()}
    if "probs" in emissions and not isinstance(model, peer.BernoulliHMM):
        emissions["probs"] /= emissions["probs"].sum(-1, keepdims=True)
    elif "probs" in emissions:
        emissions["probs"] = emissions["probs"].clip(0.1, 0.9)
    if "weights" in emissions:
        emissions["weights"] /= emissions["weights"].sum(-1, keepdims=True)
    matrix = varied(params.transitions.transition_matrix, key, "")
    params = params._replace(
        initial=params.initial._replace(probs=params.initial.probs / params.initial.probs.sum()),
        emissions=params.emissions._replace(**emissions),
        transitions=params.transitions._replace(transition_matrix=matrix / matrix.sum(-1, keepdims=True)),
    )
    found = []
    for draw in jr.split(key, 2):
        _, x = model.sample(params, draw, STEPS)
        found.append(
            {
                "x": x.tolist(),
                "log_likelihood": float(model.marginal_log_prob(params, x)),
                "path": model.most_likely_states(params, x).tolist(),
            }
        )
    names = {part: values._asdict() for part, values in params._asdict().items()}
    return {"params": jax.tree.map(lambda value: value.tolist(), names), "sequences": found}


if __name__ == "__main__":
    everything = {kind: figures(make(), jr.PRNGKey(number)) for number, (kind, make) in enumerate(KINDS.items())}
    text = ",\n".join(f"{json.dumps(kind)}: {json.dumps(value)}" for kind, value in everything.items())
    Path(__file__).with_suffix(".json").write_text(f"{{\n{text}\n}}\n")
