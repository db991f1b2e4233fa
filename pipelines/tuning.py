"""The search for hyper-parameters: trials in parallel tasks, and the step that ends it."""

from kfp import dsl

from components.images import PIPELINE_IMAGE
from components.train.component import plan_trials
from components.train.component import trials as run_trials
from components.tune.component import tune
from pipelines.step_settings import PipelineSettings, configure


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def keep(hyperparameters: str) -> str:
    """Return the hyper-parameters as they are: what a run without a search trains with."""
    return hyperparameters


def search_pipeline(settings: PipelineSettings) -> dsl.base_component.BaseComponent:
    """Build the search for one set of images and resources."""

    @dsl.pipeline(name="search", description="Search for hyper-parameters on the eval split")
    def search(
        events: dsl.Input[dsl.Dataset],
        catalogue: dsl.Input[dsl.Dataset],
        schema: dsl.Input[dsl.Artifact],
        transform_graph: dsl.Input[dsl.Artifact],
        model_name: str,
        hyperparameters: str,
        search_space: str,
        trials: int,
        parallel: int,
        seed: int,
        store_uri: str,
        checkpoint_root: str,
        precision: str,
    ) -> str:
        planned = plan_trials(
            model_name=model_name,
            hyperparameters=hyperparameters,
            search_space=search_space,
            trials=trials,
            parallel=parallel,
            precision=precision,
        )
        configure(planned, settings, cpu="1", memory="2G", retries=1)
        with dsl.ParallelFor(planned.output, name="workers") as worker:
            ran = run_trials(
                events=events,
                catalogue=catalogue,
                schema=schema,
                transform_graph=transform_graph,
                worker=worker,
                count=trials,
                parallel=parallel,
                # No service has a name with "_", so no published model can be in the way.
                study_root=f"{store_uri}/_studies",
                model_name=model_name,
                hyperparameters=hyperparameters,
                search_space=search_space,
                seed=seed,
                checkpoint_root=checkpoint_root,
                precision=precision,
            )
            # Never cached: what a task has to do depends on what the others have done.
            configure(ran, settings, cpu="4", memory="16G", retries=2, accelerated=True)
        ended = tune(
            studies=dsl.Collected(ran.output), trials=trials, hyperparameters=hyperparameters
        )
        configure(ended, settings, cpu="1", memory="2G", retries=1)
        return ended.outputs["Output"]  # type: ignore[no-any-return]  # a str when it runs

    return search
