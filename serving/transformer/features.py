"""What the transformer knows of users and items, and the interface it asks by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


class LookupFailed(RuntimeError):
    """The place the features are in cannot be reached; the message is one line."""


@dataclass(frozen=True)
class ItemFeatures:
    """Features of some items, in the order they were asked for.

    Attributes:
        categories: Category of each item, None where unknown.
        in_stock: Whether it can be sold; an item nobody knows anything of counts as in stock,
            so that a late table hides no item.
        vectors: Shape [items, d], a row of zeros where unknown; None without vectors.
    """

    categories: Sequence[str | None]
    in_stock: npt.NDArray[np.bool_]
    vectors: npt.NDArray[np.float32] | None = None

    def take(self, rows: Sequence[int]) -> "ItemFeatures":
        """Return the features of the items at `rows`, in that order."""
        index = np.asarray(rows, dtype=np.intp)
        return ItemFeatures(
            [self.categories[row] for row in rows],
            self.in_stock[index],
            None if self.vectors is None else self.vectors[index],
        )


@dataclass(frozen=True)
class Columns:
    """Names of the item features, "" for one that is not there.

    Attributes:
        category: Text.
        stock: A number, above 0 for what can be sold, or true and false.
        vector: A list of numbers, of the same length for every item.
    """

    category: str = ""
    stock: str = ""
    vector: str = ""


class Histories(Protocol):
    """Past items of users."""

    async def of(self, users: Sequence[str]) -> Sequence[Sequence[str]]:
        """Return each user's items, the most recent last; none for a user nobody knows.

        Raises:
            LookupFailed: If the place they are in cannot be reached.
        """
        ...


class Items(Protocol):
    """Features of items."""

    async def of(self, items: Sequence[str]) -> ItemFeatures:
        """Return the items' features, in their order.

        Raises:
            LookupFailed: If the place they are in cannot be reached.
        """
        ...


def unknown(count: int) -> ItemFeatures:
    """Return the features of `count` items nobody knows anything of."""
    return ItemFeatures([None] * count, np.ones(count, dtype=np.bool_))
