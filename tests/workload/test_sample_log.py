"""The log that ships with the project: what the quickstart captures."""

import gzip
from pathlib import Path

import config
from tasks.workload.capture import capture
from tasks.workload.profile import profile
from tasks.workload.secrets import SHAPES
from tasks.workload.trace import read, write

SAMPLE = Path(config.__file__).parent / "samples" / "litellm.jsonl.gz"


def test_the_sample_is_captured_whole_and_always_to_the_same_workload(tmp_path):
    captured = capture([SAMPLE])
    assert captured.ledger.in_words() == "114 rows read = 112 kept + 2 dropped (2 duplicate call id)"
    assert captured.rejects == ()
    assert write(captured.workload, tmp_path / "w.parquet") == read(tmp_path / "w.parquet").id
    assert captured.workload.id == "68e7123d5cc6aa2f5b12996dc796566d9000879cbc80a99ae48b75df0be409ac"


def test_the_sample_suits_a_quick_replay():
    p = profile(capture([SAMPLE]).workload)
    assert p.span_s < 45
    assert p.output_tokens is not None and p.output_tokens["p100"] <= 64
    assert {m.model for m in p.models} == {"chat-small", "chat-large", "extract", "chat-premium", "chat-beta"}
    assert p.errors == {"429": 5}
    assert 0.5 < p.stream_share < 0.9


def test_the_sample_holds_no_secret_and_no_path_of_the_machine_it_was_made_on():
    text = gzip.decompress(SAMPLE.read_bytes()).decode()
    assert [kind for kind, shape in SHAPES.items() if shape.search(text)] == []
    assert "site-packages" not in text
    assert SAMPLE.stat().st_size < 600_000
