"""Who somebody is: keys, certificates, invites and contexts."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from modelsyncd.errors import BadInputError, DamageError, DiskFullError, InviteError, NotFoundError, RefusedError
from modelsyncd.trust import context, invite
from modelsyncd.trust.authority import NODE_LIFE, Authority
from modelsyncd.trust.context import Context
from modelsyncd.trust.identity import Identity, Kind, Peer, peer_of
from modelsyncd.trust.invite import Invite
from modelsyncd.trust.keys import (
    belong,
    holder_of,
    load_certificate,
    new_key,
    new_request,
    public_key_in,
    public_key_of,
    validity_of,
)

NOW = 1_800_000_000.0
NODE = Peer(Kind.NODE, "kiosk-7")


def write(path: Path, data: bytes, mode: int, /) -> None:
    path.write_bytes(data)
    path.chmod(mode)


class Full:
    """Writes a few files and then has no room left."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, path: Path, data: bytes, mode: int, /) -> None:
        if self.room == 0:
            raise DiskFullError
        self.room -= 1
        write(path, data, mode)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "authority", NOW, write)


def an_invite(authority: Authority) -> Invite:
    return Invite("a1b2", "kiosk-7", NOW + 3_600, authority.issue_invite("a1b2", NOW))


class TestPeer:
    @pytest.mark.parametrize("kind", list(Kind))
    def test_a_peer_is_read_back_from_its_own_uri(self, kind: Kind) -> None:
        peer = Peer(kind, "kiosk-7")
        assert peer_of(["hub.example", peer.uri]) == peer

    @pytest.mark.parametrize(
        "names",
        [
            [],
            ["hub.modelsyncd"],
            ["modelsyncd://root/x"],
            ["https://node/kiosk-7"],
            ["modelsyncd://node"],
            ["node/kiosk-7"],
        ],
    )
    def test_a_certificate_that_names_nobody_is_refused(self, names: list[str]) -> None:
        with pytest.raises(RefusedError):
            peer_of(names)

    @pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "x\n"])
    def test_a_peer_with_a_name_that_no_node_may_have_is_refused(self, name: str) -> None:
        with pytest.raises(BadInputError):
            peer_of([f"modelsyncd://node/{name}"])


class TestIdentity:
    def test_a_saved_identity_loads_again_and_is_for_its_owner_only(self, authority: Authority, tmp_path: Path) -> None:
        identity = authority.issue_admin("ana", NOW)
        folder = tmp_path / "identity"
        identity.save(folder, write)
        assert Identity.load(folder) == identity
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}

    def test_an_identity_that_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            Identity.load(tmp_path)

    def test_printing_an_identity_or_an_invite_does_not_show_a_secret(self, authority: Authority) -> None:
        shown = repr(an_invite(authority)) + str(authority.issue_admin("ana", NOW))
        assert "PRIVATE" not in shown
        assert "BEGIN" not in shown

    def test_the_agents_side_of_trust_does_not_load_the_cryptography_library(self) -> None:
        code = (
            "import sys, modelsyncd.trust.identity, modelsyncd.trust.invite, modelsyncd.trust.context;"
            "sys.exit('cryptography' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestAuthority:
    def test_a_hub_keeps_its_authority_over_restarts(self, tmp_path: Path) -> None:
        first = Authority.open(tmp_path / "authority", NOW, write)
        second = Authority.open(tmp_path / "authority", NOW + 86_400, write)
        assert second.certificate == first.certificate
        assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "authority").iterdir()} == {0o600}

    @pytest.mark.parametrize("room", [0, 1])
    def test_a_crash_on_the_first_start_is_healed_by_the_next(self, tmp_path: Path, room: int) -> None:
        with pytest.raises(DiskFullError):
            Authority.open(tmp_path, NOW, Full(room))
        authority = Authority.open(tmp_path, NOW, write)
        assert holder_of(authority.issue_admin("ana", NOW).certificate) == Peer(Kind.ADMIN, "ana")

    def test_a_lost_authority_certificate_is_made_again_and_what_it_issued_still_fits(self, tmp_path: Path) -> None:
        before = Authority.open(tmp_path, NOW, write).issue_admin("ana", NOW)
        (tmp_path / "authority.crt").unlink()
        after = Authority.open(tmp_path, NOW + 60, write)
        load_certificate(before.certificate).verify_directly_issued_by(load_certificate(after.certificate))

    def test_a_lost_authority_key_is_said_and_never_made_anew(self, tmp_path: Path) -> None:
        Authority.open(tmp_path, NOW, write)
        (tmp_path / "authority.key").unlink()
        with pytest.raises(DamageError, match="is gone") as caught:
            Authority.open(tmp_path, NOW, write)
        assert "backup" in caught.value.hint
        assert not (tmp_path / "authority.key").exists()

    def test_a_key_of_another_authority_is_noticed(self, tmp_path: Path) -> None:
        Authority.open(tmp_path / "a", NOW, write)
        Authority.open(tmp_path / "b", NOW, write)
        (tmp_path / "b" / "authority.key").replace(tmp_path / "a" / "authority.key")
        with pytest.raises(DamageError, match="do not belong together"):
            Authority.open(tmp_path / "a", NOW, write)

    def test_a_nodes_certificate_names_the_node_that_the_hub_approved_and_no_other(self, authority: Authority) -> None:
        key = new_key()
        certificate = authority.issue_node("kiosk-7", new_request(key, Peer(Kind.ADMIN, "root")), NOW)
        assert holder_of(certificate) == NODE
        assert belong(key, certificate)
        assert not belong(new_key(), certificate)

    def test_a_nodes_certificate_lasts_ninety_days_bears_a_slow_clock_and_is_due_after_sixty(
        self, authority: Authority
    ) -> None:
        validity = validity_of(authority.issue_node("kiosk-7", new_request(new_key(), NODE), NOW))
        assert validity.begins == NOW - 3_600
        assert validity.ends == NOW + NODE_LIFE == NOW + 90 * 86_400
        assert abs(validity.due() - (NOW + 60 * 86_400)) < 3_600

    def test_the_key_in_a_request_is_the_key_in_the_certificate_made_from_it(self, authority: Authority) -> None:
        csr = new_request(new_key(), NODE)
        assert public_key_of(csr) == public_key_in(authority.issue_node("kiosk-7", csr, NOW))
        assert public_key_of(csr) != public_key_of(new_request(new_key(), NODE))

    def test_a_request_whose_sender_does_not_hold_the_key_is_refused(self, authority: Authority) -> None:
        csr = bytearray(new_request(new_key(), NODE))
        csr[-1] ^= 1
        with pytest.raises(BadInputError):
            authority.issue_node("kiosk-7", bytes(csr), NOW)

    @pytest.mark.parametrize("csr", [b"", b"\x30\x82", bytes(9_000), b"-----BEGIN CERTIFICATE REQUEST-----"])
    def test_garbage_is_no_request(self, authority: Authority, csr: bytes) -> None:
        with pytest.raises(BadInputError):
            authority.issue_node("kiosk-7", csr, NOW)

    @pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())])
    def test_a_request_for_a_key_of_another_kind_is_refused(
        self, authority: Authority, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    ) -> None:
        algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)
        with pytest.raises(BadInputError, match="another kind"):
            authority.issue_node("kiosk-7", request.public_bytes(serialization.Encoding.DER), NOW)

    @pytest.mark.parametrize("key", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
    def test_a_damaged_key_is_said(self, key: bytes) -> None:
        with pytest.raises(DamageError):
            new_request(key, NODE)

    def test_a_damaged_certificate_is_said(self) -> None:
        with pytest.raises(DamageError):
            validity_of(b"rubbish")


class TestInvite:
    def test_an_invite_is_one_word_and_comes_back_whole(self, authority: Authority) -> None:
        given = an_invite(authority)
        text = invite.encode(given)
        assert text.startswith("msi1_")
        assert text.replace("_", "").replace("-", "").isalnum()
        assert len(text) < 2_000
        assert invite.decode(text) == given

    def test_white_space_that_a_mail_program_added_does_no_harm(self, authority: Authority) -> None:
        text = invite.encode(an_invite(authority))
        assert invite.decode(f"  {text[:70]}\r\n {text[70:]}\n") == invite.decode(text)

    def test_an_invite_that_was_cut_anywhere_is_damaged(self, authority: Authority) -> None:
        text = invite.encode(an_invite(authority))
        for length in range(len(text)):
            with pytest.raises(InviteError) as caught:
                invite.decode(text[:length])
            assert "msi1_" in caught.value.hint

    def test_an_invite_with_any_one_letter_changed_is_damaged_or_still_the_same(self, authority: Authority) -> None:
        given = an_invite(authority)
        text = invite.encode(given)
        without_meaning = 0
        for place in range(len(text)):
            wrong = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
            try:
                assert invite.decode(wrong) == given
                without_meaning += 1
            except InviteError:
                continue
        # Only the last character of all, and one in the up to seven bits with which a deflate stream ends its last
        # byte (RFC 1951, 3.2.3), can hold nothing but bits that nobody reads.
        assert without_meaning <= 2

    @pytest.mark.parametrize("text", ["", "msi1_", "msi2_AAAA", "eyJhbGciOi", "msi1_????", "msi1_" + "A" * 10_000])
    def test_what_is_no_invite_is_called_none(self, text: str) -> None:
        with pytest.raises(InviteError):
            invite.decode(text)

    def test_an_invite_that_would_inflate_without_end_is_refused(self) -> None:
        bomb = base64.urlsafe_b64encode(zlib.compress(bytes(4 << 20))).decode().rstrip("=")
        with pytest.raises(InviteError):
            invite.decode("msi1_" + bomb)


class TestContext:
    def test_a_context_reads_back_as_written_and_is_for_its_owner_only(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        given = Context("127.0.0.1:7443", "root", authority.issue_admin("root", NOW))
        path = tmp_path / "admin.toml"
        context.write(path, given, write)
        assert context.read(path) == given
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_context_that_lacks_something_says_what(self, tmp_path: Path) -> None:
        path = tmp_path / "admin.toml"
        path.write_text('hub = "h:1"\nname = "x"\nkey = 5\n')
        with pytest.raises(BadInputError, match="lacks authority, certificate, key"):
            context.read(path)

    def test_a_context_that_is_not_toml_says_where(self, tmp_path: Path) -> None:
        path = tmp_path / "admin.toml"
        path.write_bytes(b"\xff=")
        with pytest.raises(BadInputError, match=r"admin\.toml"):
            context.read(path)

    def test_a_context_that_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            context.read(tmp_path / "admin.toml")

    def test_an_address_that_would_break_out_of_its_quotes_is_refused(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        with pytest.raises(BadInputError):
            context.write(tmp_path / "x", Context('h"\nkey="', "x", authority.issue_admin("x", NOW)), write)
