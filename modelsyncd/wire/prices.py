"""The only place where what chunks will take is written for the wire and read back: Ask, Quote and Forecast."""

from __future__ import annotations

from modelsyncd.digest import digest_from
from modelsyncd.limits import LIMITS, Limits
from modelsyncd.plan import Forecast, Priced
from modelsyncd.session.frames import Ask, Quote
from modelsyncd.wire.runs import bases_named, runs_from_pb, runs_to_pb
from modelsyncd.wire.v1 import sync_pb2


def ask_to_pb(ask: Ask) -> sync_pb2.Ask:
    """For the wire."""
    return sync_pb2.Ask(manifest=ask.manifest, ranges=runs_to_pb(ask.ranges), bases=ask.bases)


def ask_from_pb(message: sync_pb2.Ask, limits: Limits = LIMITS) -> Ask:
    """From the wire. Raises ProtocolError, BadInputError."""
    return Ask(
        digest_from(message.manifest),
        runs_from_pb(message.ranges, "an Ask", limits),
        bases_named(message.bases, "an Ask", limits),
    )


def quote_to_pb(quote: Quote) -> sync_pb2.Quote:
    """For the wire."""
    priced = quote.priced
    return sync_pb2.Quote(
        manifest=quote.manifest,
        coded_bytes=priced.coded,
        coded_wire=priced.coded_wire,
        plain_bytes=priced.alone,
        plain_wire=priced.alone_wire,
        left_bytes=priced.left,
    )


def quote_from_pb(message: sync_pb2.Quote) -> Quote:
    """From the wire. Raises BadInputError."""
    return Quote(
        digest_from(message.manifest),
        Priced(message.coded_bytes, message.coded_wire, message.plain_bytes, message.plain_wire, message.left_bytes),
    )


def forecast_to_pb(forecast: Forecast) -> sync_pb2.Forecast:
    """For the wire."""
    priced = forecast.priced
    return sync_pb2.Forecast(
        bytes_had=forecast.had,
        coded_bytes=priced.coded,
        coded_wire=priced.coded_wire,
        plain_bytes=priced.alone,
        plain_wire=priced.alone_wire,
        left_bytes=priced.left,
        spent_wire=forecast.spent,
        disk_bytes=forecast.disk,
        rate=forecast.rate,
        revision=forecast.revision,
        made_at=forecast.made_at,
    )


def forecast_from_pb(message: sync_pb2.Forecast) -> Forecast:
    """From the wire."""
    return Forecast(
        had=message.bytes_had,
        priced=Priced(
            message.coded_bytes, message.coded_wire, message.plain_bytes, message.plain_wire, message.left_bytes
        ),
        spent=message.spent_wire,
        disk=message.disk_bytes,
        rate=message.rate,
        revision=message.revision,
        made_at=message.made_at,
    )
