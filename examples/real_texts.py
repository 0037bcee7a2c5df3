"""Which text encoder for 100 labelled tweets? Each reads them by its own tokenizer."""

import sys

import pretrain_eval as pe
from pretrain_eval import demo
from pretrain_eval.demo.packages import TEXTS

if lacking := demo.missing(TEXTS):
    sys.exit(print(f"skipped, lacks {', '.join(lacking)}: {demo.install_line()}"))

tweets, positive = demo.sentences("tweets")
models = {name: demo.text_model(name) for name in demo.TEXT_MODELS}
sentiment = pe.Task(
    "sentiment",
    datasets={"tweets": demo.drawn(tweets, positive, per_class=50, num_reported=200)},
    num_classes=2,
)
runs = pe.sweep(models, [sentiment], [pe.probe()], seeds=range(3), device="cpu")
comparison = pe.PersistenceEvaluator().compare(runs)
print(comparison)
if gap := comparison.difference(comparison.best, "random twin"):
    print(f"{gap.first} has {gap.difference:+.3f} over {gap.second}, {gap.interval}")
