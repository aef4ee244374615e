"""Plain bytes of what rests: any range of any file, bounded in memory, and never wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.contents import Contents, Plains
from modelsyncd.bases import HOLE, Run, Turned
from modelsyncd.digest import digest_of
from modelsyncd.errors import DamageError, NotFoundError
from modelsyncd.manifest import ChunkTable
from modelsyncd.wire.nouns import decode_manifest
from tests.fakes.hub_store import HubStore, hub_store, push, spoil
from tests.fakes.publisher import Publication, publication, weights

STEP = 1_000
FILES = {"a": weights(1, 3_500), "b": b"", "c": weights(2, 1), "d": weights(3, 4_000)}
NAMES = sorted(FILES)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStore]:
    store = hub_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
async def model(hub: HubStore) -> Publication:
    made = publication(FILES, step=STEP)
    await push(hub.intake(), made)
    return made


def test_each_byte_is_found_in_the_chunk_that_has_it(model: Publication) -> None:
    table = ChunkTable(decode_manifest(b"".join(model.manifest_pieces)))
    for file, name in enumerate(NAMES):
        for offset in range(0, len(FILES[name]), 99):
            chunk = table.chunk(table.at(file, offset))
            assert (chunk.file, chunk.offset <= offset < chunk.offset + chunk.size) == (file, True)
        for outside in (-1, len(FILES[name]), 1 << 40):
            with pytest.raises(IndexError):
                table.at(file, outside)
    for nowhere in (-1, len(NAMES)):
        with pytest.raises(IndexError):
            table.at(nowhere, 0)


def test_any_range_of_any_file_is_what_was_published(hub: HubStore, model: Publication) -> None:
    rng = random.Random(4)
    content = Contents(hub.stock, plain_bytes=2 * STEP).named(model.manifest)
    for _ in range(200):
        file = rng.choice([0, 2, 3])
        data = FILES[NAMES[file]]
        offset = rng.randrange(len(data))
        size = rng.randint(1, len(data) - offset)
        assert content.read(file, offset, size) == data[offset : offset + size]


def test_no_more_plain_bytes_are_kept_than_there_is_room_for(hub: HubStore, model: Publication) -> None:
    plains = Plains(hub.stock, 2 * STEP + 500)
    digests = [digest_of(chunk) for chunk in model.chunks]
    for _ in range(2):
        assert plains.get(digests) == model.chunks
        assert plains._size == sum(map(len, plains._kept.values())) <= 2 * STEP + 500
    assert Plains(hub.stock, 0).get(digests[:1]) == model.chunks[:1]


def test_chunks_that_were_used_last_are_not_read_again(hub: HubStore, model: Publication) -> None:
    plains = Plains(hub.stock, 1 << 20)
    first = digest_of(model.chunks[0])
    plains.get([first])
    hub.writer.seal()
    for pack in hub.pack_files():
        pack.unlink()
    assert plains.get([first, first]) == model.chunks[:1] * 2
    with pytest.raises(DamageError):
        plains.get([first, digest_of(model.chunks[1])])


def test_a_base_may_have_holes_and_turned_matrices_but_no_runs_that_can_not_be(
    hub: HubStore, model: Publication
) -> None:
    content = Contents(hub.stock).named(model.manifest)
    data = FILES["d"]
    runs = (Run(HOLE, 0, 10), Run(3, 100, 6), Run(3, 0, 8, Turned(4, 3, 4, 0)))
    turned = b"".join(data[row * 12 : row * 12 + 4] for row in (0, 1))
    assert content.gather(runs, 24) == bytes(10) + data[100:106] + turned
    for wrong in ((Run(3, 3_999, 2),), (Run(4, 0, 2),), (Run(0, -1, 2),), ()):
        with pytest.raises(DamageError):
            content.gather(wrong, 2)


def test_a_matrix_that_is_too_large_to_have_at_hand_is_not_read_column_by_column(
    hub: HubStore, model: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_hub.contents.TURNED_BYTES", 47)
    with pytest.raises(DamageError, match="column"):
        Contents(hub.stock).named(model.manifest).gather((Run(3, 0, 8, Turned(4, 3, 4, 0)),), 8)


def test_reading_ahead_never_raises_and_what_is_damaged_says_so_when_it_is_read(
    hub: HubStore, model: Publication
) -> None:
    content = Contents(hub.stock).named(model.manifest)
    spoil(hub.catalog, hub.folder, FILES["a"][STEP : 2 * STEP])
    content.warm([Run(0, 0, 3_000), Run(HOLE, 0, 5)])
    content.warm([Run(9, 0, 5), Run(0, -7, 5), Run(0, 0, 1 << 60), Run(0, 3_499, 2), Run(1, 0, 1)])
    with pytest.raises(DamageError):
        content.read(0, 1_500, 10)
    assert content.read(0, 500, 10) == FILES["a"][500:510]


def test_a_manifest_that_was_never_committed_is_not_there(hub: HubStore, model: Publication) -> None:
    contents = Contents(hub.stock)
    with pytest.raises(NotFoundError):
        contents.named(digest_of(b"nothing"))
    assert contents.named(model.manifest) is contents.get(model.ref())
