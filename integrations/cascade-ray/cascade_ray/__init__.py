"""The cascade beyond one machine: capture, embedding and serving on a Ray cluster."""
