"""Candidates are measured on the validation part, the chosen and the peers on the test part."""

import dataclasses
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.models.movielens import Artifacts, MovieLens, prepare
from benchmarks.models.ours import predict, recommend, train_model
from benchmarks.models.protocol import Part, best_unseen, measure, rmse
from benchmarks.models.settings import CHOSEN, RATING_FAMILIES, REQUIRED, Settings

ROOT = Path("build/bench/models")
_PEERS = Path(__file__).with_name("peers.py")
_HEADER = ("model", "CPU s", "RMSE", "nDCG@10", "P@10", "R@10")


@dataclasses.dataclass(frozen=True)
class Run:
    """Figures of one training: CPU time, then those that its kind of model has."""

    fit_s: float
    figures: dict[str, float]


def choose(data: MovieLens, model: str, candidates: Sequence[str]) -> None:
    """Print each candidate's figures on the validation part, trained on the rest of train."""
    artifacts = prepare(data, ROOT / "choose", train=data.rest)
    for text in candidates:
        run = _run(
            data, artifacts, model, json.loads(text), seed=1, seen=data.rest, asked=data.validation
        )
        figures = ", ".join(f"{name} {value:.4f}" for name, value in run.figures.items())
        print(f"choose: {model} {text}: {figures}, fit {run.fit_s:.1f} s", flush=True)


def compare(data: MovieLens, *, seeds: int) -> None:
    """Print the table, and each figure that is asked for beside its bound."""
    _line(*_HEADER)
    measured: dict[str, list[Run]] = {}
    for name, run in _peers(data).items():
        _show(name, [run])
        measured[name] = [run]
    artifacts = prepare(data, ROOT / "final", train=data.train)
    for model, settings in CHOSEN.items():
        runs = [
            _run(data, artifacts, model, settings, seed=seed, seen=data.train, asked=data.test)
            for seed in range(1, seeds + 1)
        ]
        _show(model, runs)
        measured[model] = runs
    popularity = measured["popularity"][0].figures["nDCG@10"]
    for model in CHOSEN:
        figures = {
            name: float(np.mean([run.figures[name] for run in measured[model]]))
            for name in measured[model][0].figures
        }
        for name, bound in REQUIRED.get(model, {}).items():
            sign = "at most" if name == "RMSE" else "at least"
            print(f"models: {model} {name} {figures[name]:.4f} (required: {sign} {bound})")
        # The order of ratings is another task; its nDCG is shown, and not asked for.
        if model not in RATING_FAMILIES:
            lead = figures["nDCG@10"] / popularity
            print(f"models: {model} nDCG@10 {lead:.2f} × popularity (required: above 1)")


def _run(
    data: MovieLens,
    artifacts: Artifacts,
    model: str,
    settings: Settings,
    *,
    seed: int,
    seen: Part,
    asked: Part,
) -> Run:
    trained = train_model(
        artifacts, ROOT / "trained", model=model, hyperparameters=settings, seed=seed
    )
    figures = measure(recommend(trained.model_dir, data, seen), asked)
    if model in RATING_FAMILIES:
        figures["RMSE"] = rmse(predict(trained.model_dir, data, seen, asked), asked)
    return Run(trained.fit_s, figures)


def _peers(data: MovieLens) -> dict[str, Run]:
    """Fit the peers in their own environment, one process; measure them here."""
    ROOT.mkdir(parents=True, exist_ok=True)
    split, out = ROOT / "split.npz", ROOT / "peers.npz"
    shape = np.array([len(data.users), len(data.items)])
    parts = {"train": data.train, "test": data.test}
    codes = {
        f"{part}_{name}": getattr(rows, name)
        for part, rows in parts.items()
        for name in ("user", "item", "rating")
    }
    np.savez(split, shape=shape, **codes)
    python = ROOT / "peers" / "bin" / "python"
    subprocess.run([python, _PEERS, split, out], check=True)
    found = np.load(out)
    runs = {}
    for name in (name for name in found.files if not name.endswith("|fit_s")):
        if found[name].ndim == 1:
            figures = {"RMSE": rmse(found[name], data.test)}
        else:
            figures = measure(best_unseen(found[name], data.train), data.test)
        runs[name] = Run(float(found[f"{name}|fit_s"]), figures)
    return runs


def _show(name: str, runs: Sequence[Run]) -> None:
    cells = [f"{np.mean([run.fit_s for run in runs]):.1f}"]
    for figure in _HEADER[2:]:
        values = [run.figures[figure] for run in runs if figure in run.figures]
        spread = f" ± {np.std(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.4f}{spread}" if values else "–")
    _line(name, *cells)


def _line(name: str, *cells: str) -> None:
    print(f"{name:32}" + "".join(f"{cell:>17}" for cell in cells), flush=True)
