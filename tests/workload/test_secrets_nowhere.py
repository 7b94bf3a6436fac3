"""Secrets and personal data, put in the place of every value of every format, are found in nothing that is written or
said."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from storage.errors import NothingMeasured, UsageError
from tasks.workload import trace
from tasks.workload.capture import Captured, capture
from tasks.workload.formats.detect import ADAPTERS
from tasks.workload.ledger import write_rejects
from tasks.workload.profile import profile
from tasks.workload.words import in_words
from tests.fakes.logs import SAMPLES, Sample

SALT = b"a salt of sixteen bytes"
# What is planted, and the part of it that gives it away. Put together here, so that no scanner takes them for real.
PLANTS: dict[str, tuple[str, str]] = {
    "an OpenAI key": ("sk-proj-" + "aB3d" * 8, "aB3daB3d"),
    "an Anthropic key": ("sk-ant-api03-" + "Zx9_" * 8, "Zx9_Zx9_"),
    "a Google key": ("AIza" + "Sy7-" * 9, "Sy7-Sy7-"),
    "a Hugging Face token": ("hf_" + "QwEr5tYu" * 4, "QwEr5tYu"),
    "a GitHub token": ("ghp_" + "1a2B3c4D5e" * 4, "1a2B3c4D5e"),
    "a Slack token": ("xoxb-" + "123456789012-" * 2 + "abcDEF", "123456789012-123"),
    "a Stripe key": ("sk_live_" + "4eC39HqLyjWD" * 2, "4eC39HqLyjWD"),
    "an AWS key id": ("AKIA" + "IOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    "an AWS secret key": ("wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYEXAMPLEKEY", "bPxRfiCYEXAMPLEKEY"),
    "a key without a start": ("8f14e45fceea167a" + "5a36dedd4bea2543", "8f14e45fceea167a"),
    "a bearer token": ("Bearer " + "mF_9.B5f-4.1JqM", "mF_9.B5f-4.1JqM"),
    "basic credentials": ("Basic " + "QWxhZGRpbjpPcGVuU2VzYW1l", "QWxhZGRpbjpPcGVuU2VzYW1l"),
    "a JSON web token": ("eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3", "dozjgNryP4J3"),
    "a private key": ("-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEpAIBAAKCAQEA75", "MIIEpAIBAAKCAQEA75"),
    "a URL with a password": ("postgres://gateway:" + "hunter2secret@db.internal/llm", "hunter2secret"),
    "a password": ("password=" + "Tr0ub4dor&3", "Tr0ub4dor&3"),
    "a cookie": ("Set-Cookie: " + "sid=31d4d96e407aad42; HttpOnly", "31d4d96e407aad42"),
    "an e-mail address": ("wilhelmina@tannhaeuser.example", "wilhelmina@"),
    "a telephone number": ("+49 151 2345 6789", "151 2345 6789"),
    "a bank account": ("DE89370400440532013000", "370400440532013000"),
    "a card number": ("4111 1111 1111 1111", "1111 1111 1111"),
    "a card number without spaces": ("5500005555555559", "5500005555555559"),
    "an IPv4 address": ("203.0.113.77", "203.0.113.77"),
    "an IPv6 address": ("2001:db8:85a3:0:0:8a2e:370:7334", "8a2e:370:7334"),
    "a social security number": ("078-05-1120", "078-05-1120"),
    "a name": ("Wilhelmina Tannhäuser", "Tannhäuser"),
    "a street": ("12 Rue de Rivoli, 75001 Paris", "Rue de Rivoli"),
}
NO_SHAPE = {"a name", "a street", "a key without a start"}  # a prompt that is kept on demand may hold these


def test_every_format_has_a_sample():
    assert {sample.format for sample in SAMPLES.values()} == set(ADAPTERS)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_captured_as_it_stands(name, tmp_path):
    sample = SAMPLES[name]
    path = tmp_path / "log"
    path.write_bytes(sample.render([sample.record, sample.record]))
    captured = capture([path])
    assert captured.workload.header.formats == (sample.format,)
    assert captured.ledger.read == 2
    assert captured.ledger.kept == 1 + (captured.ledger.dropped == {})


def captured_or_refused(sample: Sample, plant: str, privacy: str, path: Path) -> tuple[Captured | None, list[str]]:
    """A row for each place the plant stands in, and one that is clean. A refusal names the row: it is said, and the row
    is taken out, until nothing is refused."""
    rows = [sample.planted(where, plant) for where in sample.leaves()]
    said: list[str] = []
    for _ in range(len(rows) + 1):
        path.write_bytes(sample.render([sample.record, *rows]))
        try:
            return capture([path], format=sample.format, privacy=privacy, salt=SALT), said
        except UsageError as refused:
            said.append(str(refused))
            line = int(str(refused).partition(": line ")[2].partition(":")[0])
            at = next(n for n in range(len(rows) + 1) if line <= lines_up_to(sample, [sample.record, *rows], n))
            del rows[at - 1]
        except NothingMeasured as nothing:
            return None, [*said, str(nothing)]
    raise AssertionError("refused to the end")


def lines_up_to(sample: Sample, rows: list[dict], last: int) -> int:
    return sample.render(rows[: last + 1]).count(b"\n")


def everything_written(captured: Captured, folder: Path) -> str:
    """All that leaves a capture, as text."""
    trace.write(captured.workload, folder / "w.parquet")
    write_rejects(captured.rejects, folder / "w.rejects.jsonl")
    described = profile(captured.workload)
    return "\n".join(
        [
            json.dumps([str(row) for row in pl.read_parquet(folder / "w.parquet").rows()], ensure_ascii=False),
            str(pl.read_parquet_metadata(folder / "w.parquet")),
            (folder / "w.parquet").read_bytes().decode("utf-8", "replace"),
            (folder / "w.rejects.jsonl").read_text(encoding="utf-8"),
            captured.ledger.in_words(),
            str(asdict(captured.workload.header)),
            *captured.notes,
            json.dumps(described.to_json(), default=str, ensure_ascii=False),
            in_words(described),
        ]
    )


@pytest.mark.parametrize("privacy", ["counts", "structure", "text"])
@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_planted_in_any_field_is_in_nothing_that_is_written(name, privacy, tmp_path):
    sample = SAMPLES[name]
    for kind, (plant, telling) in PLANTS.items():
        if privacy == "text" and kind in NO_SHAPE:
            continue
        captured, said = captured_or_refused(sample, plant, privacy, tmp_path / "log")
        written = "\n".join(said) + ("" if captured is None else everything_written(captured, tmp_path))
        assert telling not in written, f"{kind} in {name} at {privacy}"


@pytest.mark.parametrize("kind", [kind for kind in PLANTS if kind not in NO_SHAPE])
def test_a_prompt_that_is_kept_on_demand_refuses_what_has_a_shape(kind, payload, log):
    prompt = [{"role": "user", "content": f"please use {PLANTS[kind][0]} for it"}]
    with pytest.raises(UsageError, match="line 1: messages looks like") as refused:
        capture([log(payload(messages=prompt))], privacy="text", salt=SALT)
    assert PLANTS[kind][1] not in str(refused.value)


@pytest.mark.parametrize("kind", PLANTS)
def test_a_line_that_is_no_record_and_a_file_that_is_no_log_give_nothing_away(kind, payload, log):
    plant, telling = PLANTS[kind]
    plant = plant.replace("\n", " ")
    captured = capture([log(payload(), plant, f'{{"startTime": "{plant}', json.dumps({plant: plant}))])
    assert captured.ledger.kept == 1
    assert telling not in str((captured.rejects, captured.ledger, captured.notes))
    with pytest.raises(UsageError) as refused:
        capture([log({plant: plant, "level": plant}, name="other.jsonl")])
    assert telling not in str(refused.value)
