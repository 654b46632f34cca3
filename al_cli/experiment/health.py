"""Can runs work here: locks, store, data, memory, disk? What `al doctor` asks of the machine for one job."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from al_cli.errors import AlError
from al_cli.experiment import build
from al_cli.experiment.job import Job
from al_cli.learners.kinds import Footprint
from al_cli.learners.portable import CAPS, RIVALS, check_portable
from al_cli.store.disk import Store, sizes
from al_cli.system import lock
from al_cli.types import Dataset

MOST_MEASURED = 16  # images that the measured step may choose its batch from, the largest of the pool


@dataclass(frozen=True)
class Condition:
    """One thing that was looked at. `remedy` is what to do where it is broken, and empty where it is not."""

    name: str
    text: str
    remedy: str = ""

    @classmethod
    def broken(cls, name: str, error: AlError, remedy: str = "") -> Condition:
        """What an error says of it; `remedy` where the error has none."""
        where = f" ({error.where})" if error.where else ""
        return cls(name, error.what + where, error.remedy or remedy)


def check_machine(job: Job) -> Iterator[Condition]:
    """What this machine offers the job, one finding after the other as they are made."""
    places = {"outputs": job.folder.parent.parent}
    if job.config["store"]:
        places["store"] = build.store_path(job.config)
    for name, place in places.items():
        yield check_locks(name, place)
    if "store" in places:
        yield check_store(places["store"])
    yield check_kernels(job)
    try:
        splits = build.load_dataset(job.config["dataset"])
        plan = build.plan_rounds(job.experiment, splits)
    except AlError as error:
        yield Condition.broken("data", error, "see `al data`")
        return
    pool, test = len(splits.train), len(splits.test)
    yield Condition(
        "data", f"{splits.name}: {pool} images in the pool, {test} to evaluate on, {len(plan.sizes)} rounds"
    )
    if job.experiment.model.family == "fake":
        return
    try:
        measured = measure(job, splits.train)
    except BrokenExecutor:
        what = f"one training step of {job.experiment.model.name} was killed, as the system does when memory runs out"
        yield Condition("memory", what, "lower training.batch_size, take a smaller model, or close other programs")
        return
    except AlError as error:
        yield Condition.broken("model", error)
        return
    peak, free, checkpoint = measured
    yield check_memory(job, peak, free)
    yield from check_disk(job, places, checkpoint)


def check_locks(name: str, place: Path) -> Condition:
    """Whether a lock that this process holds in a folder, or the nearest one above that exists, keeps another process out."""
    folder = nearest(place)
    try:
        handle, path = tempfile.mkstemp(prefix=".al_doctor_", dir=folder)
    except OSError as error:
        what = f"{folder} cannot be written ({error.strerror})"
        return Condition(name, what, "name another place with outputs=DIR, for the store with AL_STORE=DIR")
    try:
        if not lock(handle):
            return Condition(name, f"files in {folder} cannot be locked", _LOCK_REMEDY)
        while_held = _other_process_locks(path)
        os.close(handle)
        handle = -1
        after = _other_process_locks(path)
    except OSError as error:
        return Condition(name, f"files in {folder} cannot be locked ({error.strerror})", _LOCK_REMEDY)
    finally:
        if handle >= 0:
            os.close(handle)
        Path(path).unlink()
    if while_held or not after:
        return Condition(name, f"locks in {folder} do not keep other processes out", _LOCK_REMEDY)
    return Condition(name, f"{folder} can be written, and locks there work across processes")


_LOCK_REMEDY = "run one process at a time there, or put outputs (and AL_STORE) on a disk of this machine"
_LOCK_IN_CHILD = (
    "import os, sys; from al_cli.system import lock; sys.exit(0 if lock(os.open(sys.argv[1], os.O_RDWR)) else 3)"
)


def _other_process_locks(path: str) -> bool:
    done = subprocess.run([sys.executable, "-c", _LOCK_IN_CHILD, path], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise OSError(0, (done.stderr.strip().splitlines() or ["a process ended without a word"])[-1])
    return done.returncode == 0


def check_store(place: Path) -> Condition:
    """Whether the store is of this version, and its results are whole."""
    store = Store(place)
    try:
        store.require_format()
        entries = list(store.entries())
    except AlError as error:
        return Condition.broken("store's content", error)
    except (OSError, ValueError) as error:
        return Condition("store's content", f"{place} cannot be read ({error})", "name another with AL_STORE=DIR")
    return Condition("store's content", f"{len(entries)} results, {sizes(sum(entry.size for entry in entries))}")


def check_kernels(job: Job) -> Condition:
    """Which kernels results here are equal to the byte with, and whether portable=true could keep them equal elsewhere."""
    if job.config["portable"]:
        return Condition("kernels", "capped at AVX2 (portable=true)")
    said = [f"{name}={os.environ[name]}" for name in (*CAPS, *RIVALS) if name in os.environ]
    own = f"this CPU's own{', but for ' + ', '.join(said) if said else ''}"
    try:
        check_portable({**job.config, "portable": True, "device": "cpu"})
    except AlError:
        return Condition("kernels", f"{own}; portable=true is not possible here")
    return Condition("kernels", f"{own}; portable=true would cap them at AVX2")


def measure(job: Job, pool: Dataset) -> Footprint:
    """What a step takes on the largest images of the pool, in a process of its own. BrokenExecutor where that was killed."""
    largest = sorted(pool.images, key=lambda image: (-image.width * image.height, image.id))[:MOST_MEASURED]
    images = pool.select([image.id for image in largest])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(_measure, job, images).result()


def _measure(job: Job, images: Dataset) -> Footprint:
    run = job.experiment
    return run.kind.measure_step(run.model, run.training, images, device=run.config["device"], needs=run.strategy.needs)


def check_memory(job: Job, peak: int, free: int | None) -> Condition:
    """Whether the measured step leaves room."""
    step = f"one training step of {job.experiment.model.name} takes {sizes(peak)}"
    if free is None:
        return Condition("memory", f"{step}; how much is free, the system does not say")
    if peak > free:
        remedy = "lower training.batch_size, take a smaller model, or close other programs"
        return Condition("memory", f"{step}, and {sizes(free)} are free", remedy)
    return Condition("memory", f"{step}; {sizes(free)} are free, room for {free // peak} at once")


def check_disk(job: Job, places: dict[str, Path], checkpoint: int) -> Iterator[Condition]:
    """Whether the weights of the job's rounds fit on the disks of its places."""
    rounds = job.rounds
    kept = (
        rounds if job.experiment.training.keep_checkpoints == "all" else min(2, rounds)
    )  # the last, and one being written
    needed = {"outputs": kept * checkpoint, "store": rounds * checkpoint}
    disks: dict[int, list[str]] = {}
    for name, place in places.items():
        disks.setdefault(nearest(place).stat().st_dev, []).append(name)
    for names in disks.values():
        folder = nearest(places[names[0]])
        need, free = sum(needed[name] for name in names), shutil.disk_usage(folder).free
        text = (
            f"a run of {rounds} rounds keeps {sizes(need)} of weights in {' and '.join(names)}; {sizes(free)} are free"
        )
        remedy = "free some, `al store prune --keep 10GB`, or name another disk with outputs=DIR and AL_STORE=DIR"
        yield Condition("disk", text, "" if need < free else remedy)


def check_installation(job: Job) -> Iterator[Condition]:
    """What the job's kind of learner is built on, and whether equal trainings are equal: a promise on a CPU, luck on a GPU.
    Raises whatever is broken."""
    kind, device = job.experiment.kind, job.experiment.config["device"]
    yield from (Condition(name, value) for name, value in kind.findings(device))
    same, cpu = kind.trains_the_same_twice(device)
    yield check_determinism(same, cpu)


def check_determinism(same: bool, cpu: bool) -> Condition:
    """What it means that the same training twice gave the same bytes, or did not."""
    if same:
        return Condition("determinism", "the same training twice gave the same bytes")
    if cpu:
        return Condition(
            "determinism", "the same training twice gave other bytes", "set OMP_NUM_THREADS=1 and try again"
        )
    return Condition(
        "determinism", "the same training twice gave other bytes, as on many GPUs; device=cpu gives the same"
    )


def nearest(place: Path) -> Path:
    """This folder, or the nearest one above it that exists."""
    place = place.expanduser().absolute()
    return next(folder for folder in (place, *place.parents) if folder.is_dir())
