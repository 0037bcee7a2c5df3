"""What names and counts must be."""

from torch import Tensor

from pretrain_eval._runs import is_name


def check_name(what: str, name: object) -> None:
    if not is_name(name):
        raise ValueError(f"{what} expects a name, got {name!r}")


def check_seed(what: str, seed: object) -> None:
    # A store keeps a seed in 64 bits, with a sign.
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ValueError(f"{what} as an int from 0 to 2**63 - 1, got {seed!r}")


def check_count(what: str, count: object, least: int) -> None:
    if type(count) is not int or count < least:
        raise ValueError(f"{what} must be an int of at least {least}, got {count!r}")


def check_classes(what: str, part: str, counts: Tensor) -> None:
    number, least = int((counts > 0).sum()), 2 if part == "train" else 1
    if number < least:
        raise ValueError(f"{what} of {number} classes; it needs at least {least}")
