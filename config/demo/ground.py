"""Where the demo stands: its folder, its servers, and an environment in which nothing of the caller's leads astray.

Runs before the settings are imported, which read the environment once.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config.embedded import holding, lease, postgres

# Nothing else gets in: half of the product's settings would make the demo talk to somebody real.
KEPT = ("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
KEPT_BEGINNINGS = ("PYTHON", "LC_", "COV")
OPERATORS = ("DATABASE_URL", "DATABASE_LISTEN_URL", "MQTT_URL", "SECRET_KEY")  # not of a run on throwaway data
ENDS_WITHIN_S = 30.0  # should it only just be starting


@dataclass(frozen=True, slots=True)
class Ground:
    """`folder` holds what the demo keeps; the servers are embedded ones in `var` where nobody named others."""

    var: Path
    is_throwaway: bool
    has_own_database: bool
    has_own_broker: bool

    @property
    def folder(self) -> Path:
        return self.var / "demo"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def start_servers(self) -> None:
        """Puts MQTT_URL into the environment; DATABASE_URL is there. Raises EmbeddedServerError."""
        if self.has_own_database:
            postgres.lease(self.var / "postgres")
        lease.ensure_broker()

    def leave(self) -> None:
        """Ends the embedded servers, unless somebody else uses them too, and sees them gone."""
        own = {"broker": self.has_own_broker, "postgres": self.has_own_database}
        for name in [name for name, is_own in own.items() if is_own]:
            holding.release(self.var / name, patience_s=ENDS_WITHIN_S)

    def keep_logs(self) -> Path:
        """Where the logs can be read when this run is over."""
        if not self.is_throwaway:
            return self.logs
        kept = Path(tempfile.mkdtemp(prefix="meterpay-demo-logs-"))
        return Path(shutil.copytree(self.logs, kept, dirs_exist_ok=True)) if self.logs.exists() else kept


def prepare(arguments: Sequence[str]) -> None:
    """Makes the environment of `manage.py demo <arguments>`. Ends the process with one line where it must not run."""
    global _chosen  # noqa: PLW0603 - one process, one demo
    is_throwaway = "--once" in arguments
    if os.environ.get("METERPAY_ENV") == "production" and not is_throwaway:
        sys.exit("meterpay: the demo fills its database with a made-up property; it does not run in production")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever ends us, we clear up. A shell lets what it runs in the background ignore SIGINT: not us.
        signal.signal(number, signal.default_int_handler)
    _chosen = _ground(is_throwaway=is_throwaway)
    kept = {name: value for name, value in os.environ.items() if _is_kept(name, is_throwaway=is_throwaway)}
    os.environ.clear()
    os.environ.update(kept)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "METERPAY_VAR": str(_chosen.var),
        "LOG_LEVEL": "ERROR",  # of this process; the others say in their log files what they do
        "PYTHONPATH": os.pathsep.join(filter(None, [str(lease.BASE_DIR), os.environ.get("PYTHONPATH")])),
    }
    if _chosen.has_own_database:
        os.environ["DATABASE_URL"] = postgres.address(_chosen.var / "postgres")


def chosen() -> Ground:
    """The ground of this process."""
    if _chosen is None:
        raise RuntimeError("the demo is started as `manage.py demo`")
    return _chosen


_chosen: Ground | None = None


def _ground(*, is_throwaway: bool) -> Ground:
    return Ground(
        var=_throwaway_folder() if is_throwaway else lease.var_folder().resolve(),
        is_throwaway=is_throwaway,
        has_own_database=is_throwaway or not os.environ.get("DATABASE_URL"),
        has_own_broker=is_throwaway or not os.environ.get("MQTT_URL"),
    )


def _throwaway_folder() -> Path:
    """Passable, because as root PostgreSQL runs as somebody else; gone when this process ends."""
    folder = Path(tempfile.gettempdir()).resolve() / f"meterpay-demo-{secrets.token_hex(6)}"
    folder.mkdir(mode=0o711)
    folder.chmod(0o711)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_kept(name: str, *, is_throwaway: bool) -> bool:
    return (
        name in KEPT
        or name.startswith(KEPT_BEGINNINGS)
        or name == "METERPAY_BROKER"
        or (name in OPERATORS and not is_throwaway)
    )
