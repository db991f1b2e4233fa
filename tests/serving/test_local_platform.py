"""The local platform with real supervisor, router and server processes on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving.platform import PlatformError, RevisionFailed, ServiceStatus, connect
from serving.platform.local import LocalPlatform
from serving.protocol.headers import REVISION_HEADER
from tests.serving.stub_service import stub_service

ROOT = Path(__file__).parents[2]
BODY = {"instances": [{"user": "u"}]}


def make_stable(platform: LocalPlatform, **env: str) -> ServiceStatus:
    platform.deploy(stub_service(**env))
    platform.set_traffic("shop", 100)
    return platform.promote("shop")


def label(platform: LocalPlatform, user: str = "u", revision: str | None = None) -> str:
    body = {"instances": [{"user": user}]}
    return platform.predict("shop", body, revision=revision).body["predictions"][0]["label"]


def processes_of(folder: Path) -> set[int]:
    """Return the supervisor and the servers a service's status names."""
    status = json.loads((folder / "status.json").read_text())
    servers = {revision["pid"] for revision in status["revisions"].values()}
    return {status["supervisor_pid"], *servers} - {None}


def gone(pids: set[int], *, within_s: float = 60) -> bool:
    deadline = time.monotonic() + within_s
    while any(Path(f"/proc/{pid}").exists() and not zombie(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_service_from_first_release_to_promotion_and_roll_back(platform: LocalPlatform):
    assert platform.status("shop") == ServiceStatus("shop")
    first = platform.deploy(stub_service(LABEL="one"))
    assert first.stable is None and first.canary is not None and first.canary.ready
    assert platform.predict("shop", BODY).status_code == 503  # closed until it was tried
    assert label(platform, revision=first.canary.name) == "one"
    assert platform.set_traffic("shop", 5).canary.traffic_percent == 100
    stable = platform.promote("shop").stable
    assert (stable.name, stable.traffic_percent) == (first.canary.name, 100)

    second = platform.deploy(stub_service(LABEL="two"))
    assert (second.stable.traffic_percent, second.canary.traffic_percent) == (100, 0)
    split = platform.set_traffic("shop", 30)
    assert (split.stable.traffic_percent, split.canary.traffic_percent) == (70, 30)
    users = {f"user{i}": label(platform, f"user{i}") for i in range(60)}
    assert set(users.values()) == {"one", "two"}
    assert {user: label(platform, user) for user in users} == users  # sticky
    metrics = platform.metrics("shop")
    # Pinned requests are not the users'; the one 503 before the service opened is nobody's.
    assert sum(metrics[stable.name].requests.values()) == 2 * list(users.values()).count("one")
    assert max(metrics[second.canary.name].latency_ms.values()) == 2 * list(users.values()).count(
        "two"
    )

    back = platform.roll_back("shop", reason="too slow")
    assert (back.canary, back.stable.name) == (None, stable.name)
    assert back.last_rollback.reason == "too slow"
    assert {label(platform, user) for user in users} == {"one"}


def test_deploying_what_is_stable_restarts_nothing(platform: LocalPlatform):
    stable = make_stable(platform, LABEL="one").stable
    before = platform.predict("shop", BODY).body["predictions"][0]["pid"]
    again = platform.deploy(stub_service(LABEL="one"))
    assert (again.stable, again.canary) == (stable, None)
    assert platform.predict("shop", BODY).body["predictions"][0]["pid"] == before


def test_server_that_cannot_start_is_reported_with_its_last_words(platform: LocalPlatform):
    make_stable(platform, LABEL="one")
    with pytest.raises(RevisionFailed, match="no such model"):
        platform.deploy(stub_service(LABEL="two", REFUSE="no such model"))
    assert label(platform) == "one"
    platform.roll_back("shop", reason="did not start")
    assert platform.deploy(stub_service(LABEL="two")).canary.ready


def test_server_that_cannot_even_be_tried_is_reported_at_once(platform: LocalPlatform):
    directory = platform._directory("shop")
    # As on a full disk: nothing can be written where its log belongs.
    (directory.path / "revisions" / "shop-predictor-00001.log").mkdir(parents=True)
    with pytest.raises(RevisionFailed, match=r"00001 cannot start: .*Is a directory"):
        platform.deploy(stub_service(), timeout_s=20)


def test_canary_left_behind_is_replaced_by_the_next_one(platform: LocalPlatform):
    make_stable(platform, LABEL="one")
    abandoned = platform.deploy(stub_service(LABEL="two")).canary
    platform.set_traffic("shop", 25)
    fresh = platform.deploy(stub_service(LABEL="three")).canary
    assert (fresh.name != abandoned.name, fresh.traffic_percent) == (True, 0)
    assert platform.predict("shop", BODY, revision=abandoned.name).status_code == 404


def test_dying_canary_is_counted_and_its_users_are_answered_by_the_stable(
    platform: LocalPlatform,
):
    make_stable(platform, LABEL="one")
    canary = platform.deploy(stub_service(LABEL="two")).canary.name
    platform.set_traffic("shop", 50)
    killer = {"instances": [{"user": "u"}], "exit": True}
    assert platform.predict("shop", killer, revision=canary).status_code == 503
    answers = [platform.predict("shop", {"instances": [{"user": f"u{i}"}]}) for i in range(40)]
    assert {answer.status_code for answer in answers} == {200}
    counted = platform.metrics("shop")[canary].requests
    assert counted.get(503, 0) > 0
    deadline = time.monotonic() + 60
    while not platform.status("shop").canary.ready:  # started again by the supervisor
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_request_fails_while_revisions_are_promoted_and_rolled_back(platform: LocalPlatform):
    url = make_stable(platform, LABEL="0", DELAY_S="0.02").url
    stop = False

    def visit(user: int) -> set[int]:
        codes = set()
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not stop:
                body = {"instances": [{"user": str(user)}]}
                codes.add(client.post(f"{url}/v1/models/shop:predict", json=body).status_code)
        return codes

    with ThreadPoolExecutor(4) as pool:
        visits = [pool.submit(visit, user) for user in range(4)]
        try:
            for release in ("1", "2"):
                platform.deploy(stub_service(LABEL=release, DELAY_S="0.02"))
                platform.set_traffic("shop", 50)
                platform.promote("shop") if release == "1" else platform.roll_back(
                    "shop", reason="test"
                )
        finally:
            time.sleep(0.5)
            stop = True
        assert [visit.result() for visit in visits] == [{200}] * 4


@pytest.mark.parametrize("end", ["promote", "roll_back", "stop"])
def test_request_under_way_is_answered_by_the_revision_that_took_it(
    platform: LocalPlatform, tmp_path: Path, end: str
):
    status = make_stable(platform, LABEL="stable")
    taker, url = status.stable.name, f"{status.url}/v1/models/shop:predict"
    canary = platform.deploy(stub_service(LABEL="canary")).canary.name
    if end == "roll_back":
        platform.set_traffic("shop", 100)
        taker = canary
    change = {
        "promote": platform.promote,
        "roll_back": lambda service: platform.roll_back(service, reason="test"),
        "stop": platform.stop,
    }[end]
    until = tmp_path / "answer"
    with ThreadPoolExecutor(2) as pool:
        body = {**BODY, "until": str(until)}
        under_way = pool.submit(httpx.post, url, json=body, timeout=60, trust_env=False)
        try:
            while not Path(f"{until}.asked").exists():
                time.sleep(0.02)
            changed = pool.submit(change, "shop")
            while platform.predict("shop", BODY, revision=taker).status_code != 404:
                time.sleep(0.02)  # what leaves gets no new requests
            time.sleep(1)  # a server that is not waited for would be gone by now
        finally:
            until.touch()
        assert under_way.result().headers[REVISION_HEADER] == taker
        assert under_way.result().status_code == 200
        changed.result()


def test_killed_supervisor_leaves_no_process_and_the_next_deploy_restores(tmp_path: Path):
    platform = LocalPlatform(tmp_path, namespace="test")
    stable = make_stable(platform, LABEL="one")
    pids = processes_of(tmp_path / "test" / "shop")
    assert len(pids) == 2
    platform.deploy(stub_service(LABEL="two"))
    pids |= processes_of(tmp_path / "test" / "shop")
    try:
        supervisor = json.loads((tmp_path / "test/shop/status.json").read_text())["supervisor_pid"]
        os.kill(supervisor, signal.SIGKILL)
        assert gone(pids)
        deadline = time.monotonic() + 60
        while platform.status("shop").stable.ready:  # a zombie's last thread may hold its lock
            assert time.monotonic() < deadline
            time.sleep(0.05)
        restored = platform.deploy(stub_service(LABEL="three"))
        assert restored.stable.name == stable.stable.name
        assert restored.url == stable.url
        assert label(platform) == "one"
    finally:
        platform.delete("shop")


def test_supervisor_outlives_the_killed_pipeline(platform: LocalPlatform, tmp_path: Path):
    make_stable(platform, LABEL="one")
    program = (
        "import os, signal\n"
        "from serving.platform import connect\n"
        "from tests.serving.stub_service import stub_service\n"
        f"platform = connect('local:{tmp_path}/state', namespace='test')\n"
        "platform.deploy(stub_service(LABEL='two'))\n"
        "platform.set_traffic('shop', 50)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert platform.status("shop").canary.traffic_percent == 50
    assert {label(platform, f"user{i}") for i in range(40)} == {"one", "two"}


def test_two_clients_at_once_start_one_supervisor(tmp_path: Path):
    platforms = [LocalPlatform(tmp_path, namespace="test") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(p.deploy, stub_service(LABEL="one")) for p in platforms]
        names = {job.result().canary.name for job in jobs}
    try:
        assert names == {"shop-predictor-00001"}
    finally:
        platforms[0].delete("shop")


def test_stop_ends_every_process_and_start_brings_the_service_back(tmp_path: Path):
    platform = LocalPlatform(tmp_path, namespace="test")
    make_stable(platform, LABEL="one")
    pids = processes_of(tmp_path / "test" / "shop")
    command = [sys.executable, "-m", "serving.platform"]
    options = ["--state-dir", str(tmp_path), "--namespace", "test"]
    run = {"cwd": ROOT, "check": True, "capture_output": True, "text": True}
    try:
        assert "shop-predictor-00001" in subprocess.run([*command, "list", *options], **run).stdout
        wrong = subprocess.run([*command, "stop", "shpo", *options], **run | {"check": False})
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert (
            wrong.stderr == f"error: shpo: no such service below {tmp_path}, expected one of shop\n"
        )
        subprocess.run([*command, "stop", *options], **run)
        assert gone(pids)
        assert platform.start("shop").stable.ready
        assert label(platform) == "one"
    finally:
        platform.delete("shop")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(kind="Pod"), "resource"),
        (lambda s: s["metadata"].update(name="Shop_1"), "metadata.name"),
        (lambda s: s["spec"].update(predictor={}), "expected model or containers"),
        (lambda s: s["spec"].update(predictor={"model": {"storageUri": "x"}}), "modelFormat"),
        (lambda s: s.update(spec={}), "spec.predictor"),
        (lambda s: s["spec"].update(transformer={}), "spec.transformer: found one"),
    ],
)
def test_resource_that_cannot_be_run_is_refused_before_anything_starts(
    platform: LocalPlatform, change, message: str
):
    resource = stub_service()
    change(resource)
    with pytest.raises(PlatformError, match=message):
        platform.deploy(resource)
    assert platform.services() == []


def test_verbs_that_need_a_canary_say_that_there_is_none(platform: LocalPlatform):
    for verb in (lambda: platform.promote("shop"), lambda: platform.set_traffic("shop", 5)):
        with pytest.raises(PlatformError, match="found no canary"):
            verb()
    with pytest.raises(PlatformError, match="0 to 100"):
        platform.set_traffic("shop", 101)


def test_platform_is_chosen_by_name():
    with pytest.raises(PlatformError, match="expected 'local'"):
        connect("docker")
    with pytest.raises(PlatformError, match="namespace"):
        connect("local", namespace="../x")
