"""The commands of the site's pages, on this machine and against a Kubeflow server.

The pages are run in the order of the navigation in one folder: the later ones go on with what the
guide's has made. Only the first one comes after the guide, because it stops what serves.
"""

import copy
import datetime
import io
import json
import re
import subprocess

import polars as pl
import pytest
from google.cloud import storage

from components.checksum import tree_digest
from pipelines.local import newest_artifact
from serving.platform import connect
from tests.docs.commands import blocks, checkout, commands, pages, run
from tests.notebooks.execute import kubeflow_server
from tests.pipelines.argo import POD, WORKFLOW
from tests.ports import free_port
from tests.serving.key_pair import key_pair
from tests.serving.running_server import running_server
from tests.shop import make_shop
from tests.storage_server import running_storage

START, GUIDE, OPERATIONS, CLUSTER = (
    f"docs/{name}.md" for name in ("index", "bring-your-own-data", "operations", "cluster")
)


def of(place):
    return [page for page in pages() if any(found.place == place for found in commands(page))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout with a shop's two files; what its commands start is stopped in the end."""
    found = checkout(tmp_path_factory.mktemp("docs"))
    make_shop(found, seed=1)
    yield found
    platform_of(found).delete("recommender")


def platform_of(folder):
    return connect(f"local:{folder / 'build' / 'my_shop' / 'serving'}")


def something_to_operate_on(folder):
    """A key to change, and a candidate to abort: the stable's package with another setting."""
    (folder / "public.pem").write_text(key_pair()[1])
    platform = platform_of(folder)
    stable = platform.releases("recommender").stable_release
    candidate = copy.deepcopy(dict(stable.inference_service))
    settings = candidate["spec"]["predictor"]["model"].setdefault("env", [])
    settings.append({"name": "TRIAL", "value": "1"})
    platform.deploy(candidate)


def name_what_the_guide_made(folder):
    """Put what the guide's run made where the steps' pages, run alone, look for it."""
    (folder / "out").mkdir()
    for name in ("model", "transform_graph"):
        made = newest_artifact(folder / "build" / "my_shop", name)
        (folder / "out" / name).symlink_to(made)
    (folder / "models").symlink_to(folder / "build" / "my_shop" / "models")
    # The folder of the platform "local".
    (folder / "state").mkdir()
    (folder / "state" / "shopflow").symlink_to(folder / "build" / "my_shop" / "serving")


def name_it_as_the_demo_does(folder):
    (folder / "build" / "demo").symlink_to(folder / "build" / "my_shop")


BEFORE = {
    START: name_it_as_the_demo_does,
    OPERATIONS: something_to_operate_on,
    "components/ingest/README.md": name_what_the_guide_made,
}
WORDS = {
    # A small shop: fewer requests are waited for, and chance tells its models less well apart.
    "--workspace build/my_shop": "--workspace build/my_shop --min-requests 40",
    "--compress int8": "--compress int8 --compress-max-drop 0.05"
    " --beam-option=--direct_num_workers=1",
    "build/demo": "build/my_shop",
    "make stop": "make --old-file .venv/ready stop",
    "recommender/3": "recommender/1",
    "--trials 12": "--trials 1",
    "--study STUDY": "--study $(ls -d build/studies/*)",
}


@pytest.mark.parametrize("page", sorted(of("machine"), key=lambda page: page != GUIDE))
def test_commands_on_this_machine(page, folder):
    if page in BEFORE:
        BEFORE[page](folder)
    printed = run(page, "machine", folder, WORDS, XDG_STATE_HOME=str(folder / "state"))
    if page in AFTER:
        AFTER[page](folder, printed)


def a_release_and_a_smaller_one_that_went_on_from_it(folder, printed):
    # A SavedModel does not keep the order of its outputs.
    answer = ('{"predictions":[{"', '"items":["i')
    for part in (
        "The gate: blessed",
        "The gate, on the smaller model: blessed",
        "curl -s",
        *answer,
    ):
        assert part in printed
    line = [line for line in printed.splitlines() if line.startswith("curl -s")][-1]
    asked = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert asked.stdout.startswith(answer[0]) and answer[1] in asked.stdout
    # Users were served all along: no request failed while two revisions shared the traffic.
    assert len(re.findall(r"by status \{200: \d+\};", printed)) == 2
    workspace = folder / "build" / "my_shop"
    published = workspace.glob("models/*/*/manifest.json")
    assert sorted(int(path.parent.name) for path in published) == [1, 2]
    status = platform_of(folder).status("recommender")
    assert (status.canary, status.stable.traffic_percent) == (None, 100)
    assert status.stable.storage_uri.rstrip("/").endswith("/2")
    outcome = json.loads(newest_artifact(workspace, "outcome").read_text(encoding="utf-8"))
    log = platform_of(folder).releases("recommender")
    assert log.stable_release.decided.why == outcome["reason"]
    told = json.loads(newest_artifact(workspace, "notice").read_text(encoding="utf-8"))
    assert (told["state"], told["rollout"]["version"]) == ("SUCCEEDED", 2)
    assert told["rollout"]["reason"] == outcome["reason"]
    runs = [one.provenance.run for one in log.releases]
    assert len(set(runs)) == 2 and all(runs) and not any("{{" in name for name in runs)

    first = log.releases[0].storage_uri
    training = newest_artifact(workspace, "training_report").read_text(encoding="utf-8")
    assert f"Went on from {first}" in training
    package, smaller = workspace / "models/recommender/2", newest_artifact(workspace, "smaller")
    manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["model_sha256"] == tree_digest(smaller)
    judged = {one["kind"]: one["verdict"] for one in manifest["blessing"]["thresholds"]}
    assert judged["not_worse_than_reference"] == "passed"
    weights = "variables/variables.data-00000-of-00001"
    trained = newest_artifact(workspace, "model")
    assert (package / "2" / weights).stat().st_size < 0.7 * (trained / weights).stat().st_size
    assert (workspace / "reports" / "compress_report.html").is_file()


def nothing_serves(folder, printed):
    # Below another make, which CI is, make says last where it was.
    assert "recommender: stopped" in printed.splitlines()
    status = platform_of(folder).status("recommender")
    assert (status.stable.ready, status.stable.reason) == (False, "the service is stopped")


def back_to_the_first_release(folder, printed):
    assert "back to version 1" in printed
    platform = platform_of(folder)
    status = platform.status("recommender")
    assert (status.canary, status.stable.storage_uri.rstrip("/")[-2:]) == (None, "/1")
    aborted, back = platform.releases("recommender").releases[-2:]
    assert (back.provenance.version, back.verdict) == (1, "promoted")
    assert (aborted.verdict, aborted.decided.why) == ("rolled back", "wrong prices")


AFTER = {
    START: nothing_serves,
    GUIDE: a_release_and_a_smaller_one_that_went_on_from_it,
    OPERATIONS: back_to_the_first_release,
}


@pytest.mark.parametrize("page", of("servers"))
def test_commands_that_serve_and_ask(page, tmp_path):
    words = {"FOLDER": str(tmp_path / "state"), "8080": str(free_port()), "8081": str(free_port())}
    if page == "serving/README.md":
        from tests.serving.tiny_package import publish_tiny

        publish_tiny(tmp_path / "models")  # the page's models/shop/1
        with running_storage("shop"):
            write_look_ups(tmp_path / "out" / "events", storage.Client().bucket("shop"))
            printed = run(page, "servers", tmp_path, words)
        # Of each of the two events, and of the user: the tiny model knows none of them.
        (explained,) = json.loads(printed)["predictions"]
        assert explained == {"score": 0.0, "user_change": 0.0, "history_changes": [0.0, 0.0]}
    elif page == "docs/metrics.md":
        alone = ("--model_name", "shop", "--predictor_host", "127.0.0.1:1")
        with running_server("serving.transformer", *alone) as server:
            run(page, "servers", tmp_path, words | {"SERVICE": server.base_url.netloc.decode()})
            assert 'clicks_total{model_name="shop",recommended_by="shop-predictor-00002"} 3.0' in (
                server.get("/metrics").text
            )
    else:
        run(page, "servers", tmp_path, words)


def write_look_ups(events, bucket):
    """Write what the page's transformer looks up: a history, and features of items on gs://."""
    events.mkdir(parents=True)
    log = pl.DataFrame({"user": ["u1"], "item": ["item3"], "time": [datetime.datetime(2026, 1, 1)]})
    log.write_parquet(events / "part.parquet")
    content = io.BytesIO()
    item = {"item": ["item3"], "stock": [1], "department": ["garden"]}
    pl.DataFrame(item).write_parquet(content)
    bucket.blob("catalogue/part.parquet").upload_from_string(content.getvalue())


@pytest.mark.parametrize("page", of("kubeflow"))
def test_commands_of_the_client(page, folder, kfp):
    kfp.workflow, kfp.logs = WORKFLOW, {f"{POD}-4": "epoch 1\n"}  # of every run
    words = {
        "https://kubeflow.example/pipeline": kfp.host,
        "--registry REGISTRY --tag TAG": "--registry registry.example/shopflow --tag 0.1.0",
        "logs RUN": f"logs {next(iter(kfp.stored['runs']), 'RUN')}",
    }
    printed = run(page, "kubeflow", folder, words)
    if page == OPERATIONS:
        assert kfp.stored["recurringruns"] == {}
    if page == "pipelines/README.md":
        (recurring,) = kfp.stored["recurringruns"].values()
        assert recurring.trigger.cron_schedule.cron == "0 0 3 * * *"
        assert len(kfp.stored["versions"]) == 1, "the same content, whoever uploads it"
        assert printed.endswith("epoch 1\n")


@pytest.fixture(scope="module")
def kfp(folder):
    """A server with many users, whose runs have succeeded; the parameters are the page's."""
    (parameters,) = (body for _, body in blocks(CLUSTER, "yaml"))
    (folder / "shop.yaml").write_text(parameters, encoding="utf-8")
    with kubeflow_server() as server:
        server.namespaces = ("shop",)
        del server.reports[:-1]
        yield server
