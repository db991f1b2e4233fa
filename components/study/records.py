"""What the trials of a study have published: small files that are written once.

    <key>/space.json                    what is searched
    <key>/trials/0003/claim.json        whose trial it is, with which hyper-parameters
    <key>/trials/0003/epoch-002.json    what it reached by then
    <key>/trials/0003/end.json          how it ended

Each file is created in one atomic step and never changed, so no database and no lock is needed:
any worker reads what all have published, and one that was killed finds its own trial again.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from components.errors import InputError
from components.object_store import ObjectStore, open_file
from components.study.space import Number, Space, parse_space, space_json

State = Literal["running", "complete", "pruned", "failed"]
_FILE = re.compile(r"trials/(\d+)/(claim|end|epoch-(\d+))\.json")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One choice of hyper-parameters and what came of it so far.

    Attributes:
        number: From 0; trial 0 has the hyper-parameters that are used without a search.
        worker: Number of the task that runs it.
        parameters: The searched hyper-parameters.
        values: `metric` on the eval split after each epoch; NaN when it could not be measured.
        seconds: Wall time of each epoch.
        metric: What decides, higher is better: "NDCG@10", or "−RMSE" of a model of ratings.
        state: Where it stands.
        reason: Why it ended so, a sentence.
    """

    number: int
    worker: int
    parameters: Mapping[str, Number]
    values: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    metric: str = "NDCG@10"
    state: State = "running"
    reason: str = ""

    @property
    def best(self) -> float:
        """The highest value of its epochs; NaN without any."""
        return max((v for v in self.values if v == v), default=float("nan"))


class Study:
    """The trials of one search; equal inputs and settings have the same study."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        """Point at the study.

        Args:
            store: Where studies are.
            key: Name of this one.
        """
        self._store, self._key = store, key
        self._read: dict[str, dict[str, Any]] = {}  # files never change: each is read once

    @property
    def uri(self) -> str:
        """Where the study is."""
        return f"{self._store.root}/{self._key}"

    def describe(self, space: Space) -> None:
        """Say what is searched; saying it again changes nothing."""
        self._create("space.json", json.loads(space_json(space)))

    def space(self) -> Space:
        """Return what is searched.

        Raises:
            InputError: If no trial of the study has begun.
        """
        try:
            text = self._store.read(f"{self._key}/space.json").decode()
        except FileNotFoundError as error:
            raise InputError(self.uri, "no study", "one whose trials have run") from error
        types = {
            name: type(entry["choices"][0] if "choices" in entry else entry["low"])
            for name, entry in json.loads(text).items()
        }
        return parse_space(text, default={}, types=types)

    def claim(self, number: int, *, worker: int, parameters: Mapping[str, Number]) -> bool:
        """Take a trial; return whether it was still free."""
        content = {"worker": worker, "parameters": dict(parameters)}
        return self._create(f"trials/{number:04d}/claim.json", content)

    def publish(
        self, number: int, *, epoch: int, value: float, seconds: float, metric: str = Trial.metric
    ) -> None:
        """Publish an epoch of a trial, from 1; once more, after a kill, changes nothing."""
        measured = value if value == value else None
        content = {"value": measured, "seconds": seconds, "metric": metric}
        self._create(f"trials/{number:04d}/epoch-{epoch:03d}.json", content)

    def end(self, number: int, *, state: State, reason: str) -> None:
        """Say how a trial ended."""
        self._create(f"trials/{number:04d}/end.json", {"state": state, "reason": reason})

    def trials(self) -> list[Trial]:
        """Return every trial that a worker has taken, in order of its number."""
        prefix = f"{self._key}/"
        files: dict[int, dict[str, dict[str, Any]]] = {}
        for name in self._store.names(self._key):
            if match := _FILE.fullmatch(name.removeprefix(prefix)):
                files.setdefault(int(match[1]), {})[match[2]] = self._content(name)
        return [_trial(n, files[n]) for n in sorted(files) if "claim" in files[n]]

    def _create(self, name: str, content: Mapping[str, Any]) -> bool:
        try:
            self._store.create(f"{self._key}/{name}", json.dumps(content).encode())
        except FileExistsError:
            return False
        return True

    def _content(self, name: str) -> dict[str, Any]:
        if name not in self._read:
            self._read[name] = json.loads(self._store.read(name))
        return self._read[name]


def open_study(uri: str) -> Study:
    """Return the study that is at a URI; whether there is one, its `space` tells.

    Raises:
        InputError: If the URI is none of an object store.
    """
    return Study(*open_file(uri))


def _trial(number: int, files: Mapping[str, Mapping[str, Any]]) -> Trial:
    epochs = [files[name] for name in sorted(files) if name.startswith("epoch-")]
    measured = [epoch["value"] for epoch in epochs]
    end = files.get("end", {"state": "running", "reason": ""})
    return Trial(
        number,
        worker=files["claim"]["worker"],
        parameters=files["claim"]["parameters"],
        values=tuple(float("nan") if value is None else value for value in measured),
        seconds=tuple(epoch["seconds"] for epoch in epochs),
        metric=epochs[-1].get("metric", Trial.metric) if epochs else Trial.metric,
        state=end["state"],
        reason=end["reason"],
    )


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the first complete trial with the highest value, None when there is none."""
    measured = [one for one in trials if one.state == "complete" and one.best == one.best]
    return max(measured, key=lambda one: (one.best, -one.number), default=None)
