"""The compiled pipeline ran in the images: what came of it, and what its servers are made of."""

import json

import httpx

from serving.platform import connect
from tests.images.conftest import SERVICE


def test_the_model_is_published_promoted_and_answers(release):
    status = connect(release.platform).status(SERVICE)
    assert status.stable is not None and status.stable.ready and status.canary is None
    assert status.stable.storage_uri == str(release.package)
    assert set(release.requests) == {200}
    body = {"signature_name": "recommend", "instances": [{"user": "1", "history": [], "k": 5}]}
    answer = httpx.post(f"{status.url}/v1/models/{SERVICE}:predict", json=body, trust_env=False)
    assert len(answer.json()["predictions"][0]["items"]) == 5


def test_steps_and_servers_run_as_the_images_user(release):
    assert release.package.joinpath("manifest.json").stat().st_uid == 1000
    state = json.loads(
        (release.workspace / "serving/default" / SERVICE / "status.json").read_text()
    )
    assert state["supervisor_pid"]
    assert release.package.stat().st_uid == 1000
