"""Real gateways in front of an upstream: started with the settings that a benchmark wants, spoken to on loopback."""

import contextlib
import importlib.metadata
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.installing import Missing, nginx, portkey, python_tool
from tests.e2e.processes import free_port, running, said

LITELLM_KEY = "GATEBENCH_KEY_LITELLM"
FERRO_KEY = "GATEBENCH_KEY_FERRO"
MODEL = "gpt-4o-mini"  # a name that Ferro knows and hands on; whoever stands behind answers to it
NUMBER = re.compile(r"\d+\.\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Gateway:
    """`log`: the file that its own log of requests is in, once `flush` was called; None: it keeps none."""

    name: str
    version: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    log: Path | None = None
    key_env: str = "GATEBENCH_API_KEY"


@dataclass(frozen=True, slots=True)
class Tools:
    """Commands given by options; None: installed where they are needed."""

    folder: Path  # of what is installed
    litellm: Path | None = None
    envoy: Path | None = None
    ferro: Path | None = None
    patience_s: int = 60  # that a gateway has with its upstream, where it can be told


Start = Callable[[Tools, str, Path], contextlib.AbstractContextManager[Gateway]]


@contextlib.contextmanager
def _nginx(tools: Tools, upstream: str, folder: Path) -> Iterator[Gateway]:
    binary, port, log = nginx(), free_port(), folder / "nginx.access.jsonl"
    there = upstream.removeprefix("http://").removesuffix("/v1")
    (folder / "nginx").mkdir(parents=True, exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(
        f"""
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.error.log warn;
events {{ worker_connections 2048; }}
http {{
  client_body_temp_path {folder}/nginx/b; proxy_temp_path {folder}/nginx/p; fastcgi_temp_path {folder}/nginx/f;
  uwsgi_temp_path {folder}/nginx/u; scgi_temp_path {folder}/nginx/s;
  client_body_buffer_size 256k; keepalive_requests 1000000;
  log_format requests escape=json '{{"msec":$msec,"method":"$request_method","uri":"$request_uri","status":$status,'
    '"request_length":$request_length,"bytes_sent":$bytes_sent,"request_time":$request_time,'
    '"content_type":"$sent_http_content_type","request_body":"$request_body"}}';
  access_log {log} requests;
  upstream there {{ server {there}; keepalive 128; }}
  server {{ listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://there; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering off; proxy_read_timeout {tools.patience_s}s; }} }}
}}
""",
        encoding="utf-8",
    )
    words = [str(binary), "-p", str(folder), "-c", str(file)]
    with running(words, f"http://127.0.0.1:{port}/", folder, "nginx"):
        yield Gateway("nginx", _number(said([str(binary), "-v"])), f"http://127.0.0.1:{port}/v1", log=log)


@contextlib.contextmanager
def _envoy(tools: Tools, upstream: str, folder: Path) -> Iterator[Gateway]:
    binary = tools.envoy or python_tool("envoy", tools.folder)
    port, log = free_port(), folder / "envoy.access.jsonl"
    host, _, there = upstream.removeprefix("http://").removesuffix("/v1").partition(":")
    file = folder / "envoy.json"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_envoy_config(port, host, int(there), log, tools.patience_s)), encoding="utf-8")
    words = [str(binary), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    with running(words, f"http://127.0.0.1:{port}/", folder, "envoy"):
        yield Gateway("Envoy", _number(said([str(binary), "--version"])), f"http://127.0.0.1:{port}/v1", log=log)


def _envoy_config(port: int, host: str, there: int, log: Path, patience_s: int) -> dict[str, Any]:
    def at(address: str, number: int) -> dict[str, Any]:
        return {"socket_address": {"address": address, "port_value": number}}

    kind = "type.googleapis.com/envoy.extensions"
    fields = {
        "start_time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%",
        "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%", "duration": "%DURATION%",
        "bytes_received": "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%",
        "content_type": "%RESP(CONTENT-TYPE)%",
    }  # fmt: skip
    access = {"@type": f"{kind}.access_loggers.file.v3.FileAccessLog", "path": str(log),
              "log_format": {"json_format": fields}}  # fmt: skip
    route = {"cluster": "there", "timeout": "0s", "idle_timeout": f"{patience_s}s"}
    manager = {
        "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "access_log": [{"name": "file", "typed_config": access}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
                                            "routes": [{"match": {"prefix": "/"}, "route": route}]}]},
        "http_filters": [{"name": "envoy.filters.http.router",
                          "typed_config": {"@type": f"{kind}.filters.http.router.v3.Router"}}],
    }  # fmt: skip
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    ends = [{"endpoint": {"address": at(host, there)}}]
    cluster = {"name": "there", "type": "STATIC", "connect_timeout": "5s",
               "load_assignment": {"cluster_name": "there", "endpoints": [{"lb_endpoints": ends}]}}  # fmt: skip
    listener = {"name": "in", "address": at("127.0.0.1", port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextlib.contextmanager
def _ferro(tools: Tools, upstream: str, folder: Path) -> Iterator[Gateway]:
    binary = tools.ferro or python_tool("ferro", tools.folder)
    port = free_port()
    os.environ[FERRO_KEY] = secrets.token_hex(32)
    env = {
        "MASTER_KEY": os.environ[FERRO_KEY],
        "PORT": str(port),
        "OPENAI_API_KEY": "unused",
        "OPENAI_BASE_URL": upstream,
        "RATE_LIMIT_RPS": "100000",
        "RATE_LIMIT_BURST": "100000",
    }
    with running([str(binary), "serve"], f"http://127.0.0.1:{port}/health", folder, "ferro", **env):
        url = f"http://127.0.0.1:{port}/v1"
        yield Gateway("Ferro", version_of(binary, "ferrogw"), url, key_env=FERRO_KEY)


@contextlib.contextmanager
def _portkey(tools: Tools, upstream: str, folder: Path) -> Iterator[Gateway]:
    script, port = portkey(tools.folder), free_port()
    package = json.loads((script.parents[1] / "package.json").read_text(encoding="utf-8"))
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": upstream}
    log = folder / "portkey.log.sse"
    words = ["node", str(script), f"--port={port}"]
    with running(words, f"http://127.0.0.1:{port}/", folder, "portkey"), _listening(port, log):
        yield Gateway("Portkey", package["version"], f"http://127.0.0.1:{port}/v1", headers, log)


@contextlib.contextmanager
def _listening(port: int, log: Path) -> Iterator[None]:
    """Saves the gateway's log stream, which is all it keeps of its requests."""
    stop = threading.Event()

    def follow() -> None:
        url = f"http://127.0.0.1:{port}/log/stream"
        with (
            contextlib.suppress(httpx.HTTPError),
            log.open("wb") as out,
            httpx.stream("GET", url, timeout=httpx.Timeout(5, read=None), trust_env=False) as answer,
        ):
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                return
            for data in answer.iter_raw():
                out.write(data)
                out.flush()
                if stop.is_set():
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()


@contextlib.contextmanager
def _litellm(tools: Tools, upstream: str, folder: Path) -> Iterator[Gateway]:
    binary = tools.litellm or python_tool("litellm", tools.folder)
    port, log = free_port(), folder / "litellm.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[LITELLM_KEY] = f"sk-{secrets.token_hex(16)}"
    served = {"model": f"openai/{MODEL}", "api_base": upstream, "api_key": "unused"}
    file = folder / "litellm.yaml"
    with _receiving(log) as endpoint:
        config = {
            "model_list": [{"model_name": MODEL, "litellm_params": served}],
            "litellm_settings": {"callbacks": ["generic_api"], "num_retries": 0, "telemetry": False,
                                 "request_timeout": tools.patience_s},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "general_settings": {"master_key": f"os.environ/{LITELLM_KEY}"},
        }  # fmt: skip
        file.write_text(json.dumps(config), encoding="utf-8")
        words = [str(binary), "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "GENERIC_LOGGER_ENDPOINT": endpoint, "LITELLM_LOG": "ERROR"}
        with running(words, f"http://127.0.0.1:{port}/health/liveliness", folder, "litellm", **env):
            version = version_of(binary, "litellm")
            yield Gateway("LiteLLM", version, f"http://127.0.0.1:{port}/v1", log=log, key_env=LITELLM_KEY)


@contextlib.contextmanager
def _receiving(log: Path) -> Iterator[str]:
    """Where LiteLLM's generic_api callback posts its batches; each payload becomes a line."""
    guard = threading.Lock()

    class Batch(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            batch = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with guard, log.open("a", encoding="utf-8") as out:
                out.writelines(json.dumps(one) + "\n" for one in (batch if isinstance(batch, list) else [batch]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Batch)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def version_of(binary: Path, distribution: str) -> str:
    """Of a wheel, from the environment that its command lies in."""
    script = f"from importlib.metadata import version; print(version({distribution!r}))"
    return _number(said([str(binary.parent / "python"), "-c", script]))


def _number(text: str) -> str:
    found = NUMBER.search(text)
    return found[0] if found else text[:20]


GATEWAYS: dict[str, Start] = {
    "nginx": _nginx,
    "envoy": _envoy,
    "ferro": _ferro,
    "portkey": _portkey,
    "litellm": _litellm,
}


@contextlib.contextmanager
def started(names: list[str], tools: Tools, upstream: str, folder: Path) -> Iterator[list[Gateway]]:
    """Those that can be had, all at once; of the others it is said why not."""
    with contextlib.ExitStack() as stack:
        found = []
        for name in names:
            try:
                found.append(stack.enter_context(GATEWAYS[name](tools, upstream, folder)))
            except Missing as error:
                print(f"left out: {error}", flush=True)
        yield found


def own_version() -> str:
    return importlib.metadata.version("gatebench")
