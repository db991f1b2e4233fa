"""A notice on its way to a webhook that may be away, and whose address stays hidden."""

import pytest

from components.notify.webhook import Undelivered, send
from tests.notify.receiver import SECRET
from tests.ports import free_port

NOTICE = {"text": "✅ done"}


def test_a_receiver_in_trouble_is_asked_again_until_it_takes_it(receiver):
    receiver.answers, waited = [500, 429], []
    assert send(receiver.url, NOTICE, waits_s=(1, 4, 15), sleep=waited.append) == 3
    assert receiver.bodies == [NOTICE] * 3
    assert waited == [1, 4]


@pytest.mark.parametrize(
    ("answers", "attempts", "found"),
    [
        ([503] * 9, 3, "HTTP 503 after 3"),
        ([0] * 9, 3, r"no answer \(ReadTimeout\) after 3"),
        ([404], 1, "HTTP 404 after 1"),  # asking again would not change it
        ([302], 1, "HTTP 302 after 1"),  # where it leads, nobody allowed
    ],
)
def test_one_that_never_takes_it_is_asked_a_few_times(receiver, answers, attempts, found):
    receiver.answers = answers
    with pytest.raises(Undelivered, match=f"^webhook: found {found} attempts, exp") as error:
        send(receiver.url, NOTICE, timeout_s=0.3, waits_s=(0, 0))
    assert len(receiver.bodies) == attempts
    assert SECRET not in str(error.value) and "127.0.0.1" not in str(error.value)


def test_nobody_there_is_told_without_the_address():
    with pytest.raises(Undelivered, match=r"no answer \(ConnectError\) after 2 ") as error:
        send(f"http://127.0.0.1:{free_port()}/{SECRET}", NOTICE, waits_s=(0,))
    assert SECRET not in str(error.value)


@pytest.mark.parametrize("url", [SECRET, f"ftp://host/{SECRET}", "https://", "http://a:b"])
def test_an_address_that_is_none_is_refused_and_not_shown(url):
    with pytest.raises(Undelivered, match="^webhook: found an address that is none") as error:
        send(url, NOTICE, waits_s=())
    assert SECRET not in str(error.value)


def test_a_host_that_can_have_no_address_and_a_proxy_that_is_none_are_told_in_one_line(monkeypatch):
    with pytest.raises(
        Undelivered, match=r"^webhook: found no way to ask \(UnicodeError\) after 1"
    ):
        send(f"http://hooks..example/{SECRET}", NOTICE)
    monkeypatch.setenv("HTTP_PROXY", f"proxy://user:{SECRET}@host")
    with pytest.raises(Undelivered, match=r"^webhook: found no way to ask \(ValueError\)"):
        send("http://hooks.example/x", NOTICE)
