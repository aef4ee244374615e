"""The only place that makes keys and requests and reads certificates. Keys are ECDSA P-256: small, and fast anywhere.

Importing this loads the cryptography library (15 MB in memory), so the agent does it in a child process only.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from modelsyncd.errors import BadInputError, DamageError
from modelsyncd.trust.identity import Peer, peer_of

_REQUEST_BYTES = 8 << 10  # bytes; ours have about 250


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate holds, in seconds since 1970-01-01 UTC."""

    begins: float
    ends: float

    def due(self) -> float:
        """When to renew it: after two thirds of its life, so that a month of outage costs nothing."""
        return self.begins + (self.ends - self.begins) * 2 / 3


def new_key() -> bytes:
    """A new private key, PEM (PKCS 8, not encrypted)."""
    return key_pem(ec.generate_private_key(ec.SECP256R1()))


def new_request(key: bytes, peer: Peer) -> bytes:
    """A certificate signing request, DER, for this private key. Raises DamageError when `key` is none of ours.

    The name in it is for people who look at it; the authority writes the name that it has approved.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(peer))])
    )
    return builder.sign(load_key(key), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def load_key(key: bytes) -> ec.EllipticCurvePrivateKey:
    """The private key in a PEM. Raises DamageError."""
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DamageError("the private key can't be read") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise DamageError("the private key is not an elliptic curve key")
    return loaded


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PEM (PKCS 8, not encrypted)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_request(csr: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a request (DER) whose sender has proved that it holds the private one. Raises BadInputError."""
    try:
        if len(csr) > _REQUEST_BYTES:
            raise ValueError("too long")
        request = x509.load_der_x509_csr(csr)
        key = request.public_key()
        proved = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadInputError("the certificate request can't be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadInputError("the certificate request is for a key of another kind", hint="use an ECDSA P-256 key")
    if not proved:
        raise BadInputError("the certificate request is not signed by the key that it is for")
    return key


def load_certificate(certificate: bytes) -> x509.Certificate:
    """The certificate in a PEM. Raises DamageError."""
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise DamageError("the certificate can't be read") from error


def public_key_of(csr: bytes) -> bytes:
    """The public key of a request (DER), as the bytes by which a hub knows a node. Raises BadInputError."""
    return _public_bytes(load_request(csr))


def public_key_in(certificate: bytes) -> bytes:
    """The public key of a certificate (PEM), as the bytes by which a hub knows a node. Raises DamageError."""
    key = load_certificate(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise DamageError("the certificate is for a key of another kind")
    return _public_bytes(key)


def belong(key: bytes, certificate: bytes) -> bool:
    """Whether this certificate is for this private key. Raises DamageError."""
    return _public_bytes(load_key(key).public_key()) == public_key_in(certificate)


def issued_by(certificate: bytes, authority: bytes) -> bool:
    """Whether the authority (certificate, PEM) has signed this certificate (PEM). Raises DamageError."""
    try:
        load_certificate(certificate).verify_directly_issued_by(load_certificate(authority))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def validity_of(certificate: bytes) -> Validity:
    """From when to when a certificate (PEM) holds. Raises DamageError."""
    loaded = load_certificate(certificate)
    return Validity(loaded.not_valid_before_utc.timestamp(), loaded.not_valid_after_utc.timestamp())


def holder_of(certificate: bytes) -> Peer:
    """Who a certificate (PEM) belongs to. Raises DamageError, RefusedError."""
    try:
        names = load_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return peer_of(())
    return peer_of(names.get_values_for_type(x509.UniformResourceIdentifier))


def _public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
