"""What generators that follow the critic share: each proposal's loss, and plans of equal rounds."""

from __future__ import annotations

import numpy as np

from ganinfer.interfaces import Budget, RoundPlan, RoundResult


def latest_losses(result: RoundResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last round's proposals (k, p), the loss of each (k,) and the fold whose critic judged it (k,).

    The loss is the mean of ``-log D``, how well a proposal's windows pass for real; D is the out-of-fold probability of
    being real. Critics of different folds are different judges: see :func:`levelled` and :func:`standardised`. The
    order is that of folds, not that of the proposals.
    """
    theta, losses, folds = [], [], []
    newest = max(int(f.round_index.max(initial=-1)) for f in result.folds)
    for number, fold in enumerate(result.folds):
        latest = np.flatnonzero(fold.round_index == newest)
        loss = np.logaddexp(0.0, -fold.logits.astype(float))
        count = np.bincount(fold.proposal, minlength=len(fold.theta))
        total = np.bincount(fold.proposal, loss, minlength=len(fold.theta))
        theta.append(fold.theta[latest])
        losses.append(total[latest] / np.maximum(count[latest], 1))
        folds.append(np.full(len(latest), number))
    return np.concatenate(theta), np.concatenate(losses), np.concatenate(folds)


def levelled(losses: np.ndarray, fold: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Losses as if one critic had judged all: each fold's are shifted until the reference has the same loss in all.

    ``reference`` (k,) marks a proposal that was simulated once for every fold; a fold without it is left as it is.
    """
    levels = {k: float(losses[reference & (fold == k)].mean()) for k in np.unique(fold[reference])}
    common = float(np.mean(list(levels.values())))
    return losses + common - np.array([levels.get(k, common) for k in fold])


def standardised(losses: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Losses of proposals from one distribution, less their fold's mean, over its standard deviation."""
    out = np.empty_like(losses)
    for k in np.unique(fold):
        mine = fold == k
        out[mine] = (losses[mine] - losses[mine].mean()) / max(float(losses[mine].std()), 1e-12)
    return out


def equal_rounds(budget: Budget, num_proposals: int, num_windows: int) -> tuple[RoundPlan, ...]:
    """As many rounds of ``num_proposals`` as the budget allows; where not even one fits, one with fewer windows."""
    num_rounds = min(budget.rounds, budget.simulated_windows // (num_proposals * num_windows))
    if num_rounds == 0:
        kept = max(1, min(num_proposals, budget.simulated_windows))
        return (RoundPlan(kept, max(1, budget.simulated_windows // kept)),)
    return (RoundPlan(num_proposals, num_windows),) * num_rounds
