"""Clocks that are set, and machines that sleep: no claim is lost, none is held for ever."""

import os
import sqlite3
import time

import pytest
from test_store import make_run

import pretrain_eval as pe
from pretrain_eval._runs import claims, creation

HOUR = 3600.0
JUMPS = pytest.mark.parametrize("jump", [-5 * HOUR, -61.0, 61.0, 5 * HOUR])


def of_another_machine(path):
    """Have all claims in a store be of a machine whose processes cannot be asked."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE claims SET host = 'elsewhere', process = '1 1'")
    connection.close()


@pytest.fixture(params=["here", "elsewhere"])
def stores(tmp_path, request):
    """A store that holds a claim, and another that would like to have it."""
    path = tmp_path / "runs.db"
    with pe.RunStore(path) as holder, pe.RunStore(path) as other:
        assert holder.claim("k")
        if request.param == "elsewhere":
            of_another_machine(path)
        yield holder, other


@pytest.fixture
def clock(monkeypatch):
    """Moves the clock on the wall, and time itself."""
    plain_time, plain_monotonic = time.time, time.monotonic
    moved = {"wall": 0.0, "both": 0.0}
    monkeypatch.setattr(
        claims.time, "time", lambda: plain_time() + moved["wall"] + moved["both"]
    )
    monkeypatch.setattr(
        claims.time, "monotonic", lambda: plain_monotonic() + moved["both"]
    )

    def move(*, wall=0.0, both=0.0):
        moved["wall"] += wall
        moved["both"] += both

    return move


@JUMPS
def test_a_clock_that_jumps_takes_no_claim_away(stores, clock, jump):
    """Whichever of the two reads the new time first, who works keeps its claim."""
    holder, other = stores
    clock(wall=jump)
    assert not other.claim("k")
    assert other.in_use()
    clock(both=50)
    holder.heartbeat()
    assert not other.claim("k")
    clock(both=50)
    assert not other.claim("k")


@JUMPS
def test_a_clock_that_jumps_keeps_no_claim_of_the_dead(stores, clock, jump):
    """Who is silent for a minute has lost it, though its date may lie hours ahead."""
    _, other = stores
    assert not other.claim("k")
    clock(wall=jump, both=61)
    assert not other.in_use()
    assert other.claim("k")
    assert other.add("k", make_run())


def test_claims_of_several_keys_are_watched_one_by_one(stores, clock):
    """An owner's claims have dates of their own until its next heartbeat."""
    holder, other = stores
    clock(both=5)
    assert holder.claim("l")
    for key in ("k", "l", "k"):
        assert not other.claim(key)
    clock(both=61)
    assert other.claim("k")
    assert other.claim("l")


@JUMPS
def test_a_clock_that_jumps_removes_no_folder_in_use(tmp_path, jump):
    """A store that another process is just making is left to it; one left is cleaned."""
    for name, owner in (
        (".runs.db-abcdefgh", claims.this_process()),
        (".runs.db-ijklmnop", "00000000-1-1"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{creation._OWNER}{owner}").touch()
        changed = time.time() - jump
        os.utime(folder, (changed, changed))
    pe.RunStore(tmp_path / "runs.db").close()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".runs.db-abcdefgh"}
