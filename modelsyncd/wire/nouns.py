"""The one door to the nouns on the wire and at rest: each has its own file behind it, named by the noun."""

from modelsyncd.wire.desired import (
    decode_desired,
    desired_from_pb,
    desired_to_pb,
    encode_desired,
    offer_from_pb,
    offer_to_pb,
)
from modelsyncd.wire.faultwords import fault_from_pb, fault_to_pb
from modelsyncd.wire.manifests import decode_manifest, encode_manifest
from modelsyncd.wire.releases import (
    decode_release,
    decode_signed,
    encode_release,
    encode_signed,
    signed_from_pb,
    signed_to_pb,
)
from modelsyncd.wire.reports import (
    decode_report,
    encode_report,
    report_from_pb,
    report_to_pb,
    standing_from_pb,
    standing_to_pb,
)

__all__ = [
    "decode_desired",
    "decode_manifest",
    "decode_release",
    "decode_report",
    "decode_signed",
    "desired_from_pb",
    "desired_to_pb",
    "encode_desired",
    "encode_manifest",
    "encode_release",
    "encode_report",
    "encode_signed",
    "fault_from_pb",
    "fault_to_pb",
    "offer_from_pb",
    "offer_to_pb",
    "report_from_pb",
    "report_to_pb",
    "signed_from_pb",
    "signed_to_pb",
    "standing_from_pb",
    "standing_to_pb",
]
