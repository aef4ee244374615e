"""Names and paths: what is one file on every node gets in, and nothing else does."""

from __future__ import annotations

import time

import pytest

from modelsyncd.errors import HostilePathError, InvalidNameError
from modelsyncd.names import (
    ModelName,
    ModelRef,
    check_path,
    check_paths,
    nearest,
    parse_channel,
    parse_model,
    parse_node,
    parse_ref,
)

HOSTILE_PATHS = [
    # leads outside
    "..", "../x", "../../etc/passwd", "a/../b", "a/..", "a/../../b", "./../x", "a/b/../../../c", "..\\x", "a\\..\\b",
    "/", "//", "/etc/passwd", "/a", "//server/share", "\\\\server\\share", "\\a", "a\\b", "~\\x",
    "C:", "C:x", "c:/windows", "C:\\windows", "z:a", "a:b", "a/b:c", "file:stream", "model.bin::$DATA",
    # is no name, or two names for one file
    "", ".", "./a", "a/.", "a/./b", "a//b", "a/", "a/b/", "/a/",
    # control characters
    "\0", "a\0b", "model.bin\0.txt", "a\nb", "a\r", "\ta", "a\x1b[2Jb", "a\x7f", "\x80", "a\x9fb",
    # halves of surrogate pairs: a name on disk that is not UTF-8
    "\udcff", "a/\ud800", "x\udfffy",
    # another form of a name that looks the same
    "cafe\u0301", "e\u0301/a", "\u212bngstrom", "\u1100\u1161", "\u2126", "\ufb1d", "a/o\u0308",
    # devices on Windows, with any case, any extension, and the spaces that it ignores
    "con", "CON", "Con.txt", "prn", "aux", "aux.c", "nul", "NUL.tar.gz", "com1", "COM9.log", "lpt1", "LPT9",
    "a/nul", "nul/a", "a/con.d/b", "con .txt", "COM\u00b9", "lpt\u00b2.x", "com\u00b3", "CONIN$", "conout$",
    # Windows drops these ends, so two names become one
    "a.", "a ", "a. ", "a/b.", "a./b", "a /b", "...", " ", "a/ ", ". .",
    # characters that Windows can't write
    "a<b", "a>b", 'a"b', "a|b", "a?b", "a*b", "*",
    # too long
    "a" * 256, "é" * 128, "a/" * 600 + "a", "a/" * 32 + "a", "a" * 4096, "x/" + "b" * 256, "/".join(["d" * 200] * 6),
]  # fmt: skip

GOOD_PATHS = [
    "a", "model.safetensors", "config.json", "a/b/c", "tokenizer/merges.txt", ".hidden", "..a", "a..b", "a...b", "-",
    "_", "with space.bin", "a/with space/b", " leading", "é", "ä/ö", "模型/权重.bin", "🤗.json", "console", "conx",
    "com0", "com10", "nully.txt", "auxiliary/a", "a" * 255, "é" * 127, "/".join(["d" * 200] * 5), "a/" * 31 + "a",
    "a=b", "a,b", "a;b", "$HOME",
    "%PATH%", "a'b", "`id`", "a&b", "a#b", "a@b", "a+b", "(1)", "[1]", "{1}", "~", "~a", "b3-00",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=lambda path: ascii(path)[:30])
def test_a_hostile_path_is_refused_alone_and_among_others(path: str) -> None:
    with pytest.raises(HostilePathError):
        check_path(path)
    with pytest.raises(HostilePathError):
        check_paths(sorted(["m", path]))


def test_a_refusal_can_be_printed_anywhere() -> None:
    for path in HOSTILE_PATHS:
        with pytest.raises(HostilePathError) as refusal:
            check_path(path)
        assert refusal.value.message.isprintable()
        assert len(refusal.value.message) < 400


@pytest.mark.parametrize("path", GOOD_PATHS, ids=lambda path: ascii(path)[:30])
def test_a_path_that_every_system_can_hold_is_taken_as_it_is(path: str) -> None:
    assert check_path(path) == path
    check_paths([path])


@pytest.mark.parametrize(
    "paths",
    [
        ["A", "a"],
        ["Model.bin", "model.bin"],
        ["a/B/c", "a/b/c"],
        ["A/x", "a/y"],
        ["a/B/x", "a/b/y"],
        ["STRASSE", "straße"],
        ["É", "é"],
        ["Σ", "ς"],
        ["\u0390", "\u03aa\u0301"],  # equal only when composed after folding
        ["\u01c4", "\u01c6"],
        ["a", "a/b"],
        ["a", "a.txt", "a/b/c"],
        ["A", "a/b"],
        ["a/b", "a/b/c"],
        ["a", "a"],
        ["a/x", "a/x"],
    ],
    ids=ascii,
)
def test_two_paths_that_are_one_somewhere_are_refused(paths: list[str]) -> None:
    with pytest.raises(HostilePathError):
        check_paths(sorted(paths))


@pytest.mark.parametrize("paths", [["b", "a"], ["a/b", "a.b"], ["z", "é", "a"]])
def test_paths_that_are_not_in_order_are_refused(paths: list[str]) -> None:
    with pytest.raises(HostilePathError, match="order"):
        check_paths(paths)


@pytest.mark.parametrize("paths", [[], ["a"], ["a.b", "a/b"], ["a/b", "a/c", "b/b"], ["a-b", "a/b", "ab"]])
def test_paths_that_stay_apart_are_taken(paths: list[str]) -> None:
    check_paths(paths)


def test_many_deep_paths_are_checked_in_the_time_of_so_many_flat_ones() -> None:
    def seconds(paths: list[str]) -> float:
        start = time.process_time()
        check_paths(sorted(paths))
        return time.process_time() - start

    flat = seconds([f"{'d' * 60}{number}" for number in range(20_000)])
    deep = seconds([f"{'d/' * 30}{number}" for number in range(20_000)])
    assert deep < 10 * flat


GOOD_WORDS = ["a", "1", "helmet", "a-b", "a_b", "a.b", "v1.2.3", "0", "x" * 64, "console", "com0"]
HOSTILE_WORDS = [
    "", " ", "A", "Helmet", "a b", " a", "a ", "a\n", "\na", "a\0", "-a", "a-", ".a", "a.", "_a", "a_", "..", ".",
    "a..b", "x" * 65, "x" * 4096, "é", "ａ", "а", "a/b", "a\\b", "a:b", "a@b", "a*", "a$b", "~a", "con", "nul", "com1",
    "con.x", "lpt9.tar", "a\u200bb", "١", "🤗", "${a}", "a;b", "a,b", "%2e%2e", "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("word", GOOD_WORDS)
def test_a_narrow_word_names_anything(word: str) -> None:
    assert parse_model(f"{word}/{word}") == ModelName(word, word)
    assert parse_channel(word) == word
    assert parse_node(word) == word


@pytest.mark.parametrize("word", HOSTILE_WORDS, ids=lambda word: ascii(word)[:30])
def test_any_other_word_names_nothing(word: str) -> None:
    for parse, text in (
        (parse_channel, word),
        (parse_node, word),
        (parse_model, f"{word}/b"),
        (parse_model, f"a/{word}"),
        (parse_ref, f"a/b@{word}"),
    ):
        with pytest.raises(InvalidNameError) as refusal:
            parse(text)
        assert refusal.value.hint


@pytest.mark.parametrize("text", ["", "a", "/", "a/", "/b", "a/b/c", "../b", "a/..", "a b/c"])
def test_a_model_is_a_namespace_and_a_name(text: str) -> None:
    with pytest.raises(InvalidNameError):
        parse_model(text)


def test_a_channel_may_not_be_called_like_a_folder_of_the_store() -> None:
    with pytest.raises(InvalidNameError, match="folder"):
        parse_channel("versions")


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("a/b", ModelRef(ModelName("a", "b"))),
        ("a/b@stable", ModelRef(ModelName("a", "b"), channel="stable")),
        ("a/b:1", ModelRef(ModelName("a", "b"), number=1)),
        ("a/b:999999999999999999", ModelRef(ModelName("a", "b"), number=999999999999999999)),
    ],
)
def test_a_reference_reads_as_it_is_written(text: str, ref: ModelRef) -> None:
    assert parse_ref(text) == ref
    assert str(ref) == text


@pytest.mark.parametrize(
    "text",
    ["a/b:", "a/b:0", "a/b:01", "a/b:-1", "a/b:+1", "a/b:1.0", "a/b: 1", "a/b:1\n", "a/b:x", "a/b:١", "a/b:" + "9" * 19,
     "a/b@", "a/b@x@y", "a/b@x:1", "a/b:1@x", "@x", ":1", "a/b@versions"],
)  # fmt: skip
def test_any_other_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidNameError):
        parse_ref(text)


def test_the_nearest_names_come_first() -> None:
    assert nearest("helmat", ["glove", "helmet", "helm"])[0] == "helmet"
    assert nearest("zzz", ["helmet"]) == []
