"""Which ImageNet network for 24 labelled textures, and is it better than none?"""

import sys

import pretrain_eval as pe
from pretrain_eval import demo
from pretrain_eval.demo.packages import IMAGES

if lacking := demo.missing(IMAGES, corpora=False):
    sys.exit(print(f"skipped, lacks {', '.join(lacking)}: {demo.install_line()}"))

patches, kinds = demo.textures()
models = {
    name: demo.image_model(name)  # raw bytes in; each has its own transform
    for name in ("EfficientNet-Lite0", "MobileNetV2", "random twin")
}
textures = pe.Task(
    "textures",
    datasets={"photos": demo.drawn(patches, kinds, per_class=8, num_reported=99)},
    num_classes=3,
)
runs = pe.sweep(models, [textures], [pe.probe()], seeds=range(3), device="cpu")
comparison = pe.PersistenceEvaluator().compare(runs)
print(comparison)
if gap := comparison.difference(comparison.best, "random twin"):
    print(f"{gap.first} has {gap.difference:+.3f} over {gap.second}, {gap.interval}")
