"""Who works where: never more than there is, nothing left idle, machines alike or not."""

from __future__ import annotations

from collections import Counter

import pytest

from jobs.balance import Balance
from jobs.plan import Node, Plan, plan_workers, within


def check_fits(plan: Plan, nodes: list[Node]) -> None:
    for node in nodes:
        slots = [slot for slot in plan.models + plan.features if slot.node_id == node.node_id]
        assert sum(slot.cpus for slot in slots) <= node.cpus
        assert sum(slot.gpus for slot in slots) <= node.gpus + 1e-6
    assert 1 <= plan.first_models <= len(plan.models)
    assert 1 <= plan.first_features <= len(plan.features)
    assert all(slot.gpus <= 1 for slot in plan.models)  # of one GPU at most


@pytest.mark.parametrize("cpus", [1, 2, 16, 128])
@pytest.mark.parametrize("gpus", [0.0, 0.5, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("networks", [True, False])
def test_a_plan_never_asks_for_more_than_there_is(
    cpus: int, gpus: float, share: float, networks: bool
) -> None:
    nodes = [Node("a", cpus, gpus)]
    plan = plan_workers(nodes, networks, share)
    check_fits(plan, nodes)
    assert plan.device == ("cuda" if gpus and networks else "cpu")
    if plan.device == "cuda":
        assert sum(slot.gpus for slot in plan.models) == pytest.approx(gpus, abs=1e-3)


def test_machines_without_a_gpu_feed_those_with_one() -> None:
    nodes = [Node("gpu", 8, 4.0), Node("big", 32), Node("small", 2)]
    plan = plan_workers(nodes)
    check_fits(plan, nodes)
    assert Counter(slot.node_id for slot in plan.models) == {"gpu": 4}
    assert Counter(slot.node_id for slot in plan.features) == {"gpu": 4, "big": 32, "small": 2}
    # The first of each machine come first.
    assert {slot.node_id for slot in plan.features[:3]} == {"gpu", "big", "small"}


def test_more_gpus_than_cpus_still_leaves_someone_to_feed_them() -> None:
    plan = plan_workers([Node("a", 2, 4.0)])
    check_fits(plan, [Node("a", 2, 4.0)])
    assert len(plan.models) == 4
    check_fits(plan_workers([Node("a", 0, 1.0)]), [Node("a", 0, 1.0)])


def test_half_a_gpu_each_makes_two_workers_for_one() -> None:
    assert [slot.gpus for slot in plan_workers([Node("a", 8, 1.0)], gpu_share=0.5).models] == [
        0.5,
        0.5,
    ]


def test_a_model_without_networks_leaves_cpus_to_features_and_gpus_alone() -> None:
    plan = plan_workers([Node("a", 16, 4.0), Node("b", 16)], networks=False)
    assert (plan.first_models, plan.first_features) == (2, 32)
    assert all(slot.cpus == slot.gpus == 0 for slot in plan.models)


def test_no_machine_is_no_worker() -> None:
    for networks in (True, False):
        plan = plan_workers([], networks)
        assert plan.models == plan.features == ()


def test_limits_are_taken_from_machines_with_gpus_first() -> None:
    nodes = [Node("a", 8), Node("b", 4, 2.0), Node("c", 8)]
    assert within(nodes, 6, 1.0) == [Node("b", 4, 1.0), Node("a", 2)]
    assert within(nodes, None, 0.0) == [Node("b", 4), Node("a", 8), Node("c", 8)]
    assert sorted(within(nodes, None, None), key=lambda node: node.node_id) == nodes


@pytest.mark.parametrize(
    ("features_busy", "models_busy", "more"),
    [
        (1.0, 0.3, (2, 0)),  # the model waits
        (0.4, 1.0, (0, 1)),  # the model is waited for
        (0.5, 0.5, (0, 0)),  # the source is waited for
        (1.0, 1.0, (0, 0)),
    ],
)
def test_the_kind_that_holds_up_the_other_grows(
    features_busy: float, models_busy: float, more: tuple[int, int]
) -> None:
    now = 0.0
    balance = Balance(lambda: now)
    for _ in range(4):
        assert balance.more(8, 4) == (0, 0)
        now += 0.8
        balance.sample(features_busy, models_busy)
    assert balance.more(8, 4) == more
    assert balance.more(8, 4) == (0, 0)
