import hashlib
import hmac

import pytest

from storage.errors import UsageError
from tasks.workload.capture import capture
from tasks.workload.redact import refuse_secrets, salt_id
from tasks.workload.secrets import secret_in

SALT = b"sixteen bytes at"


def only(log, record, privacy, salt=SALT):
    (arrival,) = capture([log(record)], privacy=privacy, salt=salt).workload.arrivals()
    return arrival


def test_counts_keep_neither_users_nor_sessions_nor_text(log, payload):
    kept = only(log, payload(), "counts")
    assert (kept.session, kept.user, kept.messages) == (None, None, None)
    assert (kept.model, kept.input_tokens, kept.output_tokens) == ("asked", 26, 16)


def test_structure_keeps_keyed_hashes_that_differ_by_salt_and_by_purpose(log, payload):
    same_name = payload(end_user="s-1")
    kept = only(log, same_name, "structure")
    assert kept.session == hmac.new(SALT, b"session\0s-1", hashlib.sha256).hexdigest()[:32]
    assert kept.messages is None
    assert len({kept.session, kept.user, only(log, same_name, "structure", b"another salt of length").session}) == 3
    assert kept.session == only(log, payload(), "structure").session


def test_text_keeps_the_prompt_as_json(log, payload):
    assert only(log, payload(), "text").messages == '[{"role":"user","content":"hi"}]'


def test_nothing_but_the_known_columns_ever_leaves_a_payload(log, payload, tmp_path):
    loud = payload(api_base="http://10.0.0.7", requester_ip_address="10.0.0.8", headers={"authorization": "x"})
    frame = capture([log(loud)], privacy="text", salt=SALT).workload.frame
    assert "10.0.0" not in str(frame.rows())


def test_the_salt_has_a_name_that_is_not_the_salt(log, payload):
    header = capture([log(payload())], privacy="structure", salt=SALT).workload.header
    assert header.salt_id == salt_id(SALT)
    assert SALT.hex()[:8] != header.salt_id != salt_id(b"another salt of length")


@pytest.mark.parametrize(
    "text",
    [
        "sk-" + "a" * 20,
        "key=sk-proj-" + "A1b2" * 8,
        "(sk-ant-api03-" + "x" * 24 + ")",
        "Authorization: Bearer abcdef123456",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "write to jane.doe@example.org please",
        "AIza" + "b" * 35,
        "ghp_" + "c" * 36,
        "hf_" + "d" * 34,
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_key_shapes_are_found(text):
    assert secret_in(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "risk-model",
        "risk-model-with-a-long-name-2026-11-24",
        "task-manager-abcdefghijklmnop",
        "sk-small",
        "gpt-4o-mini",
        "openai/gpt-oss-120b",
        "claude-3-5-sonnet@20240620",
        "bearer of news",
        "meta-llama/Llama-3.1-8B-Instruct",
        "7f05dcd2ef3b0bf44fbfb4e3bfb27ad7",
    ],
)
def test_names_of_models_are_not_taken_for_keys(text):
    assert secret_in(text) is None


def test_a_long_text_is_scanned_in_time_that_grows_with_its_length():
    assert secret_in("a" * 200_000) is None
    assert secret_in("eyJ" + "a." * 100_000) is None


def test_a_refusal_names_the_place_and_not_the_secret():
    with pytest.raises(UsageError, match="row 3 looks like an e-mail address; nothing was written") as refused:
        refuse_secrets([("row 2", "fine"), ("row 3", "a@b.example")])
    assert "b.example" not in str(refused.value)
