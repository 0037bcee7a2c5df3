"""What kinds of task with a target for each token share."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

# The target of a position that is none: padding, a word's later pieces, a token that is
# neither learned nor counted.
IGNORED = -100


def token_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, its mean over the targets that count.

    Args:
        scores: `(N, T, C)`.
        targets: `(N, T)`, -100 where there is none.
    """
    # As transformers computes its own, so that weights are the same to the bit.
    return F.cross_entropy(
        scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORED
    )
