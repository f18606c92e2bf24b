"""How often a network says each token, to be taken off its scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semihmm._numbers import check_real, check_values, whole
from semihmm.engine.tracing import traced
from semihmm.errors import DataError, ShapeError
from semihmm.structures.authoring import check_lengths, tensor_of, until


class LabelPrior(nn.Module):
    """Log-probabilities less a share of each token's log-prior: what makes a CTC less peaky.

    A network trained by CTC says blank nearly always, and so blank is likely a priori, and so it is said (Zeyer et al.
    2021). With the prior taken off, tokens last as long as they sound: their onsets and ends can be aligned (Huang et
    al. 2024). The prior is the network's own mean posterior over the last epoch. Call `update` after each.

    Args:
        tokens: how many there are, V, the blank included.
        scale: the share of the log-prior that is taken off.
        floor: the least probability of a token.

    Give it to `CTCLoss`, which shows it what it sees in training. At test time, align ``prior(log_probs)``.

    References:
        Zeyer, Schlüter, Ney (2021), "Why does CTC result in peaky behavior?"
        Huang et al. (2024), "Less Peaky and More Accurate CTC Forced Alignment by Label Priors", ICASSP.

    Example:
        >>> prior = LabelPrior(2, scale=1.0)
        >>> prior.observe(torch.tensor([[0.8, 0.2], [0.4, 0.6]]).log())
        >>> prior.update()
        >>> prior(torch.tensor([0.6, 0.4]).log()).exp()
        tensor([1., 1.])
    """

    log_prior: Tensor
    seen: Tensor

    def __init__(self, tokens: int, scale: float = 0.3, floor: float = 1e-5) -> None:
        super().__init__()
        tokens = whole("LabelPrior", "tokens", tokens, 1)
        check_real("LabelPrior", "scale", scale, 0)
        check_real("LabelPrior", "floor", floor, 0, 1)
        self.scale, self.floor = scale, floor
        self.register_buffer("log_prior", torch.full((tokens,), 1 / tokens).log())
        self.register_buffer("seen", torch.zeros(tokens, dtype=torch.float64))

    def forward(self, log_probs: Tensor) -> Tensor:
        """Scores ``(..., V)``, no longer normalised."""
        self._check(log_probs)
        return log_probs - self.scale * self.log_prior.to(log_probs)

    @torch.no_grad()
    def observe(self, log_probs: Tensor, lengths: Tensor | None = None) -> None:
        """Count the posteriors of frames ``(..., T, V)``; not those behind ``lengths``, nor those of -inf alone.

        Raises:
            DataError: NaN or infinity in a frame that counts.
        """
        self._check(log_probs)
        if lengths is not None:
            lengths = tensor_of("LabelPrior", "lengths", lengths, log_probs.device)
            check_lengths("LabelPrior", lengths, log_probs.shape[:-2], log_probs.shape[-2], 0)
        used = until(lengths, log_probs.shape[-2], 2)
        x = log_probs if used is None else torch.where(used, log_probs, -torch.inf)
        some = (x > -torch.inf).any(-1, keepdim=True)
        if not traced() and not (x < torch.inf).all():
            raise DataError(
                "LabelPrior: log_probs must be below infinity, got NaN or inf. Pass log_softmax(-1).", see="log-probs"
            )
        posterior = torch.where(some, x.softmax(-1), 0.0)
        self.seen += posterior.double().flatten(0, -2).sum(0)

    @torch.no_grad()
    def update(self) -> None:
        """The prior becomes the mean of what was seen since the last call; as it was, where nothing was."""
        mass = self.seen.sum()
        if mass > 0:
            self.log_prior.copy_((self.seen / mass).clamp(min=self.floor).log())
            self.seen.zero_()

    def _check(self, log_probs: Tensor) -> None:
        check_values("LabelPrior", "log_probs", log_probs)
        tokens = len(self.log_prior)
        if not log_probs.ndim or log_probs.shape[-1] != tokens or not log_probs.is_floating_point():
            raise ShapeError(
                f"LabelPrior: it holds {tokens} tokens, so log_probs must be floats (..., {tokens}), got "
                f"{tuple(log_probs.shape)} of {log_probs.dtype}. LabelPrior(tokens) counts the blank too."
            )
