"""The first step: what a later one would refuse is refused before hours of work."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def check(
    model_name: str,
    hyperparameters_1: str,
    hyperparameters_2: str,
    hyperparameters_3: str,
    seed: int,
    tune_trials: int,
    tune_parallel: int,
    search_space: str,
    train_precision: str,
    warm_start: str,
    warm_start_mismatch: str,
    thresholds: str,
    compress: str,
    compress_max_drop: float,
    service: str,
    platform: str,
    namespace: str,
    shadow_requests: int,
    serving: str,
    rollout_steps: str,
    rollout_min_requests: int,
    rollout_poll_s: float,
    rollout_business_metric: str,
    rollout_max_business_drop: float,
    rollout_on_timeout: str,
) -> str:
    """Check the pipeline's parameters; return the URI of the package that training goes on from.

    The URI is "" for none. It comes from this step, so that it is among what training depends on.
    """
    from components.compress.settings import CompressSettings
    from components.deploy.settings import parse_settings
    from components.errors import InputError
    from components.evaluate.gate import parse_thresholds
    from components.live_model import live_package_uri
    from components.rollout.policy import RolloutPolicy, parse_on_timeout, parse_steps
    from components.shadow.settings import ShadowSettings
    from components.train.models.registry import find_model, read_hyperparameters
    from components.train.settings import DeviceSettings, TrainSettings, WarmStart
    from components.train.trials.settings import SearchSettings, plan_workers

    find_model(model_name)
    attempts = [
        TrainSettings(
            model=model_name,
            hyperparameters=text,
            attempt=number,
            seed=seed,
            devices=DeviceSettings(precision=train_precision),
            warm_start=WarmStart(warm_start, warm_start_mismatch),
        )
        for number, text in enumerate(
            (hyperparameters_1, hyperparameters_2, hyperparameters_3), start=1
        )
    ]
    for settings in attempts:
        try:
            read_hyperparameters(settings)
        except InputError as error:
            where = f"attempt {settings.attempt}, {error.where}"
            raise InputError(where, error.found, error.expected) from error
    if tune_trials:
        search = SearchSettings(train=attempts[0], space=search_space, trials=tune_trials)
        plan_workers(search, parallel=tune_parallel)
    if thresholds.strip():
        parse_thresholds(thresholds)
    CompressSettings(table_format=compress, max_drop=compress_max_drop)
    ShadowSettings(requests=shadow_requests)
    # The three are parameters of deploy, which the pipeline leaves at their defaults.
    parse_settings(serving, ready_timeout_s=300.0, latency_budget_ms=500.0, tf_threads=1)
    RolloutPolicy(
        steps=parse_steps(rollout_steps),
        min_requests=rollout_min_requests,
        poll_s=rollout_poll_s,
        business_metric=rollout_business_metric,
        max_business_drop=rollout_max_business_drop,
        on_timeout=parse_on_timeout(rollout_on_timeout),
    )
    if warm_start != "live":
        return warm_start
    return live_package_uri(service, platform=platform, namespace=namespace) or ""
