"""Beam's options as a parameter: what is no option is one clear line."""

import re
from pathlib import Path

import pytest

from components.beam_exchange import exchange
from components.beam_runner import has_workers_elsewhere, pipeline_options
from components.errors import InputError
from tests.beam.jars import check
from tests.ports import free_port
from tests.storage_server import running_storage

FLINK = ["--runner=FlinkRunner", "--flink_master=flink.example:8081"]
DATAFLOW = ["--runner=DataflowRunner", "--project=shop", "--region=europe-west4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runer=FlinkRunner"], "found --runer, expected only options that Beam knows"),
        (["--flink_masters=x"], "found --flink_masters, expected only options that Beam knows"),
        (["runner=FlinkRunner"], "found 'runner=FlinkRunner', expected an option, --name=value"),
        (["--num_workers=two"], "--num_workers: invalid int value: 'two'"),
        (["--runner=Flnk"], "Unexpected pipeline runner: Flnk"),
        (["--runner=FlinkRunner"], "--temp_location: found '', expected a gs:// prefix, or"),
        (["--runner=SparkRunner", "--temp_location=tmp"], "found 'tmp', expected a gs:// prefix"),
        (["--runner=DataflowRunner", "--temp_location=gs://b/t"], "Missing required option"),
        (
            [*DATAFLOW, "--temp_location=/mnt/t"],
            "--temp_location: found '/mnt/t', expected a gs:// prefix",
        ),
    ],
)
def test_a_mistake_in_the_options_is_one_line(options: list[str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        pipeline_options(options)
    assert "\n" not in str(raised.value)


def test_a_job_server_that_does_not_answer_is_said_at_once() -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    with pytest.raises(InputError, match=f"{endpoint}: found UNAVAILABLE, expected a Beam job"):
        pipeline_options(["--runner=PortableRunner", f"--job_endpoint={endpoint}"])


def test_who_sees_the_steps_own_files() -> None:
    assert not has_workers_elsewhere(pipeline_options([]))
    assert not has_workers_elsewhere(pipeline_options(["--runner=DirectRunner"]))
    assert has_workers_elsewhere(pipeline_options([*FLINK, "--temp_location=gs://bucket/tmp"]))


def test_in_this_process_nothing_is_copied(tmp_path: Path) -> None:
    with exchange(pipeline_options([])) as files, files.take(tmp_path / "out", "out") as out:
        assert files.give(tmp_path, "in") == str(tmp_path)
        assert out == str(tmp_path / "out")


def test_workers_elsewhere_read_and_write_below_the_temp_location(tmp_path: Path) -> None:
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "variables" / "index").write_text("weights")
    with running_storage("bucket"):
        from google.cloud import storage

        bucket = storage.Client().bucket("bucket")
        options = pipeline_options([*FLINK, "--temp_location=gs://bucket/tmp"])
        with exchange(options) as files, files.take(tmp_path / "out", "out") as out:
            given = files.give(tmp_path / "model", "model")
            assert given.startswith("gs://bucket/tmp/")
            (name,) = [blob.name for blob in bucket.list_blobs()]
            assert f"gs://bucket/{name}" == f"{given}/variables/index"
            bucket.blob(f"{out.removeprefix('gs://bucket/')}/part-0").upload_from_string("done")
        assert (tmp_path / "out" / "part-0").read_text() == "done"
        assert list(bucket.list_blobs()) == []


def test_another_jar_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "a.jar").write_bytes(b"")
    sums = tmp_path / "jars.sha256"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    sums.write_text(f"{empty}  a.jar\n")
    check(tmp_path / "jars", sums)
    (tmp_path / "jars" / "a.jar").write_bytes(b"other")
    with pytest.raises(RuntimeError, match="not as pinned in jars.sha256: a.jar"):
        check(tmp_path / "jars", sums)
