"""The command line: `cascade …`. Everything heavy loads when a command needs it."""
