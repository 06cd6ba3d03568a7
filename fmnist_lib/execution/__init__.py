"""Many runs: in this process, a process a core, side by side on a GPU."""
