"""What a ranking is made of: embeddings, matching, metrics, re-ranking, and the files that hold them."""
