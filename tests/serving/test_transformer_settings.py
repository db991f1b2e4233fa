"""The options: each bad one is refused in one line with EX_CONFIG, and no password is shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.transformer.settings import Settings, SettingsError, read_settings

ROOT = Path(__file__).parents[2]
NEEDED = ["--model_name", "shop", "--predictor_host", "127.0.0.1:8080"]


def read(*options: str, environment: dict[str, str] | None = None) -> Settings:
    return read_settings([*NEEDED, *options], environment or {})


def test_what_is_not_said_has_its_default():
    assert read() == Settings("shop", "127.0.0.1:8080")


def test_words_of_kserves_controller_are_understood():
    # It appends these to a transformer's arguments, and --workers for a containerConcurrency.
    settings = read_settings(
        ["--model_name", "shop", "--predictor_host", "shop-predictor.default", "--http_port",
         "8080", "--workers", "4"],
        {"K_REVISION": "shop-transformer-00002", "HOSTNAME": "pod"},
    )  # fmt: skip
    assert settings.predictor_url == "http://shop-predictor.default"
    assert settings.revision == "shop-transformer-00002"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--predictor_host", "http://x"], "--predictor_host: found 'http://x', expected HOST or"),
        (["--predictor_host", ""], "--predictor_host: found ''"),
        (["--model_name", "a/b"], "--model_name: found 'a/b'"),
        (["--http_port", "0"], "--http_port: found 0, expected 1 to 65535"),
        (["--http_port", "x"], "argument --http_port: invalid int value: 'x'"),
        (["--predictor_timeout_s", "0"], "--predictor_timeout_s: found 0.0"),
        (["--predictor_timeout_s", "nan"], "--predictor_timeout_s: found nan"),
        (["--overfetch", "0.5"], "--overfetch: found 0.5, expected 1 to 1000"),
        (["--max_k", "2000"], "--max_k: found 2000, expected 1 to 1000"),  # above --max_fetch
        (["--mmr_lambda", "1.5"], "--mmr_lambda: found 1.5, expected 0 to 1"),
        (["--mmr_lambda", "0.5"], "--mmr_lambda: found neither --category_column nor"),
        (["--category_cap", "2"], "--category_cap: found no --category_column"),
        (["--category_cap", "-1"], "--category_cap: found -1, expected 0 or more"),
        (["--items", "x"], "--items: found no column to read"),
        (["--stock_column", "stock"], "--items: found nothing, expected where column 'stock' is"),
        (["--on_lookup_error", "hope"], "--on_lookup_error: found 'hope'"),
        (["--cache", "memcached"], "--cache: found 'memcached', expected none, memory, redis://"),
        (["--cache", "env:URL"], "--cache: found no environment variable 'URL'"),
        (["--cache", "redis://:6379"], "--cache: found 'redis://:6379', expected redis://HOST"),
        (["--cache", "redis://h:port/0"], "--cache: found 'redis://h:port/0'"),
        (["--cache", "redis://h/name"], "--cache: found 'redis://h/name'"),
        (["--predictor_use_ssl", "perhaps"], "found 'perhaps', expected true or false"),
        (["--no_such_option"], "unrecognized arguments: --no_such_option"),
    ],
)
def test_bad_option_is_named_with_what_was_found(options: list[str], message: str):
    with pytest.raises(SettingsError) as error:
        read(*options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_option_is_named():
    with pytest.raises(SettingsError, match="--predictor_host"):
        read_settings(["--model_name", "shop"], {})


@pytest.mark.parametrize("option", ["--cache", "--history", "--items"])
def test_password_comes_by_reference_and_is_refused_and_not_repeated_on_the_command_line(option):
    columns = ["--stock_column", "stock"] if option == "--items" else []
    url = "rediss://user:s3cret@redis:6379/1"
    settings = read(option, "env:URL", *columns, environment={"URL": url})
    assert getattr(settings, option.removeprefix("--")) == url
    with pytest.raises(SettingsError, match="expected env:NAME") as error:
        read(option, url, *columns)
    assert "s3cret" not in str(error.value)
    with pytest.raises(SettingsError, match="expected redis") as error:
        read(option, "env:URL", *columns, environment={"URL": "redis://user:s3cret@/x"})
    assert "s3cret" not in str(error.value)


def test_version_of_the_filters_is_another_with_another_filter_and_the_same_with_another_port():
    version = read().filters_version
    assert read("--http_port", "9").filters_version == version
    assert read("--filter_bought").filters_version != version
    assert read("--overfetch", "2").filters_version != version


def started(*options: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "serving.transformer", *NEEDED, *options]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--http_port", "x"], "error: argument --http_port: invalid int value: 'x'\n"),
        (["--history", "/no/such"], "error: /no/such: found no .parquet file, expected at least"),
    ],
)
def test_server_that_cannot_be_ends_at_once_with_ex_config_and_one_line(options, message):
    ended = started(*options)
    assert ended.returncode == 78, ended.stderr
    assert ended.stderr.startswith(message) and ended.stderr.count("\n") == 1, ended.stderr
