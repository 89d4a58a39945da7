"""Runs items within a time limit, in processes that may fail, hang or be killed without harming the others."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.items import CUT_OFF, FAILED, LEFT_OUT, ROOT, Item, merged

GRACE = 5.0  # seconds for an item to notice that its time is over before its process is killed
PATIENCE = 4.0  # an item is cut off after this many times its estimate, even if there is time left
LEAST = 90.0  # seconds that every item gets, if they are left
SLOWEST, FASTEST = 4.0, 0.3  # limits of the correction of estimates by measured times
TRUSTED = 120.0  # seconds of items after which measured times count as much as estimates
SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Circumstances:
    """The arguments that all items share.

    Attributes:
        tiny: whether this is a rehearsal.
        work: the folder in which every item has its own folder.
        output: the folder of the results.
        images: a folder or .zip of images, or None.
        resume: the output of an earlier command, or None.
    """

    tiny: bool
    work: str
    output: str
    images: str | None
    resume: str | None


class Worker:
    """A process that runs one item after the other."""

    def __init__(self, environment: dict[str, str], log: Path):
        """Starts the process in a session of its own, so that everything it starts can be ended with it."""
        self.environment = environment
        with log.open("ab") as messages:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
                cwd=ROOT,
                env=os.environ | environment,
                start_new_session=True,
            )
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(json.loads(line))
        self._answers.put(None)

    def ask(self, item: Item, circumstances: Circumstances, deadline: float) -> dict[str, Any]:
        """Runs an item until a deadline; returns its outcome in the form of the report."""
        request = asdict(circumstances) | {"function": item.function, "arguments": dict(item.arguments)}
        request |= {"work": str(Path(circumstances.work) / item.name.replace(" ", "_").replace(":", "_"))}
        partial: dict[str, Any] = {}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request | {"deadline": deadline}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"status": FAILED, "error": "its process had ended before"}
        while True:
            try:
                answer = self._answers.get(timeout=max(deadline + GRACE - time.time(), 0.1))
            except queue.Empty:
                self.kill()
                return {"status": CUT_OFF, "error": "its time was over", **partial}
            if answer is None:
                code = self._process.wait()
                return {"status": FAILED, "error": f"its process ended with exit code {code}", **partial}
            if "partial" in answer:
                partial = answer["partial"]
            elif "error" in answer:
                return {"status": FAILED, **partial, "error": answer["error"], "traceback": answer["traceback"]}
            else:
                return {"status": merged(answer["result"].get("rows", [])), **answer["result"]}

    def kill(self) -> None:
        """Ends the process and everything that it started, and closes its pipes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # from what it had not read yet
            self._process.stdin.close()
        self._listener.join(GRACE)


class Runner:
    """Runs items, several at a time if they allow it."""

    def __init__(
        self,
        items: Sequence[Item],
        circumstances: Circumstances,
        end: float,
        jobs: int,
        log: Path,
        changed: Callable[[list[dict[str, Any]]], None],
    ):
        """Prepares to run the items.

        Args:
            items: the items in order of importance.
            circumstances: the arguments that they share.
            end: when everything must be over, in seconds since the epoch.
            jobs: how many items may run at once.
            log: the file for the workers' messages.
            changed: called with all records whenever one has changed, by one thread at a time.
        """
        self._items, self._circumstances, self._end, self._jobs = list(items), circumstances, end, jobs
        self._log, self._changed = log, changed
        self.records: list[dict[str, Any]] = [
            {"name": item.name, "status": LEFT_OUT, "estimate": item.seconds, "error": "not started"} for item in items
        ]
        self._turn = threading.Condition()
        self._next, self._running, self._alone = 0, 0, False
        self._spent, self._estimated = 0.0, 0.0
        self._workers: set[Worker] = set()  # all, and those that run no item
        self._idle: list[Worker] = []

    def run(self) -> None:
        """Runs items until all are done or the time is over."""
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._jobs)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():  # short waits, so that signals are handled
                    thread.join(SECONDS_BETWEEN_LOOKS)
        finally:
            self._end = 0.0  # so that nothing more is started after an interruption
            for worker in list(self._workers):
                worker.kill()

    def _work(self) -> None:
        while (place := self._take()) is not None:
            item, record = self._items[place], self.records[place]
            worker = self._borrow(item)
            started = time.time()
            patience = max(PATIENCE * max(self._expected(item), item.seconds), LEAST)
            if self._circumstances.tiny or not item.measured:  # estimates are for a GPU
                patience = float("inf")
            outcome = worker.ask(item, self._circumstances, min(self._end, started + patience))
            if outcome["status"] in (FAILED, CUT_OFF):  # frees whatever it left in memory
                self._end_worker(worker)
            else:
                with self._turn:
                    self._idle.append(worker)
            self._give_back(item, record, outcome, time.time() - started)

    def _borrow(self, item: Item) -> Worker:
        """Returns a process for an item, an idle one if it fits.

        An item that is to be alone ends all others, which hold memory of the device.
        """
        with self._turn:
            fitting = next((idle for idle in self._idle if idle.environment == item.environment), None)
            unfitting = [idle for idle in self._idle if idle is not fitting]
            ended = unfitting if item.alone else unfitting[: fitting is None]  # there are never more than jobs
            self._idle = [idle for idle in unfitting if idle not in ended]
        for worker in ended:
            self._end_worker(worker)
        if fitting is None:
            fitting = Worker(dict(item.environment), self._log)
            self._workers.add(fitting)
        return fitting

    def _end_worker(self, worker: Worker) -> None:
        worker.kill()
        self._workers.discard(worker)

    def _take(self) -> int | None:
        """Waits for the next item that fits into the time and may run; returns its index, or None if there is none."""
        with self._turn:
            while self._next < len(self._items):
                item, record = self._items[self._next], self.records[self._next]
                expected, left = self._expected(item), self._end - time.time()
                if expected > left:
                    record["error"] = f"takes about {expected:.0f} s, but only {max(left, 0):.0f} s were left"
                    self._next += 1
                elif self._alone or (item.alone and self._running):
                    self._turn.wait()
                else:
                    self._next += 1
                    self._running += 1
                    self._alone = item.alone
                    record |= {"status": CUT_OFF, "error": "was running"}
                    print(f"{item.name} ...", file=sys.stderr, flush=True)
                    self._changed(self.records)
                    return self._next - 1
            return None

    def _give_back(self, item: Item, record: dict[str, Any], outcome: dict[str, Any], seconds: float) -> None:
        with self._turn:
            del record["error"]
            record |= outcome | {"seconds": round(seconds, 1)}
            self._running -= 1
            self._alone = False
            if item.measured and record["status"] != FAILED:
                self._spent += seconds
                self._estimated += item.seconds
            words = f" ({record['error']})" if "error" in record else ""
            print(f"{item.name}: {record['status']}{words}, {seconds:.0f} s", file=sys.stderr, flush=True)
            self._changed(self.records)
            self._turn.notify_all()

    def _expected(self, item: Item) -> float:
        """Returns the expected seconds of an item: its estimate, corrected by how long other items took."""
        pace = (self._spent + TRUSTED) / (self._estimated + TRUSTED)
        return item.seconds * min(max(pace, FASTEST), SLOWEST)
