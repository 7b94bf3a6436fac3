"""Room on the disk that is kept for the end of a run."""

from storage.reserve import BYTES, Reserve


def test_room_is_taken_once_and_given_up_once(tmp_path):
    reserve = Reserve(tmp_path)
    assert not reserve.give_up()
    reserve.take()
    (file,) = tmp_path.iterdir()
    assert file.stat().st_blocks * 512 >= BYTES  # a file with holes would hold no room
    assert reserve.give_up()
    assert list(tmp_path.iterdir()) == []
    assert not reserve.give_up()


def test_where_there_is_no_room_none_is_taken(tmp_path):
    reserve = Reserve(tmp_path / "missing")
    reserve.take()
    assert not reserve.give_up()
