"""What `overhead.py` and `concurrency.py` share: timing, texts, a fitted policy, and the peers' workers."""
