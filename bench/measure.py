#!/usr/bin/env python3
"""Runs commands and reports the resource usage of each, from the kernel (wait4).

Reads one JSON object per line, {"argv", "env", "cwd"}, and answers each with one line:
{"wall", "cpu"} in milliseconds from before the start to after the exit, {"peak"} memory
in KiB, {"status"} as a shell would report it, and {"out"}, the standard output.
"""
import json, os, sys, time

for line in sys.stdin:
    job = json.loads(line)
    os.chdir(job["cwd"])
    reading, writing = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    actions = [
        (os.POSIX_SPAWN_DUP2, null, 0),
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_CLOSE, writing),
        (os.POSIX_SPAWN_CLOSE, reading),
    ]
    start = time.perf_counter()
    pid = os.posix_spawnp(job["argv"][0], job["argv"], job["env"], file_actions=actions)
    os.close(writing)
    out = b""
    while chunk := os.read(reading, 65536):
        out += chunk
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    os.close(reading)
    os.close(null)
    answer = {
        "wall": wall * 1000,
        "cpu": (usage.ru_utime + usage.ru_stime) * 1000,
        "peak": usage.ru_maxrss,
        "status": os.waitstatus_to_exitcode(status),
        "out": out.decode("utf8", "replace"),
    }
    print(json.dumps(answer), flush=True)
