"""Turns at slow work: bounded in all and for each place, and no service takes them all."""

from __future__ import annotations

from deploys.worker.turns import Turn, Turns


def ask(turns: Turns, count: int, *, service: int = 1, place: str = "") -> list[Turn]:
    return [turns.ask(service=service, place=place) for _ in range(count)]


def granted(turns: list[Turn]) -> int:
    return sum(turn.granted.done() for turn in turns)


def test_a_service_alone_gets_all_but_the_last_fifth() -> None:
    turns = Turns(most=10)

    assert granted(ask(turns, 30)) == 8


def test_another_service_begins_at_once_and_leaves_some_for_a_third() -> None:
    turns = Turns(most=10)
    ask(turns, 30)

    assert granted(ask(turns, 5, service=2)) == 1
    assert granted(ask(turns, 5, service=3)) == 1
    assert turns.begun() == 10


def test_one_place_takes_up_its_own_turns_alone() -> None:
    turns = Turns(most=20, most_at_a_place=5)

    slow = ask(turns, 30, place="slow")
    others = ask(turns, 3, place="other")

    assert granted(slow) == 4
    assert granted(others) == 3
    assert turns.begun("slow") == 4


def test_the_next_turn_is_the_service_with_fewests_then_the_oldest() -> None:
    turns = Turns(most=10)
    begun = ask(turns, 8)
    waiting = ask(turns, 3)
    ask(turns, 1, service=2)
    late = ask(turns, 2, service=2)
    assert granted(late) == 0

    turns.end(begun[0])
    assert (granted(waiting), granted(late)) == (0, 1)

    for turn in begun[1:4]:
        turns.end(turn)
    assert granted(late) == 2
    assert [turn.granted.done() for turn in waiting] == [True, False, False]


def test_who_leaves_before_its_turn_takes_none() -> None:
    turns = Turns(most=2)
    (first,) = ask(turns, 1)
    left, waits = ask(turns, 2)

    turns.end(left)
    turns.end(first)

    assert not left.granted.done()
    assert waits.granted.done()


def test_a_single_turn_is_had_by_whoever_asks() -> None:
    assert granted(ask(Turns(most=1), 2)) == 1
