"""What the verbs of the command line share: arguments, options, output, and what to do next."""
