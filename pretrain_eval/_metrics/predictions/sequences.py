"""What two sequences have in common and apart: edits, subsequences, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def edit_distance(found: Sequence[Hashable], truth: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and substitutions that make one of the other.

    Source: Hyyrö, A bit-vector algorithm for computing Levenshtein and Damerau edit
    distances, 2003; a column of the table of distances is two numbers, whose bits say
    where it goes up and where down.

    >>> edit_distance("kitten", "sitting")
    3
    """
    if not truth:
        return len(found)
    places = _places(truth)
    full = (1 << len(truth)) - 1
    last = 1 << (len(truth) - 1)
    up, down, distance = full, 0, len(truth)
    for item in found:
        same = places.get(item, 0)
        level = (((same & up) + up) ^ up) | same | down
        right_up = (down | ~(level | up)) & full
        right_down = up & level
        distance += bool(right_up & last) - bool(right_down & last)
        right_up = (right_up << 1) | 1
        right_down <<= 1
        up = (right_down | ~(level | right_up)) & full
        down = right_up & level & full
    return distance


def common_subsequence(found: Sequence[Hashable], truth: Sequence[Hashable]) -> int:
    """The length of the longest sequence that both hold in order, gaps allowed.

    Source: Hyyrö, Bit-parallel LCS-length computation revisited, 2004.

    >>> common_subsequence("kitten", "sitting")
    4
    """
    places = _places(truth)
    full = (1 << len(truth)) - 1
    left = full
    for item in found:
        same = left & places.get(item, 0)
        left = ((left + same) | (left - same)) & full
    return len(truth) - left.bit_count()


def common_items(found: Sequence[Hashable], truth: Sequence[Hashable]) -> int:
    """How many items both hold in whatever order, each as often as in both.

    >>> common_items("kitten", "sitting")
    4
    """
    return (Counter(found) & Counter(truth)).total()


def f1(num_common: int, num_found: int, num_truth: int) -> float:
    """2 common / (found + truth); 1 where both are empty."""
    both = num_found + num_truth
    return 2 * num_common / both if both else 1.0


def _places(items: Sequence[Hashable]) -> dict[Hashable, int]:
    """Where each item stands, as the bits of a number."""
    places: dict[Hashable, int] = {}
    for place, item in enumerate(items):
        places[item] = places.get(item, 0) | 1 << place
    return places
