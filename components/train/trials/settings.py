"""What a search is asked to do, and how many tasks share it."""

import dataclasses
import logging

from components.errors import InputError
from components.study.space import Space, parse_space
from components.train.hyperparameters import ModelSettings
from components.train.models.registry import find_model, read_hyperparameters
from components.train.settings import TrainSettings

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Settings of a search.

    Attributes:
        train: The training that is searched for; its hyper-parameters are trial 0, and what the
            space does not name stays as they say.
        space: JSON object, see `components.study.space`; "" is the model's own.
        trials: Trials of the whole study, ≥ 1.
    """

    train: TrainSettings
    space: str = ""
    trials: int = 12

    def __post_init__(self) -> None:
        """Refuse a count that cannot be meant.

        Raises:
            InputError: Names it.
        """
        if self.trials < 1:
            raise InputError("trials", str(self.trials), "a whole number ≥ 1")

    def read(self) -> tuple[ModelSettings, Space]:
        """Return the hyper-parameters of trial 0, and what is searched.

        Raises:
            InputError: If one of them is not allowed, or the model has no space of its own.
        """
        kind = find_model(self.train.model).settings
        types = {field.name: field.type for field in dataclasses.fields(kind)}
        space = parse_space(
            self.space, default=kind.search_space, types=types, limits=kind.limits()
        )
        if not space:
            where = f"search_space of {self.train.model}"
            raise InputError(where, "none", "one, because the model has none of its own")
        return read_hyperparameters(self.train), space


def plan_workers(search: SearchSettings, *, parallel: int) -> list[int]:
    """Return the numbers of the tasks that share the trials, after checking what they will do.

    Raises:
        InputError: If a setting is not allowed.
    """
    if parallel < 1:
        raise InputError("parallel", str(parallel), "a whole number ≥ 1")
    _, space = search.read()
    workers = min(parallel, search.trials)
    _log.info("plan: %d trials of %s in %d tasks", search.trials, ", ".join(sorted(space)), workers)
    return list(range(workers))
