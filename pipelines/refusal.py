"""The end of a run whose every attempt was refused by the gate."""

from kfp import dsl

from components.images import PIPELINE_IMAGE


@dsl.component(base_image=PIPELINE_IMAGE, install_kfp_package=False)
def refuse(blessing: dsl.Input[dsl.Artifact], attempts: int) -> None:
    """Fail the run: say how many attempts were refused and why the last one was."""
    import json

    import components  # noqa: F401 - it leaves the line below for the exit handler

    with open(blessing.path, encoding="utf-8") as file:
        reason = json.load(file)["reason"]
    raise RuntimeError(f"refused: all {attempts} attempts, nothing was deployed; last: {reason}")
