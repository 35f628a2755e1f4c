"""Pirt: pose-guided occluded person re-identification from cached heatmaps."""
