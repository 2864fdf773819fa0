"""Whether the traffic is still what the policy was fitted for, and what became of its answers. Keeps no text."""
