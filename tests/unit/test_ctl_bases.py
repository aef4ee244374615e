"""What lies on this machine as a base: a DEST is the release that was pulled there, and what is coded is told truly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx.helper
import onnx.numpy_helper
import pytest

from modelsyncd.bases import gather
from modelsyncd.codec import registry
from modelsyncd.codec.profile import Profile
from modelsyncd.codec.registry import NEEDS_BASE, READABLE, Codec, decode
from modelsyncd.ctl.bases import read_bases
from modelsyncd.ctl.cost import Cost, describe, sentence
from modelsyncd.ctl.progress import Step
from modelsyncd.ctl.tally import Tally
from modelsyncd.digest import Buffer, Digest, digest_of
from modelsyncd.exchange import coder
from modelsyncd.exchange.bases import of_folder
from modelsyncd.exchange.coder import Coding
from modelsyncd.exchange.destination import look
from modelsyncd.exchange.folder_taker import FolderTaker
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.exchange.publishing import ref_of
from modelsyncd.exchange.remains import WORK
from modelsyncd.exchange.source_giver import SourceGiver
from modelsyncd.manifest import Chunking
from modelsyncd.release import SignedRelease, Variant
from modelsyncd.session.effects import Keep
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Offer, Part
from modelsyncd.session.progress import Progress
from modelsyncd.store.source import Source, scan
from modelsyncd.wire.nouns import encode_manifest
from tests.fakes.trained import saved, trained, weights

MODEL = weights("ctl bases", 1)


def unchecked() -> None:
    """Nobody gives up."""


def dest_base(dest: Path, wanted: Path) -> LocalBase | None:
    """What a pull of `wanted` into `dest` takes `dest` for."""
    return of_folder(dest, list(look(dest, scan(wanted).manifest, unchecked)), Chunking(), WORK, unchecked)


def name_of(source: Source) -> Digest:
    return digest_of(encode_manifest(source.manifest))


def pair(tmp_path: Path) -> tuple[Path, Path]:
    return saved(MODEL, tmp_path / "old"), saved(trained(MODEL), tmp_path / "new")


def test_a_folder_that_was_pulled_is_the_release_that_it_was_pulled_from(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    (old / "deep").mkdir()
    (old / "deep" / "extra.txt").write_text("only in the old one")
    found = dest_base(old, new)
    assert found is not None
    assert found.name == name_of(scan(old))


def test_what_an_earlier_try_left_in_the_folder_is_no_part_of_it(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    name = name_of(scan(old))
    (old / f"{WORK}123456789abc" / "files").mkdir(parents=True)
    (old / f"{WORK}123456789abc" / "files" / "model.safetensors").write_bytes(b"half")
    found = dest_base(old, new)
    assert found is not None
    assert found.name == name


def test_a_model_whose_tensors_lie_in_a_file_beside_it_is_known_again(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    for folder in (old, new):
        onnx.save(onnx_model(), folder / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    found = dest_base(old, new)
    assert any(file.path == "net.data" and file.tensors for file in scan(old).manifest.files)
    assert found is not None
    assert found.name == name_of(scan(old))


def onnx_model() -> onnx.ModelProto:
    """A model of one tensor of noise."""
    made = onnx.numpy_helper.from_array(MODEL["layer.0.weight"][:64], "w")
    return onnx.helper.make_model(onnx.helper.make_graph([], "net", [], [], [made]))


def test_a_folder_with_more_of_somebody_s_own_than_of_the_release_is_not_read(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    (old / "photos.bin").write_bytes(bytes(4 << 20))
    assert dest_base(old, new) is None


def test_a_folder_that_no_release_looks_like_is_no_base(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    (old / "outside").symlink_to("/etc/hostname")
    assert dest_base(old, new) is None
    (tmp_path / "empty").mkdir()
    assert dest_base(tmp_path / "empty", new) is None


class Publisher:
    """A push of `new` by somebody who has `old`."""

    def __init__(self, new: Path, bases: list[LocalBase], coding: Coding = Coding.SMALLEST) -> None:
        self.source = scan(new)
        data = encode_manifest(self.source.manifest)
        self.ref = ref_of(self.source.manifest, data)
        self.giver = SourceGiver(self.ref.digest, data, self.source, bases, coding)

    async def give(self, ordinals: list[int], held: list[Digest], rate: float = 0.0) -> list[Encoded]:
        return list(await self.giver.load(self.ref.digest, Part.CONTENT, ordinals, READABLE, held, rate=rate))


async def test_chunks_are_coded_against_a_base_that_the_other_side_holds_and_decode_to_themselves(
    tmp_path: Path,
) -> None:
    old, new = pair(tmp_path)
    (base,) = await read_bases([old], silent=True)
    push = Publisher(new, [base])
    given = await push.give([2, 3, 4], [digest_of(b"another"), base.name])
    for chunk in given:
        assert chunk.codec is Codec.DELTA
        assert chunk.base is not None
        assert chunk.base.manifest == base.name
        assert chunk.cpu > 0
        plain = push.source.read(chunk.ordinal)
        there = gather(chunk.base.runs, base.source.range)
        assert decode(chunk.codec, chunk.payload, len(plain), there) == plain
    assert push.giver.coded == push.giver.plain == sum(len(push.source.read(one)) for one in (2, 3, 4))
    assert push.giver.held == frozenset({digest_of(b"another"), base.name})


async def test_a_chunk_that_is_asked_for_anew_without_bases_counts_as_plain(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    (base,) = await read_bases([old], silent=True)
    push = Publisher(new, [base])
    await push.give([2, 3], [base.name])
    (again,) = await push.give([3], [])
    assert again.base is None
    assert again.codec not in NEEDS_BASE
    assert push.giver.coded == len(push.source.read(2))
    assert push.giver.plain == 2 * len(push.source.read(2))
    assert push.giver.held == frozenset({base.name}), "what it said first counts"


async def test_a_base_that_the_other_side_does_not_hold_is_not_used(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    (base,) = await read_bases([old], silent=True)
    push = Publisher(new, [base])
    given = await push.give([2, 3], [digest_of(b"another")])
    assert {chunk.base for chunk in given} == {None}
    assert push.giver.coded == 0


async def test_a_base_that_went_away_since_it_was_read_harms_nothing(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    (base,) = await read_bases([old], silent=True)
    push = Publisher(new, [base])
    (old / "model.safetensors").unlink()
    (chunk,) = await push.give([2], [base.name])
    assert chunk.base is None
    plain = push.source.read(2)
    assert decode(chunk.codec, chunk.payload, len(plain)) == plain


async def test_a_codec_that_stumbles_costs_nothing_but_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = registry.encode

    def stumbling(plain: bytes, codecs: frozenset[Codec], *rest: Any) -> tuple[Codec, Buffer]:
        if codecs & NEEDS_BASE:
            raise IndexError("as a bug would")
        return right(plain, codecs, *rest)

    monkeypatch.setattr(coder, "encode", stumbling)
    old, new = pair(tmp_path)
    (base,) = await read_bases([old], silent=True)
    push = Publisher(new, [base])
    (chunk,) = await push.give([2], [base.name])
    assert chunk.base is None
    plain = push.source.read(2)
    assert decode(chunk.codec, chunk.payload, len(plain)) == plain


@pytest.mark.parametrize(
    ("coding", "rate", "profile"),
    [
        (Coding.AUTO, 0.0, Profile.SMALLEST),
        (Coding.AUTO, 1e6, Profile.SMALLEST),
        (Coding.AUTO, 1e9, Profile.PLAIN),
        (Coding.SMALLEST, 1e9, Profile.SMALLEST),
        (Coding.FAST, 1e6, Profile.FAST),
        (Coding.PLAIN, 1e3, Profile.PLAIN),
    ],
)
def test_the_link_decides_unless_a_person_does(coding: Coding, rate: float, profile: Profile) -> None:
    assert coding.profile(rate) is profile


async def test_a_pull_decodes_against_what_it_named(tmp_path: Path) -> None:
    old, new = pair(tmp_path)
    (base,) = await read_bases([old], silent=True)
    push = Publisher(new, [base])
    taker = FolderTaker(tmp_path / "dest", Variant("default", push.ref), 1, force=False, bases=[base])
    offer = Offer(SignedRelease(b""), push.ref.digest)
    missing = await taker.survey(offer, Part.MANIFEST)
    pieces = await push.giver.load(push.ref.digest, Part.MANIFEST, missing.ordinals, READABLE, ())
    await taker.keep([keep_of(offer, Part.MANIFEST, one) for one in pieces])
    missing = await taker.survey(offer, Part.CONTENT)
    assert missing.bases == (base.name,)
    given = await push.give(list(missing.ordinals), list(missing.bases))
    keeping = await taker.keep([keep_of(offer, Part.CONTENT, one) for one in given])
    assert keeping.spoiled == ()
    assert keeping.cpu > 0
    await taker.complete(offer)
    taker.close()
    assert (tmp_path / "dest" / "model.safetensors").read_bytes() == (new / "model.safetensors").read_bytes()


async def test_what_a_base_holds_is_copied_and_does_not_travel(tmp_path: Path) -> None:
    old, _new = pair(tmp_path)
    (base,) = await read_bases([old], silent=True)
    push = Publisher(old, [])
    taker = FolderTaker(tmp_path / "dest", Variant("default", push.ref), 1, force=False, bases=[base])
    offer = Offer(SignedRelease(b""), push.ref.digest)
    missing = await taker.survey(offer, Part.MANIFEST)
    pieces = await push.giver.load(push.ref.digest, Part.MANIFEST, missing.ordinals, READABLE, ())
    await taker.keep([keep_of(offer, Part.MANIFEST, one) for one in pieces])
    assert list((await taker.survey(offer, Part.CONTENT)).ordinals) == []
    await taker.complete(offer)
    taker.close()
    assert (tmp_path / "dest" / "model.safetensors").read_bytes() == (old / "model.safetensors").read_bytes()


def keep_of(offer: Offer, part: Part, chunk: Encoded) -> Keep:
    return Keep(offer, part, chunk.ordinal, chunk.codec, chunk.payload, chunk.base)


def test_tries_of_a_transfer_add_up_and_what_is_shown_never_goes_back() -> None:
    tally = Tally(1_000)
    tally.begin()
    tally.taken(Progress(total=1_000, had=100, done=600, coded=300, giver_cpu=1.0, taker_cpu=0.5))
    tally.begin()
    assert tally.step == Step(1_000, 600, 100)
    tally.taken(Progress())
    tally.taken(Progress(total=1_000, had=550, done=550))
    assert tally.step == Step(1_000, 600, 100)
    tally.taken(Progress(total=1_000, had=550, done=1_000, coded=200, giver_cpu=0.25, taker_cpu=0.25))
    tally.taken(Progress())
    assert tally.step == Step(1_000, 1_000, 100)
    assert (tally.coded, tally.giver_cpu, tally.taker_cpu) == (500, 1.25, 0.75)


def test_a_report_adds_up_and_says_it_in_a_sentence() -> None:
    cost = Cost(content=10 << 20, had=1 << 20, coded=8 << 20, wire=3 << 20, giver_cpu=2.0, taker_cpu=0.5, seconds=4.0)
    told = describe(cost)
    assert told["bytes_plain"] == 1 << 20
    assert told["bytes"] == 10 << 20
    assert sentence(cost, here=2.0, there=0.5) == (
        "8.0 MiB travelled coded against a base, 1.0 MiB travelled without a base; CPU: 2.0 s here, 0.5 s at the hub."
    )
    nothing = Cost(content=10, had=10, coded=0, wire=0, giver_cpu=0, taker_cpu=0, seconds=0.1)
    assert sentence(nothing, here=0, there=0) == ""
