"""What stage 2 reads: the manifest, the images with their heatmaps, the samplers."""
