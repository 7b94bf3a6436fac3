"""A real nginx on loopback, with a folder of its own, in front of a server that a test names."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BINARY = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

_CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/octet-stream;
    client_max_body_size 64m;
    keepalive_requests 100000;
    upstream there {{ server {upstream}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{secure} ssl http2;
        ssl_certificate {pem};
        ssl_certificate_key {pem};
        root {folder}/files;
        location / {{ }}
        location /zipped/ {{ alias {folder}/files/; gzip on; gzip_min_length 1; gzip_types *; }}
        location /hasty/ {{ alias {folder}/files/; keepalive_timeout 40ms; }}
        location /thrice/ {{ alias {folder}/files/; keepalive_requests 3; }}
        location /once/ {{ alias {folder}/files/; keepalive_timeout 0; }}
        location /protocol/ {{
            default_type application/json;
            return 200 '{{"model":"$server_protocol","choices":[{{"message":{{"content":"x"}}}}]}}';
        }}
        location /moved {{ return 302 /big; }}
        location /v1/ {{
            proxy_pass http://there; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        }}
        location /small/ {{ client_max_body_size 64; proxy_pass http://there/; }}
        location /silent/ {{ proxy_read_timeout 100ms; proxy_pass http://127.0.0.1:{silent}; }}
        location /nobody/ {{ proxy_pass http://127.0.0.1:1; }}
        location /swallow {{ proxy_pass http://127.0.0.1:{plain}/taken; }}
        location /taken {{ client_body_in_file_only clean; return 204; }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    plain: int
    secure: int
    pem: Path
    files: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.plain}"

    @property
    def secure_url(self) -> str:
        return f"https://127.0.0.1:{self.secure}"


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, pem: Path) -> Iterator[Nginx]:
    """`upstream` is host:port. Whoever is sent to /silent/ waits for a server that never answers."""
    assert BINARY is not None
    (folder / "files").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = Nginx(_free_port(), _free_port(), pem, folder / "files")
        numbers = {"plain": found.plain, "secure": found.secure, "silent": silent.getsockname()[1]}
        config = folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=folder, upstream=upstream, pem=pem, **numbers))
        process = subprocess.Popen([BINARY, "-p", str(folder), "-c", str(config)], stderr=subprocess.PIPE)
        try:
            _until_open(found.plain, process)
            yield found
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


def _until_open(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        assert process.poll() is None, process.communicate()[1].decode()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("nginx did not open its port")
