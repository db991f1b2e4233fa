"""Which hyper-parameters to try next, which trial to give up, what mattered: Optuna's answers.

Optuna keeps no storage here. Each question is asked of a study in memory, made of what the trials
have published; so what is remembered is the published files alone, and every worker on every
machine decides by the same ones.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
import scipy.stats
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from components.study.records import Trial
from components.study.space import Choices, Number, Range, Space

# A trial is not given up before so many others have ended: their median means little before.
_ENDED_BEFORE_PRUNING = 3
# Spread evenly over the space before an estimate of what is good has enough to go by.
_SPREAD = 8
_LEAST_FOR_IMPORTANCE = 8
_STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def suggest(
    space: Space, trials: Sequence[Trial], *, number: int, seed: int
) -> Mapping[str, Number]:
    """Return hyper-parameters for a trial: near what was good, away from what is being tried.

    The first eight are points of a scrambled Sobol' sequence, which fills the space evenly. Then
    decides a tree-structured Parzen estimator (Bergstra et al., NIPS 2011); trials that run count
    as bad ones ("constant liar"), so that parallel ones differ.

    Args:
        space: What is searched.
        trials: What is known; the same trials and number give the same answer.
        number: Number of the new trial.
        seed: Seed of the study.
    """
    if number <= _SPREAD:
        # A power of two, as the sequence wants it; trial 0 is not one of its points.
        points = scipy.stats.qmc.Sobol(len(space), rng=seed).random(_SPREAD)
        shares = zip(sorted(space), points[(number - 1) % _SPREAD], strict=True)
        return {name: _at(space[name], float(share)) for name, share in shares}
    sampler = optuna.samplers.TPESampler(
        seed=int(np.random.SeedSequence([seed, number]).generate_state(1)[0]),
        n_startup_trials=_SPREAD // 2,
        # Of few trials it learns more about each parameter by itself than about all together.
        multivariate=False,
        constant_liar=True,
    )
    study = _study(space, trials, sampler=sampler)
    parameters: dict[str, Number] = study.ask(_distributions(space)).params
    return parameters


def _at(bounds: Range | Choices, share: float) -> Number:
    """Return the value at a share in [0, 1) of the way through the bounds."""
    if isinstance(bounds, Choices):
        return bounds.choices[int(share * len(bounds.choices))]
    whole = isinstance(bounds.low, int) and isinstance(bounds.high, int)
    # Each whole number has the same room around it, the two at the ends as well.
    low, high = (bounds.low - 0.5, bounds.high + 0.5) if whole else (bounds.low, bounds.high)
    if bounds.log:
        value = math.exp(math.log(low) + share * math.log(high / low))
    else:
        value = low + share * (high - low)
    return min(max(round(value) if whole else value, bounds.low), bounds.high)


def is_hopeless(space: Space, trials: Sequence[Trial], number: int) -> bool:
    """Return whether a trial's best is below the median of the complete ones after as many epochs.

    The median stopping rule (Golovin et al., "Google Vizier", KDD 2017, §3.2.2).

    Args:
        space: What is searched.
        trials: What has been published, the trial's own epochs too.
        number: Number of the trial that is asked about.
    """
    own = next(one for one in trials if one.number == number)
    others = [one for one in trials if one.number != number]
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_ENDED_BEFORE_PRUNING)
    study = _study(space, others, pruner=pruner)
    study.enqueue_trial(dict(own.parameters))
    trial = study.ask()
    for epoch, value in enumerate(own.values, start=1):
        trial.report(value, epoch)
    return bool(trial.should_prune())


def importance(space: Space, trials: Sequence[Trial]) -> Mapping[str, float]:
    """Return how much each parameter decides whether a trial is good, shares that sum to 1.

    PED-ANOVA (Watanabe et al., IJCAI 2023): unlike fANOVA it needs no random forest. Empty when
    fewer than eight trials are complete, or all are equally good.
    """
    known = [one for one in trials if one.state == "complete" and _inside(space, one)]
    if len(known) < _LEAST_FOR_IMPORTANCE or len({one.best for one in known}) == 1:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    study = _study(space, known)
    found: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return found if all(map(math.isfinite, found.values())) else {}


def _study(
    space: Space,
    trials: Sequence[Trial],
    *,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.add_trials([_frozen(space, one) for one in trials if _usable(space, one)])
    return study


def _usable(space: Space, trial: Trial) -> bool:
    """Whether Optuna can hold the trial: it is inside the space, and complete ones have a value."""
    return _inside(space, trial) and not (trial.state == "complete" and math.isnan(trial.best))


def _inside(space: Space, trial: Trial) -> bool:
    return all(
        value in bounds.choices
        if isinstance(bounds, Choices)
        else bounds.low <= value <= bounds.high
        for value, bounds in ((trial.parameters[name], space[name]) for name in space)
    )


def _frozen(space: Space, trial: Trial) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=_STATES[trial.state],
        value=trial.best if trial.state == "complete" else None,
        params={name: trial.parameters[name] for name in space},
        distributions=_distributions(space),
        intermediate_values=dict(enumerate(trial.values, start=1)),
    )


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: _distribution(space[name]) for name in sorted(space)}


def _distribution(bounds: Range | Choices) -> BaseDistribution:
    if isinstance(bounds, Choices):
        return CategoricalDistribution(bounds.choices)
    if isinstance(bounds.low, int) and isinstance(bounds.high, int):
        return IntDistribution(bounds.low, bounds.high, log=bounds.log)
    return FloatDistribution(bounds.low, bounds.high, log=bounds.log)
