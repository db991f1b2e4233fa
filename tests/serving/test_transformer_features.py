"""Histories and item features, from real Parquet files, a real bucket and a real Redis."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import storage

from serving.transformer.features import Columns, LookupFailed
from serving.transformer.files import FilesError, LocalFiles, open_files
from serving.transformer.parquet_features import ParquetHistories, ParquetItems
from serving.transformer.redis_store import RedisHistories, RedisItems, connect
from tests.serving.redis_process import RedisProcess, running_redis
from tests.storage_server import running_storage

COLUMNS = Columns(category="department", stock="stock", vector="vector")


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def events(*rows: tuple[str | None, str, int]) -> pa.Table:
    users, items, days = zip(*rows, strict=True)
    return pa.table({"user": users, "item": items, "time": [day(number) for number in days]})


def histories(path: Path) -> ParquetHistories:
    return ParquetHistories(LocalFiles(path))


def of(source, *keys: str):
    return asyncio.run(source.of(keys))


def write_manifest(folder: Path) -> None:
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in folder.rglob("*.parquet")
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def test_history_is_in_the_order_of_time_over_all_files_and_unknown_users_have_none(
    tmp_path: Path,
):
    (tmp_path / "train").mkdir()
    # Of two events at one time the one written first comes first.
    first = events(("u1", "c", 3), ("u2", "x", 1), ("u1", "a", 1), ("u1", "a2", 1))
    pq.write_table(first, tmp_path / "train" / "part-0.parquet")
    pq.write_table(events(("u1", "b", 2), (None, "z", 1)), tmp_path / "part-1.parquet")
    found = of(histories(tmp_path), "u2", "nobody", "u1", "")
    assert found == [["x"], [], ["a", "a2", "b", "c"], []]


def test_history_may_be_dictionaries_or_numbers_and_times_of_any_kind(tmp_path: Path):
    users = pa.array(["u", "u", "v"]).dictionary_encode()
    table = pa.table({"user": users, "item": [3, 1, 2], "time": [2.5, 1.5, 0.0]})
    pq.write_table(table, tmp_path / "e.parquet")
    assert of(histories(tmp_path), "v", "u") == [["2"], ["1", "3"]]


def test_of_an_items_rows_the_last_counts(tmp_path: Path):
    pq.write_table(pa.table({"item": ["a", "a", None], "stock": [0, 5, 0]}), tmp_path / "i.parquet")
    items = ParquetItems(LocalFiles(tmp_path), Columns(stock="stock"))
    assert of(items, "a").in_stock.tolist() == [True]


def test_item_features_by_item_and_what_is_unknown_is_in_stock(tmp_path: Path):
    table = pa.table(
        {
            "item": ["a", "b", "c", "d"],
            "department": pa.array(["tea", None, "jam", "tea"]).dictionary_encode(),
            "stock": [3, 0, None, -1],
            "vector": [[1.0, 0.0], None, [float("nan"), 1.0], [0.0, 2.0]],
            "price": [1.0, 2.0, 3.0, 4.0],
        }
    )
    pq.write_table(table, tmp_path / "items.parquet")
    items = ParquetItems(LocalFiles(tmp_path / "items.parquet"), COLUMNS)
    found = of(items, "d", "no such", "b", "c", "a")
    assert found.categories == ["tea", None, None, "jam", "tea"]
    assert found.in_stock.tolist() == [False, True, False, True, True]
    # No vector, or one with a NaN in it, is a row of zeros.
    assert found.vectors.tolist() == [[0, 2], [0, 0], [0, 0], [0, 0], [1, 0]]


@pytest.mark.parametrize("column", [[True, False], [0.5, 0.0]])
def test_stock_may_be_a_number_or_a_truth_value(tmp_path: Path, column: list):
    pq.write_table(pa.table({"item": ["a", "b"], "stock": column}), tmp_path / "i.parquet")
    items = ParquetItems(LocalFiles(tmp_path), Columns(stock="stock"))
    assert of(items, "a", "b").in_stock.tolist() == [True, False]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item": ["a"], "stock": [1]}, r"expected 'department'"),
        ({"item": ["a"], "department": ["t"], "stock": ["1"], "vector": [[1.0]]}, "found string"),
        ({"item": ["a"], "department": ["t"], "stock": [1], "vector": [1.0]}, "expected lists"),
        (
            {"item": ["a", "b"], "department": ["t", "t"], "stock": [1, 1],
             "vector": [[1.0], [1.0, 2.0]]},
            r"found lengths \[1, 2\], expected one",
        ),
    ],
)  # fmt: skip
def test_file_with_other_columns_is_refused_in_one_line(tmp_path: Path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    with pytest.raises(FilesError, match=message) as error:
        ParquetItems(LocalFiles(tmp_path), COLUMNS)
    assert str(error.value).startswith("items: ") and "\n" not in str(error.value)


def test_no_files_a_file_that_is_no_parquet_and_an_unknown_scheme_are_refused(tmp_path: Path):
    with pytest.raises(FilesError, match="found no .parquet file"):
        histories(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"not one")
    with pytest.raises(FilesError, match=r"x\.parquet: found no Parquet file"):
        histories(tmp_path)
    with pytest.raises(FilesError, match="found scheme 's3'"):
        open_files("s3://bucket/x")


def test_changed_files_are_reloaded_and_unchanged_ones_are_not(tmp_path: Path):
    pq.write_table(events(("u", "a", 1)), tmp_path / "part-0.parquet")
    source = histories(tmp_path)
    assert source.watched.reload() is False
    pq.write_table(events(("u", "b", 2)), tmp_path / "part-1.parquet")
    assert source.watched.reload() is True
    assert of(source, "u") == [["a", "b"]]
    (tmp_path / "part-0.parquet").unlink()
    assert source.watched.reload() is True
    assert of(source, "u") == [["b"]]


def test_failed_reload_keeps_what_is_there_and_is_tried_again(tmp_path: Path):
    file = tmp_path / "part-0.parquet"
    pq.write_table(events(("u", "a", 1)), file)
    source = histories(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:100])  # half written
    for _ in range(2):
        with pytest.raises(FilesError):
            source.watched.reload()
        assert of(source, "u") == [["a"]]
    pq.write_table(events(("u", "b", 1)), file)
    assert source.watched.reload() is True
    assert of(source, "u") == [["b"]]


def test_files_are_checked_against_the_manifest_beside_them(tmp_path: Path):
    pq.write_table(events(("u", "a", 1)), tmp_path / "part-0.parquet")
    pq.write_table(events(("u", "b", 2)), tmp_path / "part-1.parquet")
    write_manifest(tmp_path)
    assert of(histories(tmp_path), "u") == [["a", "b"]]
    pq.write_table(events(("u", "e", 2)), tmp_path / "part-1.parquet")  # evil, of the same size
    with pytest.raises(FilesError, match="part-1.parquet: found .* the manifest says"):
        histories(tmp_path)
    (tmp_path / "part-1.parquet").unlink()
    with pytest.raises(FilesError, match="part-1.parquet: found nothing, the manifest lists it"):
        histories(tmp_path)
    write_manifest(tmp_path)
    pq.write_table(events(("u", "b", 2)), tmp_path / "part-2.parquet")
    with pytest.raises(FilesError, match="found a file which the manifest does not list"):
        histories(tmp_path)


@pytest.mark.parametrize("manifest", ["[]", "{", '{"files": []}', '{"files": {"p.parquet": 1}}'])
def test_manifest_that_is_none_is_refused(tmp_path: Path, manifest: str):
    pq.write_table(events(("u", "a", 1)), tmp_path / "p.parquet")
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(FilesError):
        histories(tmp_path)


@pytest.fixture(scope="module")
def bucket() -> Iterator[storage.Bucket]:
    with running_storage("shop"):
        yield storage.Client().bucket("shop")


def test_bucket_is_read_like_a_folder_and_reloaded_when_an_object_changes(
    bucket: storage.Bucket, tmp_path: Path
):
    pq.write_table(events(("u", "a", 1)), tmp_path / "part-0.parquet")
    write_manifest(tmp_path)
    for name in ("part-0.parquet", "manifest.json"):
        bucket.blob(f"events/{name}").upload_from_filename(str(tmp_path / name))
    bucket.blob("events2/part-0.parquet").upload_from_string(b"another folder")
    source = ParquetHistories(open_files("gs://shop/events"))
    assert of(source, "u") == [["a"]]
    assert source.watched.reload() is False
    pq.write_table(events(("u", "b", 1)), tmp_path / "part-0.parquet")
    bucket.blob("events/part-0.parquet").upload_from_filename(str(tmp_path / "part-0.parquet"))
    with pytest.raises(FilesError, match="the manifest says"):
        source.watched.reload()
    assert of(source, "u") == [["a"]]
    write_manifest(tmp_path)
    bucket.blob("events/manifest.json").upload_from_filename(str(tmp_path / "manifest.json"))
    assert source.watched.reload() is True
    assert of(source, "u") == [["b"]]
    with pytest.raises(FilesError, match="found no .parquet file"):
        ParquetHistories(open_files("gs://shop/nothing"))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisProcess]:
    with running_redis() as process:
        yield process


def test_redis_holds_histories_as_lists(server: RedisProcess):
    server.client.rpush("shopflow:history:u1", "a", "b")

    async def found() -> object:
        return await RedisHistories(connect(server.url, timeout_s=5)).of(["u1", "nobody"])

    assert asyncio.run(found()) == [["a", "b"], []]


def test_redis_holds_features_as_hashes_and_what_cannot_be_read_is_unknown(server: RedisProcess):
    server.client.hset(
        "shopflow:item:a", mapping={"department": "tea", "stock": "0", "vector": "[1,0]"}
    )
    server.client.hset("shopflow:item:b", mapping={"stock": "many", "vector": "[[1]]"})
    server.client.hset("shopflow:item:c", mapping={"stock": "2.5", "vector": "{"})

    async def found():
        return await RedisItems(connect(server.url, timeout_s=5), COLUMNS).of(["b", "x", "a", "c"])

    features = asyncio.run(found())
    assert features.categories == [None, None, "tea", None]
    assert features.in_stock.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(features.vectors, [[0, 0], [0, 0], [1, 0], [0, 0]])


def test_redis_that_is_down_or_frozen_is_a_failed_lookup():
    with running_redis() as process:

        async def asked(url: str) -> None:
            await RedisHistories(connect(url, timeout_s=0.05)).of(["u"])

        os.kill(process.process.pid, signal.SIGSTOP)
        with pytest.raises(LookupFailed, match="history: Redis cannot be asked"):
            asyncio.run(asked(process.url))
        os.kill(process.process.pid, signal.SIGCONT)
    with pytest.raises(LookupFailed, match="history: Redis cannot be asked"):
        asyncio.run(asked(process.url))
