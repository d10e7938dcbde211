"""Runs a command in a root of its own: this machine's files, with a container's files and volumes at their paths.

A script of its own, for the container's Python, which has none of our packages. Usage:
`sandbox_entry.py PLAN.json`, or `sandbox_entry.py --probe`, which exits with 0 where the kernel allows it.
"""

import ctypes
import json
import os
import signal
import sys
import tempfile

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind, flags):
    encoded = [value.encode() if value else None for value in (source, target, kind)]
    check(libc.mount(*encoded, ctypes.c_ulong(flags), None), f"mount {target}")


def enter_namespaces():
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    mount(None, "/", None, MS_REC | MS_PRIVATE)


def bind(source, target):
    """Shows a file or folder of the machine at another path."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a"):
            pass
    mount(source, target, None, MS_BIND | MS_REC)


def below(paths, folder):
    prefix = folder.rstrip("/") + "/"
    return {path[len(prefix) :].split("/")[0] for path in paths if path.startswith(prefix)}


def build(plan, folder="/"):
    """Fills one folder of the new root; folders that hold something of the container are made anew."""
    root, rootfs, volumes, keep = plan["root"], plan["rootfs"], plan["volumes"], plan["keep"]
    inner = rootfs + folder
    own = set(os.listdir(inner)) if os.path.isdir(inner) else set()
    if folder == "/":
        host = set(os.listdir("/"))
    else:
        # Elsewhere the machine's own files are hidden, but for what Python and the engine need.
        host = {name for name in below(keep, folder) if os.path.lexists(os.path.join(folder, name))}
    for name in sorted(own | host | below(volumes, folder)):
        path = os.path.join(folder, name)
        target = root + path
        if path in volumes:
            source, read_only = volumes[path]
            bind(source, target)
            if read_only:
                mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)
        elif os.path.isfile(rootfs + path):
            bind(rootfs + path, target)
        elif os.path.isdir(rootfs + path) or below(volumes, path):
            os.makedirs(target, exist_ok=True)
            build(plan, path)
        elif path in keep or folder == "/":
            if os.path.islink(path):
                os.symlink(os.readlink(path), target)
            elif path == plan["root"] or not os.path.exists(path):
                continue
            else:
                bind(path, target)
        else:
            os.makedirs(target, exist_ok=True)
            build(plan, path)


def run(plan):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    enter_namespaces()
    os.makedirs(plan["root"], exist_ok=True)
    mount("tmpfs", plan["root"], "tmpfs", 0)
    build(plan)
    os.chroot(plan["root"])
    os.chdir("/root")
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execv(plan["command"][0], plan["command"])


def main():
    if sys.argv[1] == "--probe":
        enter_namespaces()
        mount("tmpfs", tempfile.gettempdir(), "tmpfs", 0)
        return
    with open(sys.argv[1]) as file:
        run(json.load(file))


main()
