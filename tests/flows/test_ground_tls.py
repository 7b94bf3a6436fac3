"""A target whose certificate nobody vouches for, met before a thousand requests are sent to it."""

import pytest

from config.target import Target
from flows.ground import probe
from storage.errors import TargetError
from tests.fakes.certificates import certificate, shows
from tests.fakes.servers import always, answer, serving


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_it_is_said_how_to_trust_it(tmp_path, transport):
    tls = shows(certificate(tmp_path / "both.pem", "localhost"))
    async with serving(always(answer(b"{}")), tls=tls) as server:
        target = Target(name="gw", url=server.url + "/v1", model="m", transport=transport)
        with pytest.raises(TargetError, match=r"no certificate that can be trusted .* by SSL_CERT_FILE"):
            await probe(target, False, 5.0)
    assert server.requests == []
