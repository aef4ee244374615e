"""A version that somebody holds is known to be held until the last hold ends."""

from edge_agent.leases import Leases
from modelsyncd.digest import digest_of
from modelsyncd.names import ModelName
from modelsyncd.store.version import Version

ONE = Version(ModelName("acme", "helmet"), 1, digest_of(b"1"))


def test_a_version_is_held_until_its_last_lease_ends() -> None:
    leases = Leases()
    first, second = leases.hold(ONE), leases.hold(ONE)
    assert leases.held() == {ONE}
    assert leases.manifests() == {ONE.manifest}
    first.release()
    first.release()
    assert leases.held() == {ONE}
    second.release()
    assert leases.held() == frozenset()


def test_a_lease_ends_with_its_block_whatever_happens_in_it() -> None:
    leases = Leases()
    try:
        with leases.hold(ONE) as lease:
            assert lease.version == ONE
            raise KeyError("a job's own trouble")
    except KeyError:
        assert leases.held() == frozenset()


def test_the_beginning_and_the_end_of_a_hold_are_uses() -> None:
    used: list[Version] = []
    leases = Leases(used.append)
    with leases.hold(ONE):
        assert used == [ONE]
    assert used == [ONE, ONE]
