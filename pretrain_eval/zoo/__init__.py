"""The model's side: where pretrained models come from."""

from pretrain_eval.zoo.pretrained import Model, Pretrained, build, model_name

__all__ = ["Model", "Pretrained", "build", "model_name"]
