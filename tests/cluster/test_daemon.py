"""How the cluster's programs are held: seen to be ready, reported when they fail, ended."""

import sys

import pytest

from tests.cluster.daemon import Daemon, DaemonFailed


def test_a_program_that_ends_is_reported_with_its_last_words(tmp_path):
    daemon = Daemon(
        [sys.executable, "-c", "print('no room on this ship'); raise SystemExit(3)"],
        log=tmp_path / "ark.log",
    )
    with pytest.raises(DaemonFailed, match=r"ark: ended with code 3\n(.|\n)*no room on this ship"):
        daemon.wait_until(lambda: False, timeout_s=60)


def test_a_program_that_is_never_ready_is_reported_and_can_be_stopped(tmp_path):
    daemon = Daemon([sys.executable, "-c", "import time; time.sleep(600)"], log=tmp_path / "a.log")
    with pytest.raises(DaemonFailed, match="a: not ready after 0.1 s"):
        daemon.wait_until(lambda: False, timeout_s=0.1)
    daemon.stop()
    with pytest.raises(DaemonFailed, match="a: ended with code -15"):
        daemon.wait_until(lambda: False, timeout_s=60)


def test_a_program_that_ignores_the_polite_signal_is_killed(tmp_path):
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True); time.sleep(600)"
    )
    daemon = Daemon([sys.executable, "-c", deaf], log=tmp_path / "a.log", grace_s=0.2)
    daemon.wait_until(lambda: "deaf" in daemon.log.read_text(), timeout_s=60)
    daemon.stop()
    with pytest.raises(DaemonFailed, match="a: ended with code -9"):
        daemon.wait_until(lambda: False, timeout_s=60)
