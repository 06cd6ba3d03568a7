"""Records become frames of numbers that know which runs they rest on."""
