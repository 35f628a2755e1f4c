"""Learning curves as DVCLive writes them, one point per epoch."""

from collections.abc import Sequence
from pathlib import Path

from dvclive.live import Live

EpochValues = dict[str, float]


class _LiveOutsideGit(Live):
    """DVCLive that writes its files and looks at no repository.

    By itself it reads the user's Git history, ends in a traceback where there is no commit yet, and makes a DVC
    repository in any Git repository that has none.
    """

    def _init_dvc(self) -> None:
        self._dvc_file = self._init_dvc_file()


class CurveLog:
    """Files under `folder` that `dvc plots` reads; the points of an earlier part of the training come first.

    A folder of an earlier training is replaced. Nothing is written to dvc.yaml or Git, and no file holds a clock.
    """

    def __init__(self, folder: Path, history: Sequence[EpochValues]) -> None:
        self._live = _LiveOutsideGit(str(folder), save_dvc_exp=False, dvcyaml=None)
        for point in history:
            self.add(point)

    def add(self, point: EpochValues) -> None:
        """Write the next epoch's values by name; a name with a slash goes into a folder."""
        self._live.step += 1
        for name, value in point.items():
            self._live.log_metric(name, value)
        self._live.make_summary()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """End the log."""
        self._live.end()  # type: ignore[no-untyped-call]
