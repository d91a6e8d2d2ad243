# SPDX-License-Identifier: Apache-2.0
"""Who may see the live view: everybody on this machine, or from elsewhere whoever knows the token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """The rule for every request; `token` is empty when none is asked for."""

    token: str

    @classmethod
    def for_address(cls, address: str, token: str = "") -> Access:
        """The rule for a server bound to `address`: a token is made up where one is needed and none was given."""
        return cls(token or ("" if is_loopback(address) else secrets.token_urlsafe(12)))

    def knows(self, given: str) -> bool:
        """Whether `given` is the token, or none is asked for."""
        return not self.token or hmac.compare_digest(given.encode(), self.token.encode())

    def trusts(self, host: str, origin: str) -> bool:
        """Whether a request is of our own page, by its Host and Origin headers (empty where absent).

        Browsers let any web site send requests to this machine and open web sockets to it, and a site can give its
        own name our address. So a stated origin must be the host itself, and without a token the host must be local.
        """
        if origin and urlsplit(origin).netloc != host:
            return False
        return bool(self.token) or urlsplit(f"//{host}").hostname in LOCAL_NAMES


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a server bound to `address`."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
