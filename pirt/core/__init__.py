"""What every stage stands on: errors, files, parameters, keypoints, manifest, images. A change re-runs everything."""
