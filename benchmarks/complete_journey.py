"""Complete Journey, cleaned once into `build/bench`: what the other benchmarks begin with."""

import dataclasses
from pathlib import Path

from components.ingest.config import load_config
from components.ingest.ingest import ingest
from components.preprocess.settings import PreprocessSettings
from components.preprocess.transform import fit_transform_graph
from components.train.fit import TrainSummary, train
from components.train.settings import TrainSettings
from pipelines.configs import config_parameter
from pipelines.demo import complete_journey_folder

ROOT = Path("build/bench")


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Artifacts of ingest, and the transform graph when it was asked for."""

    root: Path = ROOT

    @property
    def events_dir(self) -> Path:
        """Events, split by time."""
        return self.root / "events"

    @property
    def catalogue_dir(self) -> Path:
        """The catalogue."""
        return self.root / "catalogue"

    @property
    def schema_path(self) -> Path:
        """The schema, text proto."""
        return self.root / "schema.pbtxt"

    @property
    def transform_graph_dir(self) -> Path:
        """The transform graph; the first call fits it."""
        folder = self.root / "transform_graph"
        if not folder.is_dir():
            fit_transform_graph(
                events_dir=self.events_dir,
                schema_path=self.schema_path,
                transform_graph_dir=folder,
                settings=PreprocessSettings(),
                beam_options=[],
            )
        return folder


def prepare(as_of: str = "") -> Prepared:
    """Return the cleaned data up to an ISO date, or all of it; the first call cleans it."""
    prepared = Prepared(ROOT / as_of)
    if prepared.schema_path.is_file():
        return prepared
    data = complete_journey_folder()
    ingest(
        load_config(config_parameter("complete_journey"), where="complete_journey"),
        events_uris=[str(data / "transactions.parquet")],
        catalogue_uris=[str(data / "products.parquet")],
        as_of=as_of,
        hash_key="",
        events_dir=prepared.events_dir,
        catalogue_dir=prepared.catalogue_dir,
        schema_path=prepared.schema_path,
        report_path=prepared.root / "data_report.html",
    )
    return prepared


def train_into(folder: Path, data: Prepared, settings: TrainSettings) -> TrainSummary:
    """Train on the cleaned data; the SavedModel is `model` below the folder."""
    return train(
        events_dir=data.events_dir,
        catalogue_dir=data.catalogue_dir,
        schema_path=data.schema_path,
        transform_graph_dir=data.transform_graph_dir,
        model_dir=folder / "model",
        report_path=folder / "training_report.html",
        log_dir=folder / "logs",
        checkpoint_root="",
        settings=settings,
    )
