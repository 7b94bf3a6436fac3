import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        "c5d4111111111111111e83f0c4b9a7de",  # a hash with a card's digits in it
        "llama-3.1.0.1.2",
        "gpt-4o-2024-11-20",
        "2026-11-24T06:49:51Z",
        "ft:gpt-4o-mini-2024-07-18:acme::9aBcDeFg",
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


@given(st.binary(max_size=40))
def test_a_keyed_hash_is_never_taken_for_a_secret(value):
    assert secret_in(hmac.digest(SALT, value, "sha256").hex()[:32]) is None


def test_an_iban_and_a_card_are_told_from_numbers_by_their_check_digits():
    assert secret_in("DE89 3704 0044 0532 0130 00") == "a bank account (IBAN)"
    assert secret_in("DE88 3704 0044 0532 0130 00") is None
    assert secret_in("4111-1111-1111-1111") == "a card number"
    assert secret_in("4111-1111-1111-1112") is None


def test_what_looks_like_no_models_name_is_kept_under_a_number(log, payload):
    names = ["Jane Doe", "gpt-4o", "Jane Doe", "8f14e45fceea167a5a36dedd4bea2543"]
    captured = capture([log(*(payload(float(n), model_group=name) for n, name in enumerate(names)))])
    assert captured.workload.frame["model"].to_list() == ["model-1", "gpt-4o", "model-1", "model-2"]
    assert "2 names of models do not look like one" in captured.notes[0]


def test_prompts_that_begin_alike_share_numbers_from_the_level_structure_on(log, payload):
    def asked(text: str, at: float):
        return payload(at, messages=[{"role": "system", "content": "s" * 600}, {"role": "user", "content": text}])

    path = log(asked("a" * 300, 0.0), asked("b" * 300, 1.0), payload(2.0))
    assert capture([path]).workload.frame["prefix_blocks"].null_count() == 3
    kept = capture([path], privacy="structure", salt=SALT).workload
    one, other, short = kept.frame["prefix_blocks"].to_list()
    assert (one[:2], one[2:], other[:2], other[2:], short) == ([0, 1], [2], [0, 1], [3], [])
    assert kept.header.block_tokens == 64
