"""One call of a chat model through a cascade, as every adapter drives it; no framework, no I/O."""
