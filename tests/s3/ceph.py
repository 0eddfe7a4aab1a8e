"""A real S3 server on this machine: Ceph's object gateway with one monitor and one disk, in a folder of its own.

    python tests/s3/ceph.py            # serves until Ctrl-C, prints the environment that clients need
    python tests/s3/ceph.py install    # installs what is missing and ends

Every daemon may be killed with SIGKILL at any time and started again on the same folder: what was acknowledged is still there.
"""

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common")
COMMANDS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "ceph-authtool", "monmaptool")
BUCKET = "swissroll"
ACCESS_KEY, SECRET_KEY = "testkey", "testsecret"
PATIENCE_S = 120.0  # for any one daemon to come up on a machine that is busy with other things
STOP_S = 15.0

CONFIG = """\
[global]
fsid = {cluster}
mon host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {home}/run
admin socket = {home}/run/$name.asok
pid file = {home}/run/$name.pid
log file = {home}/log/$name.log
keyring = {home}/keyring
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
# Fractions of the disk that must be free; a laptop's disk is often nearly full.
mon data avail warn = 1
mon data avail crit = 1
mon osd nearfull ratio = 0.99
mon osd full ratio = 0.995
[mon.a]
mon data = {home}/mon
mon initial members = a
[osd.0]
osd data = {home}/osd
osd objectstore = bluestore
bluestore block create = true
bluestore block size = 8589934592
bluestore cache size = 134217728
osd memory target = 939524096
osd class load list = *
osd class default list = *
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw enable usage log = false
"""


class CannotInstall(Exception):
    """Why the server's packages cannot be had here, and what to do."""


def install() -> None:
    """Installs Ceph's Debian packages where they are missing.

    Raises:
        CannotInstall: This is no Debian, nobody may install here, or the package source does not answer.
    """
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if not missing:
        return
    by_hand = f"install {' '.join(PACKAGES)} by hand (missing: {', '.join(missing)})"
    if shutil.which("apt-get") is None:
        raise CannotInstall(f"no apt-get on this machine: {by_hand}")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and shutil.which("sudo") is None:
        raise CannotInstall(f"neither root nor sudo: {by_hand}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    get = [*prefix, "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]
    for command in ([*get, "update"], [*get, "install", "-y", "--no-install-recommends", *PACKAGES]):
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()[-3:]
            raise CannotInstall(f"{' '.join(command)} failed: {' / '.join(said)}; {by_hand}")


class CephServer:
    """One gateway, one monitor, one disk.

    Args:
        home: An empty folder with a short path (it holds Unix sockets); everything is in it.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._ports = free_ports(3)
        self.url = f"http://127.0.0.1:{self._ports[0]}"
        self._cluster = str(uuid.uuid4())
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        # Daemons run as whoever starts the tests; root must say so, or they would become the user "ceph".
        self._as_me = ["--setuser", "root", "--setgroup", "root"] if os.geteuid() == 0 else []

    @property
    def environment(self) -> dict[str, str]:
        """What leads s3:// URLs to this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def create(self) -> None:
        """Makes the cluster and its user, and serves."""
        for name in ("mon", "osd", "run", "log"):
            (self._home / name).mkdir()
        port, mon_v2, mon_v1 = self._ports
        text = CONFIG.format(home=self._home, cluster=self._cluster, port=port, mon_v2=mon_v2, mon_v1=mon_v1)
        (self._home / "ceph.conf").write_text(text)
        keyring, monitor_map = self._home / "keyring", self._home / "monmap"
        everything = {"mon": "allow *", "osd": "allow *"}
        self._key("mon.", {"mon": "allow *"}, "--create-keyring")
        self._key("client.admin", {**everything, "mgr": "allow *"})
        self._key("osd.0", {"mon": "allow profile osd", "osd": "allow *"})
        self._key("client.rgw.a", everything)
        addresses = f"[v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]"
        self._run("monmaptool", "--create", "--addv", "a", addresses, "--fsid", self._cluster, monitor_map)
        self._run(
            "ceph-mon", "-c", self._conf, "--mkfs", "-i", "a", "--monmap", monitor_map, "--keyring", keyring, *self._as_me
        )
        self._start_monitor()
        disk = str(uuid.uuid4())
        self._ceph("auth", "import", "-i", keyring)
        self._ceph("osd", "new", disk, "0")
        self._run("ceph-osd", "-c", self._conf, "-i", "0", "--mkfs", "--osd-uuid", disk, *self._as_me)
        self._ceph("osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        self._start_disk()
        self._start_gateway()
        self._run(
            "radosgw-admin", "-c", self._conf, "user", "create", "--uid", "test", "--display-name", "test",
            "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY,
        )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL to every daemon, at once."""
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGKILL)
        for daemon in self._daemons.values():
            daemon.wait()
        self._daemons.clear()

    def kill_gateway(self) -> None:
        """SIGKILL to what clients talk to; the disk lives on."""
        daemon = self._daemons.pop("radosgw")
        daemon.kill()
        daemon.wait()

    def restart(self) -> None:
        """Starts the daemons that were killed, on the same folder and ports."""
        if "ceph-mon" not in self._daemons:
            self._start_monitor()
        if "ceph-osd" not in self._daemons:
            self._start_disk()
        if "radosgw" not in self._daemons:
            self._start_gateway()

    def stop(self) -> None:
        """Ends every daemon, the gateway first."""
        for name in ("radosgw", "ceph-osd", "ceph-mon"):
            daemon = self._daemons.pop(name, None)
            if daemon is None:
                continue
            daemon.terminate()
            try:
                daemon.wait(STOP_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _start_monitor(self) -> None:
        self._daemon("ceph-mon", "-i", "a")
        self._until(lambda: self._answers("osd", "stat") is not None, "ceph-mon")

    def _start_disk(self) -> None:
        epoch = self._osd_epoch()
        self._daemon("ceph-osd", "-i", "0")
        # After a SIGKILL the monitor still takes the old disk for alive: wait for the new one to say so itself.
        self._until(lambda: self._osd_epoch() > epoch and "1 up" in (self._answers("osd", "stat") or ""), "ceph-osd")

    def _start_gateway(self) -> None:
        self._daemon("radosgw", "-n", "client.rgw.a")
        self._until(self._gateway_answers, "radosgw")

    def _osd_epoch(self) -> int:
        """Grows whenever a disk comes or goes."""
        said = self._answers("osd", "getmap", "-o", str(self._home / "osdmap")) or ""
        return int(said.rpartition(" ")[2] or -1)

    def _gateway_answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except (OSError, http.client.HTTPException):
            return False

    def _daemon(self, name: str, *arguments: str) -> None:
        with (self._home / "log" / f"{name}.out").open("ab") as output:
            # A session of its own: Ctrl-C and the end of a test's process group must not reach it.
            self._daemons[name] = subprocess.Popen(
                [name, "-c", self._conf, *arguments, *self._as_me, "-f"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def _until(self, ready: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            code = self._daemons[name].poll()
            if code is not None or time.monotonic() > deadline:
                tail = (self._home / "log" / f"{name}.out").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} {'is not up' if code is None else f'ended with {code}'}: {tail}")
            time.sleep(0.1)

    def _answers(self, *arguments: str) -> str | None:
        """What the monitor says, on both outputs; None where it does not answer."""
        command = ["ceph", "-c", self._conf, "--connect-timeout", "5", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        return None if ended.returncode else (ended.stdout + ended.stderr).strip()

    def _ceph(self, *arguments: object) -> None:
        self._run("ceph", "-c", self._conf, "--connect-timeout", "30", *arguments)

    def _key(self, name: str, may: dict[str, str], *options: str) -> None:
        caps = [word for part, right in may.items() for word in ("--cap", part, right)]
        self._run("ceph-authtool", *options, self._home / "keyring", "--gen-key", "-n", name, *caps)

    def _run(self, *command: object) -> None:
        ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {ended.returncode}: {ended.stderr[-2000:]}")

    @property
    def _conf(self) -> str:
        return str(self._home / "ceph.conf")


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different; none of those that any process may be given, which another might have
    before a daemon does."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"got {len(found)} free ports, expected {count}")


def main() -> int:
    """Serves until Ctrl-C or SIGTERM, or installs only."""
    try:
        install()
    except CannotInstall as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if sys.argv[1:] == ["install"]:
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    home = Path(tempfile.mkdtemp(prefix="swr-ceph-"))
    server = CephServer(home)
    try:
        server.create()
        for name, value in server.environment.items():
            print(f"export {name}={value}")
        print("# serving; Ctrl-C ends it", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        return 0
    finally:
        server.stop()
        shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
