# SPDX-License-Identifier: Apache-2.0
"""Who may see the live view."""

import pytest

from muon_ad_core.view.access import Access, is_loopback


def test_only_addresses_of_this_machine_go_without_a_token() -> None:
    assert Access.for_address("127.0.0.1").token == ""
    assert Access.for_address("localhost").token == ""
    made_up = {Access.for_address(address).token for address in ("0.0.0.0", "192.168.1.5", "::", "robot.local")}
    assert len(made_up) == 4
    assert min(map(len, made_up)) >= 16
    assert Access.for_address("127.0.0.1", "word").token == "word"


def test_a_token_must_be_known() -> None:
    access = Access("word")
    assert access.knows("word")
    for wrong in ("", "wor", "word ", "Wörd"):
        assert not access.knows(wrong)
    assert Access("").knows("anything")


@pytest.mark.parametrize(
    ("token", "host", "origin", "trusted"),
    [
        ("", "localhost:8090", "", True),
        ("", "127.0.0.1:8090", "http://127.0.0.1:8090", True),
        ("", "[::1]:8090", "http://[::1]:8090", True),
        ("", "localhost:8090", "http://evil.example", False),  # a web site that sends requests to this machine
        ("", "evil.example:8090", "http://evil.example:8090", False),  # one whose name was given our address
        ("word", "robot:8090", "http://robot:8090", True),
        ("word", "robot:8090", "http://evil.example", False),
        ("word", "robot:8090", "null", False),
    ],
)
def test_requests_of_other_pages_are_not_trusted(token: str, host: str, origin: str, trusted: bool) -> None:
    assert Access(token).trusts(host, origin) is trusted


def test_loopback_addresses_are_known() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "robot")))
