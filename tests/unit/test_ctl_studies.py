"""How a plan and a comparison by tensor read, without a hub."""

from __future__ import annotations

from math import inf

import click
import pytest

from modelsyncd.ctl import tensors
from modelsyncd.ctl.screen import seen
from modelsyncd.ctl.tensors import SHOWN, WORDS, Tensors
from modelsyncd.ctl.verbs import plan
from modelsyncd.wire.v1 import catalog_pb2 as pb

MIB = 1 << 20
NOW = 1_795_400_000.0


def _view(name: str, size: int = MIB, dtype: str = "f32", shape: tuple[int, ...] = (512, 512)) -> pb.TensorView:
    return pb.TensorView(file="m.safetensors", name=name, dtype=dtype, shape=shape, bytes=size)


def _changed(name: str, size: int = MIB, norm: pb.ChangeNorm | None = None) -> pb.TensorChange:
    return pb.TensorChange(kind=pb.CHANGE_KIND_CHANGED, before=_view(name, size), after=_view(name, size), norm=norm)


def _norm(l2: float, before: float = 1.0) -> pb.ChangeNorm:
    return pb.ChangeNorm(l2=l2, l2_before=before, largest=l2, elements=100, elements_changed=50)


ALL = Tensors(
    [
        pb.TensorChange(kind=pb.CHANGE_KIND_UNCHANGED, before=_view("same"), after=_view("same")),
        _changed("small", 8),
        _changed("large"),
        pb.TensorChange(kind=pb.CHANGE_KIND_ADDED, after=_view("new")),
        pb.TensorChange(kind=pb.CHANGE_KIND_REMOVED, before=_view("gone")),
        pb.TensorChange(kind=pb.CHANGE_KIND_RETYPED, before=_view("typed"), after=_view("typed", MIB // 2, "bf16")),
        pb.TensorChange(kind=pb.CHANGE_KIND_RESIZED, before=_view("sized"), after=_view("sized", 4, shape=())),
        pb.TensorChange(kind=pb.CHANGE_KIND_RENAMED, before=_view("old"), after=_view("renamed")),
    ]
)


def _names(found: Tensors) -> list[str]:
    return [(one.after if one.HasField("after") else one.before).name for one in found.ranked()]


def test_every_kind_on_the_wire_has_a_word() -> None:
    assert set(WORDS) == set(pb.ChangeKind.values()) - {pb.CHANGE_KIND_UNSPECIFIED}
    assert tensors.word(pb.TensorChange()) == "unknown"


def test_new_forms_come_before_new_values_and_what_is_the_same_comes_last() -> None:
    assert _names(ALL) == ["gone", "new", "typed", "sized", "large", "small", "renamed", "same"]


def test_what_changed_most_comes_first_and_what_was_zero_before_all() -> None:
    found = Tensors(
        [_changed("little", norm=_norm(0.1)), _changed("much", 4, _norm(2.0)), _changed("from zero", 4, _norm(1.0, 0))]
    )
    assert _names(found) == ["from zero", "much", "little"]
    assert tensors.relative(_norm(1.0, 0)) == inf
    assert tensors.relative(_norm(0.0, 0)) == 0


def test_a_person_sees_sums_and_each_change_as_it_was_and_is() -> None:
    told = click.unstyle(seen(tensors.text(ALL, everything=False)))
    assert "2 tensors changed, 1.0 MiB" in told
    assert "1 tensor removed, 1.0 MiB" in told
    lines = {line.split()[0]: line for line in told.splitlines()[2:]}
    assert "f32 → bf16" in lines["typed"]
    assert "512×512 → scalar" in lines["sized"]
    assert "old → renamed" in lines["old"]
    assert "same" not in lines


def test_only_what_changed_most_is_shown_unless_all_is_asked_for() -> None:
    many = Tensors([_changed(f"t{number:03}") for number in range(SHOWN + 5)])
    assert "and 5 tensors more: --all shows them" in tensors.text(many, everything=False)
    assert "t000" in tensors.text(many, everything=False)
    everything = tensors.text(many, everything=True)
    assert f"t{SHOWN + 4:03}" in everything
    assert "--all" not in everything


def test_norms_have_columns_of_their_own_and_what_was_left_out_is_said() -> None:
    norm = pb.ChangeNorm(l2=0.5, l2_before=2.0, largest=0.125, elements=10, elements_changed=3, elements_left_out=2)
    told = tensors.text(Tensors([_changed("w", norm=norm), ALL.changes[3]]), everything=False)
    assert "CHANGE" in told
    row = next(line for line in told.splitlines() if line.startswith("w "))
    assert row.split()[-4:] == ["0.25", "0.125", "30.0", "%"]
    assert "2 elements infinite or no number: left out of the norms." in told
    assert "CHANGE" not in tensors.text(ALL, everything=False)


def test_a_name_from_elsewhere_can_not_steer_the_terminal() -> None:
    assert r"w\x1b[2J" in tensors.text(Tensors([_changed("w\x1b[2J")]), everything=True)


def test_programs_get_every_tensor_and_null_for_what_has_no_meaning() -> None:
    document = tensors.describe(Tensors([*ALL.changes, _changed("z", norm=_norm(1.0, 0))]))
    found = document["tensors"]
    assert isinstance(found, list)
    by_name = {(one["after"] or one["before"])["name"]: one for one in found}
    assert (by_name["gone"]["after"], by_name["new"]["before"], by_name["new"]["norm"]) == (None, None, None)
    assert by_name["z"]["norm"]["relative"] is None
    assert by_name["sized"]["after"]["shape"] == []
    kinds = document["kinds"]
    assert isinstance(kinds, dict)
    assert kinds["changed"] == {"tensors": 3, "bytes": 2 * MIB + 8}
    assert kinds["unchanged"]["tensors"] == 1


BASE = pb.PlanBase(model="acme/helmet", number=1, manifest=bytes(32), bytes_coded=6 * MIB, allowed=True)
PLAN = pb.TransferPlan(
    model="acme/helmet",
    number=2,
    manifest=bytes(32),
    bytes_total=10 * MIB,
    bytes_had=2 * MIB,
    bytes_coded=6 * MIB,
    coded_wire=MIB,
    bytes_plain=2 * MIB,
    plain_wire=2 * MIB,
    bytes_wire=3 * MIB,
    chunks_total=40,
    disk_bytes=10 * MIB,
    holdings_known=True,
    bases=[BASE],
)
TO_NODE = pb.PlanRequest(ref="acme/helmet:2", node="n1")


def _plan(**changes: object) -> pb.TransferPlan:
    changed = pb.TransferPlan()
    changed.CopyFrom(PLAN)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def test_a_plan_says_each_way_with_its_bytes_and_its_base() -> None:
    told = plan.text(TO_NODE, PLAN, NOW)
    assert told.startswith("acme/helmet:2 to node n1, which holds acme/helmet:1\n")
    for line in (
        "6.0 MiB (60.0 %) as 1.0 MiB, against acme/helmet:1",
        "3.0 MiB, 30.0 % of the full size",
        "unknown: say what the link carries with --rate",
    ):
        assert line in told


def test_a_plan_says_for_whom_it_is() -> None:
    assert "to whoever has nothing" in plan.text(pb.PlanRequest(ref="acme/helmet:2"), _plan(), NOW)
    from_ref = pb.PlanRequest(ref="acme/helmet:2", from_ref="acme/helmet:1")
    assert "to whoever holds acme/helmet:1\n" in plan.text(from_ref, PLAN, NOW)
    assert "of which it is not known what it holds" in plan.text(TO_NODE, _plan(holdings_known=False), NOW)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"holdings_known": False}, "Node n1 never said what it holds"),
        ({"bytes_arrived": MIB}, "1.0 MiB of it came in an earlier try"),
        ({"disk_free": 4 * MIB}, "It does not fit: 6.0 MiB must be freed on the node first."),
        ({"rate": 2.5e6, "seconds": 75.0, "effort": "smallest"}, "1 min 15 s at 20 Mbit/s, coded smallest"),
    ],
)
def test_a_plan_says_what_a_person_should_know_beside_it(changes: dict[str, object], note: str) -> None:
    assert note in plan.text(TO_NODE, _plan(**changes), NOW)
    assert note not in plan.text(TO_NODE, PLAN, NOW)


def test_a_version_that_may_not_be_a_base_is_named() -> None:
    barred = _plan()
    barred.bases[0].allowed = False
    barred.bases[0].model = ""
    told = plan.text(TO_NODE, barred, NOW)
    assert "Not coded against 000000" in told
    assert "no channel that the node follows ever named it" in told


def test_programs_get_null_for_what_is_not_known() -> None:
    document = plan.describe(TO_NODE, PLAN, NOW)
    assert (document["rate"], document["seconds"], document["disk_free"], document["from"]) == (None,) * 4
    assert document["node"] == "n1"
    assert document["bytes_wire"] == 3 * MIB
