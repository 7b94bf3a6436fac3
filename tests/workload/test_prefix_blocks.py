"""Blocks of prompts as a workload keeps them: numbers that say which prompts begin alike, and nothing of the text."""

from dataclasses import replace
from functools import partial

import polars as pl

from storage.records import Arrival
from tasks.workload.trace import SCHEMA, Header, from_arrivals, read, write

HEADER = Header(name="w", tokens="approximate", block_tokens=512)
arrival = partial(Arrival, 0, "m", 10, 5, None, True)


def test_blocks_come_back_from_the_file(tmp_path):
    workload = from_arrivals([arrival(prefix_blocks=(0, 7)), replace(arrival(), offset_ns=1)], HEADER)
    write(workload, tmp_path / "w.parquet")
    again = read(tmp_path / "w.parquet")
    assert [a.prefix_blocks for a in again.arrivals()] == [(0, 7), None]
    assert (again.header.block_tokens, again.header.tokens) == (512, "approximate")


def test_blocks_are_part_of_the_id_and_their_absence_is_not():
    ids = {from_arrivals([arrival(prefix_blocks=b)], HEADER).id for b in (None, (), (1,), (1, 2), (2, 1))}
    assert len(ids) == 5
    two = [arrival(prefix_blocks=(1, 2)), replace(arrival(prefix_blocks=(3,)), offset_ns=1)]
    moved = [arrival(prefix_blocks=(1,)), replace(arrival(prefix_blocks=(2, 3)), offset_ns=1)]
    assert from_arrivals(two, HEADER).id != from_arrivals(moved, HEADER).id


def test_a_file_from_before_there_were_blocks_is_read_and_keeps_its_id(tmp_path):
    path = tmp_path / "w.parquet"
    identity = write(from_arrivals([arrival()], HEADER), path)
    meta = {"gatebench": pl.read_parquet_metadata(path)["gatebench"]}
    pl.read_parquet(path).drop("prefix_blocks").write_parquet(path, metadata=meta)
    again = read(path)
    assert again.id == identity
    assert dict(again.frame.schema) == dict(SCHEMA)
