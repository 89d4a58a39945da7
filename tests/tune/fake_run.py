"""Stands in for a run in tests of searches: trains nothing, and leaves the files that a search reads.

The accuracy is highest at the learning rate 0.1. The run heeds SIGTERM, as a real one does. ``FAKE_SECONDS`` is how
long it takes, after ``FAKE_PROCESSES`` different processes have called runs. What it was called with is appended to
``FAKE_CALLS``.
"""

import csv
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

arguments = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
workdir = Path(arguments["workdir"])
rate = float(arguments.get("config.classifier.learning_rate", 0.1))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

with open(os.environ["FAKE_CALLS"], "a") as calls:
    calls.write(json.dumps(arguments | {"process": os.getppid()}) + "\n")
workdir.mkdir(parents=True, exist_ok=True)
(workdir / "config.json").touch()

if arguments["stage"] == "generator":
    (workdir / "generator").mkdir(exist_ok=True)
    (workdir / "mixing.png").touch()
    sys.exit(0)

if os.environ.get("FAKE_STOPPED") == workdir.name:  # by someone else
    sys.exit(143)
if rate > 1:
    print("chimeramix: classifier: not finite in epoch 1", file=sys.stderr)
    sys.exit(3)
if rate < 1e-3:
    print("chimeramix: classifier.learning_rate: is too small for this test", file=sys.stderr)
    sys.exit(1)

until = time.monotonic() + 60
while len({json.loads(call)["process"] for call in Path(os.environ["FAKE_CALLS"]).read_text().splitlines()}) < int(
    os.environ.get("FAKE_PROCESSES", 1)
):
    if time.monotonic() > until:
        sys.exit("chimeramix: the other processes did not call a run within a minute")
    time.sleep(0.05)
accuracy = round(1 - abs(math.log10(rate) + 1) / 4, 2)
(workdir / "classifier").mkdir(exist_ok=True)
for epoch in (1, 2, 3, 4):
    time.sleep(float(os.environ.get("FAKE_SECONDS", 0)) / 4)
    line = {"stage": "classifier", "epoch": epoch, "step": epoch}
    with open(workdir / "classifier" / "metrics.jsonl", "a") as log:
        log.write(json.dumps(line | ({"validation_top1": accuracy * epoch / 4} if epoch < 4 else {})) + "\n")

images = 100 if arguments.get("config.fold") is None else 10
right = round(accuracy * images)
with open(workdir / "held_out.csv", "w", newline="") as table:
    writer = csv.writer(table)
    writer.writerow(["image", "true_class", "predicted_class"])
    writer.writerows([f"image_{number:03}", "a", "a" if number < right else "b"] for number in range(images))
results = {"validation": {"top1": right / images, "examples": images}, "seconds": {"classifier": 1.5}}
(workdir / "results.json").write_text(json.dumps(results))
