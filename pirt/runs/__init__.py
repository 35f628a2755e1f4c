"""A run and what applies it to images: its parameters and folder, cached heatmaps, the data set, embedding."""
