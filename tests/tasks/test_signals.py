import os
import signal
import threading

import pytest

from tasks.signals import Heed, Stopped


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_at_once_where_nobody_waits_for_it(number, status):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, Heed():
        send(number)
    assert stopped.value.status == status
    assert stopped.value.saved is None
    assert signal.getsignal(number) is before
    assert Heed.current is None


def test_in_training_a_signal_is_noted_and_a_second_ctrl_c_leaves_at_once():
    with Heed() as heed:
        heed.patient = True
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert (heed.stop, heed.save) == (signal.SIGTERM, False)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_sigusr1_asks_for_a_save_and_nothing_else():
    with Heed() as heed:
        send(signal.SIGUSR1)
        assert (heed.stop, heed.save) == (0, True)


def test_a_process_that_reads_data_leaves_the_decision_to_the_one_that_trains():
    with Heed() as heed:
        heed.owner += 1
        send(signal.SIGTERM)
        assert heed.stop == 0


def test_outside_of_the_main_thread_signals_stay_as_they_are():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with Heed():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
