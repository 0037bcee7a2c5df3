"""Whether a deployed model still does what it did: looks, one after the other."""

from pretrain_eval._scoring.monitoring.monitor import Monitor
from pretrain_eval._scoring.monitoring.predictions import AnyPredictions
from pretrain_eval._scoring.monitoring.signal import Point, Signal
from pretrain_eval._scoring.monitoring.watch import monitor

__all__ = ["AnyPredictions", "Monitor", "Point", "Signal", "monitor"]
