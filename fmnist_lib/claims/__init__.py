"""The paper's claims, each beside the rule that judges it. Not here: training, prose, figures."""
