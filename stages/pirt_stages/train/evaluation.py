"""How good the model is so far: query against gallery, as `pirt-eval` measures it."""

import torch

from pirt.core.manifest import Manifest, Split
from pirt.heatmaps.reader import HeatmapStore
from pirt.models import Pirt
from pirt.ranking.embed import BATCH_SIZE, Speed, features_of, images_for, outputs_of
from pirt.ranking.evaluation import Persons, evaluate, require_valid_matches
from pirt.ranking.matching import DEFAULT_MODE
from pirt.ranking.params import EvaluateParams
from pirt.runs.cache import note_skipped
from pirt.runs.dataset import PersonDataset
from pirt.runs.loading import require_room_for_batches
from pirt.runs.params import Params
from pirt.training.setup import readable_rows


class GalleryEvaluator:
    """Measures a model that is still learning, on queries and gallery that are read once."""

    def __init__(
        self, manifest: Manifest, heatmaps: HeatmapStore | None, params: Params, evaluate: EvaluateParams, workers: int
    ) -> None:
        self.params, self.how, self.workers = params, evaluate, workers
        self.query = self._images("query", manifest, heatmaps)
        self.gallery = self._images("gallery", manifest, heatmaps)
        # Now, and not only when the first epochs are over.
        for images in (self.query, self.gallery):
            require_room_for_batches(images, BATCH_SIZE, workers)
        query, gallery = self.query.rows, self.gallery.rows
        require_valid_matches(query.pids, gallery.pids, query.camids, gallery.camids)

    def __call__(self, network: Pirt, device: torch.device) -> dict[str, float]:
        """Return mAP and rank-1 of the default mode, by name."""
        # Back as it was afterwards: batch norms and dropout would stay in evaluation mode for the next epoch.
        training = network.training
        query, gallery = (self._embed(network, images, device) for images in (self.query, self.gallery))
        network.train(training)
        found = evaluate(query, gallery, self.how, device=device)
        metrics = found[DEFAULT_MODE if network.has_parts else "none"]
        return {"evaluation/mAP": metrics.mAP, "evaluation/rank-1": float(metrics.cmc[0])}

    def _images(self, split: Split, manifest: Manifest, heatmaps: HeatmapStore | None) -> PersonDataset:
        asked = manifest.split(split)
        rows, cache = readable_rows(manifest, asked, heatmaps, self.params)
        note_skipped(split, asked, rows)
        return images_for(self.params.train, manifest, rows, cache)

    def _embed(self, network: Pirt, images: PersonDataset, device: torch.device) -> Persons:
        outputs = outputs_of(network, images, Speed(device, BATCH_SIZE, self.workers))
        return Persons(features_of(outputs, network.global_names), images.rows.pids, images.rows.camids)
