"""`confirm`: callbacks a second, through HTTP to money in a purse and a command for its meter, durably committed.

Each callback is another home's first recharge, the power off, the money held by the server. What one causes: evidence;
order, attempt, payment, entry, transfer, purse, a ledger account, the relay's level and command, a message to the
tenant, a shipping notice; and a notification for the gateway. (A meter with a display gets a second command.)

The reference is pgbench's TPC-B on the same server: what its disk and its cores give to anybody.
"""

from __future__ import annotations

from statistics import median

from benchmarks.database import Server, folder
from benchmarks.load import Load, Sender
from benchmarks.result import Result

GOAL, AIM = 0.15, 0.25
NAME = "bench_confirm"


def run(*, quick: bool) -> Result:
    """Five interleaved runs of both; `quick` does one short one, which proves that it works and says little of speed.

    Raises RuntimeError when a payment was not credited exactly once, and SystemExit when the audit finds anything.
    """
    rounds, callbacks, scale, seconds = (1, 200, 1, 1) if quick else (5, 4000, 50, 10)
    server = Server()
    reference = server.prepare_pgbench(scale=scale)
    server.open_fresh(NAME)
    from django.core.management import call_command

    from benchmarks import homes, web
    from sandbox.world import load_world

    world = load_world(folder() / "sandbox")
    town = homes.Town(world, has_display=False)
    runs = []
    with web.running(folder()) as port:
        _send(port, [home.attempt for home in town.add(100, held_by="server")])  # the first ones load code and plans
        for _ in range(rounds):
            paid = town.add(callbacks, held_by="server")
            server.settle()
            runs.append(
                {
                    "ours": _send(port, [home.attempt for home in paid]),
                    "reference": server.pgbench(reference, seconds=seconds),
                }
            )
            homes.check_each_is_credited_once(paid)
    call_command("audit")
    return _result(runs)


def _send(port: int, attempts: list[str]) -> float:
    from benchmarks.homes import AMOUNT_FEN, SLUG

    path = f"/payments/notify/wechat/{SLUG}/"
    with Sender(Load(str(folder() / "sandbox"), port, path, attempts, AMOUNT_FEN)) as sender:
        sent = sender.send()
    if sent.statuses != {"204": len(attempts)}:
        raise RuntimeError(f"not all callbacks were answered with 204: {sent.statuses}")
    return len(attempts) / sent.seconds


def _result(runs: list[dict[str, float]]) -> Result:
    ours, reference = (median(one[name] for one in runs) for name in ("ours", "reference"))
    ratio = ours / reference
    return Result(
        name="confirm",
        unit="a second",
        ours=ours,
        reference=reference,
        ratio=ratio,
        goal=f"at least {GOAL}, aim {AIM}",
        is_met=ratio >= GOAL,
        runs=runs,
    )
