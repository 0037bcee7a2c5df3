"""Models of other libraries, each with its own way to read a sample, all offline."""

import json
import os
import shutil
import textwrap
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import pretrain_eval as pe
from pretrain_eval import zoo

FULL = pe.Strategy(
    "full", optimizer=partial(torch.optim.SGD, lr=0.01), epochs=1, batch_size=4
)
HEAD = pe.Strategy(
    "head",
    optimizer=partial(torch.optim.SGD, lr=0.01),
    epochs=1,
    batch_size=4,
    trainable="head",
)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing is asked of a hub, which would wait for one that does not answer."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True, raising=False)


def pictures(num_samples, seed, size=20):
    """Noise in bytes, light or dark by class, as arrays."""
    generator = np.random.default_rng(seed)
    return [
        (generator.integers(0, 128, (size, size, 3), np.uint8) + 127 * (i % 2), i % 2)
        for i in range(num_samples)
    ]


def image_task(num_samples=8):
    parts = pictures(num_samples, 0), pictures(num_samples, 1)
    return pe.Task("light", datasets={"noise": pe.Splits(*parts)}, num_classes=2)


def text_samples(num_samples, seed):
    """Sentences about the sea or the land, of different lengths."""
    generator = np.random.default_rng(seed)
    words = (["sea", "fish", "wave"], ["tree", "hill", "road"])
    return [
        (" ".join(generator.choice(words[i % 2], 2 + i % 3)) + f" number{i}", i % 2)
        for i in range(num_samples)
    ]


def text_task(num_samples=12):
    parts = text_samples(num_samples, 0), text_samples(num_samples, 1)
    return pe.Task("place", datasets={"words": pe.Splits(*parts)}, num_classes=2)


def one_key(model, task, tmp_path, head=None):
    """The key under which a sweep keeps a run."""
    from pretrain_eval._sweep.keys import Keys
    from pretrain_eval._training import Cell

    cell = Cell(
        model_name="m",
        model=model,
        head=head,
        task=task,
        dataset=next(iter(task.datasets)),
        strategy=FULL,
        seed=0,
    )
    return Keys(lambda _: None).of(cell)


def tokenizer_of(kind, folder, *, pad=True):
    """A tokenizer that is trained on the spot."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    texts = [text for text, _ in text_samples(40, 0)]
    if kind == "bert":
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        trainer = trainers.WordPieceTrainer(
            vocab_size=60, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        )
        special = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    else:
        made = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=["<end>"])
        special = {"eos_token": "<end>"} if pad else {}
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(texts, trainer)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=made, **special)
    wrapped.save_pretrained(folder)
    return wrapped


def saved_bert(folder, **options):
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    tokenizer = tokenizer_of("bert", folder, **options)
    settings = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    transformers.BertModel(settings).save_pretrained(folder)
    return folder


def saved_gpt2(folder, **options):
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    tokenizer = tokenizer_of("gpt2", folder, **options)
    settings = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(settings).save_pretrained(folder)
    return folder


def test_torchvision_reads_as_its_weights_were_trained(tmp_path):
    """Inception gets 299 pixels, a ViT 224, of one sample, and both are compared."""
    models = {
        "shufflenet": zoo.torchvision("shufflenet_v2_x0_5", weights=None),
        "mobilenet": zoo.torchvision("mobilenet_v3_small", weights=None),
    }
    image = pictures(1, 0)[0][0]
    sizes = {
        name: tuple(zoo.torchvision(name, weights=None).transform(image).shape)
        for name in ("inception_v3", "vit_b_16")
    }
    assert sizes == {"inception_v3": (3, 299, 299), "vit_b_16": (3, 224, 224)}
    runs = pe.sweep(models, [image_task(4)], [HEAD], progress=False)
    assert [run.status for run in runs] == ["completed", "completed"]


def test_every_form_of_an_image_is_read_alike():
    """A PIL image, an array and a tensor of the same bytes give the same numbers."""
    from PIL import Image

    array = pictures(1, 0)[0][0]
    read = zoo.torchvision("resnet18", weights=None).transform
    wanted = read(Image.fromarray(array))
    assert torch.equal(read(array), wanted)
    assert torch.equal(read(torch.from_numpy(array).permute(2, 0, 1)), wanted)
    floats = read(torch.from_numpy(array).permute(2, 0, 1) / 255)
    assert (floats - wanted).abs().max() < 0.1  # bytes are rounded once more
    grey = read(array[:, :, 0])
    assert grey.shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("a.png", TypeError, "PIL image, an array or a tensor, got str"),
        (torch.zeros(5, 8, 8), ValueError, r"1 or 3 channels.*\(5, 8, 8\)"),
        (torch.full((3, 8, 8), 255.0), ValueError, r"floats in \[0, 1\]"),
        (torch.zeros(3, 8, 8, dtype=torch.long), ValueError, "torch.int64"),
    ],
)
def test_what_is_no_image_is_refused(image, error, message):
    """Bytes that were turned into floats would be read as white in silence."""
    with pytest.raises(error, match=message):
        zoo.torchvision("resnet18", weights=None).transform(image)


def test_weights_by_enum_and_unknown_names():
    """A member says model and weights; the transform is that member's own."""
    from torchvision.models import ResNet50_Weights

    second = zoo.torchvision(ResNet50_Weights.IMAGENET1K_V2)
    assert (second.build.name, second.build.weights) == ("resnet50", "IMAGENET1K_V2")
    assert second.transform.transform.resize_size == [232]
    with pytest.raises(ValueError, match="no model 'resnet19'"):
        zoo.torchvision("resnet19")
    with pytest.raises(ValueError, match=r"IMAGENET1K_V1.*got 'V3'"):
        zoo.torchvision("resnet50", weights="V3")


def test_a_scratch_twin_of_a_segmenter_loads_nothing():
    """No backbone weights are fetched, and images keep the size of their masks."""
    model = zoo.torchvision("lraspp_mobilenet_v3_large", weights=None, num_classes=3)
    assert model.build() is not None
    assert model.transform(pictures(1, 0)[0][0]).shape == (3, 20, 20)


def test_the_transforms_numbers_reach_the_key(tmp_path):
    """Another size of image is another run."""
    task, net = image_task(4), nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    net = partial(nn.Linear, 4, 2)
    keys = {
        one_key(pe.Pretrained(net, transform=preset), task, tmp_path)
        for preset in (
            zoo.torchvision("resnet18", weights=None).transform,
            zoo.torchvision("inception_v3", weights=None).transform,
            zoo.torchvision("vgg11", weights=None).transform,  # as resnet18
        )
    }
    assert len(keys) == 2


def test_bert_and_gpt2_with_their_own_tokenizers(tmp_path):
    """One sweep of raw strings, head and all; GPT-2 is given a token to pad by."""
    bert = zoo.transformers(saved_bert(tmp_path / "bert"))
    gpt2 = zoo.transformers(
        saved_gpt2(tmp_path / "gpt2"), "AutoModelForSequenceClassification"
    )
    assert gpt2.collate.tokenizer.pad_token == "<end>"
    batch = bert.collate(text_samples(3, 0))
    assert batch.keys() >= {"input_ids", "attention_mask", "labels"}
    assert batch["attention_mask"].sum(1).unique().numel() > 1
    models = {"bert": bert, "gpt2": gpt2}
    runs = pe.sweep(
        models, [text_task()], [FULL, HEAD], store=tmp_path / "r.db", progress=False
    )
    assert {run.status for run in runs} == {"completed"}
    assert all(run.baseline for run in runs)


def test_num_labels_follows_the_new_head(tmp_path):
    """The model's own configuration says how many classes it tells apart."""
    folder, kept = saved_bert(tmp_path / "bert"), []
    model = zoo.transformers(folder, "AutoModelForSequenceClassification")
    samples = [(text, i % 5) for i, (text, _) in enumerate(text_samples(10, 0))]
    others = [(text, i % 5) for i, (text, _) in enumerate(text_samples(10, 1))]
    task = pe.Task("five", datasets={"d": pe.Splits(samples, others)}, num_classes=5)
    pe.finetune(model, task, FULL, on_end=lambda network, _: kept.append(network))
    assert kept[0].config.num_labels == kept[0].num_labels == 5


def test_pairs_and_tables_of_texts(tmp_path):
    """Two strings, or a row with two, are read as a pair."""
    collate = zoo.transformers(saved_bert(tmp_path / "bert")).collate
    pair = collate([(("sea fish", "tree"), 1)])["input_ids"]
    row = collate([{"premise": "sea fish", "hypothesis": "tree", "label": 1}])
    assert torch.equal(row["input_ids"], pair)
    assert row["labels"].tolist() == [1]
    with pytest.raises(ValueError, match="a text or a pair of texts is expected"):
        collate([{"a": "sea", "b": 3, "label": 1}])
    with pytest.raises(ValueError, match="needs its target under 'labels'"):
        collate([{"a": "sea"}])


def test_the_tokenizers_content_reaches_the_key_and_its_use_does_not(tmp_path):
    """Equal content at another place is the same run; another rule is another run."""
    task = text_task(4)
    first = zoo.transformers(saved_bert(tmp_path / "a"))
    key = one_key(first, task, tmp_path)
    first.collate(text_samples(3, 0))
    assert one_key(first, task, tmp_path) == key
    again = zoo.transformers(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    assert one_key(again, task, tmp_path) == key
    file = shutil.copytree(tmp_path / "a", tmp_path / "c") / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "normalizer": None}), encoding="utf-8")
    cased = zoo.transformers(tmp_path / "c")
    assert one_key(cased, task, tmp_path) != key
    shorter = zoo.transformers(tmp_path / "a", max_length=4)
    assert one_key(shorter, task, tmp_path) != key


def test_a_tokenizer_that_cannot_pad_is_refused(tmp_path):
    """Without an end of text nothing can stand in for a token to pad by."""
    folder = saved_gpt2(tmp_path / "gpt2", pad=False)
    with pytest.raises(ValueError, match="no token to pad by"):
        zoo.transformers(folder)


def test_a_scratch_twin_of_transformers_is_drawn_by_the_seed(tmp_path):
    """The configuration alone is read."""
    model = zoo.transformers(saved_bert(tmp_path / "bert"), pretrained=False)
    assert model.name == "bert from scratch"
    first, second = (zoo.build(model).embeddings for _ in range(2))
    assert not torch.equal(first.word_embeddings.weight, second.word_embeddings.weight)
    with pytest.raises(ValueError, match="no model class 'AutoModelForSmells'"):
        zoo.transformers(tmp_path / "bert", "AutoModelForSmells")


def saved_vit(folder, size=16):
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    settings = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=size,
        patch_size=8,
    )
    torch.manual_seed(0)
    transformers.ViTModel(settings).save_pretrained(folder)
    transformers.ViTImageProcessor(
        size={"height": size, "width": size}
    ).save_pretrained(folder)
    return folder


def test_an_image_processor_is_a_transform(tmp_path):
    """A ViT without a head gets one, and reads at its own size."""
    small, large = (
        zoo.transformers(saved_vit(tmp_path / str(size), size)) for size in (16, 32)
    )
    image = pictures(1, 0)[0][0]
    assert small.transform(image).shape == (3, 16, 16)
    floats = torch.from_numpy(image).permute(2, 0, 1) / 255
    assert (small.transform(floats) - small.transform(image)).abs().max() < 0.1
    models = {"small": small, "large": large}
    runs = pe.sweep(models, [image_task()], [FULL, HEAD], progress=False)
    assert {run.status for run in runs} == {"completed"}


def test_a_feature_extractor_makes_batches_of_waveforms(tmp_path):
    """Sounds of different lengths are padded, for a speech model's body."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    settings = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.0,
    )
    torch.manual_seed(0)
    transformers.Wav2Vec2Model(settings).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)

    def tones(seed):
        generator = np.random.default_rng(seed)
        return [
            (
                np.sin(np.arange(800 + 20 * i) * (0.05 + 0.3 * (i % 2)))
                + generator.normal(0, 0.1, 800 + 20 * i),
                i % 2,
            )
            for i in range(6)
        ]

    task = pe.Task("tone", datasets={"d": pe.Splits(tones(0), tones(1))}, num_classes=2)
    run = pe.finetune(zoo.transformers(tmp_path), task, FULL)
    assert run.status == "completed"


def test_a_local_hub_folder_needs_no_network(tmp_path):
    """A hubconf.py gives the model."""
    code = """
    from torch import nn

    def small(width=8):
        return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
    """
    (tmp_path / "hubconf.py").write_text(textwrap.dedent(code), encoding="utf-8")
    model = zoo.torch_hub(tmp_path, "small", width=6, head="2")
    assert model.build()[0].out_features == 6
    assert model.name == "small"
    with pytest.raises(ValueError, match=r"expects a hubconf.py"):
        zoo.torch_hub(tmp_path.parent, "small")


@pytest.mark.parametrize("kind", ["weights.pt", "weights.safetensors", "checkpoint.pt"])
def test_weights_from_a_file(tmp_path, kind):
    """A file's weights are the model's, also within a checkpoint of several processes."""
    source, path = nn.Linear(4, 2), tmp_path / kind
    if kind.endswith("safetensors"):
        safetensors = pytest.importorskip(
            "safetensors.torch", reason="pip install safetensors"
        )
        safetensors.save_file(source.state_dict(), path)
    elif kind == "checkpoint.pt":
        inner = {f"module.{k}": v for k, v in source.state_dict().items()}
        torch.save({"state_dict": inner, "epoch": 3}, path)
    else:
        torch.save(source.state_dict(), path)
    made = zoo.build(zoo.state_dict(path, partial(nn.Linear, 4, 2)))
    assert torch.equal(made.weight, source.weight)
    with pytest.raises(ValueError, match="weights of another model than Linear"):
        zoo.build(zoo.state_dict(path, partial(nn.Linear, 5, 2)))


def test_a_missing_or_empty_file_of_weights_is_said(tmp_path):
    """Before any run."""
    with pytest.raises(FileNotFoundError, match="expects a file of weights"):
        zoo.state_dict(tmp_path / "none.pt", nn.Linear(4, 2))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no weights by name, got list"):
        zoo.build(zoo.state_dict(tmp_path / "list.pt", nn.Linear(4, 2)))


TIMM = {
    "resnet10t": "fc",
    "vit_tiny_patch16_224": "head",
    "deit_tiny_distilled_patch16_224": "head,head_dist",
    "convnext_atto": "head.fc",
    "levit_conv_128s": None,
    "levit_128s": "head.linear,head_dist.linear",
    "mobilenetv3_small_050": "classifier",
    "regnetx_002": "head.fc",
}


@pytest.mark.parametrize("name", [name for name, path in TIMM.items() if path])
def test_timms_heads_are_found(name):
    """The head is what the model itself calls its classifier."""
    pytest.importorskip("timm", reason='pip install "pretrain-eval[timm]"')
    from pretrain_eval._training.head import find_head

    assert find_head(zoo.timm(name, pretrained=False).build()) == TIMM[name]


def test_timm_reads_as_its_configuration_says():
    """Size and interpolation are the model's, unless options change them."""
    pytest.importorskip("timm", reason='pip install "pretrain-eval[timm]"')
    image = pictures(1, 0)[0][0]
    read = zoo.timm("vit_tiny_patch16_224", pretrained=False, img_size=96).transform
    assert read(image).shape == (3, 96, 96)
    assert zoo.timm("resnet10t", pretrained=False).transform(image).shape == (
        3,
        176,
        176,
    )
    floats = torch.from_numpy(image).permute(2, 0, 1) / 255
    assert (read(floats) - read(image)).abs().max() < 0.2


def test_timm_in_a_sweep_with_features_and_without_a_classifier():
    """A distilled model's two heads, feature maps and a bare body are all compared."""
    pytest.importorskip("timm", reason='pip install "pretrain-eval[timm]"')
    small = {"img_size": 32, "embed_dim": 48, "depth": 1, "num_heads": 2}
    models = {
        "two heads": zoo.timm(
            "deit_tiny_distilled_patch16_224", pretrained=False, **small
        ),
        "maps": zoo.timm("resnet10t", pretrained=False, features_only=True),
        "body": zoo.timm("resnet10t", pretrained=False, num_classes=0),
    }
    runs = pe.sweep(models, [image_task(4)], [HEAD, FULL], progress=False)
    assert {run.status for run in runs} == {"completed"}


def test_sentence_transformers_gets_a_head_on_its_embedding(tmp_path):
    """The pooled embedding is what the head reads."""
    sentence = pytest.importorskip(
        "sentence_transformers",
        reason='pip install "pretrain-eval[sentence-transformers]"',
    )
    saved_bert(tmp_path / "bert")
    models = pytest.importorskip("sentence_transformers.models")
    body = models.Transformer(str(tmp_path / "bert"))
    pooling = models.Pooling(16)
    sentence.SentenceTransformer(modules=[body, pooling], device="cpu").save(
        str(tmp_path / "sentences")
    )
    model = zoo.sentence_transformers(tmp_path / "sentences")
    runs = pe.sweep({"s": model}, [text_task()], [FULL, HEAD], progress=False)
    assert [run.status for run in runs] == ["completed", "completed"]


def keras_net():
    keras = pytest.importorskip("keras", reason='pip install "pretrain-eval[keras]"')
    if keras.backend.backend() != "torch":
        pytest.skip("set KERAS_BACKEND=torch")
    return keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture
def on_torch():
    if "keras" not in __import__("sys").modules:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    return keras_net


def test_a_keras_models_last_dense_layer_is_the_head(on_torch):
    """The logits are those under Keras' softmax, and its state is kept in buffers."""
    made = on_torch()
    inputs = torch.randn(5, 4)
    taken = zoo.build(zoo.keras(made)).eval()
    assert torch.allclose(
        taken(inputs).softmax(1), made(inputs, training=False), atol=1e-6
    )
    assert len(list(taken.parameters())) == 6
    assert all(p.requires_grad for p in taken.parameters())


def test_a_keras_model_that_keras_has_fitted_is_copied_without_a_warning(on_torch):
    """Its optimizer, which is not used, is read in a way that numpy deprecates."""
    made = on_torch()
    made.compile("adam", "sparse_categorical_crossentropy")
    made.fit(np.zeros((4, 4)), np.array([0, 1, 2, 0]), verbose=0)
    taken, inputs = zoo.build(zoo.keras(made)).eval(), torch.randn(5, 4)
    assert torch.allclose(
        taken(inputs).softmax(1), made(inputs, training=False), atol=1e-6
    )


def test_a_keras_model_is_fine_tuned_frozen_and_kept(on_torch, tmp_path):
    """Weights move, normalisation follows train mode, and a frozen body stays."""
    from networks import three_classes

    made, kept = on_torch(), []
    full = pe.Strategy(
        "full", optimizer=partial(torch.optim.SGD, lr=0.5), epochs=2, batch_size=8
    )
    keep = lambda network, _: kept.append(network)  # noqa: E731
    run = pe.finetune(zoo.keras(made), three_classes(), full, on_end=keep)
    again = pe.finetune(zoo.keras(made), three_classes(), full)
    assert run.scores == again.scores
    before = zoo.build(zoo.keras(made)).state_dict()
    after = kept[0].state_dict()
    assert before.keys() == after.keys()
    changed = {n for n in before if not torch.equal(before[n].cpu(), after[n].cpu())}
    assert changed >= {"body.weight_0", "body.state_0", "head.weight"}
    pe.finetune(zoo.keras(made), three_classes(), HEAD, on_end=keep)
    for name, value in before.items():
        if name.startswith("body"):
            assert torch.equal(kept[1].state_dict()[name], value), name


def test_a_keras_models_key_does_not_count_what_was_built_before(on_torch, tmp_path):
    """A copy with other names of layers is the same model."""
    from networks import three_classes

    first, second = on_torch(), on_torch()
    with torch.no_grad():
        for mine, theirs in zip(first.variables, second.variables, strict=True):
            theirs.value.copy_(mine.value)
    keys = {one_key(zoo.keras(m), three_classes(), tmp_path) for m in (first, second)}
    assert len(keys) == 1


def test_a_keras_model_that_ends_otherwise_is_refused(on_torch):
    """There is no head to replace."""
    keras = pytest.importorskip("keras", reason='pip install "pretrain-eval[keras]"')
    body = keras.Sequential([keras.layers.Input((4,)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match=r"ends in a Dense layer.*ends in Flatten"):
        zoo.build(zoo.keras(body))
    with pytest.raises(TypeError, match="a model or a function that builds one"):
        zoo.keras(3)
