"""Many runs: the command line, what the user sees while they run, and how a sweep ends."""
