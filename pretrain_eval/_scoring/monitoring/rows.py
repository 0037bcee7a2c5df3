"""Rows of many numbers as few: the directions in which a reference varies most."""

from __future__ import annotations

import base64
from dataclasses import KW_ONLY, dataclass

import numpy as np
from typing_extensions import Self

from pretrain_eval._runs import Record
from pretrain_eval._scoring.formulas.statistics import Array
from pretrain_eval._scoring.reports.checked import check, is_positive, is_text

_MOST = 16  # directions
_ROWS_PER_DIRECTION = 20
_FARTHEST = 3.0  # standard deviations; one example must not move a mean by itself


@dataclass(frozen=True)
class Directions(Record):
    """What a row is projected on, in 32-bit floats.

    A row becomes its coordinates along the first principal directions of the reference
    and the logarithm of its distance from the reference's mean, which also grows beside
    them; each within three standard deviations, all of them made uncorrelated.

    Attributes:
        num_features: Numbers in a row.
        num_directions: Principal directions that are kept.
        packed: In base 64, little-endian: the reference's mean, the directions, each
            divided by the standard deviation along it, mean and standard deviation of
            the log distance, the mean of the clipped coordinates, and the matrix that
            whitens them.
    """

    _: KW_ONLY
    num_features: int
    num_directions: int
    packed: str

    def __post_init__(self) -> None:
        sizes = ("num_features", "num_directions")
        check(self, "a whole number of at least 1", is_positive, *sizes)
        check(self, "a text", is_text, "packed")
        expected = 4 * sum(int(np.prod(shape)) for shape in self._shapes)
        try:
            size = len(base64.b64decode(self.packed, validate=True))
        except ValueError:
            size = -1
        if size != expected:
            raise ValueError(
                f"Directions.packed must be {expected} bytes in base 64, got"
                f" {self.packed!r:.80}"
            )

    @classmethod
    def of(cls, rows: Array) -> Self:
        """The directions of a reference, `(num_examples, num_features)`.

        Raises:
            ValueError: All rows are alike.
        """
        from sklearn.decomposition import PCA  # not at import: it takes a second

        spread = rows.std(axis=0)
        if not spread.any():
            raise ValueError("all rows of the reference are alike")
        most = min(_MOST, *rows.shape, max(1, len(rows) // _ROWS_PER_DIRECTION))
        found = PCA(most, random_state=0, svd_solver="auto").fit(rows)
        scale = np.sqrt(found.explained_variance_)
        varied = scale > 1e-6 * scale[0]
        directions = found.components_[varied] / scale[varied, None]
        center = rows.mean(axis=0)
        far = _log_distance(rows - center)
        width = far.std() or 1.0
        raw = _clipped(rows - center, directions, far, far.mean(), width)
        middle = raw.mean(axis=0)
        variances, axes = np.linalg.eigh(
            np.cov(raw, rowvar=False).reshape(raw.shape[1], -1)
        )
        floor = 1e-6 * variances.max()
        whiten = axes / np.sqrt(np.maximum(variances, floor))
        parts = (center, directions, np.array([far.mean(), width]), middle, whiten)
        content = np.concatenate([part.ravel() for part in parts]).astype("<f4")
        return cls(
            num_features=rows.shape[1],
            num_directions=len(directions),
            packed=base64.b64encode(content.tobytes()).decode(),
        )

    @property
    def width(self) -> int:
        """Coordinates of a row."""
        return self.num_directions + 1

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        features, directions, width = self.num_features, self.num_directions, self.width
        return (features,), (directions, features), (2,), (width,), (width, width)

    def coordinates(self, rows: Array) -> Array:
        """Of each row, `(num_examples, width)`; the reference's have mean 0, variance 1."""
        content = np.frombuffer(base64.b64decode(self.packed), "<f4").astype(np.float64)
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]
        center, directions, far, middle, whiten = (
            part.reshape(shape)
            for part, shape in zip(np.split(content, ends), self._shapes, strict=True)
        )
        away = rows - center
        raw = _clipped(away, directions, _log_distance(away), *far)
        return np.asarray((raw - middle) @ whiten)


def _log_distance(away: Array) -> Array:
    squares = np.einsum("nf,nf->n", away, away)
    return np.asarray(np.log(squares + 1e-30))


def _clipped(
    away: Array, directions: Array, far: Array, mean: float, width: float
) -> Array:
    raw = np.column_stack([away @ directions.T, (far - mean) / width])
    return np.clip(raw, -_FARTHEST, _FARTHEST)
