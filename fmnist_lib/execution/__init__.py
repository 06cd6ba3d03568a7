"""Many runs: in this process, a process a core, on a cluster, side by side on a GPU."""
