"""The only place that issues certificates: a hub's own authority, made on its first start.

Law: the authority's key is never made anew beside an existing certificate, because that would lock every node out.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from modelsyncd.errors import DamageError, NotFoundError
from modelsyncd.trust.identity import (
    HUB_TLS_NAME,
    SECRET_MODE,
    Identity,
    Kind,
    Peer,
    Write,
    make_private_folder,
    read_file,
)
from modelsyncd.trust.keys import belong, key_pem, load_certificate, load_key, load_request

KEY_FILE = "authority.key"
CERTIFICATE_FILE = "authority.crt"

_DAY = 86_400.0  # seconds
_SKEW = 3_600.0  # seconds that a node's clock may be slow when it gets its certificate
_AUTHORITY_LIFE = 20 * 365 * _DAY
# The authority's key lies on the same disk as the hub's, so a shorter life would protect nothing and stop the hub once.
_HUB_LIFE = _AUTHORITY_LIFE
_ADMIN_LIFE = 365 * _DAY  # the hub writes a new one at each start
# At TLS only: the hub's catalogue says how long and for whom an invite counts, so that refusals come in words. It is
# long because a node shows it again, with the same key, when its certificate ended while the hub was out of reach.
_INVITE_LIFE = _AUTHORITY_LIFE
NODE_LIFE = 90 * _DAY


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs for a hub. Times are seconds since 1970-01-01 UTC, certificates are PEM, requests DER."""

    _key: ec.EllipticCurvePrivateKey
    certificate: bytes

    @classmethod
    def open(cls, folder: Path, now: float, write: Write) -> Authority:
        """The authority kept in this folder; made on the first call. Raises DamageError, DiskError, DiskFullError.

        A crash at any point is healed by the next call: the key is written first, and a certificate that was lost is
        made again for the same key, which every certificate issued before still fits.
        """
        make_private_folder(folder)
        key = _read(folder / KEY_FILE)
        certificate = _read(folder / CERTIFICATE_FILE)
        if key is None and certificate is not None:
            raise DamageError(
                f"the key of this hub's authority, {folder / KEY_FILE}, is gone",
                safe="nothing was changed; every node still trusts the certificate beside it",
                hint="put the key back from a backup; to begin anew, move the folder away and invite every node again",
            )
        if key is None:
            key = key_pem(ec.generate_private_key(ec.SECP256R1()))
            write(folder / KEY_FILE, key, SECRET_MODE)
        if certificate is None:
            certificate = _self_signed(load_key(key), now)
            write(folder / CERTIFICATE_FILE, certificate, SECRET_MODE)
        if not belong(key, certificate):
            raise DamageError(f"the key and the certificate in {folder} do not belong together")
        return cls(load_key(key), certificate)

    def issue_node(self, name: str, csr: bytes, now: float) -> bytes:
        """A node's certificate for the key of its request. Raises BadInputError."""
        return self._sign(Peer(Kind.NODE, name), load_request(csr), now, NODE_LIFE)

    def issue_admin(self, name: str, now: float) -> Identity:
        """A person's identity, with a new key."""
        return self._issue(Peer(Kind.ADMIN, name), now, _ADMIN_LIFE)

    def issue_invite(self, invite: str, now: float) -> Identity:
        """The identity inside an invite, with a new key; `invite` is its id."""
        return self._issue(Peer(Kind.INVITE, invite), now, _INVITE_LIFE)

    def issue_hub(self, now: float) -> Identity:
        """The hub's own identity, with a new key: the only kind that can serve."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder("hub", self._issuer(), key.public_key(), now, _HUB_LIFE)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HUB_TLS_NAME)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        return Identity(key_pem(key), self._finish(builder), self.certificate)

    def _issue(self, peer: Peer, now: float, life: float) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        return Identity(key_pem(key), self._sign(peer, key.public_key(), now, life), self.certificate)

    def _sign(self, peer: Peer, key: ec.EllipticCurvePublicKey, now: float, life: float) -> bytes:
        builder = (
            _builder(str(peer), self._issuer(), key, now, life)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(peer.uri)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        return self._finish(builder)

    def _issuer(self) -> x509.Name:
        return load_certificate(self.certificate).subject

    def _finish(self, builder: x509.CertificateBuilder) -> bytes:
        signed = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return signed.public_bytes(serialization.Encoding.PEM)


def _self_signed(key: ec.EllipticCurvePrivateKey, now: float) -> bytes:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    common_name = f"modelsyncd authority {identifier.digest.hex()[:12]}"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = (
        _builder(common_name, name, key.public_key(), now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _builder(
    common_name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, life: float
) -> x509.CertificateBuilder:
    # RFC 5280 ub-common-name: 64 characters. Only people read it; who the holder is stands in the alternative name.
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name[:64])])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now - _SKEW))
        .not_valid_after(_moment(now + life))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _read(path: Path) -> bytes | None:
    try:
        return read_file(path)
    except NotFoundError:
        return None
