"""Every family and every baseline on Complete Journey, on one page.

Run: python -m benchmarks.models.families [--examples N] [--models NAME …]
Each family is trained by the train step with its defaults. One TFMA run of the evaluate step's then
ranks the same held-out purchases by all of them, so differences are taken example by example.
Families of explicit ratings are left out: the log has none. A trained model is kept, and trained
anew when its folder is gone.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")

import polars as pl

from benchmarks.complete_journey import ROOT, Prepared, prepare, train_into
from components import report
from components.evaluate.analysis import analyse
from components.evaluate.baselines import fit_baselines
from components.evaluate.examples import ExampleSettings, make_examples
from components.evaluate.gate import OVERALL
from components.evaluate.household_slices import RIVAL_PREFIX
from components.evaluate.rank_metrics import RankMetrics, metric_names
from components.evaluate.tables import comparison, slice_table
from components.train.models.registry import MODELS
from components.train.settings import TrainSettings

K = 10
FOLDER = ROOT / "families"
DEFAULT_MODEL = TrainSettings().model
OF_RATINGS = ("rating_factorization",)


def trained(name: str, data: Prepared) -> Path:
    """Return the folder of a family's SavedModel and of what its training took."""
    folder = FOLDER / name
    if (folder / "summary.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    summary = train_into(folder, data, TrainSettings(model=name))
    took = {
        "epochs": summary.epochs,
        "seconds": sum(epoch.seconds for epoch in summary.curve),
        "megabytes": sum(f.stat().st_size for f in (folder / "model").rglob("*")) / 1e6,
    }
    (folder / "summary.json").write_text(json.dumps(took), encoding="utf-8")
    return folder


def main() -> None:
    """Train what is not trained yet, measure everything, write the page and print its table."""
    parser = argparse.ArgumentParser(prog="benchmarks.models.families", description=__doc__)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument(
        "--models", nargs="+", choices=sorted(MODELS),
        default=[name for name in MODELS if name not in OF_RATINGS],
    )  # fmt: skip
    given = parser.parse_args()
    data = prepare()
    folders = {name: trained(name, data) for name in given.models}
    examples = make_examples(
        data.events_dir, data.catalogue_dir, settings=ExampleSettings(max_examples=given.examples)
    )
    ranks = fit_baselines(data.events_dir, data.catalogue_dir).ranks(examples.frame)
    rivals = ranks.rename(lambda name: f"{RIVAL_PREFIX}{name}")
    shutil.rmtree(FOLDER / "evaluation", ignore_errors=True)
    measurements = analyse(
        pl.concat([examples.frame, rivals], how="horizontal"),
        {n: folders[n] / "model" for n in sorted(folders, key=lambda n: n != DEFAULT_MODEL)},
        signature="evaluate",
        metric=RankMetrics,
        metric_settings={"k": K},
        output_dir=FOLDER / "evaluation",
        seed=1,
    )
    found = {(m.model, m.metric, m.slice): m for m in measurements}
    metrics = metric_names(K)
    # The first is what the others are compared to: the pipeline's default, where it is among them.
    first = DEFAULT_MODEL if DEFAULT_MODEL in folders else given.models[0]
    others = sorted(
        {*folders, *ranks.columns} - {first}, key=lambda n: -found[n, metrics[1], OVERALL].value
    )
    names = [first, *others]
    took = {name: json.loads((f / "summary.json").read_text()) for name, f in folders.items()}
    page = FOLDER / "families.html"
    report.write_page(
        page,
        title="Every family on Complete Journey",
        lead=f"{examples.frame.height:,} held-out purchases, every item of the catalogue ranked.",
        sections=[
            ("Families and baselines", comparison(found, names, metrics, shown=metrics[1])),
            ("By kind of item and household", slice_table(found, names, metrics[1])),
            (
                "What training took",
                report.table(
                    ["family", "epochs", "s", "MB"],
                    [[n, t["epochs"], t["seconds"], t["megabytes"]] for n, t in took.items()],
                ),
            ),
        ],
    )
    for name in names:
        values = "  ".join(f"{m} {found[name, m, OVERALL].value:.4f}" for m in metrics)
        print(f"{name:<22} {values}  {took[name]['seconds'] if name in took else 0:8.1f} s")
    print(f"report: {page}")


if __name__ == "__main__":
    main()
