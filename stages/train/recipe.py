"""The training recipe, from top to bottom."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Never

import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from pirt.data.dataset import Batch, PersonDataset
from pirt.data.manifest import Manifest
from pirt.data.sampler import PKSampler
from pirt.errors import ParamsError
from pirt.files import refuse_foreign
from pirt.losses import pirt_losses
from pirt.models.summary import summarise, summary_table
from pirt.params import Params
from pirt.run import RECORD_FILE, WEIGHTS_FILE, RunRecord, save_run
from stages.train.curves import Curves
from stages.train.evaluation import Evaluation
from stages.train.loading import Clock, default_workers, hold_pixels_within, make_loader
from stages.train.processes import Device, gather_batch, launch, share_batch_norm
from stages.train.resume import TrainingState, is_finished, load_state, remove_state, resume_folder, save_state
from stages.train.schedule import learning_rate
from stages.train.setup import build_network, record_of, training_set
from stages.train.stopping import StopRequest, deterministic, seed_step, stop_on_signals
from stages.train.watch import Watch

LOGS_FOLDER, BEST_FOLDER = "logs", "best"


@dataclass(frozen=True)
class Job:
    """One training: what is trained on what, and on which machine. The last three change no result."""

    params: Params
    variant: str | None
    manifest: Manifest
    heatmaps: Path | None
    out: Path
    init_from: Path | None = None
    restart: bool = False
    device: Device = "auto"
    workers: int | None = None
    image_memory: float = 4.0
    """GiB that decoded training images may take."""


def train(job: Job) -> None:
    """Train one model and write its run folder; a training that was stopped goes on where it was."""
    if job.out.name in ("", ".."):
        raise ParamsError(f"--out {job.out} is no name for a run folder; pass one as runs/train/pirt-seed0")
    refuse_foreign(job.out / BEST_FOLDER, (WEIGHTS_FILE, RECORD_FILE))
    fabric = launch(job.device, job.params.train.precision)
    dataset = training_set(job.manifest, job.heatmaps, job.params)
    record = record_of(dataset, job.params, job.variant, job.init_from)
    if not job.restart and is_finished(job.out, record):
        if fabric.is_global_zero:
            tqdm.write(f"{job.out} is finished; --restart trains it again")
        return
    with stop_on_signals() as stop, deterministic(on_gpu=fabric.device.type == "cuda"):
        Training(job, fabric, stop, dataset, record).run()


class Training:
    """Everything that a training has in hand."""

    def __init__(self, job: Job, fabric: Fabric, stop: StopRequest, dataset: PersonDataset, record: RunRecord) -> None:
        self.job, self.fabric, self.stop, self.dataset, self.record = job, fabric, stop, dataset, record
        self.recipe = recipe = job.params.train
        on_gpu = fabric.device.type == "cuda"

        self.sampler = PKSampler(
            self.dataset.labels,
            identities=recipe.identities,
            instances=recipe.instances,
            seed=job.params.seed,
            rank=fabric.global_rank,
            ranks=fabric.world_size,
        )
        self.steps_per_epoch = self.sampler.batches
        self.state = self.earlier_state()

        torch.manual_seed(job.params.seed)
        self.network = build_network(self.dataset.num_classes, job.params, job.init_from)
        sizes = recipe.image_size, self.record.heatmap_size or (1, 1)
        self.summary = summary_table(summarise(self.network, *sizes))
        if self.state.step:
            self.network.load_state_dict(self.state.network)
        if fabric.world_size > 1:
            share_batch_norm(self.network, on_gpu)
        learning = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.adam = torch.optim.Adam(learning, recipe.learning_rate, weight_decay=recipe.weight_decay)
        if recipe.compile:
            self.network.compile()
        self.model, self.optimizer = fabric.setup(self.network, self.adam)
        if self.state.step:
            self.adam.load_state_dict(self.state.optimizer)
            fabric.strategy.precision.load_state_dict(self.state.scaler)

        hold_pixels_within(self.dataset, job.image_memory)
        workers = default_workers(on_gpu) if job.workers is None else job.workers
        self.loader = make_loader(self.dataset, self.sampler, workers, on_gpu)
        self.evaluation = self.make_evaluation(workers)
        self.watch, self.clock = Watch(fabric), Clock()

    def earlier_state(self) -> TrainingState:
        """Return what an earlier part of this training left, or a beginning."""
        if self.job.restart and self.fabric.is_global_zero:
            remove_state(self.job.out)
            # From here on the folder holds no finished run.
            (self.job.out / RECORD_FILE).unlink(missing_ok=True)
        self.fabric.barrier()
        return load_state(self.job.out, self.record) or TrainingState()

    def make_evaluation(self, workers: int) -> Evaluation | None:
        """Return what measures the model during training, if it is to be measured; one process does it."""
        if not self.recipe.evaluate_every or not self.fabric.is_global_zero:
            return None
        return Evaluation(self.job.manifest, self.job.heatmaps, self.job.params, workers)

    def run(self) -> None:
        """Train the epochs that are left and write the run folder."""
        self.tell(self.introduction())
        curves = Curves(self.job.out / LOGS_FOLDER, self.state.history) if self.fabric.is_global_zero else None
        with self.progress_bar() as bar:
            for epoch in range(self.state.step // self.steps_per_epoch, self.recipe.epochs):
                self.run_epoch(epoch, bar)
                if curves is not None:
                    curves.add(self.state.history[-1])
        if curves is not None:
            curves.close()
            self.write_run()
        self.tell(f"wrote {self.job.out}")

    def write_run(self) -> None:
        """Write the trained weights, move the best ones beside them and forget the state."""
        save_run(self.job.out, self.network, self.record)
        best, kept = self.job.out / BEST_FOLDER, resume_folder(self.job.out) / BEST_FOLDER
        if best.exists() and (kept.exists() or not self.recipe.evaluate_every):
            shutil.rmtree(best)
        if kept.exists():
            shutil.move(kept, best)
        remove_state(self.job.out)

    def run_epoch(self, epoch: int, bar: "tqdm[Never]") -> None:
        """Train an epoch, or what is left of it, and save the state."""
        done = self.state.step - epoch * self.steps_per_epoch
        self.sampler.start(epoch, first_batch=done)
        self.watch.start_epoch(self.state.sums, done)
        self.clock.restart()
        self.model.train()
        for batch in self.clock.batches(self.loader, self.fabric.device):
            self.step(batch)
            bar.set_postfix_str(f"epoch {epoch + 1}/{self.recipe.epochs}, {self.speed()}", refresh=False)
            bar.update()
            if self.watch.stop and self.state.step % self.steps_per_epoch:
                self.save()
                self.leave()
        self.watch.flush()
        self.finish_epoch(epoch)
        if self.watch.stop and epoch + 1 < self.recipe.epochs:
            self.leave()

    def leave(self) -> Never:
        """Exit as a signal asked for; the state is saved."""
        self.tell(f"stopped after step {self.state.step}; the same command goes on from there")
        raise SystemExit(self.stop.exit_code)

    def step(self, batch: Batch) -> None:
        """One step of the optimizer on this process's share of the global batch."""
        step, recipe = self.state.step, self.recipe
        rate = learning_rate(recipe, step, self.steps_per_epoch)
        for group in self.adam.param_groups:
            group["lr"] = rate
        seed_step(self.job.params.seed, step, self.fabric.global_rank)

        outputs = self.model(batch["image"], batch["heatmaps"])
        losses = pirt_losses(
            outputs,
            batch["label"],
            label_smoothing=recipe.label_smoothing,
            triplet_margin=recipe.triplet_margin,
            gathered=self.global_batch(outputs, batch["label"]),
        )
        self.optimizer.zero_grad()
        self.fabric.backward(losses["total"])
        self.optimizer.step()

        self.state.step += 1
        values = {f"loss/{name}": value for name, value in losses.items()}
        values["accuracy"] = self.accuracy(outputs, batch["label"])
        self.watch.add(step, rate, values, self.stop.signal is not None)

    def global_batch(self, outputs: dict[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor] | None:
        """Gather what the triplet loss mines in: group features and labels of all processes."""
        if "groups_scaled" not in outputs:
            return None
        return gather_batch(self.fabric, outputs["groups_scaled"]), gather_batch(self.fabric, labels)

    def accuracy(self, outputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the share of the batch whose identity the global classifiers name, on average."""
        logits = torch.stack([outputs[f"{name}_logits"] for name in self.network.global_names])
        return (logits.mean(dim=0).argmax(dim=1) == labels).float().mean()

    def finish_epoch(self, epoch: int) -> None:
        """Add the epoch to the curves and save the state."""
        rate = learning_rate(self.recipe, self.state.step - 1, self.steps_per_epoch)
        point = {"learning_rate": rate} | self.watch.means()
        self.tell(
            f"epoch {epoch + 1}/{self.recipe.epochs}: {self.speed()}, "
            f"accuracy {point['accuracy']:.1%}, learning rate {rate:.2g}"
        )
        if self.evaluation and ((epoch + 1) % self.recipe.evaluate_every == 0 or epoch + 1 == self.recipe.epochs):
            point |= self.evaluate(self.evaluation)
        self.state.history.append(point)
        self.watch.start_epoch({}, 0)
        self.save()

    def evaluate(self, evaluation: Evaluation) -> dict[str, float]:
        """Measure the model and keep it if it is the best so far."""
        measured = evaluation(self.network, self.fabric.device)
        self.tell(", ".join(f"{name} {value:.1%}" for name, value in measured.items()))
        if measured["evaluation/mAP"] > self.state.best:
            self.state.best = measured["evaluation/mAP"]
            save_run(resume_folder(self.job.out) / BEST_FOLDER, self.network, self.record)
        return measured

    def save(self) -> None:
        """Keep all that the rest of the training depends on."""
        self.watch.flush()
        self.state.sums = dict(self.watch.sums)
        if self.fabric.is_global_zero:
            self.state.network = self.network.state_dict()
            self.state.optimizer = self.adam.state_dict()
            self.state.scaler = self.fabric.strategy.precision.state_dict()
            save_state(self.job.out, self.state, self.record)
        self.fabric.barrier()

    def speed(self) -> str:
        """Describe the epoch so far."""
        images = self.clock.steps * self.recipe.identities * self.recipe.instances
        loss = self.watch.means().get("loss/total")
        return (
            "" if loss is None else f"loss {loss:.3f}, "
        ) + f"{images / self.clock.seconds:.0f} images/s, data wait {self.clock.wait_share:.1%}"

    def progress_bar(self) -> "tqdm[Never]":
        """Return a bar over all steps, with the time left; only a terminal shows it."""
        return tqdm(
            total=self.recipe.epochs * self.steps_per_epoch,
            initial=self.state.step,
            unit="step",
            dynamic_ncols=True,
            disable=None if self.fabric.is_global_zero else True,
        )

    def introduction(self) -> str:
        """Say what is about to be trained on what."""
        recipe = self.recipe
        lines = [
            f"{len(self.dataset)} images of {self.dataset.num_classes} identities, {recipe.epochs} epochs of "
            f"{self.steps_per_epoch} steps, batch {recipe.identities}×{recipe.instances} on "
            f"{self.fabric.world_size} × {self.fabric.device.type}, {recipe.precision}"
        ]
        if left_out := len(self.job.manifest.split("train")) - len(self.dataset):
            lines.append(f"{left_out} images are left out: junk, distractors, or unreadable in stage 1")
        if small := self.sampler.small_identities:
            lines.append(f"{small} identities have fewer than {recipe.instances} images; theirs come with replacement")
        if self.state.step == self.recipe.epochs * self.steps_per_epoch:
            lines.append(f"all {self.state.step} steps are done")
        elif self.state.step:
            lines.append(f"going on after step {self.state.step}, epoch {self.state.step // self.steps_per_epoch + 1}")
        return "\n".join([*lines, self.summary])

    def tell(self, text: str) -> None:
        """Print a line above the progress bar, once for all processes."""
        if self.fabric.is_global_zero:
            tqdm.write(text)
