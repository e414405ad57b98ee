"""Leases, by a clock that the test sets."""

from __future__ import annotations

import asyncio

import pytest

from lexor.serving.leases import Leases
from lexor.serving.limits import Limits
from lexor.serving.refusal import Refusal


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(**limits: float) -> tuple[Leases, Clock, list[str]]:
    clock, told = Clock(), []
    numbers = {"sessions": 2, "idle_seconds": 60, "liveness_seconds": 10} | limits
    return Leases(Limits(**numbers), clock, told.append), clock, told  # type: ignore[arg-type]


def gone(leases: Leases, token: str | None, kind: type = dict) -> None:
    with pytest.raises(Refusal) as caught:
        leases.get(token, kind)
    assert caught.value.status == 410


def test_a_lease_lives_as_long_as_its_client_and_its_work() -> None:
    leases, clock, told = made()
    lease = leases.claim(dict)
    assert leases.get(lease.token, dict) is lease
    for _ in range(6):
        clock.now += 9.5
        assert leases.get(lease.token, dict) is lease
    # It is alive, but does nothing.
    assert leases.remaining(lease) == pytest.approx(3)
    clock.now += 3.1
    gone(leases, lease.token)
    assert lease.ended
    assert told == [
        "session 1: opened (1 of 2)",
        "session 1: ended: nothing was asked of it for long (0 of 2)",
    ]


def test_one_who_falls_silent_makes_room() -> None:
    leases, clock, told = made()
    first, quiet = leases.claim(dict), leases.claim(dict, lively=False)
    with pytest.raises(Refusal) as caught:
        leases.claim(dict)
    assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "10"})
    clock.now += 10.1
    # The other never promised signs of life.
    third = leases.claim(dict)
    assert first.ended
    assert not quiet.ended
    assert third.number == 3
    assert told[2] == "session 1: ended: its client fell silent (1 of 2)"


def test_looking_is_no_sign_of_life() -> None:
    leases, clock, _ = made()
    lease = leases.claim(dict)
    clock.now += 6
    assert leases.get(lease.token, dict, touch=False) is lease
    clock.now += 6
    gone(leases, lease.token)


def test_nobody_is_let_go_while_something_is_done_for_them() -> None:
    async def work() -> None:
        leases, clock, _ = made()
        lease = leases.claim(dict)
        async with lease.held(clock) as state:
            assert state == {}
            clock.now += 1000
            assert leases.sweep() == 0
            assert leases.get(lease.token, dict) is lease
            assert leases.remaining(lease) == 60
        assert leases.remaining(lease) == 60
        clock.now += 61
        assert leases.sweep() == 1

    asyncio.run(work())


def test_who_waits_for_a_lease_that_ends_is_told() -> None:
    async def work() -> None:
        leases, _, _ = made()
        lease = leases.claim(dict)

        async def second() -> None:
            async with lease.held():
                raise AssertionError("it has ended")

        async with lease.held():
            waiting = asyncio.create_task(second())
            await asyncio.sleep(0)
            assert leases.release(lease.token)
        with pytest.raises(Refusal, match="connect again"):
            await waiting

    asyncio.run(work())


def test_a_lease_is_of_one_protocol() -> None:
    leases, _, _ = made()
    lease = leases.claim(dict)
    gone(leases, lease.token, list)
    gone(leases, None)
    gone(leases, "")
    assert not leases.release("unknown")
    assert leases.release(lease.token)
    gone(leases, lease.token)


@pytest.mark.parametrize("field", ["sessions", "idle_seconds", "volume_bytes", "stall_seconds"])
def test_limits_are_above_zero(field: str) -> None:
    for value in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=field):
            Limits(**{field: value})  # type: ignore[arg-type]
