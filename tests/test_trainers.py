"""Trainers of other libraries as strategies: the same weights, the same records."""

from functools import partial

import pytest
import torch
from networks import three_classes
from test_ways import Blocks
from torch import nn

import pretrain_eval as pe

SGD = partial(torch.optim.SGD, lr=0.1)


def by_transformers():
    """Plain SGD by the Trainer."""
    pytest.importorskip("transformers", reason="pip install transformers accelerate")
    from pretrain_eval.integrations.transformers import trainer

    return trainer(
        "other",
        optim="sgd",
        learning_rate=0.1,
        lr_scheduler_type="constant",
        num_train_epochs=2,
        per_device_train_batch_size=48,
        max_grad_norm=0.0,
    )


def by_lightning():
    """The same by Lightning."""
    pytest.importorskip("lightning", reason="pip install lightning")
    from pretrain_eval.integrations.lightning import lightning

    return lightning(SGD, max_epochs=2, batch_size=48, name="other")


@pytest.mark.filterwarnings("ignore")  # theirs, of workers and devices
@pytest.mark.parametrize("make", [by_transformers, by_lightning])
def test_another_trainer_gives_the_run_of_ours(make, tmp_path):
    """One batch holds all samples, so that order does not matter: the same steps."""
    theirs = make()
    ours = pe.Strategy("ours", optimizer=SGD, epochs=2, batch_size=48)
    runs = pe.sweep(
        {"blocks": Blocks()},
        [three_classes()],
        [theirs, ours],
        range(2),
        store=tmp_path / "runs.db",
        progress=False,
        draws="seed",  # one head for both strategies
    )
    assert [(run.status, run.message) for run in runs] == [("completed", "")] * 4
    for one, two in zip(runs[:2], runs[2:], strict=True):
        assert one.history["grad_norm"] == pytest.approx(
            two.history["grad_norm"], rel=1e-4
        )
        assert one.curve["step"] == two.curve["step"] == (0, 1, 2)
        assert one.curve["accuracy"] == two.curve["accuracy"]
        assert one.scores == two.scores
        assert (one.baseline, one.outcomes) == (two.baseline, two.outcomes)
        assert one.cost.num_samples == two.cost.num_samples == 96
        assert one.cost.seconds > 0
    assert pe.OptimizabilityEvaluator().score(runs).score is not None


def test_a_wrong_field_is_told_at_once():
    """Before any run."""
    pytest.importorskip("transformers", reason="pip install transformers accelerate")
    from pretrain_eval.integrations.transformers import trainer

    with pytest.raises(TypeError, match="learning_rat"):
        trainer(learning_rat=0.1)
    pytest.importorskip("lightning", reason="pip install lightning")
    from pretrain_eval.integrations.lightning import lightning

    with pytest.raises(ValueError, match="max_epochs must be an int"):
        lightning(SGD, max_epochs=0)


@pytest.mark.filterwarnings("ignore")
def test_a_model_of_transformers_trains_on_its_own_batches():
    """Dict batches with masks, a re-headed classifier, the Trainer's own loop."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    strategy = by_transformers()
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=5,
    )
    torch.manual_seed(0)
    bert = transformers.BertForSequenceClassification(config)

    def collate(samples):
        texts, labels = zip(*samples, strict=True)
        width = max(map(len, texts))
        ids = torch.tensor([[ord(c) % 40 for c in text.ljust(width)] for text in texts])
        mask = torch.tensor([[1] * len(t) + [0] * (width - len(t)) for t in texts])
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": torch.tensor(labels),
        }

    texts = [("ab" * (1 + i % 5), i % 2) for i in range(48)]
    others = [("ba" * (1 + i % 5), i % 2) for i in range(24)]
    task = pe.Task("t", datasets={"d": pe.Splits(texts, others)}, num_classes=2)
    kept = []
    run = pe.finetune(
        pe.Pretrained(bert, collate=collate),
        task,
        strategy,
        on_end=lambda model, run: kept.append(model),
    )
    assert run.status == "completed"
    assert len(run.curve["accuracy"]) == 3
    assert isinstance(kept[0].classifier, nn.Linear)
    assert kept[0].config.num_labels == 2
    assert bert.config.num_labels == 5  # the caller's model is as it was
