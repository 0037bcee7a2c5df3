"""The problem's side: tasks, their kinds, and the data that pose them.

Users call `Task`, `Splits` and the kinds. A training asks a `TaskKind`; it reads data by
`as_loader`, `View` and the like.
"""

from pretrain_eval._tasks.altered import Read
from pretrain_eval._tasks.checks import check_count, check_name, check_seed
from pretrain_eval._tasks.classification import Classification
from pretrain_eval._tasks.detection import Detection
from pretrain_eval._tasks.kind import Before, Network, Place, TaskKind
from pretrain_eval._tasks.language_modelling import LanguageModelling
from pretrain_eval._tasks.multilabel import MultiLabel
from pretrain_eval._tasks.question_answering import ExtractiveQuestionAnswering
from pretrain_eval._tasks.reading import called, cut, parted
from pretrain_eval._tasks.recommendation import PairLoss, Recommendation
from pretrain_eval._tasks.regression import Regression
from pretrain_eval._tasks.retrieval import Retrieval
from pretrain_eval._tasks.samples import as_loader, read_targets, reads_alike
from pretrain_eval._tasks.segmentation import Segmentation
from pretrain_eval._tasks.sequence_to_sequence import Decode, SequenceToSequence
from pretrain_eval._tasks.speech_recognition import SpeechRecognition
from pretrain_eval._tasks.splits import Samples, Split, Splits
from pretrain_eval._tasks.stream import Stream
from pretrain_eval._tasks.task import Task
from pretrain_eval._tasks.token_classification import TokenClassification
from pretrain_eval._tasks.views import Target, View, chosen

__all__ = [
    "Before",
    "Classification",
    "Decode",
    "Detection",
    "ExtractiveQuestionAnswering",
    "LanguageModelling",
    "MultiLabel",
    "Network",
    "PairLoss",
    "Place",
    "Read",
    "Recommendation",
    "Regression",
    "Retrieval",
    "Samples",
    "Segmentation",
    "SequenceToSequence",
    "SpeechRecognition",
    "Split",
    "Splits",
    "Stream",
    "Target",
    "Task",
    "TaskKind",
    "TokenClassification",
    "View",
    "as_loader",
    "called",
    "check_count",
    "check_name",
    "check_seed",
    "chosen",
    "cut",
    "parted",
    "read_targets",
    "reads_alike",
]
