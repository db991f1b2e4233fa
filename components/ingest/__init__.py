"""The first step: a shop's raw log and catalogue become clean, joined Parquet, split in time."""
