"""The seam between the stages: a sharded, checked store of pose heatmaps, one row per image."""
