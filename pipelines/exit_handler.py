"""The exit handler that every pipeline is put into: whatever happens, its end is reported."""

import functools
import inspect
from collections.abc import Callable

from kfp import dsl

from components.notify.component import notify
from pipelines.step_settings import PipelineSettings, configure


def reported(
    settings: PipelineSettings, *, pipeline: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that puts a pipeline's whole body into an exit handler.

    The pipeline must have the parameters `service`, `platform`, `namespace`, `notify_url`,
    `notify_successes` and `notify_link`.

    Args:
        settings: Images and resources.
        pipeline: The pipeline's name, for the report.
    """

    def around(body: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(body)
        def whole(*channels: object) -> None:
            given = inspect.signature(body).bind(*channels).arguments
            told = notify(
                run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                pipeline=pipeline,
                service=given["service"],
                platform=given["platform"],
                namespace=given["namespace"],
                url=given["notify_url"],
                successes=given["notify_successes"],
                link=given["notify_link"],
            )
            # No retry: it repeats by itself what another attempt could help.
            configure(told, settings, cpu="100m", memory="512M")
            with dsl.ExitHandler(told, name="run"):
                body(*channels)

        return whole

    return around
