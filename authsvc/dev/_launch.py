"""Run one PostgreSQL program so that nothing of it outlives the process that asked for it.

A script for a fresh interpreter (`python -I -S _launch.py PROGRAM ARGUMENT...`), on the standard library
alone: being single-threaded at its start is what lets it enter a user namespace and act between fork and
exec.

It lives as long as the program and all its descendants, and takes its one order from standard input: `stop`
shuts the program down, `kill` crashes it, end of file means that the process which asked has died and counts
as `stop`. A pipe rather than a death signal, because PR_SET_PDEATHSIG fires when the parent's *thread* ends,
and callers start us from worker threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import signal
import subprocess
import sys
import threading
from pathlib import Path

STOP = b"stop"
KILL = b"kill"
# Seconds each of the signals sent by STOP has to work before the next, stronger one.
PATIENCE = 10.0
# Exit status: PostgreSQL refuses the user we run as, and the kernel refuses us a namespace to hide that in.
NAMESPACE_REFUSED = 71
# Exit status, as a shell has it.
_CANNOT_RUN = 126

# linux/prctl.h and linux/sched.h; os.unshare exists from Python 3.12 on.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


def main(command: list[str]) -> int:
    """Run `command` to its end and return its exit status, negative for a signal."""
    if _refused_by_postgres():
        try:
            _enter_user_namespace()
        except OSError as error:
            print(f"cannot enter a user namespace: {error}", file=sys.stderr)
            return NAMESPACE_REFUSED
    # Backends whose postmaster was killed become our children, so that we can wait for the last of them.
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1)
    launcher = os.getpid()

    def die_with_launcher() -> None:
        # Only for our own SIGKILL: then nobody is left to insist, hence the signal that takes no persuading.
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGQUIT)
        if os.getppid() != launcher:
            os._exit(1)

    try:
        program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            close_fds=False,  # hands on the caller's lock: held until the last descendant is gone
            # Nothing of the caller's: a server has no business with its secrets, nor a cluster with its locale.
            env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath},
            preexec_fn=die_with_launcher,  # noqa: PLW1509 - safe here: this process has a single thread so far
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return _CANNOT_RUN
    threading.Thread(target=_obey, args=(program,), daemon=True).start()
    status = program.wait()
    _end_orphans()
    return status


def _refused_by_postgres() -> bool:
    """Tell whether initdb would refuse this user: root, or a uid without a name."""
    if os.geteuid() == 0:
        return True
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return True
    return False


def _enter_user_namespace() -> None:
    """Become, for this process and its children only, some named user who is not root.

    Files still belong to the user outside: the namespace maps that one user and group, and nobody else.
    """
    uid, gid = os.geteuid(), os.getegid()
    named = next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), None)
    if named is None:
        raise OSError(errno.ENOENT, "the user database names nobody but root")
    _call("unshare", _CLONE_NEWUSER)
    # user_namespaces(7): mapping oneself alone needs no privilege; for the group, setgroups is given up first.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{named} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{named} {gid} 1")


def _obey(program: subprocess.Popen[bytes]) -> None:
    """Wait for the order, or for the death of whoever might give it, and carry it out."""
    # Not sys.stdin: its lock, held by this thread, would abort the interpreter at exit.
    order = os.read(0, len(STOP))
    # Fast shutdown, immediate shutdown, crash: the postmaster's own signals.
    steps = (signal.SIGKILL,) if order == KILL else (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
    for step in steps:
        program.send_signal(step)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(PATIENCE)
            return


def _end_orphans() -> None:
    """Kill and reap what a killed program left behind; an orderly end leaves nothing."""
    while children := _children():
        for child in children:
            os.kill(child, signal.SIGKILL)
        os.wait()


def _children() -> list[int]:
    """Return the processes whose parent is this one, the dead but not yet reaped among them."""
    me = os.getpid()
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # Processes end while we look. The parent is the second field after the name, itself free text.
        with contextlib.suppress(OSError):
            if int(stat.read_bytes().rpartition(b")")[2].split()[1]) == me:
                found.append(int(stat.parent.name))
    return found


def _call(function: str, *arguments: int) -> None:
    if getattr(_libc, function)(*map(ctypes.c_ulong, arguments)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
