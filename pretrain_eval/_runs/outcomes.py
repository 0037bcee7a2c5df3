"""What a run measured on each example of its reported split, packed as plain text."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

from typing_extensions import Self

from pretrain_eval._runs.record import Record

Kind = Literal["bits", "numbers"]


@dataclass(frozen=True)
class Outcomes(Record):
    """One value an example, of which a score is the mean, and which examples they are.

    Runs whose `examples` are equal were measured on the same examples in the same
    order, so that their outcomes are paired.

    Attributes:
        key: The metric whose mean it is, such as "accuracy".
        examples: Tells the examples and their order apart from others.
        num_examples: How many.
        kind: "bits", right or wrong; or "numbers", in single precision.
        packed: The values in base 64: eight bits a byte, the first the highest, or
            little-endian floats.

    Raises:
        ValueError: The packed values are not as many as there are examples.

    >>> outcomes = Outcomes.of("accuracy", "digits", [True, False, True])
    >>> outcomes.packed, outcomes.values()
    ('oA==', [1.0, 0.0, 1.0])
    """

    _: KW_ONLY
    key: str
    examples: str
    num_examples: int
    kind: Kind
    packed: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(
                f"Outcomes expects kind as 'bits' or 'numbers', got {self.kind!r}"
            )
        for name in ("key", "examples", "packed"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(
                    f"Outcomes expects {name} as text, got {getattr(self, name)!r}"
                )
        if type(self.num_examples) is not int:
            raise ValueError(
                f"Outcomes expects num_examples as an int, got {self.num_examples!r}"
            )
        size, number = len(self.unpacked()), self.num_examples
        expected = (number + 7) // 8 if self.kind == "bits" else 4 * number
        if size != expected or self.num_examples < 1:
            raise ValueError(
                f"Outcomes of {self.num_examples} examples as {self.kind} expects"
                f" {expected} packed bytes, got {size}"
            )

    @classmethod
    def of(cls, key: str, examples: str, values: Iterable[float | bool]) -> Self:
        """The outcomes of one metric: bits where every value is a bool.

        Args:
            key: The metric whose mean it is.
            examples: Tells the examples and their order apart from others.
            values: One an example, in order.
        """
        values = list(values)
        if all(isinstance(value, bool) for value in values):
            bits = "".join("01"[bool(value)] for value in values)
            bits += "0" * (-len(bits) % 8)
            content = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
            kind: Kind = "bits"
        else:
            content, kind = struct.pack(f"<{len(values)}f", *values), "numbers"
        return cls(
            key=key,
            examples=examples,
            num_examples=len(values),
            kind=kind,
            packed=base64.b64encode(content).decode(),
        )

    def unpacked(self) -> bytes:
        """The packed values as bytes."""
        return base64.b64decode(self.packed, validate=True)

    def values(self) -> list[float]:
        """The value of each example."""
        content = self.unpacked()
        if self.kind == "numbers":
            return list(struct.unpack(f"<{self.num_examples}f", content))
        bits = "".join(f"{byte:08b}" for byte in content)
        return [float(bit) for bit in bits[: self.num_examples]]
