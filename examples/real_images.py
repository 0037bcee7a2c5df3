"""Which ImageNet network for 24 labelled textures, and is it better than none?"""

import sys
from functools import partial

import torch

import pretrain_eval as pe
from pretrain_eval import demo

if lacking := demo.missing("images"):
    line = demo.install_line("images")
    sys.exit(print(f"skipped, lacks {', '.join(lacking)}: {line}"))

patches, kinds = demo.textures()
models = {
    name: demo.image_model(name)  # raw bytes in; each has its own transform
    for name in ("EfficientNet-Lite0", "MobileNetV2", "random twin")
}
parts = {"num_reported": 75, "num_watched": 45}
textures = pe.Task(
    "textures",
    datasets={"photos": demo.drawn(patches, kinds, per_class=8, **parts)},
    num_classes=3,
)
head = pe.Strategy(
    "head",
    optimizer=partial(torch.optim.AdamW, lr=1e-2),
    epochs=20,
    batch_size=16,
    trainable="head",
)
runs = pe.sweep(models, [textures], [head], seeds=range(3), device="cpu")
comparison = pe.PersistenceEvaluator().compare(runs)
print(comparison)
if gap := comparison.difference(comparison.best, "random twin"):
    print(f"{gap.first} has {gap.difference:+.3f} over {gap.second}, {gap.interval}")

# The same question without the whole grid.
print(pe.choose(models, [textures], [head], seeds=range(3), device="cpu"))
