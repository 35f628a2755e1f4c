"""Training of one model: `pirt-train`."""
