"""Rows reach a table as they were given, whatever their values and however many."""

import json
import math

import duckdb
import pytest

from storage.rows import FROM_JSON, fill

PUT = "insert into things " + FROM_JSON


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(
        "create sequence place; create table things (place bigint default nextval('place'), name text not null, "
        "size bigint, share double, sure boolean, record json, primary key (name))"
    )
    return con


def test_every_value_comes_back_as_it_was(con: duckdb.DuckDBPyConnection) -> None:
    rows = [
        {"name": 'ü "quoted" \\ \n', "size": 2**62, "share": 0.1 + 0.2, "sure": True, "record": json.dumps({"a": [1]})},
        {"name": "", "size": None, "share": 5e-324, "sure": None, "record": None},
        {"name": "inf", "size": -1, "share": math.inf, "sure": False, "record": "[]"},
    ]
    fill(con, PUT, "things", rows)
    found = con.execute("select name, size, share, sure, record from things order by place").fetchall()
    assert found == [tuple(row.values()) for row in rows]


def test_columns_that_are_not_given_take_their_defaults_in_the_order_of_the_rows(
    con: duckdb.DuckDBPyConnection,
) -> None:
    fill(con, PUT, "things", [{"name": f"n{k}"} for k in range(5000)])
    assert con.execute("select count(*), min(place), max(place) from things").fetchone() == (5000, 1, 5000)
    assert con.execute("select name, size from things where place = 4711").fetchone() == ("n4710", None)


def test_no_rows_change_nothing(con: duckdb.DuckDBPyConnection) -> None:
    fill(con, PUT, "things", [])
    assert con.execute("select count(*) from things").fetchone() == (0,)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"name": "a", "weight": 1}, KeyError),
        ({"name": "a", "size": "many"}, duckdb.Error),
        ({"name": None}, duckdb.ConstraintException),
    ],
    ids=["an unknown column", "a value of another kind", "nothing where something is needed"],
)
def test_a_row_that_does_not_fit_is_refused(
    con: duckdb.DuckDBPyConnection, row: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        fill(con, PUT, "things", [row])


def test_a_second_row_of_one_key_is_refused_unless_it_replaces(con: duckdb.DuckDBPyConnection) -> None:
    fill(con, PUT, "things", [{"name": "a", "size": 1}])
    with pytest.raises(duckdb.ConstraintException):
        fill(con, PUT, "things", [{"name": "a", "size": 2}])
    fill(con, "insert or replace into things " + FROM_JSON, "things", [{"name": "a", "size": 3}])
    assert con.execute("select name, size from things").fetchall() == [("a", 3)]
