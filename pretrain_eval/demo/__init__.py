"""Models that were really pretrained, and real data, from package registries alone."""

from pretrain_eval.demo.few_labels import drawn, sweep_draws
from pretrain_eval.demo.images import (
    IMAGE_MODELS,
    clothes,
    digit_images,
    face_images,
    image_model,
    textures,
)
from pretrain_eval.demo.packages import install_line, missing
from pretrain_eval.demo.speech import (
    LANGUAGES,
    SPEECH_MODELS,
    prompts,
    speech_model,
)
from pretrain_eval.demo.texts import DOMAINS, TEXT_MODELS, sentences, text_model

__all__ = [
    "DOMAINS",
    "IMAGE_MODELS",
    "LANGUAGES",
    "SPEECH_MODELS",
    "TEXT_MODELS",
    "clothes",
    "digit_images",
    "drawn",
    "face_images",
    "image_model",
    "install_line",
    "missing",
    "prompts",
    "sentences",
    "speech_model",
    "sweep_draws",
    "text_model",
    "textures",
]
