"""Small trials for ``ganinfer doctor``, each run in a process of its own.

A probe prints one JSON object: what it found, or ``error``.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def tensorflow() -> dict[str, object]:
    """Imports TensorFlow and takes one training step of a small convolution."""
    start = time.perf_counter()
    import keras
    import numpy as np
    import tensorflow as tf

    imported = time.perf_counter()
    model = keras.Sequential(
        [keras.Input((8, 4)), keras.layers.Conv1D(4, 3), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile(optimizer="adam", loss="mse", jit_compile=False)
    loss = model.train_on_batch(np.ones((16, 8, 4), np.float32), np.zeros((16, 1), np.float32))
    if not np.isfinite(loss):
        raise ArithmeticError(f"the loss of a trivial step is {loss}")
    return {
        "keras": keras.__version__,
        "devices": [d.name.removeprefix("/physical_device:") for d in tf.config.list_physical_devices()],
        "import_seconds": round(imported - start, 1),
        "step_seconds": round(time.perf_counter() - imported, 1),
    }


def ray(address: str = "") -> dict[str, object]:
    """One task through the executor that runs use; an empty ``address`` starts Ray on this machine."""
    from ganinfer import execution

    start = time.perf_counter()
    with execution.make("ray", None if address else 1, address=address or None) as executor:
        results = list(executor.run(twice, [21]))
        workers = executor.num_workers
    if results != [(0, 42)]:
        raise ArithmeticError(f"a task that doubles 21 returned {results}")
    return {"seconds": round(time.perf_counter() - start, 1), "workers": workers}


def twice(number: int) -> int:
    """The task."""
    return 2 * number


def mlflow(uri: str = "", runs: str = "runs") -> dict[str, object]:
    """Records a run at ``uri``, or as runs do by default, but in a database that is thrown away."""
    from ganinfer import tracking

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tracker = tracking.open_tracker(
            uri or None, Path(folder), "ganinfer-doctor", "doctor", {"probe": 1}, {}, run_folder=Path(folder) / "doctor"
        )
        tracker.metrics({"probe": 1.0}, 0)
        tracker.finish()
        if tracker.warnings:
            raise OSError("; ".join(tracker.warnings))
        shown = tracker.uri if uri else f"a SQLite database, as in {runs}/"
    return {"uri": shown, "seconds": round(time.perf_counter() - start, 1)}


def plugins() -> dict[str, object]:
    """Loads every plugin: what is wrong with each, ``null`` where nothing is."""
    from ganinfer import plugins as installed

    found: dict[str, object] = {}
    for kind in installed.GROUPS:
        for info in installed.available(kind):
            try:
                installed.load(kind, info.name)
                found[f"{kind}/{info.name}"] = None
            except installed.PluginError as error:
                found[f"{kind}/{info.name}"] = str(error)
    return found


PROBES: dict[str, Callable[..., dict[str, object]]] = {
    "tensorflow": tensorflow,
    "ray": ray,
    "mlflow": mlflow,
    "plugins": plugins,
}


def main(name: str, *arguments: str) -> None:
    try:
        found = PROBES[name](*arguments)
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(found), flush=True)
