"""Release of a blessed model: published, deployed, watched, promoted or rolled back."""

from typing import Any

from kfp import dsl

from components.compress.component import compress
from components.deploy.component import deploy
from components.evaluate.component import evaluate
from components.package.component import package
from components.rollout.component import rollout
from components.shadow.component import shadow
from pipelines.step_settings import PipelineSettings, configure


def release_pipeline(
    settings: PipelineSettings, *, smaller: bool = False
) -> dsl.base_component.BaseComponent:
    """Build the release of a blessed model for one set of images and resources.

    Args:
        settings: Where the steps run.
        smaller: Whether the model is compressed first. The smaller one has an evaluation and a
            blessing of its own, with the trained one as its reference; refused, the trained one
            is published.
    """

    @dsl.pipeline(
        name="release-smaller" if smaller else "release",
        description="Publish a blessed model and roll it out by evidence",
    )
    def release(
        model: dsl.Input[dsl.Model],
        blessing: dsl.Input[dsl.Artifact],
        evaluation: dsl.Input[dsl.Artifact],
        schema: dsl.Input[dsl.Artifact],
        events: dsl.Input[dsl.Dataset],
        catalogue: dsl.Input[dsl.Dataset],
        thresholds: str,
        beam_options: list[str],
        compress: str,
        compress_max_drop: float,
        run_id: str,
        store_uri: str,
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
    ) -> None:
        candidate = {"model": model, "blessing": blessing, "evaluation": evaluation}
        if smaller:
            candidate |= compressed(
                settings,
                model=model,
                events=events,
                catalogue=catalogue,
                thresholds=thresholds,
                beam_options=beam_options,
                table_format=compress,
                max_drop=compress_max_drop,
                service=service,
                platform=platform,
                namespace=namespace,
            )
        published = package(
            **candidate,
            schema=schema,
            events=events,
            store_uri=store_uri,
            name=service,
            run_id=run_id,
        )
        configure(published, settings, cpu="1", memory="4G", retries=2)
        deployed = deploy(
            package_uri=published.outputs["Output"],
            service=service,
            platform=platform,
            namespace=namespace,
            serving=serving,
            run_id=run_id,
        )
        configure(deployed, settings, cpu="1", memory="2G", retries=1)
        shadowed = shadow(
            release=deployed.outputs["release"], events=events, requests=shadow_requests
        )
        # No retry: what it refuses, it has rolled back.
        configure(shadowed, settings, cpu="500m", memory="2G")
        rolled_out = rollout(
            release=deployed.outputs["release"],
            steps=rollout_steps,
            min_requests=rollout_min_requests,
            poll_s=rollout_poll_s,
            business_metric=rollout_business_metric,
            max_business_drop=rollout_max_business_drop,
            on_timeout=rollout_on_timeout,
        ).after(shadowed)
        # No retry: a rollback is an answer, and asking again would not change it.
        configure(rolled_out, settings, cpu="500m", memory="1G")

    return release


def compressed(
    settings: PipelineSettings,
    *,
    model: Any,
    events: Any,
    catalogue: Any,
    thresholds: str,
    beam_options: list[str],
    table_format: str,
    max_drop: float,
    **live: str,
) -> dict[str, Any]:
    """Add the steps that make and judge a smaller model; return what `package` takes of them."""
    made = compress(model=model, events=events, table_format=table_format)
    configure(made, settings, cpu="2", memory="8G", retries=2, cache=True)
    judged = evaluate(
        events=events,
        catalogue=catalogue,
        model=made.outputs["smaller"],
        reference=model,
        max_reference_drop=max_drop,
        thresholds=thresholds,
        beam_options=beam_options,
        **live,
    ).set_display_name("evaluate, smaller")
    # Never cached: the verdict depends on the model in service at the time.
    configure(judged, settings, cpu="2", memory="8G", retries=2)
    return {
        "smaller": made.outputs["smaller"],
        "smaller_blessing": judged.outputs["blessing"],
        "smaller_evaluation": judged.outputs["evaluation"],
    }
