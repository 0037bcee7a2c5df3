"""The model's side: where pretrained models come from, and how they read a sample.

Each factory gives a `Pretrained` with the transform, tokenizer or processor of its
model, so that one sweep compares models that read the same raw samples in their own
ways.
"""

from pretrain_eval.zoo.files import state_dict, torch_hub
from pretrain_eval.zoo.images import ReadImage, timm, torchvision
from pretrain_eval.zoo.layers import keras
from pretrain_eval.zoo.pretrained import Model, Pretrained, build, model_name
from pretrain_eval.zoo.texts import sentence_transformers, transformers

__all__ = [
    "Model",
    "Pretrained",
    "ReadImage",
    "build",
    "keras",
    "model_name",
    "sentence_transformers",
    "state_dict",
    "timm",
    "torch_hub",
    "torchvision",
    "transformers",
]
