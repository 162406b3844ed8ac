"""JSON lists of any size, item by item."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from screen.sources import json_stream
from screen.sources.json_stream import list_items

ITEMS = [
    {"a": [1, 2.5e-7, -3], "b": 'a "quoted" \\ text, [not] {a} list', "c": None},
    [],
    {},
    "é 🜚 \n",
    -12345.678901234567,
    True,
    None,
    float("inf"),
    {"deep": [[[{"x": [{}]}]]], "long": "x" * 5000},
    7,
]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def opened(path: Path) -> Iterator[str]:
    items = list_items(path)
    assert items is not None
    return items


@pytest.mark.parametrize("block", [3, 7, 31, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_items_are_those_of_json(
    block: int,
    indent: int | None,
    ascii_only: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = json.dumps(ITEMS, indent=indent, ensure_ascii=ascii_only)
    path = written(tmp_path / "x.json", f" \n{text}\n ")
    monkeypatch.setattr(json_stream, "_BLOCK", block)
    found = [json.loads(item) for item in opened(path)]
    assert found == ITEMS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    path = written(tmp_path / "x.json", json.dumps(ITEMS, ensure_ascii=False), encoding)
    assert [json.loads(item) for item in opened(path)] == ITEMS


@pytest.mark.parametrize("text", ["{}", '{"a": []}', "3", "", "   ", "no JSON"])
def test_what_is_no_list(text: str, tmp_path: Path) -> None:
    assert list_items(written(tmp_path / "x.json", text)) is None


@pytest.mark.parametrize("text", ["[]", " [ ] \n"])
def test_an_empty_list(text: str, tmp_path: Path) -> None:
    assert list(opened(written(tmp_path / "x.json", text))) == []


@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize(
    "text",
    [
        "[1, 2",
        "[1, 2,",
        "[1, 2, ]",
        "[1, 2 3]",
        '[1, 2, {"a": }]',
        '[1, 2, "cut',
        '[1, 2, {"a": 3',
        "[1, 2, nul",
        "[1, 2}",
        "[1, 2] 3",
        "[1, 2, {'a': 1}, " + "4, " * 1000 + "5]",
    ],
)
def test_items_before_an_error_come_first(
    text: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_BLOCK", block)
    items = opened(written(tmp_path / "x.json", text))
    assert [next(items), next(items)] == ["1", "2"]
    with pytest.raises(ValueError, match=r".+"):
        next(items)


def test_an_error_is_found_without_reading_on(tmp_path: Path) -> None:
    path = written(tmp_path / "x.json", "[1, {'a': 1}, " + "4, " * 2_000_000 + "5]")
    with path.open() as file:
        text = json_stream._Text(file)
        text.skip("[")
        text.value()
        text.skip(",")
        with pytest.raises(ValueError, match="no JSON"):
            text.value()
        assert file.tell() <= 2 * json_stream._BLOCK


def test_the_longest_item_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_MOST_CHARACTERS", 1000)
    monkeypatch.setattr(json_stream, "_BLOCK", 100)
    path = written(tmp_path / "x.json", json.dumps(["short", "x" * 10_000]))
    items = opened(path)
    assert next(items) == '"short"'
    with pytest.raises(ValueError, match="an item of more than"):
        next(items)
