"""Bridges to other libraries, one module each.

Each imports its library; importing `pretrain_eval` imports none of them.
"""

from pretrain_eval.integrations.adapters import as_ignite, as_torchmetrics

__all__ = ["as_ignite", "as_torchmetrics"]
