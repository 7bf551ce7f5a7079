"""What generators that follow the critic share: each proposal's loss, and plans of equal rounds."""

from __future__ import annotations

import numpy as np

from ganinfer.interfaces import Budget, RoundPlan, RoundResult


def latest_losses(result: RoundResult) -> tuple[np.ndarray, np.ndarray]:
    """The last round's proposals (k, p), and of each the mean of ``-log D``, how well it passes for real (k,).

    D is the out-of-fold probability of being real. The order is that of folds, not that of the proposals.
    """
    theta, losses = [], []
    for fold in result.folds:
        latest = np.flatnonzero(fold.round_index == fold.round_index.max())
        loss = np.logaddexp(0.0, -fold.logits.astype(float))
        count = np.bincount(fold.proposal, minlength=len(fold.theta))
        total = np.bincount(fold.proposal, loss, minlength=len(fold.theta))
        theta.append(fold.theta[latest])
        losses.append(total[latest] / np.maximum(count[latest], 1))
    return np.concatenate(theta), np.concatenate(losses)


def equal_rounds(budget: Budget, num_proposals: int, num_windows: int) -> tuple[RoundPlan, ...]:
    """As many rounds of ``num_proposals`` as the budget allows; where not even one fits, one with fewer windows."""
    num_rounds = min(budget.rounds, budget.simulated_windows // (num_proposals * num_windows))
    if num_rounds == 0:
        kept = max(1, min(num_proposals, budget.simulated_windows))
        return (RoundPlan(kept, max(1, budget.simulated_windows // kept)),)
    return (RoundPlan(num_proposals, num_windows),) * num_rounds
