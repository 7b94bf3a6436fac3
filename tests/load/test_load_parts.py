"""Health, prompts, requests: literals in, literals out."""

import json
from dataclasses import replace

import polars as pl
import pytest

from storage.errors import UsageError
from storage.records import Failure, Health, Validity
from tasks.load.health import judge
from tasks.load.lags import quantile
from tasks.load.prompts import SALT_WORDS, WORDS, Prompts
from tasks.load.requests import Arrivals, Requests
from tasks.load.spec import HealthLimits

S = 1_000_000_000
MS = 1_000_000

# --- health

FINE = Health(
    schedule_lag_p50_ms=0.1,
    schedule_lag_p99_ms=0.5,
    schedule_lag_max_ms=1.0,
    loop_lag_p99_ms=1.0,
    cpu_share=0.5,
    offered_rps=None,
    achieved_rps=100.0,
    gc_pauses=0,
    open_files=10,
    open_files_limit=1024,
)


@pytest.mark.parametrize(
    ("changes", "validity", "reason"),
    [
        ({}, Validity.VALID, None),
        ({"schedule_lag_p99_ms": 5.0}, Validity.VALID, None),
        ({"schedule_lag_p99_ms": 5.1}, Validity.SUSPECT, "generator: requests left late (schedule lag p99 5.1 ms)"),
        ({"schedule_lag_p99_ms": 20.1}, Validity.INVALID, "generator: requests left late (schedule lag p99 20.1 ms)"),
        ({"loop_lag_p99_ms": 11.0}, Validity.SUSPECT, "generator: the event loop was held up (lag p99 11.0 ms)"),
        ({"loop_lag_p99_ms": 51.0}, Validity.INVALID, "generator: the event loop was held up (lag p99 51.0 ms)"),
        ({"cpu_share": 0.9}, Validity.SUSPECT, "generator: its CPU was busy (share 0.90)"),
        ({"cpu_share": 0.98}, Validity.INVALID, "generator: its CPU was busy (share 0.98)"),
        ({"offered_rps": 100.0}, Validity.VALID, None),
        ({"offered_rps": 106.0}, Validity.INVALID, "generator: sent only 94% of the rate asked for"),
        (dict.fromkeys(("schedule_lag_p99_ms", "loop_lag_p99_ms", "cpu_share", "achieved_rps")), Validity.VALID, None),
    ],
)
def test_the_generators_own_figures_decide_whether_a_leg_counts(changes, validity, reason):
    found = judge(replace(FINE, **changes), HealthLimits(), failed={}, ceiling_rps=None)
    assert found == (validity, [] if reason is None else [reason])


def test_a_leg_near_its_own_calibrated_ceiling_is_invalid():
    assert judge(FINE, HealthLimits(), failed={}, ceiling_rps=125.0) == (Validity.VALID, [])
    assert judge(FINE, HealthLimits(), failed={}, ceiling_rps=110.0) == (
        Validity.INVALID,
        ["generator: ran at 91% of its own calibrated ceiling (110/s)"],
    )


def test_running_out_of_ports_is_ours_and_every_reason_is_given():
    found = judge(replace(FINE, cpu_share=0.9), HealthLimits(), failed={Failure.LOCAL: 2}, ceiling_rps=None)
    assert found == (
        Validity.INVALID,
        ["generator: out of ports or descriptors 2 times", "generator: its CPU was busy (share 0.90)"],
    )


def test_failures_of_the_target_never_make_a_leg_invalid():
    assert judge(FINE, HealthLimits(), failed={Failure.HTTP_5XX: 900}, ceiling_rps=None)[0] == Validity.VALID


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([], 0.5, None), ([7], 0.99, 7), ([3, 1, 2], 0.5, 2), (range(1, 101), 0.99, 99), (range(1, 101), 1.0, 100)],
)
def test_nearest_rank_quantiles(values, q, expected):
    assert quantile(list(values), q) == expected


# --- prompts


def test_a_prompt_has_as_many_words_as_it_was_asked_for_whatever_its_salt():
    for salt in ("a", "b"):
        prompts = Prompts(1, salt)
        for words in (1, 5, 6, 7, 64, 20_000):
            assert [len(prompts.text(seq, words).split()) for seq in (0, 1, 99)] == [words] * 3
    assert len(Prompts(1, "a").text(0, 0).split()) == 1


def test_the_same_seed_and_salt_give_the_same_bytes_and_another_salt_another_beginning():
    one, same, other = Prompts(1, "a").text(3, 40), Prompts(1, "a").text(3, 40), Prompts(1, "b").text(3, 40)
    assert one == same
    assert one.split()[:SALT_WORDS] != other.split()[:SALT_WORDS]
    assert one.split()[SALT_WORDS:] == other.split()[SALT_WORDS:]


def test_requests_of_a_leg_share_the_salt_and_nothing_else():
    prompts = Prompts(1, "a")
    texts = [prompts.text(seq, 40).split() for seq in range(200)]
    assert len({tuple(text[:SALT_WORDS]) for text in texts}) == 1
    assert len({tuple(text[SALT_WORDS : SALT_WORDS + 3]) for text in texts}) == 200


def test_a_prompt_needs_no_escaping_in_json():
    text = Prompts(1, "a").text(0, 500).decode()
    assert json.loads(f'"{text}"') == text
    assert set(text.split()) <= set(WORDS)


def test_short_prompts_of_a_leg_differ_too():
    prompts = Prompts(1, "a")
    assert len({prompts.text(seq, 3) for seq in range(100)}) > 95


def test_after_the_long_text_has_been_used_up_prompts_begin_with_another_salt():
    prompts = Prompts(1, "a")
    first, again = prompts.text(5, 40), prompts.text(5 + (1 << 14), 40)
    assert first.split()[SALT_WORDS:] == again.split()[SALT_WORDS:]
    assert first.split()[:SALT_WORDS] != again.split()[:SALT_WORDS]
    assert prompts.text(5, 40) == first


def test_a_target_that_counts_more_than_a_token_a_word_gets_fewer_words():
    assert len(Prompts(1, "a", tokens_per_word=1.25).text(0, 100).split()) == 80


def test_prompts_whose_recorded_ones_began_alike_begin_alike_for_as_many_words():
    prompts = Prompts(1, "a", block_tokens=16)
    one = prompts.text(0, 60, (7, 8, 9)).split()
    two = prompts.text(1, 60, (7, 8, 10)).split()
    assert len(one) == len(two) == 60
    assert one[: SALT_WORDS + 32] == two[: SALT_WORDS + 32]
    assert one[SALT_WORDS + 32 :][:2] != two[SALT_WORDS + 32 :][:2]
    assert Prompts(1, "b", block_tokens=16).text(0, 60, (7, 8, 9)).split()[:SALT_WORDS] != one[:SALT_WORDS]


@pytest.mark.parametrize("tokens", [1, 6, 7, 8, 9, 22, 23, 24, 54, 200])
def test_shared_blocks_do_not_change_the_length_of_a_prompt(tokens):
    assert len(Prompts(1, "a", block_tokens=16).text(0, tokens, (1, 2, 3)).split()) == tokens


# --- requests


def requests_of(spec) -> Requests:
    return Requests(spec, Arrivals.read(spec.workload))


def body_of(payload: bytes) -> dict:
    head, _, body = payload.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return json.loads(body)


def test_a_request_asks_for_what_its_arrival_had(leg_spec):
    requests = requests_of(leg_spec("http://127.0.0.1:8000/v1", stream=None))
    streamed, plain = requests.make(0, 2), requests.make(1, 3)
    assert streamed.payload.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    first, second = body_of(streamed.payload), body_of(plain.payload)
    assert (first["model"], first["stream"], first["max_tokens"]) == ("m", True, 4)
    assert first["stream_options"] == {"include_usage": True}
    assert len(first["messages"][0]["content"].split()) == 22
    assert (second["stream"], second["max_tokens"], "stream_options" in second) == (False, 5, False)
    assert (streamed.stream, plain.stream) == (True, False)


def test_a_targets_own_wishes_go_into_every_request(leg_spec, monkeypatch):
    monkeypatch.setenv("GATEBENCH_KEY_X", "sk-1\r\n")
    base = leg_spec(
        "https://gw.example/openai",
        models={"m": "served"},
        headers={"X-One": "1"},
        query={"api-version": "2024 01"},
        extra_body={"temperature": 0},
        token_param="max_completion_tokens",
    )
    spec = replace(base, target=replace(base.target, api_key_env="GATEBENCH_KEY_X"))
    payload = requests_of(spec).make(0, 0).payload
    body = body_of(payload)
    assert payload.startswith(b"POST /openai/chat/completions?api-version=2024+01 HTTP/1.1\r\nHost: gw.example\r\n")
    assert b"\r\nX-One: 1\r\n" in payload
    assert b"\r\nAuthorization: Bearer sk-1\r\n" in payload
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("served", 0, 2)
    assert (isinstance(body["messages"], list), "max_tokens" in body) == (True, False)


def test_a_token_limit_that_a_target_fixes_is_the_only_one_in_the_request(leg_spec):
    payload = requests_of(leg_spec(extra_body={"max_tokens": 3})).make(0, 0).payload
    assert payload.count(b'"max_tokens"') == 1
    assert body_of(payload)["max_tokens"] == 3


@pytest.mark.parametrize(
    "content", ["hi", 'say "content":"x"', [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {}}]]
)
def test_recorded_messages_are_sent_as_they_were_after_the_legs_salt(leg_spec, tmp_path, content):
    spec = leg_spec()
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "yes"}]
    path = tmp_path / "texts.parquet"
    rows = pl.read_parquet(spec.workload).head(2)
    kept = pl.Series("messages", [json.dumps(messages, separators=(",", ":")), None])
    rows.with_columns(kept).write_parquet(path)
    requests = requests_of(replace(spec, workload=str(path)))
    recorded, made = (body_of(requests.make(0, index).payload)["messages"] for index in (0, 1))
    text = recorded[0]["content"] if isinstance(content, str) else recorded[0]["content"][0]["text"]
    assert text.split()[:SALT_WORDS] == made[0]["content"].split()[:SALT_WORDS]
    assert " ".join(text.split()[SALT_WORDS:]) == (content if isinstance(content, str) else "hi")
    assert recorded[1] == messages[1]


def test_the_same_leg_has_the_same_bytes_and_another_leg_of_equal_length_others(leg_spec):
    spec = leg_spec()
    one, same = requests_of(spec).make(5, 1).payload, requests_of(spec).make(5, 1).payload
    assert one == same
    others = [
        replace(spec, block=2),
        replace(spec, attempt="confirm"),
        replace(spec, level=9),
        replace(spec, run_id="r2"),
    ]
    contents = [body_of(requests_of(s).make(5, 1).payload)["messages"][0]["content"] for s in [spec, *others]]
    assert len(set(contents)) == 5
    assert {len(text.split()) for text in contents} == {21}


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "→"])
def test_a_header_that_cannot_be_sent_is_refused(leg_spec, value):
    with pytest.raises(UsageError, match="header X-One"):
        requests_of(leg_spec(headers={"X-One": value}))


def test_a_workload_says_what_an_arrival_left_open(tmp_path):
    path = tmp_path / "w.parquet"
    pl.DataFrame(
        {
            "offset_ns": [9, 3],
            "model": ["late", "early"],
            "input_tokens": pl.Series([None, 5], dtype=pl.Int64),
            "output_tokens": pl.Series([None, 0], dtype=pl.Int64),
            "max_output_tokens": pl.Series([None, 50], dtype=pl.Int64),
            "stream": [True, False],
        }
    ).write_parquet(path)
    arrivals = Arrivals.read(str(path))
    assert (arrivals.offset_ns, arrivals.model) == ([3, 9], ["early", "late"])
    assert (arrivals.input_tokens, arrivals.output_tokens) == ([5, 64], [1, 16])


def test_a_workload_that_is_none_is_said(tmp_path):
    (tmp_path / "poems.txt").write_text("roses")
    for path in (tmp_path / "nowhere.parquet", tmp_path / "poems.txt"):
        with pytest.raises(UsageError, match=f"cannot read the workload {path}"):
            Arrivals.read(str(path))
