"""The slices of an evaluation: kinds of items and of users, as the train split shows them."""

from pathlib import Path

import polars as pl

from components.splits import scan_catalogue, scan_split

SLICE_COLUMNS = ("item_popularity", "user_activity", "category", "new_user", "new_item")


def add_slices(
    pairs: pl.DataFrame, events_dir: Path, catalogue_dir: Path, *, categories: int
) -> pl.DataFrame:
    """Add the slice columns to pairs of user and item.

    Args:
        pairs: user, item and any other columns.
        events_dir: Events; the train split alone decides what is popular, active or new.
        catalogue_dir: Catalogue; its column "category", if any, becomes a slice.
        categories: Categories with a slice of their own; the rest is "other".
    """
    frame = (
        pairs.join(_item_bands(events_dir), on="item", how="left")
        .join(_user_bands(events_dir), on="user", how="left")
        .with_columns(
            new_item=pl.when(pl.col("item_popularity").is_null())
            .then(pl.lit("yes"))
            .otherwise(pl.lit("no")),
            new_user=pl.when(pl.col("user_activity").is_null())
            .then(pl.lit("yes"))
            .otherwise(pl.lit("no")),
            item_popularity=pl.col("item_popularity").fill_null("new"),
            user_activity=pl.col("user_activity").fill_null("new"),
        )
    )
    named = _categories(events_dir, catalogue_dir, categories)
    if named is None:
        return frame
    return frame.join(named, on="item", how="left").with_columns(
        pl.col("category").fill_null("other")
    )


def _item_bands(events_dir: Path) -> pl.DataFrame:
    """Band items by the third of train events they make, counted from the most popular on."""
    share = pl.col("events").cum_sum() - pl.col("events")
    return (
        scan_split(events_dir, "train")
        .group_by("item")
        .agg(events=pl.len())
        .sort(["events", "item"], descending=[True, False])
        .with_columns(before=share / pl.col("events").sum())
        .select(
            "item",
            item_popularity=pl.when(pl.col("before") < 1 / 3)
            .then(pl.lit("head"))
            .when(pl.col("before") < 2 / 3)
            .then(pl.lit("middle"))
            .otherwise(pl.lit("tail")),
        )
        .collect()
    )


def _user_bands(events_dir: Path) -> pl.DataFrame:
    """Band users into thirds by their number of train events."""
    place = (pl.col("events").rank("ordinal") - 1) / pl.len()
    return (
        scan_split(events_dir, "train")
        .group_by("user")
        .agg(events=pl.len())
        .sort("events", "user")
        .select(
            "user",
            user_activity=pl.when(place < 1 / 3)
            .then(pl.lit("light"))
            .when(place < 2 / 3)
            .then(pl.lit("medium"))
            .otherwise(pl.lit("heavy")),
        )
        .collect()
    )


def _categories(events_dir: Path, catalogue_dir: Path, count: int) -> pl.DataFrame | None:
    catalogue = scan_catalogue(catalogue_dir)
    if "category" not in catalogue.collect_schema():
        return None
    named = catalogue.select("item", pl.col("category").cast(pl.String)).unique("item").collect()
    top = (
        scan_split(events_dir, "train")
        .join(named.lazy(), on="item")
        .group_by("category")
        .agg(events=pl.len())
        .sort(["events", "category"], descending=[True, False])
        .head(count)
        .collect()["category"]
        .drop_nulls()
    )
    kept = pl.col("category").is_in(top.implode())
    return named.with_columns(category=pl.when(kept).then("category").otherwise(pl.lit("other")))
