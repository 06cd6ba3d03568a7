"""Training one model from one config: the step, the recipe, the stopping rules."""
