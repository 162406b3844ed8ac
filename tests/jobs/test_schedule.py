"""The schedule's rules, without Ray: depth, suspects alone, bisection, nobody innocent given up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.schedule import Schedule


def started(n_lanes: int, depth: int = 2) -> Schedule[int]:
    schedule: Schedule[int] = Schedule(depth)
    for _ in range(n_lanes):
        schedule.lanes[schedule.open_lane()].ready = True
    return schedule


def items_of(assigned: list) -> list[tuple[int, list[int]]]:
    return [(lane, list(piece.items)) for lane, piece in assigned]


def test_nothing_goes_to_a_worker_that_is_not_up() -> None:
    schedule: Schedule[int] = Schedule()
    schedule.open_lane(), schedule.open_lane()
    assert not schedule.has_room
    schedule.add([1])
    assert list(schedule.assign()) == []
    schedule.lanes[1].ready = True
    assert items_of(list(schedule.assign())) == [(1, [1])]


def test_least_loaded_lane_first_and_no_more_than_depth() -> None:
    schedule = started(2)
    for item in range(5):
        schedule.add([item])
    assert items_of(list(schedule.assign())) == [(0, [0]), (1, [1]), (0, [2]), (1, [3])]
    assert not schedule.has_room
    schedule.done(1, schedule.lanes[1].held[0])
    assert items_of(list(schedule.assign())) == [(1, [4])]


def test_has_idle_only_where_a_worker_has_nothing() -> None:
    schedule = started(1)
    assert schedule.has_idle
    schedule.add([1])
    list(schedule.assign())
    assert schedule.has_room
    assert not schedule.has_idle


def test_pieces_of_a_dead_worker_run_again_each_alone() -> None:
    schedule = started(1)
    schedule.add([1, 2])
    schedule.add([3])
    list(schedule.assign())
    assert schedule.died(0) == []
    assert list(schedule.assign()) == []  # its replacement is not up yet
    schedule.lanes[0].ready = True
    schedule.add([4])
    ((lane, piece),) = schedule.assign()
    assert list(piece.items) == [1, 2]
    schedule.done(lane, piece)
    ((lane, piece),) = schedule.assign()
    assert list(piece.items) == [3]
    schedule.done(lane, piece)
    assert items_of(list(schedule.assign())) == [(0, [4])]


def test_suspect_waits_for_a_free_worker_and_nothing_else_starts() -> None:
    schedule = started(2)
    schedule.add([1])
    schedule.add([2])
    list(schedule.assign())
    schedule.died(0)
    schedule.add([3])
    assert list(schedule.assign()) == []  # lane 1 is at work, lane 0 not up
    schedule.done(1, schedule.lanes[1].held[0])
    assert items_of(list(schedule.assign())) == [(1, [1])]
    schedule.lanes[0].ready = True
    assert items_of(list(schedule.assign())) == [(0, [3])]


def test_guilty_piece_is_halved_in_order() -> None:
    schedule = started(1)
    schedule.add([1, 2, 3])
    list(schedule.assign())
    schedule.died(0)
    schedule.lanes[0].ready = True
    list(schedule.assign())
    assert schedule.died(0) == []
    schedule.lanes[0].ready = True
    ((lane, piece),) = schedule.assign()
    assert list(piece.items) == [1]
    schedule.done(lane, piece)
    ((_, piece),) = schedule.assign()
    assert list(piece.items) == [2, 3]


def test_single_item_is_given_up_only_at_its_second_death() -> None:
    schedule = started(1)
    schedule.add([7])
    list(schedule.assign())
    assert schedule.died(0) == []
    schedule.lanes[0].ready = True
    list(schedule.assign())
    assert schedule.died(0) == [7]
    assert not schedule.busy


def test_failed_call_follows_the_same_rules_and_spares_its_neighbour() -> None:
    schedule = started(1)
    schedule.add([1])
    schedule.add([2])
    (_, first), (_, second) = list(schedule.assign())
    assert schedule.failed(0, first) == []
    assert schedule.lanes[0].held == [second]
    schedule.done(0, second)
    ((lane, again),) = schedule.assign()
    assert schedule.failed(lane, again) == [1]


def test_what_hangs_is_cut_at_once_and_its_neighbour_is_innocent() -> None:
    schedule = started(1)
    schedule.add([1, 2])
    schedule.add([3])
    list(schedule.assign())
    assert schedule.hung(0) == []
    schedule.lanes[0].ready = True
    ((lane, piece),) = schedule.assign()
    assert list(piece.items) == [1]
    schedule.done(lane, piece)
    ((lane, piece),) = schedule.assign()
    assert list(piece.items) == [2]
    assert schedule.hung(lane) == [2]
    schedule.lanes[0].ready = True
    assert items_of(list(schedule.assign())) == [(0, [3])]


def test_a_single_item_that_hangs_is_tried_twice() -> None:
    schedule = started(1)
    schedule.add([1])
    list(schedule.assign())
    assert schedule.hung(0) == []
    schedule.lanes[0].ready = True
    list(schedule.assign())
    assert schedule.hung(0) == [1]


def test_what_a_machine_takes_with_it_is_innocent_twice() -> None:
    schedule = started(1)
    schedule.add([1, 2])
    for _ in range(2):
        ((_, piece),) = schedule.assign()
        assert (list(piece.items), piece.suspect) == ([1, 2], False)
        assert schedule.lost(0) == []
        schedule.lanes[0].ready = True
    list(schedule.assign())
    assert schedule.lost(0) == []
    schedule.lanes[0].ready = True
    ((_, piece),) = schedule.assign()
    assert (list(piece.items), piece.suspect) == ([1, 2], True)


def test_a_suspect_whose_machine_goes_away_is_not_given_up() -> None:
    schedule = started(1)
    schedule.add([1])
    list(schedule.assign())
    schedule.died(0)
    schedule.lanes[0].ready = True
    list(schedule.assign())
    assert schedule.lost(0) == []
    schedule.lanes[0].ready = True
    ((_, piece),) = schedule.assign()
    assert piece.suspect


def test_a_retired_lane_ends_what_it_holds_and_gets_nothing_more() -> None:
    schedule = started(2)
    schedule.add([1])
    ((lane, piece),) = schedule.assign()
    schedule.lanes[lane].retired = True
    schedule.add([2])
    assert items_of(list(schedule.assign())) == [(1, [2])]
    schedule.add([3])
    schedule.add([4])
    assert items_of(list(schedule.assign())) == [(1, [3])]
    schedule.done(lane, piece)
    schedule.close_lane(lane)
    assert set(schedule.lanes) == {1}


@settings(max_examples=150, deadline=None)
@given(
    n_items=st.integers(1, 40),
    piece=st.integers(1, 9),
    n_lanes=st.integers(1, 4),
    depth=st.integers(1, 3),
    poison=st.sets(st.integers(0, 39), max_size=4),
    seed=st.integers(0, 10_000),
)
def test_exactly_the_poison_is_given_up(
    n_items: int, piece: int, n_lanes: int, depth: int, poison: set[int], seed: int
) -> None:
    chance = random.Random(seed)
    schedule = started(n_lanes, depth)
    for start in range(0, n_items, piece):
        schedule.add(list(range(start, min(start + piece, n_items))))
    done: list[int] = []
    given_up: list[int] = []
    steps = 0
    while schedule.busy:
        steps += 1
        assert steps < 2000
        for lane in schedule.lanes.values():
            lane.ready = lane.ready or chance.random() < 0.5
        list(schedule.assign())
        busy = [index for index, lane in schedule.lanes.items() if lane.held]
        if not busy:
            continue
        index = chance.choice(busy)
        held = schedule.lanes[index].held
        assert len(held) <= depth
        assert len(held) == 1 or not any(piece.suspect for piece in held)
        if poison & set(held[0].items):
            given_up += schedule.died(index)
        else:
            done += held[0].items
            schedule.done(index, held[0])
    assert sorted(done) == sorted(set(range(n_items)) - poison)
    assert sorted(given_up) == sorted(poison & set(range(n_items)))


@pytest.mark.parametrize("size", [1, 2, 64])
def test_bisection_takes_logarithmically_many_deaths(size: int) -> None:
    schedule = started(1)
    schedule.add(list(range(size)))
    deaths = 0
    while schedule.busy:
        schedule.lanes[0].ready = True
        ((lane, piece),) = schedule.assign()
        if 0 in piece.items:
            deaths += 1
            schedule.died(lane)
        else:
            schedule.done(lane, piece)
    assert deaths == 2 + (size - 1).bit_length()
