"""Sizes as people write them become bytes, and what is no size is refused."""

import pytest

from modelsyncd.errors import BadInputError
from modelsyncd.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512 B", 512),
        ("20GB", 20 * 10**9),
        ("20 gb", 20 * 10**9),
        ("20GiB", 20 << 30),
        ("1.5GiB", 3 << 29),
        ("0.000001 MB", 1),
        (" 7kB ", 7_000),
    ],
)
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1", "1e9", "20 G", "20 GBit", "1.GB", "٣", "9" * 20, "2000000 TiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadInputError):
        parse_size(text)
