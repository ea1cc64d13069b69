import multiprocessing
import threading

import pytest
import torch

from facemogle.ui import torch_thread


def test_all_is_called_in_one_thread_in_order():
    done = []
    first = torch_thread.submit(lambda: done.append(threading.current_thread()))
    torch_thread.call(lambda: done.append(threading.current_thread()))
    assert first.done()
    assert done[0] is done[1] is not threading.current_thread()


def test_what_is_raised_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        torch_thread.call(lambda: 1 / 0)


def test_beside_a_gpu_small_work_does_not_wait(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    go_on = threading.Event()
    waiting = torch_thread.submit(go_on.wait, 30)
    assert torch_thread.call(threading.current_thread) is threading.current_thread()
    assert not waiting.done()
    go_on.set()
    assert waiting.result()


def test_a_forked_process_has_a_thread_of_its_own():
    torch_thread.submit(lambda: None).result()
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(torch_thread.submit(int, "3").result(timeout=20)))
    child.start()
    child.join(timeout=30)
    assert (child.exitcode, answers.get() if child.exitcode == 0 else None) == (0, 3)
