"""The training recipe, from top to bottom."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Never

import torch
from lightning_fabric import Fabric
from pydantic import JsonValue

from pirt.core.errors import DivergenceError, ParamsError
from pirt.core.files import refuse_other_files, require_apart
from pirt.core.manifest import Manifest
from pirt.core.repeatable import deterministic
from pirt.heatmaps.reader import HeatmapStore
from pirt.models import Pirt
from pirt.runs.dataset import Batch, PersonDataset, batches_of
from pirt.runs.loading import default_workers, hold_pixels_within, make_loader
from pirt.runs.params import Params
from pirt.runs.precision import tf32
from pirt.runs.run import RECORD_FILE, WEIGHTS_FILE, RunRecord, refuse_other_run, save_run
from pirt.training.objective import TOTAL, Objective
from pirt.training.optimizer import make_optimizer, set_learning_rate, take_up
from pirt.training.processes import Device, launch, require_seen_alike, share_batch_norm
from pirt.training.resume import TrainingState, is_finished, load_state, remove_state, resume_folder, save_state
from pirt.training.sampler import PKSampler
from pirt.training.schedule import learning_rate
from pirt.training.setup import record_of, starting_network, training_set
from pirt.training.stopping import StopRequest, seed_step, stop_on_signals
from pirt.training.watch import Watch

BEST_FOLDER = "best"
SAVE_SECONDS = 300.0
"""Between two states; writing 1.1 GB after every epoch would take a third of a fast GPU's time."""

LEAST_SCALE = torch.finfo(torch.float16).tiny
"""Of losses in float16: below it a gradient of 1 has no longer the type's digits."""

Evaluator = Callable[[Pirt, torch.device], dict[str, float]]
"""Measures a model that is still learning; "evaluation/mAP" of what it returns decides which weights are kept."""


@dataclass(frozen=True)
class Job:
    """One training: what is trained on what, and on which machine. The last two change no result."""

    params: Params
    variant: str | None
    manifest: Manifest
    heatmaps: HeatmapStore | None
    out: Path
    init_from: Path | None = None
    restart: bool = False
    evaluate: dict[str, JsonValue] | None = None
    """What the evaluator was told, for the record."""
    device: Device = "auto"
    workers: int | None = None
    image_memory: float = 4.0
    """GiB that decoded training images may take."""


class Listener:
    """Is told how a training goes, in its first process, and changes nothing of the result. This one is silent."""

    def already_finished(self, out: Path) -> None:
        """Nothing was to be done."""

    def begins(self, training: "Training") -> None:
        """All is ready for the first step, or for the next one of a training that was stopped."""

    def epoch_begins(self, training: "Training") -> None:
        """The next batch is the first of this part of an epoch."""

    def waits_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches on."""
        return batches

    def stepped(self, training: "Training") -> None:
        """One more step is done."""

    def measured(self, training: "Training", values: dict[str, float]) -> None:
        """The evaluator has measured the model."""

    def epoch_ends(self, training: "Training", point: dict[str, float]) -> None:
        """`point` was added to the history."""

    def stopped(self, training: "Training") -> None:
        """A signal asked to stop; the state is saved."""

    def ends(self, training: "Training") -> None:
        """The run folder is written."""


def train(job: Job, listener: Listener, make_evaluator: Callable[[int], Evaluator] | None = None) -> None:
    """Train one model and write its run folder; a training that was stopped goes on where it was.

    `make_evaluator` is called once, with the number of loader processes, where the model is to be measured during
    training.
    """
    if job.out.name in ("", ".."):
        raise ParamsError(f"--out {job.out} cannot name a run folder; pass a name such as runs/train/pirt-seed0")
    # Now, and not when the training is over and the folder is to be replaced.
    refuse_other_files(job.out / BEST_FOLDER, (WEIGHTS_FILE, RECORD_FILE))
    refuse_other_run(job.out)
    for folder in (job.out, job.out / BEST_FOLDER, resume_folder(job.out) / BEST_FOLDER):
        require_apart(
            folder / WEIGHTS_FILE, job.params.train.backbone_weights, job.init_from and job.init_from / WEIGHTS_FILE
        )
    fabric = launch(job.device, job.params.train.precision)
    told = listener if fabric.is_global_zero else Listener()
    dataset = training_set(job.manifest, job.heatmaps, job.params)
    record = record_of(dataset, job.params, job.variant, job.init_from, job.evaluate)
    finished = not job.restart and is_finished(job.out, record)
    require_seen_alike(fabric, int(finished), job.out)
    if finished:
        told.already_finished(job.out)
        return
    on_gpu = fabric.device.type == "cuda"
    with stop_on_signals() as stop, deterministic(on_gpu), tf32(allowed=job.params.train.tf32):
        Training(job, fabric, stop, dataset, record, told, make_evaluator).run()


class Training:
    """Everything that a training has in hand."""

    def __init__(
        self,
        job: Job,
        fabric: Fabric,
        stop: StopRequest,
        dataset: PersonDataset,
        record: RunRecord,
        listener: Listener,
        make_evaluator: Callable[[int], Evaluator] | None,
    ) -> None:
        self.job, self.fabric, self.stop, self.dataset, self.record = job, fabric, stop, dataset, record
        self.listener = listener
        self.recipe = recipe = job.params.train
        on_gpu = fabric.device.type == "cuda"

        self.sampler = PKSampler(
            self.dataset.labels.tolist(),
            by=recipe.sampler,
            identities=recipe.identities,
            instances=recipe.instances,
            seed=job.params.seed,
            rank=fabric.global_rank,
            ranks=fabric.world_size,
        )
        self.steps_per_epoch = self.sampler.batches
        self.state, self.replaces = self.earlier_state(), job.restart
        require_seen_alike(fabric, self.state.step, job.out)

        # Just before the weights are drawn, so that nothing which comes earlier can change them.
        torch.manual_seed(job.params.seed)
        self.network, self.notes = starting_network(self.dataset.num_classes, job.params, job.init_from)
        if self.state.step:
            self.network.load_state_dict(self.state.network)
        if fabric.world_size > 1:
            share_batch_norm(self.network, synchronised=on_gpu and not recipe.compile)
        if on_gpu:
            # As its convolutions want them, and as `batches_of` gives images; a CPU's results would change.
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
        self.bare_optimizer = make_optimizer(self.network, recipe)
        objective = Objective(self.network, recipe, fabric.global_rank, fabric.world_size)
        if recipe.compile:
            objective.compile()  # an evaluation calls the network itself, which stays as it is
        self.model, self.optimizer = fabric.setup(objective, self.bare_optimizer)
        if self.state.step:
            take_up(self.bare_optimizer, self.state.optimizer)
            # The loss scale is reached by what Fabric documents for authors of plugins alone.
            fabric.strategy.precision.load_state_dict(self.state.scaler)

        # Before the loader: its processes share what is held when they start.
        hold_pixels_within(self.dataset, job.image_memory)
        workers = default_workers(on_gpu) if job.workers is None else job.workers
        self.loader = make_loader(self.dataset, self.sampler, workers, on_gpu)
        measures = recipe.evaluate_every and fabric.is_global_zero
        self.evaluator = make_evaluator(workers) if measures and make_evaluator else None
        self.watch = Watch(fabric)
        self.saved_at = monotonic()

    def earlier_state(self) -> TrainingState:
        """Return what an earlier part of this training left, or a beginning."""
        earlier = None if self.job.restart else load_state(self.job.out, self.record)
        return earlier or TrainingState()

    def discard_earlier(self) -> None:
        """Forget what `restart` is to replace; only now, when all inputs are checked and a first step was done."""
        self.replaces = False
        # Before anything is removed, since it is here that a full disk shows.
        self.save()
        if self.fabric.is_global_zero:
            # From here on the folder holds no finished run.
            (self.job.out / RECORD_FILE).unlink(missing_ok=True)

    def run(self) -> None:
        """Train the epochs that are left and write the run folder."""
        self.listener.begins(self)
        # Of an epoch that was stopped at its end, or in its evaluation, the point is still missing.
        for epoch in range(len(self.state.history), self.recipe.epochs):
            self.run_epoch(epoch)
        # A kill while the run folder is written then costs no step.
        self.save()
        if self.fabric.is_global_zero:
            self.write_run()
        self.listener.ends(self)

    def write_run(self) -> None:
        """Write the trained weights, move the best ones beside them and forget the state."""
        save_run(self.job.out, self.network, self.record)
        best, kept = self.job.out / BEST_FOLDER, resume_folder(self.job.out) / BEST_FOLDER
        # What lies there is of an earlier training where this one has measured nothing.
        has_best = kept.exists() and self.state.best >= 0
        # An earlier training's best does not belong to these weights; this one's, moved before a kill, has to stay.
        if best.exists() and (has_best or not self.recipe.evaluate_every):
            shutil.rmtree(best)
        if has_best:
            shutil.move(kept, best)
        # Last: as long as there is a state, the run does not count as finished.
        remove_state(self.job.out)

    def run_epoch(self, epoch: int) -> None:
        """Train an epoch, or what is left of it."""
        done = self.state.step - epoch * self.steps_per_epoch
        self.sampler.start(epoch, first_batch=done)
        self.watch.start_epoch(self.state.sums, done)
        # An evaluation leaves the network in its other mode.
        self.model.train()
        self.listener.epoch_begins(self)
        for batch in self.listener.waits_for(batches_of(self.loader, self.fabric.device)):
            self.step(batch)
            if self.replaces:
                self.discard_earlier()
            self.listener.stepped(self)
            # After an epoch's last step it is decided below, for the last epoch is then finished all the same.
            if self.watch.stop and self.state.step % self.steps_per_epoch:
                self.leave()
            if monotonic() - self.saved_at >= SAVE_SECONDS:
                self.save()
        # The watch is a step late: only now does it know of the last one.
        self.watch.flush()
        if self.watch.stop and epoch + 1 < self.recipe.epochs:
            self.leave()
        self.finish_epoch(epoch)

    def leave(self) -> Never:
        """Save and exit as a signal asked for."""
        self.save()
        # torchrun ends the others as soon as one has left.
        self.fabric.barrier()
        self.listener.stopped(self)
        raise SystemExit(self.stop.exit_code)

    def step(self, batch: Batch) -> None:
        """One step of the optimizer on this process's share of the global batch."""
        step, recipe = self.state.step, self.recipe
        rate = learning_rate(recipe, step, self.steps_per_epoch)
        set_learning_rate(self.bare_optimizer, rate)
        seed_step(self.job.params.seed, step, self.fabric.global_rank)

        values = self.model(batch["image"], batch["heatmaps"], batch["label"])
        self.optimizer.zero_grad()
        self.fabric.backward(values[TOTAL])
        self.optimizer.step()

        self.state.step += 1
        self.watch.add(step, rate, values, self.stop.signal is not None)

    def finish_epoch(self, epoch: int) -> None:
        """Measure the model if it is time to, and add the epoch to the curves."""
        self.require_learning(epoch)
        rate = learning_rate(self.recipe, self.state.step - 1, self.steps_per_epoch)
        point = {"learning_rate": rate} | self.watch.means()
        if self.evaluator and ((epoch + 1) % self.recipe.evaluate_every == 0 or epoch + 1 == self.recipe.epochs):
            # A signal during an evaluation is often followed by a kill.
            self.save()
            point |= self.evaluate(self.evaluator)
        self.state.history.append(point)
        self.listener.epoch_ends(self, point)
        self.watch.start_epoch({}, 0)
        self.state.sums = {}

    def require_learning(self, epoch: int) -> None:
        """Raise DivergenceError where float16's loss scale has come down so far that it only skips steps.

        It halves with each step that it skips. Losses stay finite meanwhile, since no weight changes.
        """
        scale = self.fabric.strategy.precision.state_dict().get("scale")
        if scale is not None and scale < LEAST_SCALE:
            raise DivergenceError(
                f"epoch {epoch + 1}: steps are skipped, since gradients overflow at every loss scale down to "
                f"{scale:.3g}; train in bfloat16 or float32"
            )

    def evaluate(self, evaluator: Evaluator) -> dict[str, float]:
        """Measure the model and keep it if it is the best so far."""
        measured = evaluator(self.network, self.fabric.device)
        self.listener.measured(self, measured)
        if measured["evaluation/mAP"] > self.state.best:
            self.state.best = measured["evaluation/mAP"]
            # Not into the run folder yet, which DVC empties before it runs the stage again.
            save_run(resume_folder(self.job.out) / BEST_FOLDER, self.network, self.record)
        return measured

    def save(self) -> None:
        """Keep all that the rest of the training depends on."""
        self.watch.flush()
        self.state.sums = dict(self.watch.sums)
        if self.fabric.is_global_zero:
            self.state.network = self.network.state_dict()
            self.state.optimizer = self.bare_optimizer.state_dict()
            self.state.scaler = self.fabric.strategy.precision.state_dict()
            save_state(self.job.out, self.state, self.record)
        self.saved_at = monotonic()
