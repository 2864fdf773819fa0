"""Capture at scale: many questions × many models, at once, onto the disk, within limits, and on again after a stop."""
