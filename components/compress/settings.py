"""What can be asked of compression; free of TensorFlow, so that a pipeline can check it early."""

import dataclasses
import math

from components.errors import InputError

TABLE_FORMATS = ("float16", "int8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressSettings:
    """How a model is made smaller before its release.

    Attributes:
        table_format: "none" releases the model as it was trained.
        max_drop: Most NDCG@10 that the smaller model may lose, at the lower end of the interval.
    """

    table_format: str = "none"
    max_drop: float = 0.001

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: Names the setting.
        """
        if self.table_format != "none":
            check_table_format(self.table_format)
        if not 0 <= self.max_drop < math.inf:
            raise InputError("compress_max_drop", str(self.max_drop), "a finite number ≥ 0")


def check_table_format(name: str) -> None:
    """Refuse the name of a format that there is not.

    Raises:
        InputError: Names those there are.
    """
    if name not in TABLE_FORMATS:
        raise InputError("compress", repr(name), f"none, {' or '.join(TABLE_FORMATS)}")
