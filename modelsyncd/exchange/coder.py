"""The only place that codes chunks of what lies on this machine: how hard, and against which of its bases."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum

from modelsyncd.bases import gather
from modelsyncd.codec.profile import Profile, profile_for
from modelsyncd.codec.registry import NEEDS_BASE, STUMBLES, Codec, encode
from modelsyncd.digest import Digest
from modelsyncd.errors import ModelsyncError
from modelsyncd.exchange.local_base import LocalBase
from modelsyncd.matching import Bases, Hints
from modelsyncd.session.events import Encoded
from modelsyncd.session.frames import Base
from modelsyncd.store.source import Source

_BASE_WORDS, _RUN_WORDS = 40, 12  # bytes that a base and each of its runs take on the wire, about
_SIMPLE = frozenset({Codec.STORED, Codec.ZSTD})
_FEW = 0.02  # share of a payload up to which the words about its base are not worth a second coding


class Coding(StrEnum):
    """How much CPU a saved byte is worth: by the link's rate, or as a person says."""

    AUTO = "auto"
    SMALLEST = "smallest"
    FAST = "fast"
    PLAIN = "plain"

    def profile(self, rate: float) -> Profile:
        """For a link that carries `rate` bytes a second, 0 while that is unknown."""
        return profile_for(rate) if self is Coding.AUTO else Profile[self.name]


class Coder:
    """Codes the chunks of one source. One thread at a time."""

    def __init__(self, source: Source, bases: Sequence[LocalBase], coding: Coding) -> None:
        self._source = source
        self._local = bases
        self._coding = coding
        self._hints = Hints(source.manifest)
        self._chosen: tuple[LocalBase, ...] = ()
        self._bases = Bases(source.manifest, source.range, ())

    def code(
        self, ordinal: int, plain: bytes, codecs: frozenset[Codec], held: Sequence[Digest], rate: float
    ) -> Encoded:
        """A chunk as it travels, with the CPU that this took; `held` are manifests that the peer has whole."""
        began = time.thread_time()
        profile = self._coding.profile(rate)
        found = None
        if profile is not Profile.PLAIN and codecs & NEEDS_BASE:
            found = self._base_of(ordinal, held)
        base, there = found if found is not None else (None, None)
        hint = self._hints.of(ordinal)
        try:
            codec, payload = encode(plain, codecs, hint, there, profile)
        except STUMBLES:
            codec, payload = encode(plain, codecs & _SIMPLE)
        if base is not None and codec in NEEDS_BASE and _words(base) > _FEW * len(payload):
            other, without = encode(plain, codecs, hint, None, profile)
            if len(without) <= len(payload) + _words(base):
                codec, payload = other, without
        cpu = time.thread_time() - began
        payload = payload if isinstance(payload, memoryview) else bytes(payload)
        return Encoded(ordinal, codec, payload, base if codec in NEEDS_BASE else None, cpu)

    def _base_of(self, ordinal: int, held: Sequence[Digest]) -> tuple[Base, bytes] | None:
        """What a chunk is coded against, and its bytes as they are now: changed ones the peer finds out about."""
        self._choose(held)
        try:
            chosen = self._bases.of(ordinal)
            if chosen is None:
                return None
            base = self._chosen[chosen.base]
            return Base(base.name, chosen.runs), gather(chosen.runs, base.source.range)
        except ModelsyncError:
            return None  # a base that is written to, or gone: then the chunk travels without one

    def _choose(self, held: Sequence[Digest]) -> None:
        chosen = tuple(one for one in self._local if one.name in held)
        if chosen != self._chosen:
            self._chosen = chosen
            readers = [(one.source.manifest, one.source.range) for one in chosen]
            self._bases = Bases(self._source.manifest, self._source.range, readers)


def _words(base: Base) -> int:
    return _BASE_WORDS + _RUN_WORDS * len(base.runs)
