"""What a batch showed: metrics, several as one, and a measurement without a trace."""

from pretrain_eval._metrics.collection import MetricCollection, Metrics
from pretrain_eval._metrics.counter import Counter
from pretrain_eval._metrics.foreign import declared
from pretrain_eval._metrics.forward import (
    Forward,
    device_of,
    logits,
    moved,
    named_device,
    takes,
)
from pretrain_eval._metrics.grad_quantile import GradQuantile
from pretrain_eval._metrics.metric import (
    CountedMetric,
    Metric,
    SupportsUpdate,
    Value,
    value_of,
)
from pretrain_eval._metrics.moment_norms import MomentNorm, SecondMomentNorm
from pretrain_eval._metrics.optimization import (
    Clipped,
    GradNorm,
    GradNormBeforeClipping,
    GradParameterCosine,
    LearningRate,
    ParameterNorm,
    Skipped,
    UpdateNorm,
    UpdateRatio,
    ZeroGradShare,
)
from pretrain_eval._metrics.randomness import loader_generators, preserved_rng, seed_all
from pretrain_eval._metrics.step_metric import StepMetric
from pretrain_eval._metrics.sums import SumMetric
from pretrain_eval._metrics.telling import Log
from pretrain_eval._metrics.undisturbed import evaluating, gradients_on
from pretrain_eval._metrics.validate import as_collection, validate
from pretrain_eval._metrics.validation import Validation

__all__ = [
    "Clipped",
    "CountedMetric",
    "Counter",
    "Forward",
    "GradNorm",
    "GradNormBeforeClipping",
    "GradParameterCosine",
    "GradQuantile",
    "LearningRate",
    "Log",
    "Metric",
    "MetricCollection",
    "Metrics",
    "MomentNorm",
    "ParameterNorm",
    "SecondMomentNorm",
    "Skipped",
    "StepMetric",
    "SumMetric",
    "SupportsUpdate",
    "UpdateNorm",
    "UpdateRatio",
    "Validation",
    "Value",
    "ZeroGradShare",
    "as_collection",
    "declared",
    "device_of",
    "evaluating",
    "gradients_on",
    "loader_generators",
    "logits",
    "moved",
    "named_device",
    "preserved_rng",
    "seed_all",
    "takes",
    "validate",
    "value_of",
]
