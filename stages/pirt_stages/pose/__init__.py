"""`pirt-pose`: train a pose network, and run one over every image once into a heatmap store."""
