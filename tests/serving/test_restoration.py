"""Back to an earlier release on this machine: real servers, and the commands an operator types."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.platform import PlatformError, Provenance, connect
from serving.platform.__main__ import app
from serving.platform.identity import local_user
from serving.platform.local import LocalPlatform
from tests.serving.bare_package import model_sha256, publish_bare
from tests.serving.stub_service import stub_service

ROOT = Path(__file__).parents[2]


class Shop:
    """A service and its published versions."""

    def __init__(self, folder: Path, platform: LocalPlatform) -> None:
        self.store, self.platform = folder / "store", platform
        self.options = ["shop", "--platform", f"local:{folder}/state", "--namespace", "test"]
        self.packages: dict[int, Path] = {}

    def deploy(self, version: int, **env: str) -> str:
        """Put a version on trial; returns its revision's name."""
        if version not in self.packages:
            self.packages[version] = publish_bare(self.store, version=version)
        status = self.platform.deploy(
            stub_service(LABEL=str(version), STORAGE_URI=str(self.packages[version]), **env),
            provenance=Provenance(version, f"run-{version}", model_sha256(version)),
        )
        return status.canary.name

    def release(self, version: int, **env: str) -> None:
        self.deploy(version, **env)
        self.platform.set_traffic("shop", 100)
        self.platform.promote("shop", reason="every step passed")

    def run(self, *command: str) -> str:
        """What a command prints; its error is raised."""
        done = CliRunner().invoke(app, [command[0], *self.options, *command[1:]])
        if done.exception:
            raise done.exception
        return done.output

    def answer(self) -> tuple[str, list[str]]:
        found = self.platform.predict("shop", {"instances": [{"user": "u"}]})
        (row,) = found.body["predictions"]
        return row["label"], row["items"]


@pytest.fixture
def shop(tmp_path: Path, platform: LocalPlatform) -> Shop:
    return Shop(tmp_path, platform)


def test_back_to_the_first_of_three_releases_with_its_own_settings_and_the_record_says_so(
    shop: Shop,
):
    shop.release(1, DELAY_S="0.001")
    shop.release(2)
    shop.release(3)
    told = shop.run("roll-back", "--to", "1", "--reason", "wrong prices")
    assert told.endswith("shop: back to version 1\n")
    assert shop.answer() == ("1", ["item1"])
    (container,) = json.loads(
        (shop.platform._directory("shop").resource).read_text()
    )["spec"]["predictor"]["containers"]  # fmt: skip
    assert {"name": "DELAY_S", "value": "0.001"} in container["env"]

    found = json.loads(shop.run("releases", "--json"))
    assert (found["service"], found["stable"], found["forgotten"]) == ("shop", 4, 0)
    rows = [
        (one["provenance"]["version"], one["provenance"]["run"], one["verdict"], one["stable"])
        for one in found["releases"]
    ]
    assert rows == [
        (1, "run-1", "promoted", True),
        (3, "run-3", "rolled back", False),
        (2, "run-2", "promoted", False),
        (1, "run-1", "promoted", False),
    ]
    back, left, *_ = found["releases"]
    assert [event["what"] for event in back["events"]] == [
        "deployed",
        "ready",
        "traffic",
        "promoted",
    ]
    whys = {event["why"] for event in (back["events"][0], back["events"][-1], left["events"][-1])}
    assert whys == {"back to version 1: wrong prices"}
    assert {event["by"] for one in found["releases"] for event in one["events"]} == {local_user()}
    table = shop.run("releases")
    assert table.index("run-3") < table.index("run-2")  # newest first
    assert table.count("stable") == 1 and "wrong prices" in table
    assert shop.run("releases", "--events").count("run-3") == 5  # to its being rolled back

    assert "version 1 is stable already" in shop.run("roll-back", "--to", "1", "--reason", "again")
    assert json.loads(shop.run("releases", "--json")) == found


def test_a_release_that_was_rolled_back_or_never_promoted_returns_by_force_only(shop: Shop):
    shop.release(1)
    shop.deploy(2)
    shop.run("abort", "--reason", "5 % of errors")
    with pytest.raises(
        PlatformError, match="version 2 rolled back by .*: 5 % of errors; .*--force"
    ):
        shop.run("roll-back", "--to", "2", "--reason", "try")
    shop.deploy(3)
    shop.deploy(4)
    shop.run("abort")
    with pytest.raises(PlatformError, match="found version 3 never promoted"):
        shop.run("roll-back", "--to", str(shop.packages[3]), "--reason", "try")
    assert shop.answer()[0] == "1"
    shop.run("roll-back", "--to", "2", "--reason", "the errors were the network's", "--force")
    assert shop.answer()[0] == "2"


def test_what_cannot_be_brought_back_is_refused_in_one_line_and_changes_nothing(shop: Shop):
    with pytest.raises(PlatformError, match="shop: found no release record"):
        shop.run("releases")
    shop.release(1)
    shop.release(2)
    back = ("roll-back", "--to", "1", "--reason", "x")
    with pytest.raises(PlatformError, match="found no earlier release '7', expected one of 2, 1$"):
        shop.run("roll-back", "--to", "7", "--reason", "x")
    with pytest.raises(PlatformError, match="reason: found none"):
        shop.run("roll-back", "--to", "1", "--reason", " ")

    candidate = shop.deploy(3)
    with pytest.raises(PlatformError, match=f"found {candidate} on trial, expected no rollout"):
        shop.run(*back)
    assert shop.platform.status("shop").canary.name == candidate
    shop.run("abort")

    before = shop.platform.status("shop")
    model = shop.packages[1] / "1" / "saved_model.pb"
    content = model.read_bytes()
    model.write_bytes(content[::-1])
    with pytest.raises(PlatformError, match="saved_model.pb: found sha256 .*, the manifest says"):
        shop.run(*back)
    model.write_bytes(content)
    manifest = shop.packages[1] / "manifest.json"
    other = {**json.loads(manifest.read_text()), "model_sha256": "0" * 64}
    manifest.write_text(json.dumps(other))  # another model, published at the same place
    with pytest.raises(PlatformError, match="found model 0000.*expected .* as released"):
        shop.run(*back)
    shop.packages[1].rename(shop.store / "gone")
    with pytest.raises(PlatformError, match="found no folder .*, expected a model package"):
        shop.run(*back)
    assert shop.platform.status("shop") == before


def test_a_release_that_does_not_start_any_more_leaves_the_stable_one_serving(shop: Shop, tmp_path):
    words = tmp_path / "words.py"
    server = Path(__file__).with_name("stub_server.py")
    words.write_text(server.read_text())
    resource = stub_service(LABEL="1", STORAGE_URI=str(publish_bare(shop.store, version=1)))
    (container,) = resource["spec"]["predictor"]["containers"]
    container["command"][1] = str(words)
    shop.platform.deploy(resource, provenance=Provenance(1, "run-1", model_sha256(1)))
    shop.platform.set_traffic("shop", 100)
    shop.platform.promote("shop")
    shop.release(2)
    words.write_text("raise SystemExit('its library is gone')")
    told = "not brought back to version 1: x: .*library is gone.*; shop-predictor-.* serves on"
    with pytest.raises(PlatformError, match=told):
        shop.run("roll-back", "--to", "1", "--reason", "x")
    status = shop.platform.status("shop")
    assert (status.canary, shop.answer()[0]) == (None, "2")
    log = shop.platform.releases("shop")
    assert log.stable_release.provenance.version == 2
    assert (log.releases[-1].verdict, log.releases[1].verdict) == ("rolled back", "promoted")


@pytest.mark.parametrize(("verb", "force"), [("set_traffic", ["--force"]), ("promote", [])])
def test_killed_on_the_way_back_the_stable_serves_on_and_once_more_ends_well(
    shop: Shop, verb: str, force: list[str]
):
    if force:
        shop.release(2)
        shop.deploy(1)
        shop.run("abort")
    else:
        shop.release(1)
        shop.release(2)
    back = ["--to", "1", "--reason", "x", *force]
    program = (
        "import os, signal\n"
        "from serving.platform.__main__ import app\n"
        "from serving.platform.local import LocalPlatform\n"
        f"LocalPlatform.{verb} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"app({['roll-back', *shop.options, *back]!r})\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=False, env={**os.environ}
    )
    assert killed.returncode == -signal.SIGKILL
    status = connect(shop.options[2], namespace="test").status("shop")
    assert status.stable.storage_uri == str(shop.packages[2])
    assert status.canary.storage_uri == str(shop.packages[1])
    assert shop.answer()[0] == ("2" if verb == "set_traffic" else "1")
    shop.run("roll-back", *back)
    status = shop.platform.status("shop")
    assert (status.canary, status.stable.storage_uri) == (None, str(shop.packages[1]))
    verdicts = [one.verdict for one in shop.platform.releases("shop").releases]
    assert verdicts == ["rolled back" if force else "promoted", "rolled back", "promoted"]
