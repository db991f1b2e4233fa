"""The shop that the tests learn from is itself what it says."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.shop import DAYS, START, Dirt, Shop, events_and_catalogue, make_shop


def read(shop: Shop) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return user, item and the user's previous item by event, without the first of each user."""
    log = pl.read_csv(shop.behaviour).select(
        pl.col("user_id", "item_id").str.slice(1).cast(pl.Int64)
    )
    log = log.with_columns(before=pl.col("item_id").shift().over("user_id")).drop_nulls()
    return log["user_id"].to_numpy(), log["item_id"].to_numpy(), log["before"].to_numpy()


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    dirt = Dirt(missing_ids=3, duplicates=3, outliers=3)
    one, two, other = (
        make_shop(tmp_path / name, seed=seed, events=2_000, dirt=dirt)
        for name, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert one.behaviour.read_bytes() == two.behaviour.read_bytes() != other.behaviour.read_bytes()
    assert one.items.read_bytes() == two.items.read_bytes() != other.items.read_bytes()


def test_history_tells_much_and_nothing_when_shuffled(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "planted", seed=1)
    user, item, before = read(shop)
    # Half the events follow the pair, and a few of the others by chance.
    assert 0.5 <= np.mean(shop.next_item[before] == item) < 0.55
    # Free events stay in the taste with 0.9 + 0.1 / 6; followers inherit it from the item before.
    assert np.mean(shop.item_group[item] == shop.user_group[user]) > 0.85

    shuffled = make_shop(tmp_path / "shuffled", seed=1, shuffled=True)
    user, item, before = read(shuffled)
    assert np.mean(shuffled.next_item[before] == item) < 0.05
    # What is left is chance: about the share of a group among the events, a sixth on average.
    assert np.mean(shuffled.item_group[item] == shuffled.user_group[user]) < 0.4


def test_popularity_is_long_tailed_and_some_items_are_never_bought(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, seed=1)
    counts = pl.read_csv(shop.behaviour)["item_id"].value_counts(sort=True)["count"]
    assert len(counts) == 194  # 200 less 3 %
    assert counts.head(20).sum() > 0.3 * 20_000  # a tenth of the items, under even odds 0.1
    assert len(pl.read_csv(shop.items)) == 200


def test_events_fill_their_days_and_no_two_share_a_second(tmp_path: Path) -> None:
    times = pl.read_csv(make_shop(tmp_path, seed=1, events=5_000).behaviour)["timestamp"]
    assert times.is_sorted() and times.n_unique() == 5_000
    assert times.min() >= START and times.max() < START + DAYS * 86_400  # type: ignore[operator]


def test_too_few_items_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="23 items"):
        make_shop(tmp_path, seed=1, items=23)


def test_the_clean_shop_is_split_as_the_config_says(tmp_path: Path) -> None:
    clean = events_and_catalogue(tmp_path, seed=1, events=6_000)
    rows = {
        split: len(pl.read_parquet(clean.events_dir / split / "*.parquet"))
        for split in ("train", "eval", "test")
    }
    # 46, 7 and 7 days of 60, events spread evenly: 4,600, 700 and 700 of 6,000.
    assert sum(rows.values()) == 6_000
    assert rows["train"] == pytest.approx(4_600, rel=0.05)
    assert rows["eval"] == pytest.approx(700, rel=0.15)
    assert len(pl.read_parquet(clean.catalogue_dir / "*.parquet")) == 200
    assert clean.schema_path.is_file()
