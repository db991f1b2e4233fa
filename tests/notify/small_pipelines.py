"""Little pipelines in the exit handler of the real ones; their one step ends as it is told."""

import os
from collections.abc import Callable

from kfp import dsl

from components.images import PIPELINE_IMAGE
from pipelines.exit_handler import reported
from pipelines.step_settings import PipelineSettings


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def work(how: str, platform: str, done: dsl.Output[dsl.Artifact]) -> str:
    """End well, with an error, or by SIGKILL in the middle of a temporary service."""
    import json
    import os
    import signal
    from pathlib import Path

    from components.errors import InputError
    from serving.platform import connect
    from tests.serving.stub_service import stub_service

    if how == "wrong":
        raise InputError("how", "'<!channel>' & jo@shop.example", "well")
    if how == "killed":
        services = connect(platform, namespace="test")
        with services.temporary_service(stub_service("shop-1a2b3c"), instead_of=stub_service()):
            status = Path(platform.removeprefix("local:"), "test/shop-1a2b3c/status.json")
            # So that nobody but the exit handler deletes what is left.
            os.kill(json.loads(status.read_text())["supervisor_pid"], signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
    Path(done.path).write_text("{}")
    return how


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def after(how: str) -> str:
    """Take what `work` returned."""
    return how


def small(settings: PipelineSettings) -> Callable[..., object]:
    """Build a pipeline whose step is in a branch, as the real ones' are."""

    @dsl.pipeline(name="small")
    @reported(settings, pipeline="small")
    def pipeline(
        how: str,
        service: str = "shop",
        platform: str = os.devnull,
        namespace: str = "test",
        notify_url: str = "",
        notify_successes: bool = True,
        notify_link: str = "",
    ) -> None:
        with dsl.If(how != "never"):
            after(how=work(how=how, platform=platform).outputs["Output"])

    return pipeline
