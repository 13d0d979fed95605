import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.process.signals import Interrupted, SignalGuard


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_at_once_where_nobody_waits_for_it(number, status):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stopped, SignalGuard():
        send(number)
    assert stopped.value.status == status
    assert stopped.value.saved is None
    assert signal.getsignal(number) is before


def test_in_training_a_signal_is_noted_and_a_second_ctrl_c_leaves_at_once():
    with SignalGuard() as guard:
        guard.patient = True
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert (guard.stop, guard.save) == (signal.SIGTERM, False)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_sigusr1_asks_for_a_save_and_nothing_else():
    with SignalGuard() as guard:
        send(signal.SIGUSR1)
        assert (guard.stop, guard.save) == (0, True)


def test_a_process_that_reads_data_leaves_the_decision_to_the_one_that_trains():
    with SignalGuard() as guard:
        guard.owner += 1
        send(signal.SIGTERM)
        assert guard.stop == 0


def test_outside_of_the_main_thread_signals_stay_as_they_are():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with SignalGuard():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_what_nohup_started_goes_on_when_the_terminal_is_closed():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalGuard() as guard:
            send(signal.SIGHUP)
            assert guard.stop == 0
    finally:
        signal.signal(signal.SIGHUP, before)


PROGRAM = """
import fcntl, sys, termios, time
from tasks.process.signals import SignalGuard, Interrupted
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
try:
    with SignalGuard() as guard:
        guard.patient = True
        print("ready", flush=True)
        while not guard.stop:
            time.sleep(0.01)
        print("saved", flush=True)
        raise Interrupted(guard.stop)
except Interrupted as stopped:
    print("stopped", file=sys.stderr, flush=True)
    sys.exit(stopped.status)
"""


def test_a_closed_terminal_stops_a_run_whose_words_nobody_reads_any_more():
    here, there = pty.openpty()
    place = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=place,
        stdin=there,
        stdout=there,
        stderr=there,
        start_new_session=True,
    )
    os.close(there)
    assert b"ready" in os.read(here, 100)
    os.close(here)
    assert process.wait(20) == 129
