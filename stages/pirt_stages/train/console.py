"""What a training prints on the terminal, and its curves."""

import time
from collections.abc import Iterator
from pathlib import Path

from pirt.core.files import refuse_other_files
from pirt.progress import Bar, progress, say
from pirt.runs.dataset import Batch
from pirt.summary import summarise, summary_table
from pirt.training.recipe import Listener, Training
from pirt_stages.train.curves import CurveLog

LOGS_FOLDER = "logs"


class Console(Listener):
    """Prints lines above a progress bar and keeps the curves in RUN/logs."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._curves: CurveLog | None = None
        self._began = self._waited = 0.0
        self._steps = 0

    def already_finished(self, out: Path) -> None:
        """Say that there is nothing to do."""
        say(f"{out} is finished; --restart trains it again")

    def begins(self, training: Training) -> None:
        """Say what is trained on what."""
        plots = training.job.out / LOGS_FOLDER / "plots"
        refuse_other_files(plots, (), ("metrics/*.tsv", "metrics/*/*.tsv"))  # before they are replaced
        say(introduction(training))
        steps = training.recipe.epochs * training.steps_per_epoch
        self._bar = progress(steps, "training", "step", initial=training.state.step)

    def epoch_begins(self, training: Training) -> None:
        """Start the clock."""
        self._began = time.perf_counter()
        self._waited, self._steps = 0.0, 0

    def waits_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches on, and measure how long the training waits for them."""
        while True:
            # Only the time until the batch is there: what follows is the step's.
            asked = time.perf_counter()
            batch = next(batches, None)
            self._waited += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def stepped(self, training: Training) -> None:
        """Move the bar."""
        self._steps += 1
        self._take_up_curves(training)
        if self._bar is not None:
            epoch = 1 + (training.state.step - 1) // training.steps_per_epoch
            self._bar.set_postfix_str(f"epoch {epoch}/{training.recipe.epochs}, {self._speed(training)}", refresh=False)
            self._bar.update()

    def measured(self, training: Training, values: dict[str, float]) -> None:
        """Print what the evaluation gave."""
        say(", ".join(f"{name} {value:.1%}" for name, value in values.items()))

    def epoch_ends(self, training: Training, point: dict[str, float]) -> None:
        """Print the epoch's line and add its point to the curves."""
        say(
            f"epoch {len(training.state.history)}/{training.recipe.epochs}: {self._speed(training)}, "
            f"accuracy {point['accuracy']:.1%}, learning rate {point['learning_rate']:.2g}"
        )
        if self._curves is not None:
            self._curves.add(point)

    def stopped(self, training: Training) -> None:
        """Say how to go on."""
        say(f"stopped after step {training.state.step}; the same command goes on from there")
        self._close()

    def ends(self, training: Training) -> None:
        """Say where the run is."""
        # Where all steps were done before a stop, none of this run has begun them.
        self._take_up_curves(training)
        self._close()
        say(f"wrote {training.job.out}")

    def _take_up_curves(self, training: Training) -> None:
        """Begin the curves where they ended; only after a first step, since this replaces those of an earlier run."""
        if self._curves is None:
            self._curves = CurveLog(training.job.out / LOGS_FOLDER, training.state.history)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._curves is not None:
            self._curves.close()

    def _speed(self, training: Training) -> str:
        """Describe the epoch so far."""
        loss = training.watch.means().get("loss/total")
        parts = [] if loss is None else [f"loss {loss:.3f}"]
        # An epoch whose steps were all done before a stop has none here.
        if self._steps:
            seconds = time.perf_counter() - self._began
            images = self._steps * training.recipe.identities * training.recipe.instances
            parts += [f"{images / seconds:.0f} images/s", f"data wait {self._waited / max(seconds, 1e-9):.1%}"]
        return ", ".join(parts)


def introduction(training: Training) -> str:
    """Say what is about to be trained on what."""
    recipe, steps = training.recipe, training.steps_per_epoch
    lines = [
        f"{len(training.dataset)} images of {training.dataset.num_classes} identities, {recipe.epochs} epochs of "
        f"{steps} steps, batch {recipe.identities}×{recipe.instances} on "
        f"{training.fabric.world_size} × {training.fabric.device.type}, {recipe.precision}"
    ]
    if left_out := len(training.job.manifest.split("train")) - len(training.dataset):
        lines.append(f"{left_out} images are left out: junk, distractors, or unreadable in stage 1")
    if small := training.sampler.small_identities:
        lines.append(f"{small} identities have fewer than {recipe.instances} images, which are drawn with replacement")
    lines += [f"{recipe.backbone_weights}: {note}" for note in training.notes]
    if training.state.step == recipe.epochs * steps:
        lines.append(f"all {training.state.step} steps are done")
    elif training.state.step:
        lines.append(f"going on after step {training.state.step}, epoch {training.state.step // steps + 1}")
    sizes = recipe.image_size, training.record.heatmap_size or (1, 1)
    return "\n".join([*lines, summary_table(summarise(training.network, *sizes))])
