"""Worker processes of this machine, supervised: one that dies costs its own call."""

from __future__ import annotations

import io
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, final

import torch
from typing_extensions import override

from pretrain_eval._sweep.jobs import Job, Part

T = TypeVar("T")
Call = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_ORPHANS = Path(__file__).with_name("orphans.py")
_MAIN = """
import runpy, sys
runpy.run_path(sys.argv[2])["end_with"](int(sys.argv[3]))
from pretrain_eval._sweep.workers import main; main()
"""
_GRACE_SECONDS = 10.0  # for a run to end itself, and to hand over what it measured
_NUM_PARTS = 8  # pickled models, tasks and strategies that a worker keeps


@final
class WorkerPool(Executor):
    """An executor of `num_workers` fresh Python processes.

    They share nothing with this process: the main script is not run again, threads are
    divided among them, and one that is killed or hangs is replaced.

    Args:
        num_workers: At least 1.
        devices: Where each worker trains its jobs, in turn; by default where they say.
        timeout: Seconds after which a call that has not ended itself is killed.

    >>> with WorkerPool(1) as pool:
    ...     pool.submit(pow, 2, 10).result()
    1024
    """

    def __init__(
        self,
        num_workers: int,
        *,
        devices: Sequence[str] = (),
        timeout: float | None = None,
    ) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        threads = max(1, torch.get_num_threads() // num_workers)
        self._workers = [
            _Worker(threads, devices[i % len(devices)] if devices else "", timeout)
            for i in range(num_workers)
        ]
        self._supervisors = [
            threading.Thread(target=self._supervise, args=(worker,), daemon=True)
            for worker in self._workers
        ]
        for supervisor in self._supervisors:
            supervisor.start()

    @override
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((future, fn, args, kwargs))
        return future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            with suppress(queue.Empty):
                while True:
                    call = self._calls.get_nowait()
                    if call is not None and call[0].cancel():
                        call[0].set_running_or_notify_cancel()  # tells who waits
            for worker in self._workers:
                worker.kill()
        for _ in self._workers:
            self._calls.put(None)
        if wait:
            for supervisor in self._supervisors:
                supervisor.join()

    def _supervise(self, worker: _Worker) -> None:
        while (call := self._calls.get()) is not None:
            future, fn, args, kwargs = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(worker.call(fn, args, kwargs))
            except BaseException as error:
                future.set_exception(error)
        worker.close()


class _Worker:
    """One process, started when it is first called and again when it has died."""

    def __init__(self, threads: int, device: str, timeout: float | None) -> None:
        self._threads, self._device, self._timeout = threads, device, timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._parts: dict[str, Part] = {}  # those that the process holds

    def call(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        """What `fn` returns in the process, or raises there.

        Raises:
            BrokenExecutor: The process died.
            TimeoutError: It did not end in time.
        """
        if self._device:
            args = tuple(a.on(self._device) if isinstance(a, Job) else a for a in args)
        body = io.BytesIO()
        pickler = _Pickler(body, pickle.HIGHEST_PROTOCOL)
        pickler.dump((fn, args, kwargs))
        process = self._process or self._start()
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer((self._timeout or 0) + _GRACE_SECONDS, end)
        if self._timeout is not None:
            timer.start()
        try:
            _write(process.stdin, (self._exchange(pickler.parts), body.getvalue()))
            returned, value = _read(process.stdout)
        except (OSError, EOFError) as error:
            self._process = None
            code = _ended(process)
            if late.is_set():
                raise TimeoutError(f"did not end in {self._timeout} s") from error
            raise BrokenExecutor(_obituary(code)) from error
        finally:
            timer.cancel()
        if not returned:
            raise value
        result: T = value
        return result

    def kill(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Let the process end."""
        if self._process is not None:
            _ended(self._process)
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", _MAIN),
                *(str(self._threads), str(_ORPHANS), str(os.getpid())),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(self._threads),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            start_new_session=True,  # Ctrl-C is for the parent to handle
        )
        self._process, self._parts = process, {}
        try:
            _read(process.stdout)  # it has imported what it needs
        except EOFError as error:
            self._process, code = None, _ended(process)
            raise BrokenExecutor(f"at its start {_obituary(code)}") from error
        return process

    def _exchange(self, parts: dict[str, Part]) -> tuple[list[Part], list[str]]:
        """The parts to send now, and the names of those to forget."""
        new = [part for name, part in parts.items() if name not in self._parts]
        self._parts |= parts
        idle = [name for name in self._parts if name not in parts]
        dropped = idle[: max(0, len(self._parts) - _NUM_PARTS)]
        for name in dropped:
            del self._parts[name]
        return new, dropped


def _obituary(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        cause = "; the system may have run out of memory" if code == -9 else ""
        return f"the worker process was killed by {name}{cause}"
    return f"the worker process ended with code {code}"


class _Pickler(pickle.Pickler):
    """Writes the name of a part instead of its content."""

    def __init__(self, file: BinaryIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.parts: dict[str, Part] = {}

    @override
    def persistent_id(self, obj: object) -> str | None:
        if not isinstance(obj, Part):
            return None
        self.parts[obj.digest] = obj
        return obj.digest


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, parts: dict[str, Part]) -> None:
        super().__init__(file)
        self._parts = parts

    @override
    def persistent_load(self, pid: str) -> Part:
        return self._parts[pid]


def main() -> None:
    """Answer calls from standard input on standard output until it closes."""
    torch.set_num_threads(int(sys.argv[1]))
    # Unbuffered, since the thread that waits for it holds no lock of it at the end.
    source, sink = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb")
    # What the calls print must not stand between the answers.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    parts: dict[str, Part] = {}
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(source, calls, busy), daemon=True).start()
    _write(sink, "ready")
    while (call := calls.get()) is not None:
        (new, dropped), body = call
        parts |= {part.digest: part for part in new}
        for name in dropped:
            del parts[name]
        answer = _answer(body, parts)
        busy.clear()
        try:
            _write(sink, answer)
        except OSError:  # nobody wants it any more
            return


def _listen(source: Any, calls: queue.SimpleQueue[Any], busy: threading.Event) -> None:
    """Hand the calls on; when they end while one is under way, the parent has died."""
    while True:
        try:
            call = _read(source)
        except EOFError:
            if busy.is_set():
                os._exit(1)
            calls.put(None)
            return
        busy.set()
        calls.put(call)


def _answer(body: bytes, parts: dict[str, Part]) -> tuple[bool, Any]:
    try:
        fn, args, kwargs = _Unpickler(io.BytesIO(body), parts).load()
        answer = (True, fn(*args, **kwargs))
        pickle.dumps(answer)
    except Exception as error:
        # An exception of the user's may not be picklable; its words always are.
        return False, RuntimeError(f"{type(error).__name__}: {error}")
    return answer


def _write(file: Any, message: object) -> None:
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    file.write(struct.pack(">Q", len(content)))
    file.write(content)
    file.flush()


def _read(file: Any) -> Any:
    (size,) = struct.unpack(">Q", _exactly(file, 8))
    return pickle.loads(_exactly(file, size))


def _exactly(file: Any, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        piece = file.read(size - len(content))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)


def _ended(process: subprocess.Popen[bytes]) -> int:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
    return process.wait()
