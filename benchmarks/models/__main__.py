"""The model families at the quality the field publishes, beside other libraries.

Run: python -m benchmarks.models [--data FOLDER] [--seeds N]
     python -m benchmarks.models choose MODEL '{"l2": 5}' …     figures on the validation part
"""

import argparse
import os
import sys
from pathlib import Path

# Before TensorFlow Transform is imported, which would choose Keras 2.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")

from benchmarks.models.compare import choose, compare
from benchmarks.models.movielens import read_movielens


def main() -> None:
    """Read the arguments and do what they say."""
    parser = argparse.ArgumentParser(prog="benchmarks.models", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    words = parser.add_subparsers(dest="word")
    candidates = words.add_parser("choose", help="figures of settings on the validation part")
    candidates.add_argument("model")
    candidates.add_argument("hyperparameters", nargs="+")
    given = parser.parse_args()
    folder = given.data / "ml-100k"
    missing = [
        name
        for name in ("ml-100k.inter", "ml-100k.item", "test_rows.txt")
        if not (folder / name).is_file()
    ]
    if missing:
        print(f"bench-models: skipped, {folder} lacks {', '.join(missing)}; --data FOLDER")
        sys.exit()
    data = read_movielens(folder)
    if given.word == "choose":
        choose(data, given.model, given.hyperparameters)
    else:
        compare(data, seeds=given.seeds)


if __name__ == "__main__":
    main()
