"""An interrupt that a library swallows is raised again at the next step."""

from __future__ import annotations

import os
import signal

import pytest

from faircut.cli.console import Bars
from faircut.interrupts import Stopped, raise_on_signals


def test_a_swallowed_interrupt_comes_again():
    with raise_on_signals(), Bars(quiet=True) as bars:
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped), bars.stage("next"):
            pass


def test_a_second_signal_is_ignored_while_the_first_is_at_work():
    with raise_on_signals():
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    with raise_on_signals(), Bars(quiet=True) as bars, bars.stage("another run") as advance:
        advance()
