"""A small synthetic shop with a structure that is known because it was planted.

Users belong to taste groups, each group owns a few categories, and half of all steps follow a fixed
item → next item pair. Popularity is long-tailed. A model that reads the user's history must
therefore beat popularity clearly; with `shuffled=True` there is nothing to learn from history at
all, while every item keeps its number of events.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from components.ingest.config import load_config
from components.ingest.ingest import ingest

USER_BEHAVIOR = Path(__file__).parents[1] / "pipelines" / "configs" / "user_behavior.yaml"
GROUPS = 6
DAYS = 60
START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
FOLLOWS_PAIR = 0.5  # probability that an event is the planted successor of the user's last item
WITHIN_TASTE = 0.9  # probability that any other event stays in the user's group
NEVER_BOUGHT = 0.03  # share of the catalogue that has no event: the new items
OUTLIER_QUANTITY = 10_000
FAR_FUTURE = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())

_CATEGORIES = (
    "apple juice", "green tea", "road bike", "bike helmet", "wool scarf", "rain jacket",
    "desk lamp", "book shelf", "guitar string", "piano stool", "garden hose", "flower pot",
)  # fmt: skip
_WORDS = ("crisp", "classic", "light", "urban", "nordic", "golden", "compact", "deluxe")
_BRANDS = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel")
_BEHAVIOURS = ("view", "cart", "buy")


@dataclass(frozen=True)
class Dirt:
    """How many bad rows to plant; every row breaks exactly one rule of cleaning.

    Attributes:
        missing_ids: Extra rows without a user or without an item.
        duplicates: Extra rows equal in every column to another row.
        impossible_times: Extra rows in 1970 or in 2100.
        bad_quantities: Extra rows with a quantity of 0 or below.
        unknown_items: Extra rows with an item that the catalogue does not list.
        outliers: Good rows whose quantity becomes absurd; they are kept, and capped.
    """

    missing_ids: int = 0
    duplicates: int = 0
    impossible_times: int = 0
    bad_quantities: int = 0
    unknown_items: int = 0
    outliers: int = 0

    @property
    def removed(self) -> int:
        """Rows that cleaning must remove: all but the outliers."""
        return (
            self.missing_ids
            + self.duplicates
            + self.impossible_times
            + self.bad_quantities
            + self.unknown_items
        )


@dataclass(frozen=True)
class Shop:
    """What `make_shop` wrote, and the truth behind it.

    Attributes:
        behaviour: The event log, `user_behavior.csv`.
        items: The catalogue, `item_info.csv`.
        rows: Rows of the event log, dirt included.
        dirt: The bad rows among them.
        user_group: Taste group by user number; user n is called "u<n>".
        item_group: Taste group by item number; item n is called "i<n>".
        next_item: Number of the planted successor by item number; the item itself if never bought.
    """

    behaviour: Path
    items: Path
    rows: int
    dirt: Dirt
    user_group: npt.NDArray[np.int64] = field(repr=False)
    item_group: npt.NDArray[np.int64] = field(repr=False)
    next_item: npt.NDArray[np.int64] = field(repr=False)


def make_shop(
    folder: Path,
    *,
    seed: int,
    users: int = 300,
    items: int = 200,
    events: int = 20_000,
    shuffled: bool = False,
    dirt: Dirt | None = None,
) -> Shop:
    """Write `user_behavior.csv` and `item_info.csv`; the same arguments write the same bytes.

    Args:
        folder: Where to write; made when missing.
        seed: Seed of every random choice.
        users: Number of users.
        items: Number of items in the catalogue, at least 4 per group.
        events: Number of good events; dirt comes on top.
        shuffled: Exchange the items among the events, so that history tells nothing.
        dirt: Bad rows to plant; none by default.

    Returns:
        The files and what was planted in them.

    Raises:
        ValueError: If there are too few items for the groups, or events for the dirt.
    """
    dirt = dirt or Dirt()
    if items < 4 * GROUPS or dirt.outliers + dirt.duplicates > events:
        raise ValueError(f"{items} items, {events} events: too few for {GROUPS} groups and {dirt}")
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    user_group = rng.integers(GROUPS, size=users)
    item_group = rng.permutation(np.arange(items) % GROUPS)
    popularity = _long_tail(items, rng=rng)
    next_item = _pairs(item_group, popularity=popularity, rng=rng)

    user = rng.choice(users, size=events, p=_activity(users, rng=rng))
    item = _walk(
        user,
        user_group=user_group,
        item_group=item_group,
        popularity=popularity,
        next_item=next_item,
        rng=rng,
    )
    if shuffled:
        item = rng.permutation(item)

    catalogue = _catalogue(item_group, rng=rng)
    log = _log(user, item, prices=catalogue["price"].to_numpy(), rng=rng)
    log = _soil(log, dirt, rng=rng)
    behaviour_path, items_path = folder / "user_behavior.csv", folder / "item_info.csv"
    log.write_csv(behaviour_path)
    catalogue.write_csv(items_path)
    return Shop(
        behaviour=behaviour_path,
        items=items_path,
        rows=len(log),
        dirt=dirt,
        user_group=user_group,
        item_group=item_group,
        next_item=next_item,
    )


def _long_tail(items: int, *, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Zipf weights in random order; the never-bought items have weight 0."""
    weights = 1.0 / np.arange(1, items + 1)
    weights[items - round(NEVER_BOUGHT * items) :] = 0.0
    return rng.permutation(weights / weights.sum())


def _activity(users: int, *, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    weights = rng.lognormal(sigma=0.6, size=users)
    return np.asarray(weights / weights.sum())


def _pairs(
    item_group: npt.NDArray[np.int64],
    *,
    popularity: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """One cycle through the sold items of each group, in random order."""
    successor = np.arange(len(item_group))
    for group in range(GROUPS):
        cycle = rng.permutation(np.flatnonzero((item_group == group) & (popularity > 0)))
        successor[cycle] = np.roll(cycle, -1)
    return successor


def _walk(
    user: npt.NDArray[np.int64],
    *,
    user_group: npt.NDArray[np.int64],
    item_group: npt.NDArray[np.int64],
    popularity: npt.NDArray[np.float64],
    next_item: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Choose the item of every event; `user` is in the order of time, length [events]."""
    free = rng.choice(len(popularity), size=len(user), p=popularity)
    for group in range(GROUPS):
        own = popularity * (item_group == group)
        mine = (user_group[user] == group) & (rng.random(len(user)) < WITHIN_TASTE)
        free[mine] = rng.choice(len(own), size=int(mine.sum()), p=own / own.sum())

    follows = rng.random(len(user)) < FOLLOWS_PAIR
    item = free.copy()
    by_user = np.argsort(user, kind="stable")  # each user's events, one after the other, in time
    first = np.diff(user[by_user], prepend=-1) != 0
    position = np.arange(len(user)) - np.maximum.accumulate(
        np.where(first, np.arange(len(user)), 0)
    )
    steps = np.split(np.argsort(position, kind="stable"), np.cumsum(np.bincount(position))[:-1])
    for here in steps[1:]:  # all users take their n-th step together
        now, before = by_user[here], by_user[here - 1]
        item[now] = np.where(follows[now], next_item[item[before]], free[now])
    return item


def _catalogue(item_group: npt.NDArray[np.int64], *, rng: np.random.Generator) -> pl.DataFrame:
    count = len(item_group)
    per_group = len(_CATEGORIES) // GROUPS
    category = item_group * per_group + rng.integers(per_group, size=count)
    word, brand = rng.integers(len(_WORDS), size=count), rng.integers(len(_BRANDS), size=count)
    return pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(count)],
            "title": [
                f"{_WORDS[w]} {_CATEGORIES[c]} {n}"
                for n, (w, c) in enumerate(zip(word, category, strict=True))
            ],
            "category": [_CATEGORIES[c] for c in category],
            "brand": [_BRANDS[b] for b in brand],
            "price": np.round(rng.uniform(1.0, 100.0, size=count), 2),
        }
    )


def _log(
    user: npt.NDArray[np.int64],
    item: npt.NDArray[np.int64],
    *,
    prices: npt.NDArray[np.float64],
    rng: np.random.Generator,
) -> pl.DataFrame:
    # No two events share a second, so that only a planted duplicate is an exact duplicate.
    seconds = np.sort(rng.choice(DAYS * 86_400, size=len(user), replace=False))
    return pl.DataFrame(
        {
            "user_id": pl.Series(user).cast(pl.String),
            "item_id": pl.Series(item).cast(pl.String),
            "timestamp": START + seconds,
            "behavior_type": rng.choice(_BEHAVIOURS, size=len(user), p=(0.7, 0.15, 0.15)),
            "quantity": rng.choice((1, 2, 3), size=len(user), p=(0.7, 0.2, 0.1)),
            "price": prices[item],
        }
    ).with_columns(pl.format("u{}", "user_id"), pl.format("i{}", "item_id"))


def _soil(log: pl.DataFrame, dirt: Dirt, *, rng: np.random.Generator) -> pl.DataFrame:
    """Add the bad rows, and shuffle them in when there are any."""
    if dirt == Dirt():
        return log

    def rows(count: int) -> pl.DataFrame:
        return log[rng.choice(len(log), size=count, replace=False)]

    # Disjoint, because a copy of a row that changes afterwards is no copy.
    absurd, copied = np.split(
        rng.choice(len(log), size=dirt.outliers + dirt.duplicates, replace=False), [dirt.outliers]
    )
    copies = log[copied]
    even = pl.int_range(pl.len()) % 2 == 0
    bad = [
        rows(dirt.missing_ids).with_columns(
            user_id=pl.when(~even).then("user_id"), item_id=pl.when(even).then("item_id")
        ),
        rows(dirt.impossible_times).with_columns(
            timestamp=pl.when(even).then(0).otherwise(FAR_FUTURE)
        ),
        rows(dirt.bad_quantities).with_columns(quantity=pl.when(even).then(0).otherwise(-1)),
        rows(dirt.unknown_items).with_columns(item_id=pl.format("ghost{}", pl.int_range(pl.len()))),
    ]
    log = log.with_columns(
        quantity=pl.when(pl.int_range(pl.len()).is_in(absurd.tolist()))
        .then(OUTLIER_QUANTITY)
        .otherwise("quantity")
    )
    return pl.concat([log, copies, *bad], how="vertical_relaxed").sample(
        fraction=1.0, shuffle=True, seed=int(rng.integers(2**31))
    )


@dataclass(frozen=True)
class CleanShop:
    """A synthetic shop after ingest: the artifacts that the later steps read.

    Attributes:
        shop: The truth behind it.
        events_dir: {train,eval,test}/part-*.parquet.
        catalogue_dir: part-*.parquet.
        schema_path: Schema, text proto.
    """

    shop: Shop
    events_dir: Path
    catalogue_dir: Path
    schema_path: Path


def events_and_catalogue(
    folder: Path,
    *,
    seed: int,
    users: int = 300,
    items: int = 200,
    events: int = 20_000,
    shuffled: bool = False,
) -> CleanShop:
    """Make a shop and ingest it with the config user_behavior.

    Args:
        folder: Where to write raw/, events/, catalogue/, schema.pbtxt and data_report.html.
        seed: As in `make_shop`, like the arguments that follow.
        users: Number of users.
        items: Number of items.
        events: Number of events, over all splits.
        shuffled: Whether history tells nothing.
    """
    shop = make_shop(
        folder / "raw", seed=seed, users=users, items=items, events=events, shuffled=shuffled
    )
    clean = CleanShop(shop, folder / "events", folder / "catalogue", folder / "schema.pbtxt")
    ingest(
        load_config(USER_BEHAVIOR.read_text(encoding="utf-8"), where=str(USER_BEHAVIOR)),
        events_uris=[str(shop.behaviour)],
        catalogue_uris=[str(shop.items)],
        as_of="",
        hash_key="",
        events_dir=clean.events_dir,
        catalogue_dir=clean.catalogue_dir,
        schema_path=clean.schema_path,
        report_path=folder / "data_report.html",
    )
    return clean
