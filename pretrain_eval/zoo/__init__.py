"""The model's side: where pretrained models come from."""

from pretrain_eval.zoo.pretrained import Model, build, model_name

__all__ = ["Model", "build", "model_name"]
