"""Whether a deployed model still does what it did: looks, one after the other."""

from pretrain_eval._scoring.monitoring.monitor import Monitor, monitor
from pretrain_eval._scoring.monitoring.predictions import AnyPredictions
from pretrain_eval._scoring.monitoring.signal import Point, Signal

__all__ = ["AnyPredictions", "Monitor", "Point", "Signal", "monitor"]
