"""Other people's tools on the responder: wrk, AIPerf, GuideLLM. Each is run as a user runs it, and is optional.

AIPerf counts tokens itself and takes a tokenizer from a local folder: a word-level one is made here, so that nothing is
fetched from a model hub.
"""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

BODY = '{"model":"m","stream":false,"max_tokens":16,"messages":[{"role":"user","content":"%s"}]}' % ("word " * 64)
_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}  # AIPerf 0.13 takes no folder with these


class PeerFailed(Exception):
    """A peer's tool did not do what was asked; the message is the end of what it said."""


def wrk(program: str, url: str, cores: Sequence[int], folder: Path, *, users: int, seconds: int) -> dict[str, float]:
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{BODY}'\nwrk.headers['Content-Type'] = 'application/json'\n",
        encoding="utf-8",
    )
    command = [program, "-t1", f"-c{users}", f"-d{seconds}s", "--latency", "-s", str(script), url + "/chat/completions"]
    said = _run(command, folder, cores, seconds + 30)
    found = dict(re.findall(r"^\s+(50|99)%\s+(\S+)$", said, re.M))
    rate = re.search(r"^Requests/sec:\s+([\d.]+)$", said, re.M)
    if rate is None or len(found) != 2 or "Non-2xx" in said:
        raise PeerFailed(said[-1000:])
    return {"p50_ms": _ms(found["50"]), "p99_ms": _ms(found["99"]), "rps": float(rate[1])}


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS_MS[unit]


def aiperf(program: str, url: str, folder: Path, *, users: int, seconds: int) -> dict[str, float]:
    """The whole tool, on every core it likes."""
    tokenizer = make_tokenizer(Path(program).with_name("python"), folder / "tokenizer")
    out = folder / "aiperf"
    command = [
        program, "profile", "--model", "m", "--url", url.removesuffix("/v1"), "--endpoint-type", "chat",
        "--concurrency", str(users), "--benchmark-duration", str(seconds), "--warmup-request-count", str(users),
        "--synthetic-input-tokens-mean", "64", "--output-tokens-mean", "16", "--tokenizer", str(tokenizer),
        "--artifact-dir", str(out), "--ui", "none",
    ]  # fmt: skip
    _run(command, folder, (), seconds + 180)
    report = next(iter(sorted(out.rglob("profile_export_aiperf.json"))), None)
    if report is None:
        raise PeerFailed(f"no report below {out}")
    told = json.loads(report.read_text(encoding="utf-8"))
    return {
        "p50_ms": told["request_latency"]["p50"],
        "p99_ms": told["request_latency"]["p99"],
        "rps": told["request_throughput"]["avg"],
    }


def guidellm(program: str, url: str, folder: Path, *, users: int, seconds: int) -> dict[str, float]:
    tokenizer = make_tokenizer(Path(program).with_name("python"), folder / "tokenizer")
    out = folder / "guidellm.json"
    command = [
        program, "run",
        "--backend", f"kind=openai_http,target={url.removesuffix('/v1')},model=m,request_format=/v1/chat/completions,"
        "stream=false",
        "--profile", f"kind=concurrent,streams={users}",
        "--constraint", f"kind=max_duration,seconds={seconds}",
        "--data", "kind=synthetic_text,prompt_tokens=64,output_tokens=16",
        "--tokenizer", f"kind=huggingface_auto,model={tokenizer}",
        "--output", f"kind=json,path={out}", "--disable-console",
    ]  # fmt: skip
    _run(command, folder, (), seconds + 180, _OFFLINE)
    told = json.loads(out.read_text(encoding="utf-8"))["benchmarks"][0]["metrics"]
    latency = told["request_latency"]["successful"]["percentiles"]
    return {
        "p50_ms": latency["p50"] * 1e3,
        "p99_ms": latency["p99"] * 1e3,
        "rps": told["requests_per_second"]["successful"]["mean"],
        "in_flight": told["request_concurrency"]["successful"]["mean"],
    }


_MAKE = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = ["[UNK]", "<s>", "</s>"] + [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]
raw = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="[UNK]"))
raw.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(
    tokenizer_object=raw, unk_token="[UNK]", bos_token="<s>", eos_token="</s>", pad_token="</s>"
).save_pretrained(sys.argv[1])
"""


def make_tokenizer(python: Path, folder: Path) -> Path:
    """A folder that `AutoTokenizer.from_pretrained` reads without a network, made with the peer's own libraries."""
    if not folder.exists():
        _run([str(python), "-c", _MAKE, str(folder)], folder.parent, (), 120)
    return folder


def version(program: str) -> str | None:
    """The version of the distribution that installed `program`, or what the tool says of itself."""
    python = Path(program).with_name("python")
    if python.exists():
        ask = f"from importlib.metadata import version; print(version({Path(program).name!r}))"
        done = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip() or None
    done = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"\d\S+", done.stdout + done.stderr)
    return found[0] if found else None


def _run(
    command: Sequence[str], folder: Path, cores: Sequence[int], timeout: float, more: Mapping[str, str] | None = None
) -> str:
    """Run to its end, pinned to `cores` where any are named, and return what it said on stdout."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)  # the child inherits it
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=folder,
            env={**os.environ, **(more or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"{command[0]} did not end in {timeout:g} s") from None
    finally:
        os.sched_setaffinity(0, before)
    if done.returncode:
        raise PeerFailed((done.stdout + done.stderr)[-1500:])
    return done.stdout
