"""How a run is trained: augmentation, sampling, losses, schedule, processes, stopping and resuming."""
