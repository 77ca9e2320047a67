"""Runs transplants in forked children and kills them; everything is imported once. Driven by `test_kill.py`.

Reads a JSON object a line: base, donor, out, overwrite, wait (a stage to wait for, or null) and kill (null to let the
child end; else the moment: seconds of its processor time, or seconds on the wall after the stage waited for). Answers
with a JSON object: stage (the last one that the child told), killed, exit, and in the same measure seconds (to the end).
"""

import faulthandler
import gc
import json
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path

import torch
from tqdm import tqdm

from hf_tokext.transplant import transplant_checkpoint

PATIENCE = 60.0


def child(job, tell):
    """Run a transplant, telling every stage, and leave without any of the parent's clearing up."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    code = 1
    try:
        transplant_checkpoint(
            job["base"],
            job["donor"],
            job["out"],
            overwrite=job["overwrite"],
            progress=lambda stage, done, total: os.write(tell, f"{stage} {done}/{total}\n".encode()),
        )
        code = 0
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(code)


def read_until(pipe, wanted):
    """Read what the child tells until a stage comes, or until it ends."""
    told = b""
    while wanted.encode() not in told and select.select([pipe], [], [], PATIENCE)[0]:
        part = os.read(pipe, 1 << 16)
        if not part:
            break
        told += part
    return told


def wait_for_work(pid, seconds, started):
    """Wait until the child has worked for so long; other load on the machine does not move the moment."""
    clock = (~pid << 3) | 2  # how Linux numbers the processor-time clock of a process (clock_getcpuclockid)
    while time.clock_gettime(clock) < seconds and time.perf_counter() - started < PATIENCE:
        time.sleep(0.0005)
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break  # it needed less this time


def run(job):
    """Fork, wait, kill, and say what happened."""
    pipe, tell = os.pipe()
    started = time.perf_counter()
    pid = os.fork()
    if not pid:
        os.close(pipe)
        child(job, tell)
    os.close(tell)
    told = b""
    if job["wait"]:
        told = read_until(pipe, job["wait"])
        started = time.perf_counter()
    if job["kill"] is not None:
        if job["wait"]:
            time.sleep(job["kill"])
        else:
            wait_for_work(pid, job["kill"], started)
        os.kill(pid, signal.SIGKILL)  # a child that has ended is not reaped yet, so that the number is still its own
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started if job["wait"] else usage.ru_utime + usage.ru_stime
    told += read_until(pipe, "no such stage")
    os.close(pipe)
    stages = told.decode().split("\n")[:-1]
    return {
        "stage": stages[-1] if stages else "start",
        "killed": os.WIFSIGNALED(status),
        "exit": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
    }


def answer(found):
    """One line to the driver."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main():
    """Warm up with the first job in this process, so that children find all modules loaded; then serve."""
    torch.set_num_threads(1)  # a fork keeps one thread
    # tqdm's own lock is shared by forked processes: a child killed while it draws would keep it from all later ones
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0
    first = json.loads(sys.stdin.readline())
    transplant_checkpoint(first["base"], first["donor"], first["out"])
    assert Path(first["out"]).is_dir()
    gc.freeze()  # otherwise the collector touches, and so copies, every page in every child
    answer({"ready": True})
    for line in sys.stdin:
        answer(run(json.loads(line)))


if __name__ == "__main__":
    main()
