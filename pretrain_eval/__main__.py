"""The command line: `pretrain-eval`, or `python -m pretrain_eval`.

It opens stores of runs, compares what is in them, races models that a file of Python
names, and runs the demo. Results go to the standard output, progress and errors to the
standard error. It calls the public interface alone.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import pretrain_eval as pe
from pretrain_eval._optional import needs

WRONG = 64  # what a shell knows as a wrong call; 0, 1 and 2 are verdicts
INTERRUPTED = 130

EVALUATORS: dict[str, type[pe.Evaluator]] = {
    "optimizability": pe.OptimizabilityEvaluator,
    "usability": pe.UsabilityEvaluator,
    "variability": pe.VariabilityEvaluator,
    "reusability": pe.ReusabilityEvaluator,
    "persistence": pe.PersistenceEvaluator,
}
FORMATS = ("text", "markdown", "latex", "csv", "json", "html")
EXPORTS = ("csv", "jsonl", "parquet")

# What a file of a race may define beside its models, tasks and strategies.
RACE = (
    *("seeds", "confidence", "tolerance", "budget", "short", "keep", "metric"),
    *("heads", "device", "workers", "timeout", "retry", "store", "draws"),
)

EXAMPLES = """examples:
  pretrain-eval demo                        decide between really pretrained models
  pretrain-eval show runs.db --status error what is in a store, and what failed
  pretrain-eval compare runs.db             which model; the exit code is the verdict
  pretrain-eval choose race.py --workers 2  race the models of a file
  pretrain-eval report runs.db report.html  a page that can be sent
  pretrain-eval export runs.db runs.csv     one row a run
  pretrain-eval monitor watch.json --look 2026-W48 week.npz   has the model dropped?

exit codes: 0 use the best, 1 practically equal, 2 inconclusive; of monitor 0 as before,
1 drifted, 2 dropped; 64 wrong call, 130 interrupted. Commands that decide nothing end
with 0.
"""


class _Parser(argparse.ArgumentParser):
    """Ends a wrong call with a code that is no verdict."""

    def error(self, message: str) -> Any:
        self.print_usage(sys.stderr)
        self.exit(WRONG, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Every command with its help."""
    top = _Parser(
        prog="pretrain-eval",
        description=pe.__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=pe.__version__)
    top.add_argument(
        "--traceback", action="store_true", help="show where an error was raised"
    )
    top.add_argument(
        "--print-completion",
        choices=("bash", "zsh", "tcsh"),
        metavar="SHELL",
        help="print what completes commands in bash, zsh or tcsh, and end",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _add_demo(commands)
    _add_show(commands)
    _add_compare(commands)
    _add_choose(commands)
    _add_export(commands)
    _add_copies(commands)
    _add_monitor(commands)
    return top


def _added(commands: Any, name: str, run: Callable[..., int], text: str) -> Any:
    made = commands.add_parser(
        name,
        help=text[0].lower() + text[1:].split(".")[0],
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(run=run)
    return made


def _add_demo(commands: Any) -> None:
    text = "Decide between models that were really pretrained, on real data."
    # Its own options are read by the job, which also says its help.
    made = commands.add_parser("demo", help=text[0].lower() + text[1:], add_help=False)
    made.set_defaults(run=None)


def _add_show(commands: Any) -> None:
    made = _added(commands, "show", show, "List what a store holds, by model.")
    made.add_argument("store", type=Path, help="a file that sweep or choose wrote")
    for name in ("model", "task", "dataset", "strategy", "status"):
        made.add_argument(f"--{name}", help=f"only runs of this {name}")
    made.add_argument("--seed", type=int, help="only runs of this seed")


def _add_compare(commands: Any) -> None:
    text = """Rank the models of a store. The exit code is the verdict:
0 use the best, 1 practically equal (needs --rope), 2 inconclusive."""
    made = _added(commands, "compare", compare, text)
    made.add_argument("store", type=Path, help="a file that sweep or choose wrote")
    made.add_argument("--protocol", choices=(*EVALUATORS, "all"), default="persistence")
    made.add_argument("--metric", help="the key that is read, such as accuracy")
    made.add_argument(
        "--better",
        choices=("higher", "lower"),
        help="which values of the metric are better, where the runs do not say it",
    )
    made.add_argument("--scratch", metavar="MODEL", help="the twin of random weights")
    made.add_argument(
        "--rope", type=float, default=0.0, help="differences up to this do not matter"
    )
    made.add_argument("--format", choices=FORMATS, default="text")


def _add_choose(commands: Any) -> None:
    text = f"""Race the models of a Python file, and stop when the decision is sure enough.
The file defines `models`, `tasks` and `strategies` as `pretrain_eval.choose` takes them,
and may define {", ".join(RACE[:-1])} and {RACE[-1]}."""
    made = _added(commands, "choose", choose, text)
    made.add_argument("race", type=Path, help="the Python file")
    made.add_argument("--store", help="keeps the runs; a second call goes on")
    made.add_argument("--seeds", type=int, help="the most seeds that are run")
    for name in ("confidence", "tolerance", "budget"):
        made.add_argument(f"--{name}", type=float, help=f"as choose({name}=)")
    made.add_argument("--workers", type=int, help="processes that train")
    made.add_argument("--device", help="such as cuda:0")
    made.add_argument("--quiet", action="store_true", help="no progress")


def _add_export(commands: Any) -> None:
    made = _added(commands, "report", report, "Write a page that can be sent.")
    made.add_argument("store", type=Path, help="a file that sweep or choose wrote")
    made.add_argument("to", type=Path, help="the page, such as report.html")
    made.add_argument("--scratch", metavar="MODEL", help="the twin of random weights")
    made = _added(commands, "export", export, "Write one row a run.")
    made.add_argument("store", type=Path, help="a file that sweep or choose wrote")
    made.add_argument("to", type=Path, help="the new file")
    made.add_argument(
        "--format",
        choices=EXPORTS,
        help="by default what the file's name ends with; jsonl holds all, exactly",
    )


def _add_copies(commands: Any) -> None:
    text = "Copy a store that may be in use into a new file."
    made = _added(commands, "backup", backup, text)
    made.add_argument("store", type=Path)
    made.add_argument("to", type=Path)
    text = "Save the runs that are whole in a damaged store into a new one."
    made = _added(commands, "recover", recover, text)
    made.add_argument("store", type=Path)
    made.add_argument("to", type=Path)


def _add_monitor(commands: Any) -> None:
    text = """Watch a deployed model. The exit code is the verdict:
0 as before, 1 confidence or features have drifted, 2 the metric has dropped.
Predictions are .npz files of arrays, outputs, targets, values and features, as
numpy.savez(path, **pretrain_eval.predict(model, loader)) writes them."""
    made = _added(commands, "monitor", monitor, text)
    made.add_argument("watch", type=Path, help="keeps the looks; --reference makes it")
    made.add_argument(
        "--reference", type=Path, metavar="NPZ", help="predictions before"
    )
    made.add_argument(
        "--look",
        nargs=2,
        metavar=("NAME", "NPZ"),
        help="one more date, and what it had",
    )
    made.add_argument("--report", type=Path, help="write a page, such as watch.html")
    first = made.add_argument_group("with --reference")
    first.add_argument("--metric", default="accuracy", help="accuracy by default")
    first.add_argument("--better", choices=("higher", "lower"))
    first.add_argument("--scores", choices=("logits", "probabilities"))
    first.add_argument("--false-alarms", type=float, default=0.05, metavar="RATE")
    first.add_argument("--horizon", type=int, default=52, metavar="LOOKS")


def show(options: argparse.Namespace) -> int:
    """Print what a store holds."""
    names = ("model", "task", "dataset", "strategy", "seed", "status")
    runs = _stored(options.store).filter(**_given(options, *names))
    print(_bold(repr(runs)))
    if not runs:
        return 0
    models = dict.fromkeys(run.model for run in runs)
    rows = [_row(model, runs.filter(model=model)) for model in models]
    print(pe.Sheet("", tuple(rows)).table().to_text().lstrip("\n"))
    failed = [run for run in runs if run.message]
    for run in failed[:10]:
        print(f"{run.status}: {run.name}: {run.message.splitlines()[0]}")
    if len(failed) > 10:
        print(f"… and {len(failed) - 10} more that did not complete")
    return 0


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _row(model: str, runs: pe.Runs) -> dict[str, str | float | int | None]:
    completed = runs.filter(status="completed")
    seconds = [run.cost.seconds for run in runs if run.cost.seconds is not None]
    return {
        "model": model,
        "runs": len(runs),
        "completed": len(completed),
        "tasks": len({(run.task, run.dataset) for run in runs}),
        "strategies": len({run.strategy for run in runs}),
        "seeds": len({run.seed for run in runs}),
        "training seconds": sum(seconds) if seconds else None,
    }


def compare(options: argparse.Namespace) -> int:
    """Print a ranking; the verdict is the exit code."""
    _stored(options.store)
    asked = _given(options, "metric", "better", "scratch", "rope")
    if options.protocol == "all":
        card = pe.scorecard(options.store, **asked)
        print(_formatted(card, options.format))
        return card[card.decided_by].exit_code
    found = EVALUATORS[options.protocol](**asked).compare(options.store)
    print(_formatted(found, options.format))
    return found.exit_code


def _formatted(record: pe.Comparison | pe.Scorecard, form: str) -> str:
    made: dict[str, Callable[[], str]] = {
        "text": record.__str__,
        "markdown": record.to_markdown,
        "latex": record.to_latex,
        "csv": record.to_csv,
        "json": record.to_json,
        "html": record._repr_html_,
    }
    return made[form]()


def choose(options: argparse.Namespace) -> int:
    """Race the models of a file; 0 one is left, 1 practically equal, 2 open."""
    if not options.race.is_file():
        raise FileNotFoundError(f"{options.race}: there is no such file")
    given = runpy.run_path(str(options.race))
    lacking = [n for n in ("models", "tasks", "strategies") if n not in given]
    if lacking:
        raise ValueError(
            f"{options.race} must define models, tasks and strategies, as"
            f" pretrain_eval.choose takes them; it lacks {', '.join(lacking)}"
        )
    settings = {name: given[name] for name in RACE if name in given}
    stated = {name: getattr(options, name, None) for name in RACE}
    settings |= {name: value for name, value in stated.items() if value is not None}
    if isinstance(settings.get("seeds"), int):
        settings["seeds"] = range(settings["seeds"])
    choice = pe.choose(
        *(given[name] for name in ("models", "tasks", "strategies")),
        **settings,
        progress=not options.quiet,
    )
    print(choice)
    if not choice.not_separable:
        return 0
    return 1 if choice.regret_limit <= settings.get("tolerance", 0.0) else 2


def export(options: argparse.Namespace) -> int:
    """Write the runs of a store into a file of another form."""
    form = options.format or options.to.suffix.lstrip(".")
    if form not in EXPORTS:
        raise ValueError(
            f"export expects a file that ends with {', '.join(EXPORTS)}, or --format, got"
            f" {str(options.to)!r}"
        )
    runs = _stored(options.store)
    with pe.RunStore(options.store) as store:
        if form == "csv":
            store.write_csv(options.to)
        elif form == "jsonl":
            store.write_jsonl(options.to)
        else:
            store.write_parquet(options.to)
    print(f"{len(runs)} runs in {options.to}")
    return 0


def report(options: argparse.Namespace) -> int:
    """Write the five protocols as a page, or in another form of `save`."""
    _stored(options.store)
    pe.scorecard(options.store, scratch=options.scratch).save(options.to)
    print(f"written: {options.to}")
    return 0


def backup(options: argparse.Namespace) -> int:
    """Copy a store."""
    _stored(options.store)
    with pe.RunStore(options.store) as store:
        store.backup(options.to)
    print(f"{len(_stored(options.to))} runs in {options.to}")
    return 0


def recover(options: argparse.Namespace) -> int:
    """Save what is whole in a damaged store."""
    if not options.store.is_file():
        raise FileNotFoundError(f"{options.store}: there is no such file")
    number = pe.RunStore.recover(options.store, into=options.to)
    print(f"{number} whole runs saved in {options.to}")
    return 0


def monitor(options: argparse.Namespace) -> int:
    """Begin, go on with or print a watch; its exit code is the verdict."""
    if options.reference is not None:
        if options.watch.exists():
            raise FileExistsError(
                f"{options.watch} is there; a new watch is a new file"
            )
        names = ("metric", "better", "scores", "false_alarms", "horizon")
        watch = pe.monitor(_predictions(options.reference), **_given(options, *names))
    elif options.watch.is_file():
        watch = pe.Monitor.from_json(options.watch.read_text(encoding="utf-8"))
    else:
        raise FileNotFoundError(
            f"{options.watch}: there is no such file; --reference predictions.npz makes it"
        )
    if options.look is not None:
        name, path = options.look
        watch = watch.look(name, _predictions(Path(path)))
    if options.look is not None or options.reference is not None:
        # Beside it first, so that a crash leaves the looks of before.
        partial = options.watch.with_name(f".{options.watch.name}.{os.getpid()}")
        partial.write_text(watch.to_json(), encoding="utf-8")
        partial.replace(options.watch)
    print(watch)
    if options.report is not None:
        watch.save(options.report)
    return watch.exit_code


def _predictions(path: Path) -> dict[str, Any]:
    """The arrays of a file, which holds no pickles."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} must be an .npz file of plain arrays, as numpy.savez writes it:"
            f" {error}"
        ) from error


def _stored(path: Path) -> pe.Runs:
    """The runs at a path, without their histories."""
    with pe.RunStore(path) as store:
        return pe.Runs(store.filter(history=False))


def _bold(text: str) -> str:
    on = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\033[1m{text}\033[0m" if on else text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is its verdict."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = parser()
    if given[:1] == ["demo"]:
        from pretrain_eval.demo import job  # what it needs takes a second to import

        return job.main(given[1:])
    options = asked.parse_args(given)
    try:
        if options.print_completion:
            print(needs("completion").complete(asked, options.print_completion))
            return 0
        if options.command is None:
            asked.print_help()
            return 0
        code: int = options.run(options)
    except KeyboardInterrupt:
        print("stopped; finished runs are kept in the store", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, TypeError, OSError, ImportError, KeyError) as error:
        if options.traceback:
            raise
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"pretrain-eval: {text}", file=sys.stderr)
        return WRONG
    return code


if __name__ == "__main__":
    sys.exit(main())
