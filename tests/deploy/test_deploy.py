"""Deployments with real server processes: what is refused, what is tried, what is left behind."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from components.deploy.deploy import deploy
from components.deploy.settings import DeploySettings
from components.errors import InputError
from components.release import Release
from serving.platform import Provenance
from serving.platform.local import LocalPlatform
from tests.serving.tiny_package import write_manifest

STUB = str(Path(__file__).parents[1] / "serving" / "stub_server.py")


def run(package: Path, folder: Path, *options: str) -> Release:
    """Deploy a package behind the stub server, at once as the canary."""
    return deploy(
        package_uri=str(package),
        service="shop",
        platform=f"local:{folder}/state",
        namespace="test",
        settings=DeploySettings(
            server_command=(sys.executable, STUB, *options), infrastructure_check=False
        ),
        release_path=folder / "release.json",
    )


def test_release_names_the_candidate_which_has_no_users_yet(
    published: Path, platform: LocalPlatform, tmp_path: Path
):
    release = run(published, tmp_path)
    manifest = json.loads((published / "manifest.json").read_text())
    written = json.loads((tmp_path / "release.json").read_text())
    assert written["model_sha256"] == release.model_sha256 == manifest["model_sha256"]
    assert (written["stable_revision"], written["version"]) == (None, 1)
    assert written["url"] == platform.status("shop").url
    canary = platform.status("shop").canary
    assert (canary.name, canary.traffic_percent) == (release.candidate_revision, 0)
    assert canary.storage_uri == str(published)
    (recorded,) = platform.releases("shop").releases
    assert recorded.provenance == Provenance(1, "run-1", release.model_sha256)


def test_package_that_is_stable_already_is_unchanged_and_nothing_restarts(
    published: Path, platform: LocalPlatform, tmp_path: Path
):
    first = run(published, tmp_path)
    platform.set_traffic("shop", 100)
    platform.promote("shop")
    body = {"instances": [{}]}
    before = platform.predict("shop", body).body["predictions"][0]["pid"]
    again = run(published, tmp_path)
    assert (again.unchanged, again.candidate_revision) == (True, first.candidate_revision)
    assert again.stable_revision == first.candidate_revision
    assert platform.predict("shop", body).body["predictions"][0]["pid"] == before


def test_candidate_that_fails_its_smoke_test_is_taken_away_with_the_reason(
    published: Path, platform: LocalPlatform, tmp_path: Path
):
    run(published, tmp_path)
    platform.set_traffic("shop", 100)
    stable = platform.promote("shop").stable
    with pytest.raises(InputError, match=r"golden request 0: found scores \[None\]"):
        run(published, tmp_path, "--null-scores")
    status = platform.status("shop")
    assert (status.stable, status.canary) == (stable, None)
    assert "finite numbers" in status.last_rollback.reason


@pytest.mark.parametrize(
    ("fault", "budget_ms", "problem"),
    [
        ("--other-items", 500.0, "golden request 0: found 'item18' at place 1, expected 'item4'"),
        ("--none", 1e-6, "found a median latency of"),
    ],
)
def test_candidate_that_answers_otherwise_than_when_packaged_or_too_late_is_taken_away(
    published: Path,
    platform: LocalPlatform,
    tmp_path: Path,
    fault: str,
    budget_ms: float,
    problem: str,
):
    command = (sys.executable, STUB, fault)
    with pytest.raises(InputError, match=problem):
        deploy(
            package_uri=str(published),
            service="shop",
            platform=f"local:{tmp_path}/state",
            namespace="test",
            settings=DeploySettings(
                server_command=command, latency_budget_ms=budget_ms, infrastructure_check=False
            ),
            release_path=tmp_path / "release.json",
        )
    assert platform.status("shop").canary is None


def test_candidate_that_does_not_start_is_taken_away_with_its_last_words(
    published: Path, platform: LocalPlatform, tmp_path: Path
):
    command = (sys.executable, "-c", "raise SystemExit('no GPU')")
    settings = DeploySettings(server_command=command, infrastructure_check=False)
    with pytest.raises(InputError, match="no GPU"):
        deploy(
            package_uri=str(published),
            service="shop",
            platform=f"local:{tmp_path}/state",
            namespace="test",
            settings=settings,
            release_path=tmp_path / "release.json",
        )
    status = platform.status("shop")
    assert (status.stable, status.canary) == (None, None)
    assert not (tmp_path / "release.json").exists()


def alter_a_byte(folder: Path) -> None:
    file = folder / "1" / "saved_model.pb"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)


def lose_a_file(folder: Path) -> None:
    (folder / "requests.json").unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def refuse_the_model(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["blessing"] |= {"blessed": False, "reason": "NDCG@10 too low"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def bless_another_model(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["blessing"]["model_sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


def exchange_the_model(folder: Path) -> None:
    """Alter the model and make the manifest's checksums fit, but not the blessing."""
    blessed = json.loads((folder / "manifest.json").read_text())["model_sha256"]
    alter_a_byte(folder)
    write_manifest(folder, version=1, model_sha256=blessed)


def lose_the_blessing(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["blessing"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def forget_an_answer(folder: Path) -> None:
    requests = json.loads((folder / "requests.json").read_text())
    del requests["requests"][0]["answer"]
    (folder / "requests.json").write_text(json.dumps(requests))
    model_sha256 = json.loads((folder / "manifest.json").read_text())["model_sha256"]
    write_manifest(folder, version=1, model_sha256=model_sha256)


def ask_nothing(folder: Path) -> None:
    (folder / "requests.json").write_text('{"requests": []}')
    model_sha256 = json.loads((folder / "manifest.json").read_text())["model_sha256"]
    write_manifest(folder, version=1, model_sha256=model_sha256)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (alter_a_byte, "saved_model.pb: found sha256"),
        (lose_a_file, "requests.json: found no file"),
        (lose_the_manifest, "manifest.json: found no file"),
        (refuse_the_model, "NDCG@10 too low"),
        (bless_another_model, "found a blessing for model 0000"),
        (exchange_the_model, "/1: found model"),
        (lose_the_blessing, "'blessing'"),
        (ask_nothing, "requests.json: found no requests"),
        (forget_an_answer, "requests.json: found KeyError\\('answer'\\)"),
    ],
)
def test_package_that_is_not_the_blessed_one_is_refused_before_the_platform_is_touched(
    published: Path, tmp_path: Path, harm, message: str
):
    package = tmp_path / "shop" / "1"
    shutil.copytree(published, package)
    harm(package)
    with pytest.raises(InputError, match=message) as refusal:
        run(package, tmp_path)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "state").exists()


def test_what_packaging_adds_for_tensorflow_serving_is_not_part_of_the_blessed_model(
    published: Path, platform: LocalPlatform, tmp_path: Path
):
    package = tmp_path / "shop" / "1"
    shutil.copytree(published, package)
    warmup = package / "1" / "assets.extra" / "tf_serving_warmup_requests"
    warmup.parent.mkdir()
    warmup.write_bytes(b"records")
    model_sha256 = json.loads((package / "manifest.json").read_text())["model_sha256"]
    write_manifest(package, version=1, model_sha256=model_sha256)
    assert run(package, tmp_path).model_sha256 == model_sha256
