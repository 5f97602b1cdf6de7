"""Changes to the chosen models: adjustment to the current mix, self-training and the final fit."""
