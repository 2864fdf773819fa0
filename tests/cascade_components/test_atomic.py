import pytest

from cascade_components.atomic import put_all


def test_files_are_written_and_replaced_and_nothing_else_is_left(tmp_path):
    (tmp_path / "other").write_text("stays")
    for content in (b"first", b"second"):
        put_all({"a.txt": content, "b.txt": content}, tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
            "a.txt": content,
            "b.txt": content,
            "other": b"stays",
        }


def test_where_one_cannot_be_written_none_is(tmp_path):
    put_all({"a.txt": b"first"}, tmp_path)
    with pytest.raises(OSError, match="no/folder"):
        put_all({"a.txt": b"second", "no/folder": b""}, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.txt": b"first"}
