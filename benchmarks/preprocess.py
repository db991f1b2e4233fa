"""Rows per second of the transform graph's fit, past its start-up.

Run: python -m benchmarks.preprocess [ROWS]
Two sizes of the train split (its rows repeated) are fitted; the slope between them is the
rate, and what is left at zero rows is the start-up.
"""

import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.complete_journey import prepare
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph

REQUIRED_ROWS_PER_S = 250_000


def seconds_for(rows: int, *, split: pa.Table, schema_path: Path) -> float:
    """Return the wall time of one fit over so many rows."""
    with tempfile.TemporaryDirectory() as scratch:
        train = Path(scratch) / "events" / "train"
        train.mkdir(parents=True)
        copies = pa.concat_tables([split] * (rows // len(split) + 1)).slice(0, rows)
        pq.write_table(copies, train / "part-00000.parquet")
        started = time.perf_counter()
        fit_transform_graph(
            events_dir=train.parent,
            schema_path=schema_path,
            transform_graph_dir=Path(scratch) / "graph",
            settings=PreprocessSettings(),
            beam_options=[],
        )
        return time.perf_counter() - started


def main(rows: int) -> None:
    """Print both times and the rate."""
    data = prepare()
    split = pq.read_table(data.events_dir / "train")
    seconds_for(10_000, split=split, schema_path=data.schema_path)  # imports and first traces
    small = seconds_for(rows // 4, split=split, schema_path=data.schema_path)
    large = seconds_for(rows, split=split, schema_path=data.schema_path)
    rate = (rows - rows // 4) / (large - small)
    print(f"preprocess: {rows // 4:,} rows {small:.1f} s, {rows:,} rows {large:.1f} s")
    print(f"preprocess: {rate:,.0f} rows/s past start-up (required {REQUIRED_ROWS_PER_S:,})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
