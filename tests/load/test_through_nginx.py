"""Whole legs through nginx in front of the simulator: over either transport, with TLS, with HTTP/2."""

from collections.abc import Iterator

import polars as pl
import pytest

from tasks.load.leg import run
from tests.fakes.certificates import certificate
from tests.fakes.nginx import BINARY, Nginx, nginx

pytestmark = pytest.mark.skipif(BINARY is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def web(tmp_path_factory, _simulator) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    pem = certificate(folder / "both.pem", "localhost", "127.0.0.1")
    with nginx(folder, _simulator.url.removeprefix("http://").split("/")[0], pem) as found:
        yield found


@pytest.mark.parametrize("transport", ["wire", "httpx"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("secure", [True, False])
def test_a_leg_through_a_proxy(leg_spec, rows_of, sim, web, environment, transport, stream, secure):
    environment("SSL_CERT_FILE", str(web.pem))
    url = (web.secure_url if secure else web.url) + "/v1"
    spec = leg_spec(url, transport=transport, stream=stream, requests=40, level=8)
    leg = run(spec)
    rows = rows_of(spec)
    assert (leg.ok, leg.failed, leg.rows) == (40, {}, rows.height)
    assert sim.stats()["requests"] == rows.height
    assert leg.target_headers["server"].startswith("nginx")
    if stream:
        assert rows.filter(pl.col("first_token_ns").is_null()).height == 0


def test_http_2_is_spoken_where_the_server_offers_it(leg_spec, rows_of, sim, web, environment):
    """Nginx answers with the protocol that it was asked in."""
    environment("SSL_CERT_FILE", str(web.pem))
    spec = leg_spec(web.secure_url + "/protocol", transport="httpx", requests=4, level=2, stream=False)
    run(spec)
    assert rows_of(spec)["model_served"].unique().to_list() == ["HTTP/2.0"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/silent/v1", "http_5xx"), ("/nobody/v1", "http_5xx"), ("/small/v1", "http_4xx"), ("/moved", "http_3xx")],
)
@pytest.mark.parametrize("transport", ["wire", "httpx"])
def test_what_nginx_refuses_has_its_name(leg_spec, web, transport, path, kind):
    leg = run(leg_spec(web.url + path, transport=transport, requests=6, level=2))
    assert (leg.ok, leg.failed) == (0, {kind: 6})
